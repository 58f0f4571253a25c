//! `POST /.jsfs/maintenance/NAME`: long work on a node that runs, for the holder of the root key, told line by line.
//!
//! The answer is `application/x-ndjson`: lines `{"progress":…}` and `{"finding":…}`, and last exactly one `{"result":…}` or `{"problem":…}`. It is not
//! counted among the requests that are being answered and ends when the node stops. A client that leaves ends the work at its next step.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jsfs_objects::{Collecting, Grant, Line, Maintenance, MaintenanceError, Objects, Relocation, Root};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::body::{Arriving, Body, BrokenOff};
use crate::document::{Document, wrong};
use crate::front::Front;
use crate::headers;
use crate::problem::{Kind, Problem};
use crate::request::Asked;

/// After this time the last progress is told again, so that proxies and clients know the work alive.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// After how many seconds to come back when the node stops.
const SHORTLY_S: u64 = 1;

/// Begins work of the kind `name` as a document says, and answers with its lines.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    name: &str,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    let document = Document::read(asked.headers, body, front.json_bytes_max()).await?;
    let work = begin(front.objects(), &grant, name, document)?;
    let stopping = front.counters().stopping();
    let told = Told { work: Some(work), stopping, progress: progress(0, 0, "bytes") };
    let pieces = stream::unfold(told, |mut told| async move {
        let line = told.line().await?;
        Some((Ok::<_, BrokenOff>(line), told))
    });
    let mut response = Response::new(Body::lasting(Box::pin(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers::hand_on_at_once(headers);
    Ok(response)
}

/// The kinds of work there are.
fn begin(
    objects: &Objects,
    grant: &Grant<Root>,
    name: &str,
    mut document: Document,
) -> Result<Maintenance, Problem> {
    match name {
        "gc" => {
            let mut how = Collecting::default();
            if let Some(share) = document.take("dead_share") {
                let share = share.as_f64();
                how.dead_share = share.ok_or_else(|| wrong("dead_share", "a number from 0 to 1"))?;
            }
            how.is_dry_run = document.boolean("dry_run")?.unwrap_or(false);
            document.finish("dead_share and dry_run")?;
            Ok(objects.collect(grant, how)?)
        }
        "check" => {
            let is_repairing = document.boolean("repair")?.unwrap_or(false);
            document.finish("repair")?;
            Ok(objects.check(grant, is_repairing)?)
        }
        "move-location" => {
            let from = document.text("from")?.ok_or_else(|| wrong("from", "the directory of a location"))?;
            let to = document.text("to")?.map(PathBuf::from);
            document.finish("from and to")?;
            Ok(objects.move_location(grant, Relocation { from: from.into(), to })?)
        }
        "stats" => {
            document.finish("nothing")?;
            Ok(objects.weigh(grant)?)
        }
        _ => Err(Problem::new(
            Kind::NotFound,
            "there is no such maintenance; docs/http.md lists what there is",
        )),
    }
}

/// Work and whoever hears of it.
struct Told {
    /// None once the last line is out.
    work: Option<Maintenance>,
    stopping: CancellationToken,
    /// The last progress, told again in silence.
    progress: Value,
}

impl Told {
    /// The next line; none at the end.
    async fn line(&mut self) -> Option<Bytes> {
        let work = self.work.as_mut()?;
        let line = tokio::select! {
            () = self.stopping.cancelled() => None,
            line = tokio::time::timeout(SILENCE_MAX, work.next()) => match line {
                Ok(line) => line,
                Err(_) => return Some(text(&self.progress)),
            },
        };
        match line {
            Some(Line::Progress { done, total, unit }) => {
                self.progress = progress(done, total, unit);
                return Some(text(&self.progress));
            }
            Some(Line::Finding(finding)) => return Some(text(&json!({ "finding": finding }))),
            _ => self.work = None,
        }
        let problem = match line {
            Some(Line::Result(result)) => return Some(text(&json!({ "result": result }))),
            Some(Line::Failed(error)) => error.into(),
            // Either the node stops, or the work has died, which its log tells.
            _ if self.stopping.is_cancelled() => {
                Problem::unavailable("the node is stopping; run it again", SHORTLY_S)
            }
            _ => Problem::internal(&"maintenance ended without a result"),
        };
        Some(text(&json!({ "problem": problem.document() })))
    }
}

fn progress(done: u64, total: u64, unit: &str) -> Value {
    json!({ "progress": { "done": done, "total": total, "unit": unit } })
}

fn text(line: &Value) -> Bytes {
    Bytes::from(format!("{line}\n"))
}

impl From<MaintenanceError> for Problem {
    fn from(error: MaintenanceError) -> Self {
        let text = error.to_string();
        match error {
            MaintenanceError::UnderWay { .. } | MaintenanceError::Impossible { .. } => {
                Self::new(Kind::Conflict, text)
            }
            MaintenanceError::Invalid { .. } => Self::malformed(text),
            MaintenanceError::NoSpace => Self::new(Kind::InsufficientStorage, text),
            MaintenanceError::Storage(error) => error.into(),
        }
    }
}
