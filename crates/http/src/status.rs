//! `/.jsfs/status`: how the node is, as JSON for programs and as a plain page for a person's browser.
//!
//! Invariants: to strangers both say only whether the node works, and its version. The page holds no script and loads nothing, and has an origin of its own, so
//! that no page of a namespace reads it; what an opening let a browser see (`jsfs open --status`) it shows to the person only, not to what other pages load.

use std::fmt::{self, Write as _};

use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use jsfs_objects::Status;
use serde::Serialize;

use crate::body::Body;
use crate::counters::Load;
use crate::federation::{FederationStatus, Peer};
use crate::front::Front;
use crate::headers;
use crate::listing::{STYLE, escape, prefers_html};
use crate::metadata::json;
use crate::opening;
use crate::problem::Problem;
use crate::request::Asked;
use crate::wire::human_size;

#[derive(Serialize)]
struct Document {
    status: &'static str,
    version: &'static str,
    #[serde(flatten)]
    more: Option<More>,
}

/// What the holder of the root key sees.
#[derive(Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    node: Status,
    load: Load,
}

/// What the page shows beside that.
#[derive(Default)]
struct Beside {
    /// Programs that run for a request or a socket.
    running: usize,
    /// States of processes that have not ended, one for each.
    processes: Vec<&'static str>,
    federation: Option<(FederationStatus, Vec<Peer>)>,
}

impl Beside {
    fn of(front: &Front) -> Self {
        let all = front.exec().map(|exec| exec.processes()).unwrap_or_default();
        let alive = all.into_iter().filter(|process| process.ended_ms.is_none());
        let federation = front.federation().map(|federation| {
            let peers = federation.peers().unwrap_or_default();
            (federation.status(), peers)
        });
        Self {
            running: front.exec().map_or(0, jsfs_exec::Exec::running),
            processes: alive.map(|process| process.state.name()).collect(),
            federation,
        }
    }
}

/// Anybody may ask whether the node works; the root key's holder hears more.
pub(crate) async fn answer(front: &Front, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    let credentials = asked.credentials()?;
    let is_page = prefers_html(asked.headers);
    let is_root = !credentials.is_empty() && front.objects().authorize_root(&credentials).await.is_ok();
    let reason = front.objects().trouble();
    let status = if reason.is_some() { "degraded" } else { "ok" };
    let more = if is_root || (is_page && opening::shows_status(front, asked)) {
        Some(More { reason, node: front.objects().figures().await?, load: front.load() })
    } else {
        None
    };
    let document = Document { status, version: front.version(), more };
    let mut response = if is_page {
        let mut text = String::with_capacity(4 << 10);
        let written = page(&mut text, &document, asked.host(), || Beside::of(front));
        written.map_err(|fmt::Error| Problem::internal(&"the status cannot be written"))?;
        let mut response = Response::new(Body::full(text.into()));
        mark(response.headers_mut());
        response
    } else {
        json(StatusCode::OK, &document)?
    };
    headers::vary(response.headers_mut(), "Accept");
    Ok(response)
}

fn mark(headers: &mut HeaderMap) {
    headers::page(headers);
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

fn page(out: &mut String, document: &Document, host: &str, beside: impl FnOnce() -> Beside) -> fmt::Result {
    let (host, status) = (escape(host), document.status);
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    write!(
        out,
        "<title>{status}: {host}</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    writeln!(out, "<h1>{host} <span class=\"{status}\">{status}</span></h1>")?;
    sections(out, document, beside)?;
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(())
}

fn sections(out: &mut String, document: &Document, beside: impl FnOnce() -> Beside) -> fmt::Result {
    let Some(more) = &document.more else {
        rows(out, "Node", &[("Version", document.version.to_owned())])?;
        out.push_str("<p>The holder of the root key sees more: <code>jsfs open --status</code> on the machine of the node.</p>\n");
        return Ok(());
    };
    if let Some(reason) = &more.reason {
        writeln!(out, "<p><strong>{}</strong></p>", escape(reason))?;
    }
    let Beside { running, processes, federation } = beside();
    let (node, load) = (&more.node, &more.load);
    let peer = federation.as_ref().map(|(federation, _)| escape(&federation.peer));
    let mut about = vec![("Version", document.version.to_owned()), ("Running for", lasting(node.uptime_s))];
    about.extend(peer.map(|peer| ("Peer", peer)));
    rows(out, "Node", &about)?;
    rows(
        out,
        "Stored",
        &[
            ("Objects", node.objects.to_string()),
            ("Namespaces", node.namespaces.to_string()),
            ("With old versions, before deduplication", human_size(node.logical_bytes)),
            ("Records that nobody's key opens", node.unreadable.to_string()),
        ],
    )?;
    space(out, &node.store)?;
    rows(
        out,
        "At work",
        &[
            ("Connections", load.connections.to_string()),
            ("Requests", load.requests.to_string()),
            ("Uploads among them", load.uploads.to_string()),
            ("Watches", load.watches.to_string()),
            ("Answers that wait for their clients", human_size(load.answer_bytes)),
        ],
    )?;
    programs(out, running, processes)?;
    if let Some((status, peers)) = &federation {
        members(out, status, peers)?;
    }
    Ok(())
}

/// A heading, and a list of names with what is already escaped.
fn rows(out: &mut String, title: &str, rows: &[(&str, String)]) -> fmt::Result {
    writeln!(out, "<h2>{title}</h2>\n<dl>")?;
    for (name, value) in rows {
        writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    writeln!(out, "</dl>")
}

fn space(out: &mut String, store: &serde_json::Value) -> fmt::Result {
    writeln!(out, "<h2>Space</h2>\n<dl>")?;
    for location in store["locations"].as_array().into_iter().flatten() {
        let number = |name: &str| location[name].as_u64().unwrap_or_default();
        let place = escape(location["place"].as_str().unwrap_or_default());
        let (free, total) = (number("free"), number("total"));
        let taken = total.saturating_sub(free);
        writeln!(
            out,
            "<div><dt>{place}</dt><dd>{} used here, {} of it needed; {} of {} free <meter max=\"{total}\" value=\"{taken}\"></meter></dd></div>",
            human_size(number("used")),
            human_size(number("live")),
            human_size(free),
            human_size(total),
        )?;
    }
    writeln!(out, "</dl>")
}

fn programs(out: &mut String, running: usize, mut states: Vec<&str>) -> fmt::Result {
    let count = states.len();
    states.sort_unstable();
    let kinds: Vec<String> = states
        .chunk_by(|one, other| one == other)
        .map(|alike| format!("{} {}", alike.len(), alike[0]))
        .collect();
    let said = if count == 0 { "none".to_owned() } else { kinds.join(", ") };
    let running = ("Running for requests and sockets", running.to_string());
    rows(out, "Programs", &[running, ("Processes that have not ended", said)])
}

fn members(out: &mut String, status: &FederationStatus, peers: &[Peer]) -> fmt::Result {
    if status.federation.is_none() {
        return rows(out, "Federation", &[("Members", "this node is in none".to_owned())]);
    }
    let name = escape(status.name.as_deref().unwrap_or_default());
    rows(
        out,
        "Federation",
        &[
            ("Name", name),
            ("Members", format!("{} of {} connected", status.reachable, status.members)),
            ("Blocks with too few copies", status.blocks.short.to_string()),
            ("Writes that too few members have", status.records.waiting.to_string()),
        ],
    )?;
    writeln!(out, "<ul>")?;
    for peer in peers {
        let state = match (peer.is_self, peer.reachable) {
            (true, _) => "this node",
            (_, true) => "connected",
            _ => "<strong>out of reach</strong>",
        };
        writeln!(
            out,
            "<li><code>{}</code> {}: {state}</li>",
            escape(&peer.peer),
            escape(&peer.roles.join(", "))
        )?;
    }
    writeln!(out, "</ul>")
}

/// For a person: the two largest units.
fn lasting(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

const OWN_STYLE: &str = "\
h2{font-size:1rem;margin:1.5rem 0 .25rem}dl{margin:0}dl div{display:flex;flex-wrap:wrap;gap:0 1rem;justify-content:space-between;border-bottom:1px solid #8884;padding:.35rem 0}\
dt,dd{margin:0;overflow-wrap:anywhere}dd{font-variant-numeric:tabular-nums}meter{width:6rem}ul{padding:0;list-style:none}li{overflow-wrap:anywhere}\
.ok,.degraded{font-weight:400;border:2px solid;border-radius:1rem;padding:0 .6rem}.ok{color:#197a3e}.degraded{color:#c2281d}";

#[cfg(test)]
mod tests {
    use super::{Beside, Document, More, lasting, page};
    use crate::counters::Load;
    use jsfs_objects::Status;

    #[test]
    fn the_page_escapes_what_it_did_not_make() {
        let store = serde_json::json!({ "locations": [{ "place": "/srv/<b>", "used": 2048, "live": 1024, "free": 1, "total": 4 }] });
        let node = Status {
            uptime_s: 90_061,
            namespaces: 2,
            objects: 3,
            logical_bytes: 4_096,
            resealing: 0,
            unreadable: 0,
            scrub: None,
            store,
        };
        let more = More { reason: Some("<i>full</i>".into()), node, load: Load::default() };
        let document = Document { status: "degraded", version: "5", more: Some(more) };
        let beside =
            Beside { running: 7, processes: vec!["waiting", "running", "waiting"], federation: None };
        let mut text = String::new();
        page(&mut text, &document, "a\"<script>", || beside).expect("text");
        assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains("<i>"), "{text}");
        for part in [
            "degraded",
            "&lt;i&gt;full",
            "1 d 1 h",
            "sockets</dt><dd>7<",
            "1 running, 2 waiting",
            "2.0 KiB used here",
            "4.0 KiB",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn times_are_short() {
        let times = [0, 59, 60, 3_599, 3_600, 86_399, 86_400].map(lasting);
        assert_eq!(times, ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h"]);
    }
}
