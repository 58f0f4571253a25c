//! From the start of a process to its end: states, output, input, stopping, limits, restarts of the node.

use crate::support::Stage;
use jsfs_testkit::http::Request;
use serde_json::json;
use std::time::{Duration, Instant};

/// Says what it hears, until it is asked to stop.
const ECHO: &str = r#"export default { async main(args, ctx) {
  ctx.write("ready\n");
  for await (const heard of ctx.input()) {
    if (heard === "throw") throw new Error("told to");
    ctx.write(typeof heard === "string" ? `heard ${heard}\n` : `heard ${heard.byteLength} bytes\n`);
  }
  ctx.write("parted\n");
} };"#;

/// Works without end.
const BUSY: &str =
    "export default { async main() { for (;;) await new Promise((done) => setTimeout(done, 1)); } };";

#[test]
fn a_request_that_prefers_not_to_wait_becomes_a_process() {
    let stage = Stage::new(&[]);
    stage.stored(
        "/main.js?executable=true",
        "export default { async main(args, ctx) { await ctx.write('a'); ctx.write(new Uint8Array([98])); return { args }; } };",
    );
    let asked = stage.own("GET", "/main.js?arg=one&x=1&arg=two+2").header("Prefer", "respond-async");
    let answer = stage.ask(&asked);
    let process = answer.header("location").unwrap();
    assert_eq!((answer.status, answer.header("preference-applied")), (202, Some("respond-async")));
    assert_eq!(process.strip_prefix("/.jsfs/proc/").map(str::len), Some(32), "{process}");
    assert_eq!(answer.json()["state"], "queued");
    let status = stage.wait_for(process, "done");
    assert_eq!((&status["address"], &status["started_by"]), (&json!("/localhost/main.js"), &json!("owner")));
    assert_eq!(stage.output(process), r#"ab{"args":["one","two 2"]}"#);
    assert_eq!(
        stage.ask(&stage.own("GET", &format!("{process}/output?after=2"))).text(),
        r#"{"args":["one","two 2"]}"#
    );
    // It reaches its own node by whatever name that was reached.
    stage.stored(
        "/near.js?executable=true&grant=GET:./",
        "export default { async main(args, ctx) { return (await fetch('near.js?execute=false')).status; } };",
    );
    let host = stage.node().address().to_string();
    let asked = stage.own("GET", "/near.js").header("Prefer", "respond-async").header("Host", &host);
    let answer = stage.ask(&asked);
    let near = answer.header("location").unwrap();
    stage.wait_for(near, "done");
    assert_eq!(stage.output(near), "200");
    // A program without `main` answers the request, and its answer is the output.
    stage.stored(
        "/fetch.js?executable=true",
        "export default { async fetch(request) { const text = await request.text(); let n = 0;
           const body = new ReadableStream({ pull(it) { if (n++ < 3) it.enqueue(new TextEncoder().encode(`${n}${text}`)); else it.close(); } });
           return new Response(body, { status: 201, headers: { 'x-a': 'b' } }); } };",
    );
    let process = stage.started("/fetch.js", b"!");
    let status = stage.wait_for(&process, "done");
    assert_eq!(status["response"]["status"], 201, "{status}");
    assert_eq!(stage.output(&process), "1!2!3!");
    let listed = stage.ask(&stage.own("GET", "/.jsfs/proc/")).json();
    assert_eq!(listed["processes"].as_array().map(Vec::len), Some(3), "{listed}");
}

#[test]
fn a_process_hears_what_is_sent_to_it_and_stops_when_it_is_asked() {
    let stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"first");
    stage.send(&process, b"second");
    let bytes = stage.own("POST", &process).header("Content-Type", "application/octet-stream").body(b"abc");
    assert_eq!(stage.ask(&bytes).status, 202);
    stage.wait_for_output(&process, "heard 3 bytes");
    stage.wait(&process, "waiting", |status| status["state"] == "waiting" && status["inputs"] == 0);
    assert_eq!(stage.ask(&stage.own("DELETE", &process)).status, 202);
    stage.wait_for(&process, "stopped");
    assert_eq!(stage.output(&process), "ready\nheard first\nheard second\nheard 3 bytes\nparted\n");
    let late = stage.ask(&stage.own("POST", &process).body(b"late"));
    assert_eq!(late.status, 409, "{}", late.text());
    assert_eq!(stage.ask(&stage.own("DELETE", &process)).status, 200, "it has stopped already");
}

#[test]
fn what_a_process_throws_is_in_its_log_under_its_id() {
    let stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"throw");
    let status = stage.wait_for(&process, "failed");
    let id = status["id"].as_str().unwrap();
    assert!(status["error"].as_str().unwrap().contains(id), "{status}");
    assert_eq!(stage.output(&process), "ready\n");
    let logs = stage.ask(&stage.own("GET", "/.jsfs/logs?address=/localhost/echo.js")).json();
    let told = logs["lines"]
        .as_array()
        .unwrap()
        .iter()
        .any(|line| line["run"] == id && line["text"].as_str().unwrap().contains("told to"));
    assert!(told, "{logs}");
}

#[test]
fn a_process_that_does_not_stop_is_killed() {
    let stage = Stage::new(&[]);
    stage.stored("/busy.js?executable=true", BUSY);
    let process = stage.started("/busy.js", b"");
    stage.wait_for(&process, "running");
    let begun = Instant::now();
    let killed = stage.ask(&stage.own("DELETE", &format!("{process}?kill=true")));
    assert_eq!((killed.status, &killed.json()["state"]), (200, &json!("stopped")), "{}", killed.text());
    assert!(begun.elapsed() < Duration::from_secs(5), "at once");
    let deaf = stage.started("/busy.js", b"");
    stage.wait_for(&deaf, "running");
    assert_eq!(stage.ask(&stage.own("DELETE", &deaf)).status, 202);
    stage.wait_for(&deaf, "stopped");
}

#[test]
fn limits_of_processes_are_named() {
    let stage =
        Stage::new(&["programs.processes=1", "programs.processes_each=2", "programs.process_cpu_ms=300"]);
    stage.stored("/echo.js?executable=true", ECHO);
    stage.stored("/loop.js?executable=true", "export default { main() { for (;;); } };");
    let running = stage.started("/echo.js", b"");
    stage.wait_for(&running, "waiting");
    let queued = stage.started("/echo.js", b"");
    let third = stage.ask(&stage.own("POST", "/echo.js").header("Prefer", "respond-async"));
    assert_eq!(third.status, 503, "{}", third.text());
    assert!(third.text().contains("programs.processes_each"), "{}", third.text());
    assert_eq!(stage.status(&queued)["state"], "queued");
    stage.ask(&stage.own("DELETE", &running));
    stage.wait_for(&queued, "waiting");
    stage.ask(&stage.own("DELETE", &format!("{queued}?kill=true")));
    let endless = stage.started("/loop.js", b"");
    let failed = stage.wait_for(&endless, "failed");
    assert!(failed["error"].as_str().unwrap().contains("programs.process_cpu_ms"), "{failed}");
    let large = vec![b'x'; (256 << 10) + 1];
    let sent = stage.ask(&stage.own("POST", "/echo.js").header("Prefer", "respond-async").body(&large));
    assert_eq!(sent.status, 413, "{}", sent.text());
    let none = Stage::new(&["programs.processes=0"]);
    none.stored("/echo.js?executable=true", ECHO);
    let refused = none.ask(&none.own("POST", "/echo.js").header("Prefer", "respond-async"));
    assert_eq!(refused.status, 501, "{}", refused.text());
}

#[test]
fn more_input_than_a_process_takes_is_refused_and_more_output_than_is_kept_loses_its_beginning() {
    let stage = Stage::new(&["programs.process_output=1KiB"]);
    stage.stored("/deaf.js?executable=true", "export default { async main(args, ctx) { for (let i = 0; i < 3000; i++) await ctx.write(`${i}\\n`); await new Promise(() => setTimeout(() => {}, 1e9)); }, message() { return new Promise(() => {}); } };");
    let process = stage.started("/deaf.js", b"");
    let mut sent = 0;
    let refused = loop {
        let answer = stage.ask(&stage.own("POST", &process).body(b"x"));
        match answer.status {
            202 => sent += 1,
            _ => break answer,
        }
        assert!(sent < 2_000, "there is an end to it");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    stage.wait_for_output(&process, "2999\n");
    let status = stage.status(&process);
    assert!(status["output_from"].as_u64() > Some(0), "{status}");
    assert!(stage.output(&process).len() < 600_000 && status["output"] == 13_890, "{status}");
}

#[test]
fn a_process_goes_on_where_it_was_when_the_node_was_stopped_in_order() {
    let mut stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"before");
    stage.wait_for_output(&process, "heard before");
    assert!(stage.node.take().unwrap().stop().success());
    stage.node = Some(stage.setup.start());
    let status = stage.wait(&process, "taken up", |status| status["resumed"] == 1);
    assert_eq!(status["restarted"], 0, "{status}");
    stage.send(&process, b"after");
    stage.wait_for_output(&process, "heard after");
    assert_eq!(stage.output(&process), "ready\nheard before\nheard after\n");
    // What was asked to stop does not forget that.
    let stopping = stage.ask(&stage.own("DELETE", &process));
    assert_eq!(stopping.status, 202);
    stage.kill_node();
    stage.wait_for(&process, "stopped");
}

#[test]
fn a_process_during_which_the_worker_ends_over_and_over_counts_as_the_cause() {
    let stage = Stage::new(&[]);
    stage.stored("/loop.js?executable=true", "export default { main() { for (;;); } };");
    stage.stored("/echo.js?executable=true", ECHO);
    let quiet = stage.started("/echo.js", b"");
    stage.wait_for_output(&quiet, "ready");
    let process = stage.started("/loop.js", b"");
    for workers in 1..=3 {
        // One that is killed while it starts is no worker yet.
        let stands = || stage.node().log_text().matches("stands behind its walls").count() == workers;
        stage.wait(&process, "running", |status| status["state"] == "running" && stands());
        std::thread::sleep(Duration::from_millis(700));
        stage.kill_worker();
        std::thread::sleep(Duration::from_millis(300));
    }
    let failed = stage.wait_for(&process, "failed");
    assert!(failed["error"].as_str().unwrap().contains("3 times in a row"), "{failed}");
    // Who only waited has nothing to do with it.
    stage.send(&quiet, b"still");
    stage.wait_for_output(&quiet, "heard still");
}

#[test]
fn a_checkpoint_is_taken_when_it_is_asked_for() {
    let stage = Stage::new(&["programs.checkpoint=1d"]);
    stage.stored("/busy.js?executable=true", BUSY);
    let process = stage.started("/busy.js", b"");
    stage.wait_for(&process, "running");
    assert_eq!(stage.status(&process)["checkpoints"], 0);
    let taken = stage.ask(&stage.own("POST", &format!("{process}/checkpoint")));
    assert_eq!((taken.status, &taken.json()["checkpoints"]), (200, &json!(1)), "{}", taken.text());
    stage.ask(&stage.own("DELETE", &format!("{process}?kill=true")));
}

#[test]
fn a_body_that_was_half_read_is_read_on_and_what_cannot_be_says_so() {
    let stage = Stage::new(&["programs.checkpoint=1d"]);
    stage.stored("/far.js?executable=true", "export default { fetch: () => new Response(new ReadableStream({ pull(it) { it.enqueue(new Uint8Array(40000)); } })) };");
    let source = r#"export default { async main(args, ctx) {
      const open = async (path) => { const reader = (await fetch(path)).body.getReader(); return { reader, first: (await reader.read()).value.length }; };
      const big = await open("big"), far = await open("far.js");
      ctx.write("open\n");
      for await (const heard of ctx.input()) break;
      let all = big.first;
      for (let piece = await big.reader.read(); !piece.done; piece = await big.reader.read()) all += piece.value.length;
      ctx.write(`${all} bytes\n`);
      try { await far.reader.read(); ctx.write("far\n"); } catch (error) { ctx.write(`${error.name}: ${error.message}\n`); }
    } };"#;
    stage.stored("/read.js?executable=true&grant=GET,EXECUTE:./", source);
    assert_eq!(stage.ask(&stage.own("PUT", "/big").body(&vec![7; 2_000_000])).status, 201);
    let process = stage.started("/read.js", b"");
    stage.wait_for_output(&process, "open");
    assert!(stage.kill_worker());
    stage.send(&process, b"on");
    stage.wait_for(&process, "done");
    let output = stage.output(&process);
    assert!(
        output.contains("2000000 bytes\n") && output.contains("TypeError: the process was put away"),
        "{output}"
    );
}

#[test]
fn output_can_be_followed_while_it_is_written() {
    let stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"");
    let node = stage.node().address();
    let target = format!("{process}/output?follow=true");
    let request = Request::new("GET", &target).header("X-Access-Key", &stage.key);
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| jsfs_testkit::http::Client::new(node).send(&request).unwrap().text());
        stage.wait_for_output(&process, "ready");
        stage.send(&process, b"x");
        stage.ask(&stage.own("DELETE", &process));
        follower.join().unwrap()
    });
    assert_eq!(followed, "ready\nheard x\nparted\n");
}
