//! The allowed directions between crates, as `ARCHITECTURE.md` draws them, held against what cargo says.
//!
//! `deny.toml` says the same of what is linked; this test also covers dev-dependencies and fails under plain `cargo test`.

use std::collections::BTreeSet;
use std::process::Command;

/// What a crate may link, by crate. Nothing else.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "jsfs",
        &[
            "jsfs-bucket",
            "jsfs-client",
            "jsfs-exec",
            "jsfs-federation",
            "jsfs-http",
            "jsfs-objects",
            "jsfs-peer",
            "jsfs-store",
            "jsfs-worker",
        ],
    ),
    ("jsfs-bucket", &["jsfs-store"]),
    ("jsfs-client", &[]),
    ("jsfs-exec", &[]),
    ("jsfs-federation", &["jsfs-objects", "jsfs-store"]),
    ("jsfs-http", &["jsfs-exec", "jsfs-objects"]),
    ("jsfs-objects", &["jsfs-store"]),
    ("jsfs-peer", &["jsfs-federation", "jsfs-objects", "jsfs-store"]),
    ("jsfs-store", &[]),
    ("jsfs-testkit", &["jsfs-objects", "jsfs-store"]),
    ("jsfs-worker", &["jsfs-exec"]),
];

/// What tests may link beyond that: everyone may use the test kit, and who stands above the object layer needs a store to put under it.
const ALLOWED_IN_TESTS: &[(&str, &[&str])] = &[
    ("jsfs", &["jsfs-testkit"]),
    ("jsfs-bucket", &["jsfs-testkit"]),
    ("jsfs-client", &["jsfs-testkit"]),
    ("jsfs-federation", &["jsfs-testkit"]),
    ("jsfs-http", &["jsfs-testkit", "jsfs-store"]),
    ("jsfs-objects", &["jsfs-testkit"]),
    ("jsfs-store", &["jsfs-testkit"]),
];

/// One of our crates names another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    only_in_tests: bool,
}

fn edges() -> Vec<Edge> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut edges = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("name");
            if ours.contains(to) {
                edges.push(Edge {
                    from: package["name"].as_str().expect("name").to_owned(),
                    to: to.to_owned(),
                    only_in_tests: dependency["kind"] == "dev",
                });
            }
        }
    }
    edges
}

fn may(table: &[(&str, &[&str])], edge: &Edge) -> bool {
    table.iter().any(|(from, to)| *from == edge.from && to.contains(&edge.to.as_str()))
}

/// The edges that nobody allowed, as sentences.
fn forbidden(edges: &[Edge]) -> Vec<String> {
    edges
        .iter()
        .filter(|edge| !(may(ALLOWED, edge) || edge.only_in_tests && may(ALLOWED_IN_TESTS, edge)))
        .map(|edge| {
            format!("{} must not name {} (only in tests: {})", edge.from, edge.to, edge.only_in_tests)
        })
        .collect()
}

#[test]
fn crates_name_only_what_the_architecture_allows() {
    let edges = edges();
    assert!(edges.len() >= 4, "cargo metadata told of no dependencies: {}", edges.len());
    assert_eq!(forbidden(&edges), Vec::<String>::new());
}

#[test]
fn every_crate_has_a_row_of_its_own() {
    let rows: BTreeSet<&str> = ALLOWED.iter().map(|(from, _)| *from).collect();
    for edge in edges() {
        assert!(rows.contains(edge.from.as_str()), "{} is missing from the table", edge.from);
        assert!(rows.contains(edge.to.as_str()), "{} is missing from the table", edge.to);
    }
}

#[test]
fn a_front_door_that_names_the_store_is_found() {
    let edge = |from: &str, to: &str, only_in_tests| Edge { from: from.into(), to: to.into(), only_in_tests };
    assert_eq!(forbidden(&[edge("jsfs-http", "jsfs-store", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-store", "jsfs-objects", true)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-client", "jsfs-objects", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-new", "jsfs-store", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-http", "jsfs-objects", false)]).len(), 0);
    assert_eq!(forbidden(&[edge("jsfs-http", "jsfs-federation", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-federation", "jsfs-http", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-http", "jsfs-peer", false)]).len(), 1);
    assert_eq!(forbidden(&[edge("jsfs-federation", "jsfs-peer", false)]).len(), 1);
}
