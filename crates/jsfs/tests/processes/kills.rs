//! A process whose worker and whose node are killed at random moments ends with the right result, and what it changed was changed once.
//!
//! `JSFS_KILLS=200` is the long run.

use crate::support::Stage;
use jsfs_testkit::random::Random;
use std::time::Duration;

/// Every kind of change there is, over and over, with reads between, until it is told that it is enough.
const PROGRAM: &str = r#"
const must = async (answer, ...statuses) => {
  const { status, url } = await answer;
  if (!statuses.includes(status)) throw new Error(`${url}: ${status}`);
};
const send = (path, method, body, headers = {}) => fetch(path, { method, body, headers });
export default {
  async main(args, ctx) {
    let enough = false;
    const listen = async () => {
      for await (const text of ctx.input()) {
        ctx.write(`input ${text}\n`);
        if (text === "enough") enough = true;
      }
    };
    listen();
    let i = 0;
    for (; !enough; i++) {
      const counter = await fetch("data/counter");
      const value = Number(await counter.text());
      if (value !== i) throw new Error(`the counter is ${value}, not ${i}`);
      await must(send("data/counter", "PUT", `${value + 1}`, { "if-match": counter.headers.get("etag") }), 200);
      await must(send("data/log?append=true", "POST", `line ${i}\n`), 200, 201);
      await must(send(`data/n${i}`, "PUT", `number ${i}`), 201);
      if (i % 4 === 1) {
        await must(fetch(`data/n${i}`, { method: "COPY", headers: { destination: new URL(`data/c${i}`, ctx.base).pathname } }), 201);
        await must(send(`data/n${i}`, "DELETE"), 204);
      }
      if (i % 3 === 1) {
        const parts = new ReadableStream({ async pull(it) {
          this.n = (this.n ?? 0) + 1;
          await new Promise((done) => setTimeout(done, 2));
          if (this.n > 3) it.close();
          else it.enqueue(new TextEncoder().encode(`part ${this.n} of ${i};`));
        } });
        await must(fetch(`data/s${i}`, { method: "PUT", body: parts, duplex: "half" }), 201);
      }
      if (i % 5 === 1) {
        const pair = ["a", "b"].map((name) => must(send(`data/${name}${i}`, "PUT", name), 201));
        await Promise.all(pair);
      }
      if (i % 6 === 1) {
        let sum = 0;
        const reader = (await fetch("data/big")).body.getReader();
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
          for (const byte of piece.value) sum = (sum * 31 + byte) % 1000003;
          await new Promise((done) => setTimeout(done, 3));
        }
        ctx.write(`big ${sum}\n`);
      }
      ctx.write(`round ${i}\n`);
      await new Promise((done) => setTimeout(done, 5));
    }
    return { rounds: i };
  },
};
"#;

fn kills() -> u64 {
    std::env::var("JSFS_KILLS").ok().map_or(10, |text| text.parse().expect("a number"))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| (sum * 31 + u64::from(*byte)) % 1_000_003)
}

#[test]
fn a_process_that_is_killed_at_random_changes_everything_once() {
    let seed = Random::seed_of_this_run();
    let mut random = Random::seeded(seed);
    let mut stage = Stage::new(&["programs.process_crashes=0"]);
    stage.stored("/app/work.js?executable=true&grant=GET,LIST,PUT,DELETE:data/", PROGRAM);
    let big = random.bytes(300_000);
    assert_eq!(stage.ask(&stage.own("PUT", "/app/data/counter").body(b"0")).status, 201);
    assert_eq!(stage.ask(&stage.own("PUT", "/app/data/big").body(&big)).status, 201);
    let process = stage.started("/app/work.js", b"");

    let (mut workers, mut nodes, mut inputs) = (0, 0, Vec::new());
    let mut checkpoints = 0;
    for kill in 0..kills() {
        // Something must have happened since the last kill, or it would never come to anything; when exactly is chance.
        let status = stage.wait(&process, "going on", |status| {
            assert!(!["done", "failed", "stopped"].contains(&status["state"].as_str().unwrap()), "{status}");
            status["checkpoints"].as_u64() > Some(checkpoints)
        });
        assert_eq!(status["restarted"], 0, "{status}");
        std::thread::sleep(Duration::from_millis(random.within(0..1_000)));
        if random.chance(30) {
            let input = format!("number {kill}");
            stage.send(&process, input.as_bytes());
            inputs.push(input);
        }
        if kill % 2 == 0 && stage.kill_worker() {
            workers += 1;
        } else {
            stage.kill_node();
            nodes += 1;
        }
        checkpoints = stage.status(&process)["checkpoints"].as_u64().unwrap();
    }
    stage.send(&process, b"enough");
    inputs.push("enough".to_owned());
    let status = stage.wait_for(&process, "done");
    let output = stage.output(&process);
    let rounds = check(&stage, &output, &inputs, sum(&big));
    assert_eq!(status["restarted"], 0, "{status}");
    assert_eq!(status["inputs"], 0, "{status}");
    println!(
        "{workers} workers and {nodes} nodes killed (seed {seed}): {rounds} rounds, {} changes, {} checkpoints, resumed {} times; every change once",
        changes(rounds),
        status["checkpoints"],
        status["resumed"]
    );
    stage.node.take().unwrap().stop();
    let checked = stage.setup.check();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn changes(rounds: u64) -> u64 {
    (0..rounds)
        .map(|i| 3 + if i % 4 == 1 { 2 } else { 0 } + u64::from(i % 3 == 1) + if i % 5 == 1 { 2 } else { 0 })
        .sum()
}

/// Holds what is stored and what was written against what the program does in so many rounds.
fn check(stage: &Stage, output: &str, inputs: &[String], big: u64) -> u64 {
    let rounds: u64 = {
        let (_, last) = output.rsplit_once('\n').unwrap();
        let last: serde_json::Value = serde_json::from_str(last).unwrap();
        last["rounds"].as_u64().unwrap()
    };
    let object = |name: &str| {
        let answer = stage.ask(&stage.own("GET", &format!("/app/data/{name}")));
        let version = answer.header("x-version").and_then(|text| text.parse::<u64>().ok());
        (answer.status, version, answer.text())
    };
    let stored = |version: u64, text: String| (200, Some(version), text);
    assert_eq!(object("counter"), stored(rounds + 1, rounds.to_string()));
    let lines: String = (0..rounds).map(|i| format!("line {i}\n")).collect();
    assert_eq!(object("log"), stored(rounds, lines));
    for i in 0..rounds {
        let text = format!("number {i}");
        if i % 4 == 1 {
            assert_eq!(object(&format!("c{i}")), stored(1, text));
            let versions = stage.ask(&stage.own("GET", &format!("/app/data/n{i}?versions"))).json();
            assert_eq!(versions["versions"].as_array().map(Vec::len), Some(2), "{versions}");
            assert_eq!(object(&format!("n{i}")).0, 404);
        } else {
            assert_eq!(object(&format!("n{i}")), stored(1, text));
        }
        if i % 3 == 1 {
            let text = (1..=3).map(|n| format!("part {n} of {i};")).collect();
            assert_eq!(object(&format!("s{i}")), stored(1, text));
        }
        for name in ["a", "b"].iter().filter(|_| i % 5 == 1) {
            assert_eq!(object(&format!("{name}{i}")), stored(1, (*name).to_owned()));
        }
    }
    let (from_inputs, own): (Vec<&str>, Vec<&str>) =
        output.lines().filter(|line| !line.starts_with('{')).partition(|line| line.starts_with("input "));
    let expected: Vec<String> = (0..rounds)
        .flat_map(|i| {
            let read = (i % 6 == 1).then(|| format!("big {big}"));
            read.into_iter().chain([format!("round {i}")])
        })
        .collect();
    assert_eq!(own, expected, "every line once, in order");
    let expected: Vec<String> = inputs.iter().map(|input| format!("input {input}")).collect();
    assert_eq!(from_inputs, expected, "every input once, in order");
    rounds
}
