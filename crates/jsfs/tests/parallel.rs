//! Map and reduce on a real node: what is counted, what is made anew after a change, who may, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::cargo::{built, compiled};
use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::{Value, json};
use std::path::Path;

/// A node, and its owner's key.
struct Stage {
    _folder: tempfile::TempDir,
    setup: Setup,
    node: Node,
    key: String,
}

impl Stage {
    fn new(settings: &[&str]) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = setup.start();
        let key = setup.root_key();
        Stage { _folder: folder, setup, node, key }
    }

    fn ask(&self, request: &Request<'_>) -> Answer {
        Client::new(self.node.address()).send(request).unwrap()
    }

    fn own<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        Request::new(method, target).header("X-Access-Key", &self.key)
    }

    fn put(&self, target: &str, bytes: &[u8]) {
        let answer = self.ask(&self.own("PUT", target).body(bytes));
        assert!(matches!(answer.status, 200 | 201), "{target}: {} {}", answer.status, answer.text());
    }

    fn program(&self, target: &str, source: &str) {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}executable=true&content_type=text/javascript");
        self.put(&target, source.as_bytes());
    }

    fn wasm(&self, target: &str, module: &[u8]) {
        self.put(&format!("{target}?executable=true&content_type=application/wasm"), module);
    }

    fn run(&self, target: &str) -> Answer {
        self.ask(&self.own("GET", target))
    }

    /// What a job comes to, how many parts it had, and how many of them were worked on.
    fn job(&self, target: &str) -> (Value, u64, u64) {
        let answer = self.run(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let number = |name: &str| answer.header(name).unwrap().parse::<u64>().unwrap();
        let (parts, cached) = (number("x-parts"), number("x-parts-cached"));
        (answer.json(), parts, parts - cached)
    }

    fn token(&self, address: &str, methods: &[&str]) -> String {
        let body = json!({ "address": address, "methods": methods }).to_string();
        let answer = self.ask(&self.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

/// Counts lines and bytes, and adds up the numbers that the lines begin with.
const COUNT: &str = "export default {
  async map(part) {
    let lines = 0, sum = 0, length = 0;
    for await (const line of part.lines()) { lines++; length += line.length; sum += parseInt(line) || 0 }
    return { lines, sum, length };
  },
  reduce(parts) {
    const all = { lines: 0, sum: 0, length: 0 };
    for (const part of parts) for (const name in all) all[name] += part[name];
    return all;
  },
};";

/// Numbered lines of different lengths, about so many bytes, and their sum.
fn numbered(bytes: usize) -> (String, u64, u64) {
    let mut text = String::new();
    let (mut lines, mut sum) = (0, 0);
    while text.len() < bytes {
        let length = usize::try_from(lines * 7_919 % 97).unwrap();
        text.push_str(&format!("{lines} {}\n", &format!("{:x}", scattered(lines)).repeat(6)[..length]));
        sum += lines;
        lines += 1;
    }
    (text, lines, sum)
}

/// A number that looks random.
fn scattered(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63
}

#[test]
fn each_line_is_counted_once_and_only_what_changed_is_worked_on_again() {
    let stage = Stage::new(&["programs.runs=16"]);
    stage.program("/count.js", COUNT);
    let (text, lines, sum) = numbered(6 << 20);
    stage.put("/text", text.as_bytes());
    let target = "/count.js?parallel=auto&input=/text";
    let (counted, parts, worked) = stage.job(target);
    let length = text.len() as u64 - lines;
    assert_eq!(counted, json!({ "lines": lines, "sum": sum, "length": length }));
    assert!(parts > 5 && worked == parts, "{worked} of {parts}");
    assert_eq!(stage.job(target), (counted.clone(), parts, 0));
    assert_eq!(stage.job(&format!("{target}&cache=no")), (counted.clone(), parts, parts));

    let middle = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    let edited = format!("{}1000000000\n{}", &text[..middle], &text[middle..]);
    stage.put("/text", edited.as_bytes());
    let (counted, parts, worked) = stage.job(target);
    assert_eq!((&counted["lines"], &counted["sum"]), (&json!(lines + 1), &json!(sum + 1_000_000_000)));
    assert!((1..=3).contains(&worked), "{worked} of {parts}");

    // The same content elsewhere is the same; another text of the program is another program, and so are other parameters.
    stage.put("/copy", edited.as_bytes());
    assert_eq!(stage.job("/count.js?input=/copy").2, 0);
    assert_eq!(stage.job("/count.js?input=/copy&factor=2").2, parts);
    stage.program("/count.js", &COUNT.replace("lines++", "lines += 2"));
    let (counted, parts, worked) = stage.job(target);
    assert_eq!((&counted["lines"], worked), (&json!(2 * (lines + 1)), parts));
}

#[test]
fn inputs_of_every_shape() {
    let stage = Stage::new(&[]);
    stage.program("/count.js", COUNT);
    stage.put("/texts/empty", b"");
    assert_eq!(stage.job("/count.js?input=/texts/empty").0, json!({ "lines": 0, "sum": 0, "length": 0 }));
    stage.put("/texts/unended", b"1\n2\n3");
    assert_eq!(stage.job("/count.js?input=/texts/unended").0["sum"], 6);
    stage.put("/long", &vec![b'7'; 1_500_000]);
    let (counted, parts, _) = stage.job("/count.js?input=/long");
    assert_eq!((&counted["length"], parts), (&json!(1_500_000), 1));
    assert!(stage.job("/count.js?input=/long&record=none").1 > 1, "without records it can be cut");
    for number in 0..60 {
        stage.put(&format!("/texts/below/{number}"), format!("{number}\n").as_bytes());
    }
    let (counted, parts, _) = stage.job("/count.js?input=/texts/+/long&parallel=3");
    assert_eq!((&counted["lines"], parts), (&json!(64), 62));
    assert_eq!(stage.run("/count.js?input=/nothing").status, 404);
    for wrong in
        ["input=nothing", "input=/long&parallel=0", "input=/long&record=word", "input=/long&cache=maybe"]
    {
        assert_eq!(stage.run(&format!("/count.js?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn values_are_json_texts_or_bytes_and_parts_say_where_they_lie() {
    let stage = Stage::new(&[]);
    stage.put("/a", b"one\n");
    stage.put("/b", b"two\n");
    stage.program("/join.js", "export async function map(part) { return part.bytes() }
        export function reduce(parts) { const all = []; for (const part of parts) all.push(...part); return new Uint8Array(all) }");
    let joined = stage.run("/join.js?input=/a+/b");
    assert_eq!(
        (joined.text().as_str(), joined.header("content-type").unwrap()),
        ("one\ntwo\n", "application/octet-stream")
    );
    stage.program(
        "/text.js",
        "export async function map(part, ctx) { return (await part.text()).trim() + ctx.parameters.mark }
        export function reduce(parts) { return parts.join('') }",
    );
    assert_eq!(stage.run("/text.js?input=/a+/b&mark=!").text(), "one!two!");
    // Where a part lies makes a difference to a map that looks.
    stage.put("/c", b"one\n");
    stage.program(
        "/place.js",
        "export function map(part) { return [part.address, part.offset, part.size] }
        export function reduce(parts) { return parts.flat() }",
    );
    assert_eq!(stage.job("/place.js?input=/a").0, json!(["/localhost/a", 0, 4]));
    assert_eq!(stage.job("/place.js?input=/c"), (json!(["/localhost/c", 0, 4]), 1, 1));
    assert_eq!(stage.job("/place.js?input=/a").2, 0);
}

#[test]
fn what_is_not_the_same_each_time_is_not_there() {
    let stage = Stage::new(&[]);
    stage.put("/a", b"x");
    let tried = "export default { async map() {
        const tried = {};
        const attempt = async (name, action) => { try { tried[name] = await action() } catch (error) { tried[name] = error.message } };
        await attempt('fetch', () => fetch('/a'));
        await attempt('timer', () => new Promise((resolve) => setTimeout(resolve, 1)));
        await attempt('secret', () => crypto.randomUUID());
        await attempt('now', () => Date.now() + performance.now());
        await attempt('random', () => Math.random());
        return tried }, reduce: ([tried]) => tried };";
    stage.program("/tried.js", tried);
    let first = stage.job("/tried.js?input=/a").0;
    assert_eq!(first, stage.job("/tried.js?input=/a&cache=no").0);
    for name in ["fetch", "timer", "secret"] {
        assert!(
            first[name].as_str().unwrap().contains("the same input must give the same result"),
            "{first}"
        );
    }
    assert_eq!(first["now"], 0);
}

#[test]
fn a_part_that_fails_is_named_and_limits_hold() {
    let stage = Stage::new(&["programs.part_cpu_ms=300", "programs.output=1MiB"]);
    stage.put("/a", b"x");
    let failing = [
        ("throw new Error('no')", 500, "part 1 of 1, bytes 0 to 1 of /localhost/a"),
        ("for (;;);", 503, "programs.part_cpu_ms"),
        ("const all = []; for (;;) all.push(new Uint8Array(1 << 20))", 500, "part 1 of 1"),
        ("return 'x'.repeat(2 << 20)", 507, "programs.output"),
        ("return new Response('x')", 500, "part 1 of 1"),
    ];
    for (body, status, says) in failing {
        stage.program(
            "/fails.js",
            &format!("export function map() {{ {body} }} export function reduce(parts) {{ return parts }}"),
        );
        let answer = stage.run("/fails.js?input=/a");
        assert!(
            answer.status == status || (status == 500 && answer.status == 507),
            "{body}: {}",
            answer.text()
        );
        assert!(answer.text().contains(says), "{body}: {}", answer.text());
    }
    stage.program("/half.js", "export function map() {}");
    let half = stage.run("/half.js?input=/a");
    assert!(half.status == 422 && half.text().contains("reduce"), "{}", half.text());
    // A parameter of that name is a program's own where it has no map.
    stage.program(
        "/own.js",
        "export default { fetch: (request) => new Response(new URL(request.url).searchParams.get('input')) }",
    );
    assert_eq!(stage.run("/own.js?input=mine").text(), "mine");
}

#[test]
fn whoever_runs_a_program_must_be_able_to_read_its_input() {
    let stage = Stage::new(&[]);
    stage.program("/open/count.js?private=false", COUNT);
    stage.put("/secret/text", b"1\n2\n");
    stage.put("/public?private=false", b"3\n");
    assert_eq!(stage.job("/open/count.js?input=/secret/text").0["sum"], 3, "the owner, and now it is kept");
    let execute = stage.token("/localhost/open/count.js", &["EXECUTE"]);
    let read = stage.token("/localhost/secret/", &["GET", "LIST"]);
    let both = stage.token("/localhost/", &["EXECUTE", "GET", "LIST"]);
    let ask = |input: &str, token: Option<&str>| {
        let target = format!("/open/count.js?input={input}");
        let request = Request::new("GET", &target);
        stage.ask(&token.iter().fold(request, |request, token| request.bearer(token))).status
    };
    // Nobody without a credential of their own for the program, whatever the input is.
    assert_eq!(ask("/public", None), 401);
    assert_eq!(ask("/public", Some(&read)), 401);
    assert_eq!(ask("/public", Some(&execute)), 200);
    // Nobody who may not read the input, though what it comes to is known and the program's owner may read it.
    assert_eq!(ask("/secret/text", Some(&execute)), 404);
    assert_eq!(ask("/secret/", Some(&execute)), 404);
    assert_eq!(ask("/secret/text", Some(&read)), 401);
    assert_eq!(ask("/secret/text", Some(&both)), 200);
    assert_eq!(ask("/secret/", Some(&both)), 200);
}

#[test]
fn the_owner_of_a_program_does_not_read_in_its_log_of_what_others_gave_it() {
    let stage = Stage::new(&[]);
    stage.program("/log.js?private=false", "export async function map(part) { const text = await part.text(); console.log(text); if (text === 'bad') throw new Error(text) }
        export function reduce() { return 1 }");
    stage.put("/mine", b"my own text");
    stage.put("/others/bad?private=false", b"bad");
    stage.put("/others/text?private=false", b"text of others");
    assert_eq!(stage.run("/log.js?input=/mine").status, 200);
    let token = stage.token("/localhost/log.js", &["EXECUTE"]);
    let failed = stage.ask(&Request::new("GET", "/log.js?input=/others/").header("X-Access-Token", &token));
    assert_eq!(failed.status, 500, "{}", failed.text());
    let log = stage.run("/.jsfs/logs?address=/localhost/log.js").text();
    assert!(log.contains("my own text") && !log.contains("of others") && !log.contains("bad"), "{log}");
}

#[test]
fn what_was_made_outlives_a_restart_and_the_command_line_shows_it() {
    let stage = Stage::new(&[]);
    stage.program("/count.js", COUNT);
    stage.put("/text", numbered(1 << 20).0.as_bytes());
    let (counted, parts, _) = stage.job("/count.js?input=/text");
    let Stage { _folder, setup, node, key } = stage;
    node.stop();
    let node = setup.start();
    let stage = Stage { _folder, setup, node, key };
    assert_eq!(stage.job("/count.js?input=/text"), (counted.clone(), parts, 0));
    let output = stage
        .setup
        .command()
        .args(["run", "/localhost/count.js", "--parallel", "2", "--input", "/localhost/text", "--include"])
        .env("JSFS_NODE", format!("http://{}", stage.node.address()))
        .env("JSFS_ACCESS_KEY", &stage.key)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&format!("x-parts-cached: {parts}")), "{errors}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), counted);
}

/// A command that writes what is at 100 in memory, so many bytes, and does this before.
fn command(memory: &str, length: u32, before: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_get" (func $arguments (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 2)
          (data (i32.const 100) "{memory}")
          (func (export "_start")
            {before}
            (i32.store (i32.const 0) (i32.const 100))
            (i32.store (i32.const 4) (i32.const {length}))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_command_counts_what_a_module_counts() {
    counts_what_a_module_counts("wasm32-wasip1");
}

#[test]
fn a_command_that_is_a_component_counts_what_a_module_counts() {
    counts_what_a_module_counts("wasm32-wasip2");
}

fn counts_what_a_module_counts(target: &str) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/wordcount");
    let Some(words) = compiled(&example.join("words.rs"), target) else { return };
    let stage = Stage::new(&["programs.runs=16"]);
    stage.program("/words.js", &std::fs::read_to_string(example.join("wordcount.js")).unwrap());
    stage.wasm("/words.wasm", &words);
    let mut text = String::new();
    for number in 0..40_000_u64 {
        let word = format!("{:x}", scattered(number) >> 44).replace(|digit: char| digit.is_ascii_digit(), "");
        text.push_str(&format!("The {word} Fl\u{fc}sse, {} and\n", &word[..word.len() / 2]));
    }
    stage.put("/text", text.as_bytes());
    let target = "/words.wasm?parallel=auto&input=/text";
    let (counted, parts, worked) = stage.job(target);
    assert!(parts > 1 && worked == parts, "{worked} of {parts}");
    assert_eq!((&counted["the"], &counted["fl\u{fc}sse"]), (&json!(40_000), &json!(40_000)));
    assert_eq!(counted, stage.job("/words.js?parallel=auto&input=/text").0);
    assert_eq!(stage.run(target).header("content-type"), Some("text/plain;charset=UTF-8"));
    assert_eq!(stage.job(target), (counted, parts, 0));
    stage.put("/text", format!("{}middle {}", &text[..text.len() / 2], &text[text.len() / 2..]).as_bytes());
    let (counted, _, worked) = stage.job(target);
    assert!(counted["middle"].as_u64() >= Some(1) && (1..=3).contains(&worked), "{worked} of {parts}");
    // Without an input it is a program like others.
    assert_eq!(stage.run("/words.wasm").status, 500);
}

#[test]
fn a_component_that_handles_requests_maps_and_reduces_and_reaches_nothing() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/proxy");
    let Some(program) = built(&guest, "wasm32-wasip2", "proxy.wasm") else { return };
    let stage = Stage::new(&[]);
    stage.wasm("/proxy.wasm", &program);
    stage.put("/good.txt?private=false", b"for everybody");
    let (text, lines, _) = numbered(2 << 20);
    stage.put("/text", text.as_bytes());
    let target = "/proxy.wasm?parallel=auto&input=/text";
    let first = stage.run(target);
    assert_eq!(first.status, 200, "{}", first.text());
    let (value, parts) = (first.text(), first.header("x-parts").unwrap().to_owned());
    assert!(value.starts_with(&format!("{lines} clock 0 random ")), "both clocks stand still: {value}");
    assert!(value.ends_with(" refused"), "what everybody may read is out of reach, too: {value}");
    assert_eq!(first.header("x-parts-cached"), Some("0"));
    let again = stage.run(target);
    assert_eq!((again.text(), again.header("x-parts-cached")), (value.clone(), Some(&*parts)));
    let anew = stage.run(&format!("{target}&cache=no"));
    assert_eq!(
        (anew.text(), anew.header("x-parts-cached")),
        (value, Some("0")),
        "the same by chance of none"
    );
    let doubled = stage.run(&format!("{target}&times=2")).text();
    assert!(doubled.starts_with(&format!("{} ", lines * 2)), "{doubled}");
    // What it answers otherwise than with success is no value.
    for fails in ["times=no", "status=404"] {
        let failed = stage.run(&format!("{target}&{fails}"));
        assert!(failed.status == 500 && failed.text().contains("part "), "{fails}: {}", failed.text());
    }
    // Asked without an input, or without a word about parts, it handles a request.
    assert_eq!(stage.run("/proxy.wasm?hello").text(), "hello");
    assert_eq!(stage.run("/proxy.wasm?hello=1&input=/text").text(), "hello");
}

#[test]
fn a_command_has_nothing_that_differs_the_next_time() {
    let stage = Stage::new(&[]);
    stage.put("/a", b"x");
    let looks = "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 104)))
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 112)))
        (drop (call $random (i32.const 120) (i32.const 12)))";
    stage.wasm("/looks.wasm", &command("", 32, looks));
    let target = "/looks.wasm?parallel=1&input=/a&cache=no";
    let first = stage.run(target);
    let log = || stage.run("/.jsfs/logs?address=/localhost/looks.wasm").text();
    assert_eq!(first.status, 200, "{}: {}", first.text(), log());
    assert_eq!(first.header("content-type"), Some("application/octet-stream"));
    assert_eq!(first.body.len(), 32);
    assert_eq!(first.body[..20], [0; 20], "both clocks stand still");
    assert_eq!(first.body, stage.run(target).body);
    // Run for a request it has a clock.
    assert_ne!(stage.run("/looks.wasm").body, first.body);
}

#[test]
fn a_command_is_told_what_to_do_and_may_fail() {
    let stage = Stage::new(&["programs.part_cpu_ms=300", "programs.output=1MiB"]);
    stage.put("/a", b"x");
    // Its arguments lie one after another from 200 on.
    let told = "(drop (call $arguments (i32.const 20) (i32.const 200)))
        (memory.copy (i32.const 100) (i32.const 200) (i32.const 26))";
    stage.wasm("/told.wasm", &command("", 26, told));
    assert_eq!(stage.run("/told.wasm?parallel=1&input=/a&factor=2").body, b"told.wasm\0reduce\0factor=2\0");
    let failing = [
        ("(call $exit (i32.const 3))", 500, "part 1 of 1"),
        ("unreachable", 500, "part 1 of 1"),
        ("(loop $again (br $again))", 503, "programs.part_cpu_ms"),
    ];
    for (before, status, says) in failing {
        stage.wasm("/fails.wasm", &command("", 0, before));
        let answer = stage.run("/fails.wasm?parallel=1&input=/a");
        assert_eq!(answer.status, status, "{before}: {}", answer.text());
        assert!(answer.text().contains(says), "{before}: {}", answer.text());
    }
    let component = wat::parse_str("(component)").unwrap();
    let put =
        stage.own("PUT", "/component.wasm?executable=true&content_type=application/wasm").body(&component);
    assert_eq!(stage.ask(&put).status, 422, "it exports nothing that could be run");
}
