//! Processes that begin again from their beginning, because there is no image of them or none that fits: what they changed stays, and what
//! WebAssembly changed is not changed again. And the end of one that ends its worker over and over.

use crate::support::Stage;
use jsfs_objects::clock::{SystemClock, SystemRandom};
use jsfs_objects::{Objects, OpenOptions, ProcessChange, Settings};
use jsfs_store::Store;
use jsfs_testkit::cargo::built;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Says that it was begun, and computes without end.
const COMMAND: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "begun\0a")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop (br 0))))"#;

#[test]
fn a_command_begins_again_and_so_does_its_output() {
    let mut stage = Stage::new(&[]);
    stage.put("/command.wasm?executable=true", &wat::parse_str(COMMAND).unwrap());
    let process = stage.started("/command.wasm", b"");
    let begun = |stage: &Stage, times: u64| {
        stage.wait(&process, "begun again", |status| status["restarted"] == times);
        stage.wait_for_output(&process, "begun\n");
        let status = stage.status(&process);
        assert_eq!((stage.output(&process).as_str(), &status["resumed"]), ("begun\n", &json!(0)), "{status}");
    };
    begun(&stage, 0);
    assert!(stage.kill_worker());
    begun(&stage, 1);
    stage.kill_node();
    begun(&stage, 2);
    assert!(stage.node.take().unwrap().stop().success());
    stage.node = Some(stage.setup.start());
    begun(&stage, 3);
    stage.ask(&stage.own("DELETE", &format!("{process}?kill=true")));
}

#[test]
fn what_a_component_changed_before_it_began_again_is_not_changed_twice() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/proxy");
    let Some(program) = built(&guest, "wasm32-wasip2", "proxy.wasm") else { return };
    let mut stage = Stage::new(&[]);
    stage.put("/proxy.wasm?executable=true&grant=GET,PUT:./", &program);
    let process = stage.started("/proxy.wasm?work=6", b"");
    let lines = "line 0\nline 0\nline 1\nline 1\nline 2\nline 2\n";
    let log = |stage: &Stage| stage.ask(&stage.own("GET", "/log")).text();
    let wait = |stage: &Stage| {
        stage.wait(&process, "at work", |_| log(stage).len() >= lines.len());
        // It has asked for all of it again by then.
        std::thread::sleep(Duration::from_millis(500));
    };
    wait(&stage);
    assert!(stage.kill_worker());
    stage.wait(&process, "begun again", |status| status["restarted"] == 1);
    wait(&stage);
    stage.kill_node();
    stage.wait(&process, "begun again", |status| status["restarted"] == 2);
    stage.put("/go", b"on");
    let status = stage.wait_for(&process, "done");
    assert_eq!((stage.output(&process).as_str(), &status["response"]["status"]), ("6 lines", &json!(201)));
    assert_eq!(log(&stage), lines, "each line once, though the same twice");
}

/// Another engine than the one that made the images: they name one that there never was.
fn replace_engine(stage: &Stage) {
    let folder = stage.setup.data().to_owned();
    let change = async move {
        let options = jsfs_store::OpenOptions::directory(&folder, &[]).unwrap();
        let store = tokio::task::spawn_blocking(move || Store::open(options)).await.unwrap().unwrap();
        let seed = std::fs::read_to_string(folder.join("node.key")).unwrap();
        let seed = jsfs_objects::key::Seed::parse(seed.trim()).unwrap();
        let node_key = seed.keys().signing().clone();
        let options = OpenOptions {
            store: store.clone(),
            node_key,
            root_key: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            settings: Settings::default(),
        };
        let objects = Objects::open(options).await.unwrap();
        for (id, record) in objects.processes().unwrap() {
            let told: Value = serde_json::from_slice(&record).unwrap();
            let engine: Vec<u8> = serde_json::from_value(told["engine"].clone()).unwrap();
            let mut changed = 0;
            let mut pieces = objects.process_pieces(id).await.unwrap();
            for piece in &mut pieces {
                let Some(at) = piece.windows(32).position(|window| window == engine) else { continue };
                let mut bytes = piece.to_vec();
                bytes[at] ^= 1;
                *piece = bytes.into();
                changed += 1;
            }
            assert_eq!(changed, 1, "the image names its engine once");
            let change = ProcessChange { record, pieces: Some(pieces), ..ProcessChange::default() };
            objects.keep_process(id, change).await.unwrap();
        }
        objects.close().await;
        drop(objects);
        tokio::task::spawn_blocking(move || store.close()).await.unwrap().unwrap();
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(change);
}

#[test]
fn a_process_of_another_engine_begins_again_and_its_calls_are_new_ones() {
    let mut stage = Stage::new(&["programs.checkpoint=1d"]);
    // The first time it waits after its change, so that no later image takes the mark of that away.
    let source = r#"export default { async main(args, ctx) {
      const was = await fetch("data/was");
      const answer = await fetch(was.ok ? "data/again" : "data/was", { method: "PUT", body: "here" });
      if (!was.ok) await new Promise((done) => setTimeout(done, 1e8));
      ctx.write(`${was.ok} ${answer.status}\n`);
      for await (const heard of ctx.input()) ctx.write(`heard ${heard}\n`);
    } };"#;
    stage.stored("/app/work.js?executable=true&grant=GET,PUT:data/", source);
    let process = stage.started("/app/work.js", b"");
    stage.wait(&process, "at its change", |_| stage.ask(&stage.own("GET", "/app/data/was")).status == 200);
    stage.node.take().unwrap().kill();
    replace_engine(&stage);
    stage.node = Some(stage.setup.start());
    let status = stage.wait(&process, "begun again", |status| status["restarted"] == 1);
    stage.wait_for_output(&process, "true 201");
    // The change has the number that the other one had, whose mark would have answered it.
    assert_eq!(stage.ask(&stage.own("GET", "/app/data/again")).text(), "here", "{status}");
    stage.send(&process, b"after");
    stage.wait_for_output(&process, "heard after");
    let output = stage.output(&process);
    assert!(output.starts_with("true 201\n"), "the output begins anew: {output}");
    assert!(stage.node.take().unwrap().stop().success());
    let checked = stage.setup.check();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_process_during_which_the_worker_ends_often_fails_though_it_makes_checkpoints() {
    let stage = Stage::new(&["programs.process_crashes=4"]);
    let busy = "export default { async main(args, ctx) { for (let i = 0; ; i++) { ctx.write(`${i}\n`); await new Promise((done) => setTimeout(done, 50)); } } };";
    stage.stored("/busy.js?executable=true", busy);
    let process = stage.started("/busy.js", b"");
    let mut checkpoints = 0;
    for _ in 0..4 {
        let status = stage.wait(&process, "put away", |status| {
            assert_ne!(status["state"], "failed", "{status}");
            status["checkpoints"].as_u64() > Some(checkpoints)
        });
        checkpoints = status["checkpoints"].as_u64().unwrap();
        // It does something after its checkpoint.
        std::thread::sleep(Duration::from_millis(200));
        assert!(stage.kill_worker());
    }
    let failed = stage.wait_for(&process, "failed");
    assert!(failed["error"].as_str().unwrap().contains("programs.process_crashes"), "{failed}");
    assert!(stage.output(&process).starts_with("0\n1\n"), "what it wrote is there");
}
