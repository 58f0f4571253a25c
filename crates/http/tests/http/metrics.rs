//! Metrics: for the root key's holder at the node's interface, and for everybody where the operator says so, with nothing else beside.

use jsfs_http::{Limits, Listener};
use jsfs_testkit::http::{Client, Request};

use crate::node::Node;

#[test]
fn the_root_keys_holder_reads_them_and_nobody_else() {
    let node = Node::start();
    node.put("/localhost/seen.txt", b"12345");
    let told = node.ask(&node.own("GET", "/.jsfs/metrics"));
    assert_eq!(told.status, 200);
    assert!(told.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let text = told.text();
    for line in [
        "jsfs_objects 1",
        "jsfs_logical_bytes 5",
        "jsfs_healthy 1",
        "jsfs_http_requests_total{method=\"PUT\",status=\"201\"} 1",
        "jsfs_http_requests_running 1",
        "jsfs_store_packs{location=\"0\"",
        "jsfs_process_resident_memory_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("seen") && !text.contains(&node.key), "{text}");
    assert_eq!(node.get("/.jsfs/metrics").status, 401);
    let again = node.ask(&node.own("GET", "/.jsfs/metrics")).text();
    assert!(again.contains("jsfs_http_requests_total{method=\"GET\",status=\"401\"} 1"), "{again}");
}

#[test]
fn where_only_metrics_are_told_nothing_else_is() {
    let node = Node::with_metrics(Limits::default());
    node.put("/localhost/public.txt", b"public");
    let ask =
        |method, target| Client::new(node.metrics.unwrap()).send(&Request::new(method, target)).unwrap();
    assert!(ask("GET", "/metrics").text().contains("jsfs_objects 1"));
    assert_eq!(ask("HEAD", "/metrics").status, 200);
    assert_eq!(ask("PUT", "/metrics").status, 405);
    for target in ["/", "/localhost/public.txt", "/.jsfs/status", "/.localhost/public.txt", "/metrics/"] {
        assert_eq!(ask("GET", target).status, 404, "{target}");
    }
    assert_eq!(node.get("/metrics").status, 404);
}

impl Node {
    fn with_metrics(limits: Limits) -> Node {
        Node::beside(limits, Listener::metrics)
    }
}
