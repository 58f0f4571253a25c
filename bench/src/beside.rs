//! A client that means well, beside whatever else its server has to do: what it waits for a small object over a connection that it keeps, over a new
//! one, and for storing one. An answer that is no success is counted and takes no part in the times.

use super::{Asking, Client, Failure, Refused, path, small};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a client that means well waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Its first requests, which are not counted.
const WARM: u64 = 20;

/// Between two of its requests.
const PAUSE: Duration = Duration::from_millis(1);

/// What one kind of request took, and why some got no answer that counts.
#[derive(Default)]
struct Waited {
    took_us: Vec<u64>,
    failed: BTreeMap<String, u64>,
}

impl Waited {
    fn tell(mut self) -> Value {
        self.took_us.sort_unstable();
        let at = |percent: usize| {
            self.took_us.get((self.took_us.len() * percent / 100).min(self.took_us.len().saturating_sub(1)))
        };
        json!({ "p50_us": at(50), "p99_us": at(99), "answered": self.took_us.len(), "failed": self.failed })
    }
}

/// Asks once more, over a new connection, where the one that was kept turns out to be closed: so does every client that keeps connections.
async fn answered(client: &mut Client, request: &[u8], body: Option<&[u8]>) -> Result<(), Failure> {
    let was_kept = client.stream.is_some();
    let mut got = Vec::new();
    let mut asked = ask_once(client, request, &mut got).await;
    if was_kept && asked.as_ref().is_err_and(|error| !error.is::<Refused>()) && got.is_empty() {
        client.stream = None;
        asked = ask_once(client, request, &mut got).await;
    }
    if asked.is_err() {
        client.stream = None;
    }
    asked?;
    match body {
        Some(body) if got != body => Err("other bytes than were stored".into()),
        _ => Ok(()),
    }
}

async fn ask_once(client: &mut Client, request: &[u8], got: &mut Vec<u8>) -> Result<(), Failure> {
    client.send(request).await?;
    client.answer(|piece| Ok(got.extend_from_slice(piece))).await.map(drop)
}

/// What a client waits for that means well: with whatever else the server has to do at the time.
pub(crate) async fn measure(asking: &Asking, rounds: u64, bytes: usize, prefix: &str) -> Result<(), Failure> {
    let mut stored = Vec::new();
    small(prefix, 0, bytes, &mut stored);
    let get = asking.get(&path(prefix, 0));
    let (mut reading, mut writing) = (Client::new(&asking.address), Client::new(&asking.address));
    let [mut kept, mut new, mut put] = std::array::from_fn(|_| Waited::default());
    let run = std::process::id();
    for round in 0..rounds + WARM {
        let mut content = Vec::new();
        small(prefix, u64::from(run) << 32 | round, bytes, &mut content);
        let mut store = asking.put(&format!("{prefix}-{run}-{round}"), bytes as u64);
        store.extend_from_slice(&content);
        let mut passing = Client::new(&asking.address);
        let turns = [
            (&mut kept, &mut reading, &get, Some(&stored[..])),
            (&mut new, &mut passing, &get, Some(&stored[..])),
            (&mut put, &mut writing, &store, None),
        ];
        for (waited, client, request, body) in turns {
            let begun = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, answered(client, request, body)).await;
            let why = match answer {
                Ok(Ok(())) => {
                    if round >= WARM {
                        waited.took_us.push(u64::try_from(begun.elapsed().as_micros())?);
                    }
                    None
                }
                Ok(Err(error)) => Some(
                    error
                        .downcast_ref::<Refused>()
                        .map_or_else(|| error.to_string(), |refused| refused.status.to_string()),
                ),
                Err(_) => {
                    client.stream = None;
                    Some(format!("no answer in {} s", PATIENCE.as_secs()))
                }
            };
            if let Some(why) = why {
                *waited.failed.entry(why).or_default() += 1;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    println!("{}", json!({ "get": kept.tell(), "new": new.tell(), "put": put.tell() }));
    Ok(())
}
