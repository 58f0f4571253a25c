//! What a monitoring system asks for: counts and figures of the node in the text form of OpenMetrics, which Prometheus reads.
//!
//! Invariants: nothing in it names an object, an address, a key or a client; the number of series does not grow with what clients send. A
//! request is counted when its answer begins. Figures are read when they are asked for and cost nothing between.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::body::Body;
use crate::connections::Tally;
use crate::front::Front;
use crate::problem::{Kind, Problem};
use crate::request::Asked;

/// Marks a request that came where nothing but metrics is told.
#[derive(Clone, Copy)]
pub(crate) struct MetricsOnly;

/// Methods that are counted by name; there is no end to what clients call a method.
const METHODS: [&str; 17] = [
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "PATCH",
    "DELETE",
    "COPY",
    "MOVE",
    "EXECUTE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
];

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asking {
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Location {
    location: u32,
    place: String,
}

/// What is counted as it happens.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Asking, Histogram, fn() -> Histogram>,
    /// Those of the most frequent answer, looked up once.
    plain_get: OnceLock<(Counter, Histogram)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("jsfs");
        let requests = Family::<Answered, Counter>::default();
        registry.register(
            "http_requests",
            "Requests and calls of sockets that were answered",
            requests.clone(),
        );
        let seconds: Family<Asking, Histogram, fn() -> Histogram> = Family::new_with_constructor(histogram);
        let help = "Time from a request's head to the beginning of its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, seconds.clone());
        Self { registry, requests, seconds, plain_get: OnceLock::new() }
    }

    /// A request was answered.
    pub(crate) fn count(&self, method: &Method, status: StatusCode, took: Duration) {
        if *method == Method::GET && status == StatusCode::OK {
            let (requests, seconds) = self.plain_get.get_or_init(|| {
                let answered = Answered { method: "GET", status: 200 };
                let seconds = self.seconds.get_or_create(&Asking { method: "GET" }).clone();
                (self.requests.get_or_create(&answered).clone(), seconds)
            });
            requests.inc();
            seconds.observe(took.as_secs_f64());
            return;
        }
        let method = METHODS.into_iter().find(|name| *name == method.as_str()).unwrap_or("other");
        self.requests.get_or_create(&Answered { method, status: u32::from(status.as_u16()) }).inc();
        self.seconds.get_or_create(&Asking { method }).observe(took.as_secs_f64());
    }
}

fn histogram() -> Histogram {
    Histogram::new([0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
}

/// Answers where nothing but metrics is told.
pub(crate) async fn answer_alone(front: &Front, parts: &Parts) -> Response<Body> {
    let is_known = parts.uri.path() == "/metrics";
    let answered = match parts.method {
        Method::GET | Method::HEAD if is_known => text(front).await,
        _ if is_known => Err(Problem::method_not_allowed(&parts.method, "GET, HEAD")),
        _ => Err(Problem::new(Kind::NotFound, "here the node tells its metrics only; ask for /metrics")),
    };
    answered.unwrap_or_else(|problem| problem.response())
}

/// The same at the node's own interface, for the holder of the root key.
pub(crate) async fn answer(front: &Front, asked: &Asked<'_>) -> Result<Response<Body>, Problem> {
    front.objects().authorize_root(&asked.credentials()?).await?;
    text(front).await
}

async fn text(front: &Front) -> Result<Response<Body>, Problem> {
    let mut text = String::new();
    let moment = moment(front).await?;
    let encoded = encode_registry(&mut text, &front.metrics().registry)
        .and_then(|()| encode_registry(&mut text, &moment))
        .and_then(|()| encode_eof(&mut text));
    encoded.map_err(|fmt::Error| Problem::internal(&"metrics cannot be written"))?;
    let mut response = Response::new(Body::full(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
    Ok(response)
}

/// What can be read at any moment.
async fn moment(front: &Front) -> Result<Registry, Problem> {
    let mut registry = Registry::with_prefix("jsfs");
    let now = &mut Moment(&mut registry);
    let load = front.load();
    now.gauge("http_connections", "Open connections", load.connections as u64);
    now.gauge("http_requests_running", "Requests that are being answered", load.requests as u64);
    now.gauge("http_uploads_running", "Those of them that bring a body to store", load.uploads as u64);
    now.gauge("watches", "Watches, by socket and as Server-Sent Events", load.watches as u64);
    now.gauge("http_answer_bytes", "Memory of answers that wait for their clients", load.answer_bytes);
    now.front_door(front.counters().tally());
    let status = front.objects().figures().await?;
    let healthy = u64::from(front.objects().trouble().is_none());
    now.gauge("healthy", "1, or 0 where the operator is needed: /.jsfs/status says why", healthy);
    now.gauge("uptime_seconds", "Time since the start", status.uptime_s);
    now.gauge("namespaces", "Namespaces", status.namespaces);
    now.gauge("objects", "Objects", status.objects);
    let help = "Bytes of objects and their versions, before deduplication and compression";
    now.gauge("logical_bytes", help, status.logical_bytes);
    now.gauge(
        "unreadable_entries",
        "Entries that nobody's key opens, met since the start",
        status.unreadable,
    );
    now.store(&status.store);
    if let Some(exec) = front.exec() {
        let running = exec.processes().iter().filter(|process| process.ended_ms.is_none()).count();
        now.gauge("processes", "Processes of programs that have not ended", running as u64);
    }
    now.federation(front);
    now.this_process();
    Ok(registry)
}

/// A registry of figures that do not change any more.
struct Moment<'r>(&'r mut Registry);

impl Moment<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstGauge::new(signed(value)));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    /// What became of connections and requests that cost more than they may.
    fn front_door(&mut self, tally: Tally) {
        self.counter("http_connections_accepted", "Connections that were accepted", tally.accepted);
        let help = "Connections that were refused, because of those of the same address or of all";
        let causes = [("address", tally.refused_of_address), ("all", tally.refused)];
        self.by_cause("http_connections_refused", help, causes);
        let help =
            "Connections and requests that the node ended: what they were too slow with, or room for others";
        let causes = [
            ("idle", tally.idle),
            ("room", tally.room),
            ("head", tally.head),
            ("body", tally.body),
            ("answer", tally.answer),
            ("request", tally.request),
        ];
        self.by_cause("http_ended", help, causes);
        let help = "Requests that were refused, because of those of the same address or of all";
        let causes = [("address", tally.requests_refused_of_address), ("all", tally.requests_refused)];
        self.by_cause("http_requests_refused", help, causes);
    }

    fn by_cause<const N: usize>(&mut self, name: &str, help: &str, causes: [(&'static str, u64); N]) {
        let family = Family::<Cause, Counter>::default();
        for (cause, count) in causes {
            family.get_or_create(&Cause { cause }).inc_by(count);
        }
        self.0.register(name, help, family);
    }

    fn store(&mut self, store: &serde_json::Value) {
        let number = |name: &str| store[name].as_u64().unwrap_or_default();
        self.counter("store_commits", "Commits since the start", number("commits"));
        self.counter("store_syncs", "Syncs of the disk since the start", number("syncs"));
        self.gauge("store_index_bytes", "Size of the index", number("index_bytes"));
        let figures = [
            ("packs", "store_packs", "Packs with something in them"),
            ("used", "store_used_bytes", "What the packs hold"),
            ("live", "store_live_bytes", "What of that is needed"),
            ("free", "store_free_bytes", "What may still be written there"),
            ("total", "store_disk_bytes", "Size of the disk"),
        ];
        for (field, name, help) in figures {
            let family = Family::<Location, Gauge>::default();
            for (number, location) in (0..).zip(store["locations"].as_array().into_iter().flatten()) {
                let place = location["place"].as_str().unwrap_or_default().to_owned();
                let value = signed(location[field].as_u64().unwrap_or_default());
                family.get_or_create(&Location { location: number, place }).set(value);
            }
            self.0.register(name, help, family);
        }
    }

    fn federation(&mut self, front: &Front) {
        let Some(status) = front.federation().map(|federation| federation.status()) else { return };
        if status.federation.is_none() {
            return;
        }
        self.gauge("federation_members", "Members, this node included", status.members as u64);
        self.gauge(
            "federation_reachable",
            "Members that are connected, this node included",
            status.reachable as u64,
        );
        self.counter("federation_refused", "Requests of peers that were refused", status.refused);
        let records = status.records;
        let used = records.bytes.saturating_sub(records.repair_bytes + records.answered_bytes);
        self.by_cause(
            "federation_bytes",
            "Bytes to and from other members",
            [
                ("membership", status.bytes),
                ("records", used),
                ("record_repair", records.repair_bytes),
                ("record_answers", records.answered_bytes),
                ("blocks_fetched", status.blocks.fetched_bytes),
                ("blocks_placed", status.blocks.placed_bytes),
            ],
        );
        self.gauge(
            "federation_records_waiting",
            "Writes of this node that too few members have",
            records.waiting,
        );
        self.gauge(
            "federation_record_copies_out_of_reach",
            "Copies of versions kept here that lie with members out of reach",
            records.out_of_reach,
        );
        self.gauge(
            "federation_repair_queue",
            "Members whose records are still to be compared with those here",
            records.to_compare,
        );
        self.counter("federation_records_pulled", "Versions that comparing brought here", records.pulled);
        self.counter(
            "federation_records_pushed",
            "Versions given to members that lacked them",
            records.pushed,
        );
        self.counter(
            "federation_unsettled_reads",
            "Reads of records that too few members answered",
            records.unsettled,
        );
        let blocks = status.blocks;
        self.counter("federation_fetched_blocks", "Blocks fetched from others", blocks.fetched);
        self.counter("federation_placed_blocks", "Copies of blocks that others took", blocks.placed);
        self.counter(
            "federation_lies",
            "Blocks that came with other bytes than those asked for",
            blocks.lies,
        );
        self.gauge("federation_short_blocks", "Blocks with too few copies when last looked at", blocks.short);
        self.gauge("federation_leased_bytes", "Bytes kept for others", blocks.leased_bytes);
        self.gauge("federation_cached_bytes", "Bytes kept because they were read here", blocks.cached_bytes);
    }

    /// Under the names that every exporter gives them; only where the system tells.
    fn this_process(&mut self) {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_s = Duration::try_from(cpu).unwrap_or_default().as_secs_f64();
        self.0.register(
            "process_cpu_seconds",
            "CPU time of the node, without its programs",
            ConstCounter::new(cpu_s),
        );
        if let Some(bytes) = resident_bytes() {
            self.gauge("process_resident_memory_bytes", "Memory of the node, without its programs", bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            self.gauge("process_open_fds", "Open files and sockets", open.count() as u64);
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The second field of `/proc/self/statm` is pages in memory.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Moment};
    use hyper::{Method, StatusCode};
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use std::time::Duration;

    #[test]
    fn what_clients_call_a_method_makes_no_series() {
        let metrics = Metrics::new();
        for number in 0..100 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a method");
            metrics.count(&method, StatusCode::METHOD_NOT_ALLOWED, Duration::from_millis(1));
        }
        let mut text = String::new();
        encode(&mut text, &metrics.registry).expect("text");
        assert!(text.contains(r#"jsfs_http_requests_total{method="other",status="405"} 100"#), "{text}");
        assert!(text.contains(r#"jsfs_http_request_duration_seconds_count{method="other"} 100"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn each_location_has_its_figures() {
        let mut registry = Registry::with_prefix("jsfs");
        let store = serde_json::json!({ "commits": 7, "locations": [{ "place": "/a", "used": 1 }, { "place": "/b", "used": 2 }] });
        Moment(&mut registry).store(&store);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        assert!(text.contains("jsfs_store_commits_total 7"), "{text}");
        assert!(text.contains(r#"jsfs_store_used_bytes{location="1",place="/b"} 2"#), "{text}");
    }
}
