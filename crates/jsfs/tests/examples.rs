//! The examples, played on a real node as their READMEs say: the commands are read from there.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A node, and a shell that finds `jsfs` and it.
struct Stage {
    folder: tempfile::TempDir,
    setup: Setup,
    node: Node,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let node = setup.start();
        Stage { folder, setup, node }
    }

    fn shell(&self, script: &str, directory: &Path) -> Output {
        let bin = self.folder.path().join("bin");
        if !bin.exists() {
            std::fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(
                jsfs_testkit::node::binary(env!("CARGO_BIN_EXE_jsfs")),
                bin.join("jsfs"),
            )
            .unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command
            .env("PATH", path)
            .env("JSFS_DATA", self.setup.data())
            .env_remove("JSFS_NODE")
            .env_remove("JSFS_ACCESS_KEY");
        let output =
            command.args(["-euo", "pipefail", "-c", script]).current_dir(directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{}\n{errors}", String::from_utf8_lossy(&output.stdout));
        output
    }

    /// Runs the commands of an example's README; what they printed.
    fn play(&self, example: &str) -> String {
        let folder = example_folder(example);
        let page = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let block = block.replace(":7302", &format!(":{}", self.node.address().port()));
        String::from_utf8(self.shell(&block, &folder).stdout).unwrap()
    }

    fn ask(&self, host: &str, request: Request<'_>) -> Answer {
        Client::new(self.node.address()).send(&request.header("Host", host)).unwrap()
    }
}

fn example_folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example).canonicalize().unwrap()
}

/// The JSON documents in what was printed, in order.
fn documents(printed: &str) -> Vec<Value> {
    let from = printed.find('{').unwrap_or(printed.len());
    serde_json::Deserializer::from_str(&printed[from..]).into_iter().map_while(Result::ok).collect()
}

#[test]
fn hello_reads_the_query_a_body_and_its_environment() {
    let stage = Stage::new();
    let printed = stage.play("hello");
    let expected = [
        json!({ "text": "Welcome, Ada!", "caller": "anonymous" }),
        json!({ "text": "Welcome, Grace!", "keys": ["name"] }),
    ];
    assert_eq!(documents(&printed), expected, "{printed}");
    let wrong = stage.ask("localhost", Request::new("POST", "/hello.js").body(b"no JSON"));
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let log = stage.shell("jsfs logs /localhost/hello.js", stage.folder.path()).stdout;
    assert!(String::from_utf8(log).unwrap().contains("greeted Ada for anonymous"));
}

#[test]
fn counter_loses_no_count_however_many_come_at_once() {
    const VISITORS: u64 = 8;
    const COUNTS: u64 = 5;
    let stage = Stage::new();
    assert_eq!(documents(&stage.play("counter")), [json!({ "count": 1 })]);
    let counted = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..VISITORS {
            scope.spawn(|| {
                let mut left = COUNTS;
                while left > 0 {
                    let answer = stage.ask("counter.localhost", Request::new("POST", "/counter.js"));
                    // It says so where too many came at once, and counts nothing then.
                    if answer.status == 503 {
                        continue;
                    }
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    counted.lock().unwrap().push(answer.json()["count"].as_u64().unwrap());
                    left -= 1;
                }
            });
        }
    });
    let mut counted = counted.into_inner().unwrap();
    counted.sort_unstable();
    let last = 1 + VISITORS * COUNTS;
    assert_eq!(counted, (2..=last).collect::<Vec<_>>(), "every number once");
    let count = stage.ask("counter.localhost", Request::new("GET", "/counter.js"));
    assert_eq!(count.json(), json!({ "count": last }));
    let cheat = stage.ask("counter.localhost", Request::new("PUT", "/data/count.txt").body(b"1000"));
    assert_eq!(cheat.status, 401, "only the program counts");
    assert!(
        stage.ask("counter.localhost", Request::new("GET", "/")).text().contains("<title>Counter</title>")
    );
}

#[test]
fn wordcount_counts_and_counts_again_only_what_changed() {
    let stage = Stage::new();
    let counted = documents(&stage.play("wordcount"));
    let [counts] = &counted[..] else { panic!("{counted:?}") };
    assert_eq!((&counts["river"], &counts["the"], &counts["boat"]), (&json!(3), &json!(5), &json!(1)));
    let script = "jsfs run /localhost/wordcount/wordcount.js --input /localhost/wordcount/texts/ --include 2>&1 >counts.json";
    let again = stage.shell(script, stage.folder.path()).stdout;
    let again = String::from_utf8(again).unwrap();
    assert!(again.contains("x-parts: 2") && again.contains("x-parts-cached: 2"), "{again}");
}
