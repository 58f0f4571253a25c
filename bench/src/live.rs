//! Sockets: what an idle watcher costs, how fast changes reach many, and whether one slow stream holds up another.
//!
//!   live URL PID KIND [SCALE]
//!
//! `KIND` is `jsfs` (with the access key in `JSFS_ACCESS_KEY`) or `ws`, the floor in `peers/ws.mjs`. Prints one JSON object. `SCALE` (1 to 100, default
//! 100) is the percentage of the connections and changes. Every event is looked at: a figure for events that did not all come is no figure.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

type Socket = WebSocketStream<TcpStream>;

const WATCHERS: usize = 1_000;
const IDLE: usize = 10_000;

#[derive(Clone)]
struct Target {
    address: String,
    key: Option<String>,
    begin: Instant,
}

impl Target {
    async fn open(&self) -> Socket {
        let stream = TcpStream::connect(&self.address).await.expect("the server is there");
        stream.set_nodelay(true).expect("a socket");
        let mut request = "ws://localhost/bench/".into_client_request().expect("a request");
        if let Some(key) = &self.key {
            let bearer = format!("Bearer {key}").parse().expect("a header");
            request.headers_mut().insert("authorization", bearer);
        }
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        client_async_with_config(request, stream, Some(config)).await.expect("a handshake").0
    }

    async fn watch(&self) -> Socket {
        let mut socket = self.open().await;
        let text = match self.key {
            Some(_) => json!({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": {"path": ""}}),
            None => json!({"watch": true}),
        };
        socket.send(Message::text(text.to_string())).await.expect("sent");
        let answer = socket.next().await.expect("an answer").expect("an answer");
        assert!(answer.to_text().expect("text").contains("\"w1\""), "{answer}");
        socket
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).expect("not that long")
    }
}

/// One change at a time: a durable write, or a message to all.
enum Writer {
    Jsfs(TcpStream, String),
    Ws(Box<Socket>),
}

impl Writer {
    async fn new(target: &Target) -> Writer {
        match &target.key {
            Some(key) => {
                let stream = TcpStream::connect(&target.address).await.expect("the server is there");
                stream.set_nodelay(true).expect("a socket");
                Writer::Jsfs(stream, key.clone())
            }
            None => Writer::Ws(Box::new(target.open().await)),
        }
    }

    /// Makes a change whose name is the time at which it was asked for.
    async fn change(&mut self, now_us: u64, number: u64) {
        match self {
            Writer::Jsfs(stream, key) => {
                let head = format!(
                    "PUT /bench/{now_us}-{number} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nX-Private: false\r\nPrefer: return=minimal\r\nContent-Length: 2\r\n\r\nhi"
                );
                stream.write_all(head.as_bytes()).await.expect("sent");
                let mut answer = vec![0; 4096];
                let mut length = 0;
                while !answer[..length].windows(4).any(|end| end == b"\r\n\r\n") {
                    let read = stream.read(&mut answer[length..]).await.expect("an answer");
                    assert!(read > 0, "the connection ended");
                    length += read;
                }
                let text = String::from_utf8_lossy(&answer[..length]);
                assert!(text.starts_with("HTTP/1.1 201"), "{text}");
            }
            Writer::Ws(socket) => {
                let text = format!("{{\"address\":\"/localhost/bench/{now_us}-{number}\"}}");
                socket.send(Message::text(text)).await.expect("sent");
            }
        }
    }
}

/// The time in the name of an event's address.
fn asked_us(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("/bench/")?;
    rest.split_once('-')?.0.parse().ok()
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Resident memory of the server in KiB.
fn resident_kib(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

/// Seconds of processor time that the server has used.
fn cpu_s(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    ticks as f64 / 100.0
}

/// KiB of the server for each idle watcher.
async fn idle(target: &Target, pid: &str, count: usize) -> Value {
    let before = resident_kib(pid);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(target.watch().await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_kib(pid);
    let cpu = cpu_s(pid);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle_cpu = (cpu_s(pid) - cpu) / 5.0;
    let each = (after.saturating_sub(before)) as f64 / count as f64;
    json!({ "watchers": count, "kib_each": each, "cpu_share": idle_cpu })
}

/// Changes at a rate, each to every watcher: events per second that came, and how long they took since the change was asked for.
async fn fan_out(target: &Target, pid: &str, watchers: usize, rate: u64, seconds: u64) -> Value {
    let changes = rate * seconds;
    let (report, mut reports) = mpsc::channel(watchers);
    for _ in 0..watchers {
        let (mut socket, target, report) = (target.watch().await, target.clone(), report.clone());
        tokio::spawn(async move {
            let mut delays = Vec::with_capacity(changes as usize);
            while (delays.len() as u64) < changes {
                let message = socket.next().await.expect("an event").expect("an event");
                let Some(asked) = message.to_text().ok().and_then(asked_us) else { continue };
                delays.push(target.now_us().saturating_sub(asked));
            }
            let _ = report.send((delays, target.now_us())).await;
        });
    }
    drop(report);
    let cpu = cpu_s(pid);
    let begin_us = target.now_us();
    let next = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let (target, next) = (target.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut writer = Writer::new(&target).await;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= changes {
                        return;
                    }
                    let due = begin_us + number * 1_000_000 / rate;
                    tokio::time::sleep(Duration::from_micros(due.saturating_sub(target.now_us()))).await;
                    writer.change(target.now_us(), number).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    let (mut delays, mut last_us, mut complete) = (Vec::new(), 0, 0);
    while let Ok(Some((own, end))) = tokio::time::timeout(Duration::from_secs(60), reports.recv()).await {
        delays.extend(own);
        last_us = last_us.max(end);
        complete += 1;
    }
    assert_eq!(complete, watchers, "every watcher has seen every change");
    delays.sort_unstable();
    let took_s = (last_us - begin_us) as f64 / 1e6;
    json!({
        "watchers": watchers,
        "changes_per_s": changes as f64 / took_s,
        "events_per_s": delays.len() as f64 / took_s,
        "p50_ms": percentile(&delays, 50) as f64 / 1e3,
        "p99_ms": percentile(&delays, 99) as f64 / 1e3,
        "server_cpu_us_per_event": (cpu_s(pid) - cpu) * 1e6 / delays.len() as f64,
    })
}

/// From the answer to a write to its event, with one watcher. Negative: the event came first.
async fn one_watcher(target: &Target, changes: u64) -> Value {
    let mut socket = target.watch().await;
    let mut writer = Writer::new(target).await;
    let (mut since_asked, mut since_durable) = (Vec::new(), Vec::new());
    let (seen, mut events) = mpsc::channel(1);
    let clock = target.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if message.to_text().ok().and_then(asked_us).is_some() && seen.send(clock.now_us()).await.is_err()
            {
                return;
            }
        }
    });
    for number in 0..changes {
        let asked = target.now_us();
        writer.change(asked, number).await;
        let durable = target.now_us();
        let event = events.recv().await.expect("an event");
        since_asked.push(event - asked);
        since_durable.push(i64::try_from(event).expect("small") - i64::try_from(durable).expect("small"));
    }
    since_asked.sort_unstable();
    since_durable.sort_unstable();
    json!({
        "p50_ms_since_asked": percentile(&since_asked, 50) as f64 / 1e3,
        "p50_ms_since_durable": since_durable[since_durable.len() / 2] as f64 / 1e3,
        "p99_ms_since_durable": since_durable[since_durable.len() * 99 / 100] as f64 / 1e3,
    })
}

/// Round trips of a small call on one connection: alone, beside a stream that nobody takes, and beside an upload of so many bytes.
async fn beside(target: &Target, upload_bytes: u64) -> Value {
    let mut writer = Writer::new(target).await;
    let Writer::Jsfs(stream, key) = &mut writer else { return Value::Null };
    let large = vec![b'x'; 8 << 20];
    let head = format!(
        "PUT /bench/large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nPrefer: return=minimal\r\nContent-Length: {}\r\n\r\n",
        large.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&large).await.expect("sent");
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 20"), "stored");
    let alone = round_trips(target, false, 0).await;
    let stalled = round_trips(target, true, 0).await;
    let uploading = round_trips(target, false, upload_bytes).await;
    json!({ "alone": alone, "stalled_consumer": stalled, "upload": uploading })
}

async fn round_trips(target: &Target, stalled: bool, upload_bytes: u64) -> Value {
    let mut socket = target.open().await;
    let call = |id: u64, method: &str, params: Value| {
        Message::text(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string())
    };
    if stalled {
        socket.send(call(1, "get", json!({"path": "large"}))).await.expect("sent");
    }
    if upload_bytes > 0 {
        socket.send(call(2, "put", json!({"path": "upload", "stream": 1}))).await.expect("sent");
    }
    let (mut sink, mut stream) = socket.split();
    let credit = Arc::new(tokio::sync::Semaphore::new(256 * 1024));
    let (pong, mut pongs) = mpsc::channel(1);
    let (ended, mut end) = mpsc::channel(1);
    let granted = Arc::clone(&credit);
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(bytes) if bytes.len() == 9 && bytes[4] == 3 => {
                    let more = u32::from_le_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
                    granted.add_permits(more as usize);
                }
                Message::Text(text) if text.contains("\"id\":2,") || text.ends_with("\"id\":2}") => {
                    assert!(!text.contains("\"error\""), "{text}");
                    let _ = ended.send(()).await;
                }
                Message::Text(text) if text.contains("\"result\":{}") => {
                    if pong.send(()).await.is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
    });
    let mut trips = Vec::new();
    let begin = Instant::now();
    let (mut left, mut number) = (upload_bytes, 0);
    let mut piece = vec![0_u8; 65_541];
    piece[0] = 1;
    while (upload_bytes == 0 && number < 2_000) || left > 0 {
        let asked = Instant::now();
        sink.send(call(100 + number, "ping", json!({}))).await.expect("sent");
        // Pieces go out while the answer is waited for, as fast as the node grants.
        loop {
            let count = usize::try_from(left.min(65_536)).expect("small");
            tokio::select! {
                biased;
                pong = pongs.recv() => { pong.expect("an answer"); break; }
                permits = credit.acquire_many(count as u32), if count > 0 => {
                    permits.expect("open").forget();
                    // Bytes that do not repeat, so that storing them is work.
                    for (number, chunk) in piece[5..].chunks_mut(512).enumerate() {
                        let mark = left.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number as u64);
                        chunk[..8].copy_from_slice(&mark.to_le_bytes());
                    }
                    left -= count as u64;
                    piece[4] = u8::from(left == 0);
                    sink.send(Message::Binary(Bytes::copy_from_slice(&piece[..5 + count]))).await.expect("sent");
                }
            }
        }
        trips.push(u64::try_from(asked.elapsed().as_micros()).expect("short"));
        number += 1;
    }
    if upload_bytes > 0 {
        end.recv().await.expect("the upload is answered");
    }
    let seconds = begin.elapsed().as_secs_f64();
    trips.sort_unstable();
    let mut figures = json!({
        "calls": trips.len(),
        "p50_ms": percentile(&trips, 50) as f64 / 1e3,
        "p99_ms": percentile(&trips, 99) as f64 / 1e3,
    });
    if upload_bytes > 0 {
        figures["upload_mb_per_s"] = json!(upload_bytes as f64 / 1e6 / seconds);
    }
    figures
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, pid, kind, rest @ ..] = &arguments[..] else {
        eprintln!("usage: live URL PID jsfs|ws [SCALE]");
        std::process::exit(2);
    };
    let scale: usize =
        rest.first().map_or(100, |text| text.parse().expect("SCALE is a number from 1 to 100"));
    let key = (kind == "jsfs").then(|| std::env::var("JSFS_ACCESS_KEY").expect("JSFS_ACCESS_KEY"));
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let target = Target { address, key, begin: Instant::now() };
    let watchers = WATCHERS * scale / 100;
    let seconds = (10 * scale as u64 / 100).max(2);
    let mut figures = json!({ "kind": kind });
    // First: memory that something else has used before would be counted as free.
    figures["idle"] = idle(&target, pid, IDLE * scale / 100).await;
    figures["one_watcher"] = one_watcher(&target, 500).await;
    figures["fan_out_50"] = fan_out(&target, pid, watchers, 50, seconds).await;
    figures["fan_out_100"] = fan_out(&target, pid, watchers, 100, seconds).await;
    figures["fan_out_200"] = fan_out(&target, pid, watchers, 200, seconds).await;
    figures["beside"] = beside(&target, (1 << 30) * scale as u64 / 100).await;
    println!("{figures}");
}
