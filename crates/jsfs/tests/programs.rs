//! Programs on a real node: who may run them, what they may touch, what is refused, and that nobody learns of them who may not.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A node, and its owner's key.
struct Stage {
    _folder: tempfile::TempDir,
    node: Node,
    key: String,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let node = setup.start();
        let key = setup.root_key();
        Stage { _folder: folder, node, key }
    }

    fn ask(&self, request: &Request<'_>) -> Answer {
        Client::new(self.node.address()).send(request).unwrap()
    }

    fn own<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        Request::new(method, target).header("X-Access-Key", &self.key)
    }

    fn store(&self, target: &str, source: &str) -> Answer {
        let request =
            self.own("PUT", target).header("Content-Type", "text/javascript").body(source.as_bytes());
        self.ask(&request)
    }

    fn stored(&self, target: &str, source: &str) {
        let answer = self.store(target, source);
        assert!(matches!(answer.status, 200 | 201), "{target}: {} {}", answer.status, answer.text());
    }

    fn token(&self, address: &str, methods: &[&str]) -> String {
        let body = json!({ "address": address, "methods": methods }).to_string();
        let answer = self.ask(&self.own("POST", "/.jsfs/tokens").body(body.as_bytes()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

const HELLO: &str = "export default { fetch(request, env, ctx) {
  return Response.json({ url: request.url, method: request.method, env, caller: ctx.caller,
    key: request.headers.get('x-access-key'), authorization: request.headers.get('authorization') });
} };";

const WAIT: &str = "export default { async fetch(request) {
  await new Promise((resolve) => setTimeout(resolve, Number(new URL(request.url).searchParams.get('ms'))));
  return new Response('waited');
} };";

#[test]
fn a_program_runs_for_whoever_may_run_it_and_is_told_who_asks() {
    let stage = Stage::new();
    stage.stored("/hello.js?executable=true&private=false&env=%7B%22A%22%3A%22b%22%7D", HELLO);
    let anybody = stage.ask(&Request::new("GET", "/hello.js?x=1&access_token=no")).json();
    assert_eq!(anybody["caller"], json!({"kind": "anonymous"}));
    assert_eq!(anybody["env"], json!({"A": "b"}));
    assert!(anybody["url"].as_str().unwrap().ends_with("/hello.js?x=1"), "{anybody}");
    let owner = stage.ask(&stage.own("POST", "/hello.js").body(b"x")).json();
    assert_eq!((&owner["caller"]["kind"], &owner["method"]), (&json!("owner"), &json!("POST")));
    assert_eq!((&owner["key"], &owner["authorization"]), (&Value::Null, &Value::Null), "no credential");
    let token = stage.token("/localhost/hello.js", &["EXECUTE"]);
    let bearer = stage.ask(&Request::new("EXECUTE", "/hello.js").bearer(&token)).json();
    assert_eq!(bearer["caller"]["claims"]["sub"], "/localhost/hello.js");
    assert!(!bearer.to_string().contains(&token), "the token itself is not told");
}

#[test]
fn a_program_touches_what_its_owner_attached_and_nothing_else() {
    let stage = Stage::new();
    let source = "export default { async fetch(request) {
      const { method = 'GET', path, body } = await request.json();
      const answer = await fetch(path, { method, body });
      return new Response(await answer.text(), { status: answer.status });
    } };";
    stage.stored("/app/api.js?executable=true&private=false&grant=GET,LIST,PUT:data/", source);
    stage.ask(&stage.own("PUT", "/app/secret.txt").body(b"secret"));
    let call = |body: Value| {
        let text = body.to_string();
        stage.ask(&Request::new("POST", "/app/api.js").body(text.as_bytes()))
    };
    assert_eq!(call(json!({"method": "PUT", "path": "data/a", "body": "1"})).status, 201);
    assert_eq!(call(json!({"path": "data/a"})).text(), "1");
    assert_eq!(call(json!({"path": "secret.txt"})).status, 404, "its owner's, and not granted");
    assert_eq!(call(json!({"method": "PUT", "path": "other", "body": "1"})).status, 401);
    assert_eq!(call(json!({"method": "DELETE", "path": "data/a"})).status, 403);
    assert_eq!(call(json!({"path": "http://example.com/"})).status, 500, "not this node");
    assert_eq!(call(json!({"path": "http://127.0.0.1:1/"})).status, 500, "another port of this machine");
    assert_eq!(call(json!({"path": "http://10.0.0.1/"})).status, 500, "another machine");
    // Whoever replaces the program without the owner's key takes what was attached away.
    let deployer = stage.token("/localhost/app/api.js", &["GET", "PUT"]);
    let put = Request::new("PUT", "/app/api.js").bearer(&deployer).body(source.as_bytes());
    assert_eq!(stage.ask(&put).status, 200);
    assert_eq!(call(json!({"path": "data/a"})).status, 404, "somebody else's code");
}

#[test]
fn what_cannot_run_is_not_stored() {
    let stage = Stage::new();
    let refused = stage.store("/bad.js?executable=true", "export default {\n  fetch() { return 1 +; }\n};");
    let problem = refused.json();
    assert_eq!((refused.status, &problem["line"]), (422, &json!(2)), "{problem}");
    for source in [
        "export default 1",
        "export const x = 1;",
        "export default {}; throw new Error('no')",
        "export default { fetch() {} }; while (true);",
    ] {
        let answer = stage.store("/bad.js?executable=true", source);
        assert_eq!(answer.status, 422, "{source}: {}", answer.text());
    }
    assert_eq!(stage.ask(&stage.own("GET", "/bad.js")).status, 404, "nothing was stored");
    assert_eq!(stage.ask(&stage.own("PUT", "/a.txt?grant=GET:x/").body(b"x")).status, 400);
}

#[test]
fn every_run_is_fresh_and_imports_are_read_when_it_is_stored() {
    let stage = Stage::new();
    stage.stored("/lib/count.js?private=false", "export let n = 0; export const next = () => ++n;");
    let source = "import { next } from './lib/count.js';
      const born = Math.random();
      export default { fetch() { globalThis.seen = (globalThis.seen ?? 0) + 1;
        return Response.json([next(), seen, Math.random(), crypto.randomUUID()]); } };";
    stage.stored("/fresh.js?executable=true&private=false", source);
    let first = stage.ask(&Request::new("GET", "/fresh.js")).json();
    let second = stage.ask(&Request::new("GET", "/fresh.js")).json();
    assert_eq!((&first[0], &first[1], &second[0], &second[1]), (&json!(1), &json!(1), &json!(1), &json!(1)));
    assert_ne!(first[2], second[2], "randomness of a run is its own");
    assert_ne!(first[3], second[3]);
    // The same text with another module: it is read again when the program is stored again, and not before.
    stage.stored("/lib/count.js?private=false", "export const next = () => 'another';");
    assert_eq!(stage.ask(&Request::new("GET", "/fresh.js")).json()[0], json!(1));
    stage.stored("/fresh.js", source);
    assert_eq!(stage.ask(&Request::new("GET", "/fresh.js")).json()[0], json!("another"));
}

#[test]
fn a_program_runs_with_the_least_memory_that_can_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let setup =
        Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data")).set("programs.memory=8MiB");
    let stage = Stage { node: setup.start(), key: setup.root_key(), _folder: folder };
    stage.stored("/a.js?executable=true&private=false", HELLO);
    assert_eq!(stage.ask(&Request::new("GET", "/a.js")).status, 200);
}

#[test]
fn what_was_prepared_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data")).set("log.level=debug");
    let stage = Stage { node: setup.start(), key: setup.root_key(), _folder: folder };
    stage.stored("/lib.js?private=false", "export const colour = 'red';");
    let source = "import { colour } from './lib.js'; export default { fetch: () => new Response(colour) };";
    stage.stored("/a.js?executable=true&private=false", source);
    let seen =
        |log: &str| (log.matches("a program was prepared").count(), log.matches("image=\"made\"").count());
    assert_eq!(seen(&stage.node.log_text()), (1, 1), "{}", stage.node.log_text());
    // What the module holds now does not matter: the program is as it was when it was stored.
    stage.stored("/lib.js?private=false", "export const colour = 'blue';");
    let Stage { _folder, node, .. } = stage;
    assert!(node.stop().success());
    let node = setup.start();
    let answer = Client::new(node.address()).send(&Request::new("GET", "/a.js")).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "red"));
    let log = node.log_text();
    assert_eq!(seen(&log), (1, 1), "{log}");
    assert!(log.contains("image=\"kept\""), "{log}");
}

#[test]
fn streams_run_as_they_are_made() {
    let stage = Stage::new();
    let source = "export default { fetch(request) {
      const { readable, writable } = new TransformStream();
      const work = async () => { const writer = writable.getWriter();
        for (let i = 0; i < 5; i++) { await writer.write(new TextEncoder().encode(`${i}\\n`)); await new Promise(done => setTimeout(done, 5)); }
        await writer.close(); };
      work(); return new Response(readable, { status: 201, headers: { 'x-a': 'b' } }); } };";
    stage.stored("/stream.js?executable=true&private=false", source);
    let answer = stage.ask(&Request::new("GET", "/stream.js"));
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("x-a")),
        (201, "0\n1\n2\n3\n4\n", Some("b"))
    );
    stage.stored(
        "/echo.js?executable=true&private=false",
        "export default { fetch: request => new Response(request.body) };",
    );
    let large = vec![7; 3 << 20];
    let echoed = stage.ask(&Request::new("POST", "/echo.js").body(&large));
    assert!(echoed.status == 200 && echoed.body == large, "{} {}", echoed.status, echoed.body.len());
}

#[test]
fn nobody_learns_of_a_private_program_who_may_not() {
    let stage = Stage::new();
    stage.stored(
        "/p/secret.js?executable=true",
        "export default { fetch() { throw new Error('marker-7331'); } };",
    );
    let other = stage.token("/localhost/p/other.js", &["GET", "EXECUTE", "PUT"]);
    let ways = |method: &'static str, target: &str, token: Option<&str>, body: &'static [u8]| {
        let mut request = Request::new(method, target).body(body);
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let answer = stage.ask(&request);
        let text = answer.text().replace("absent.js", "NAME").replace("secret.js", "NAME");
        let fields = ["x-executable", "etag", "content-type", "allow", "vary", "x-version"];
        (answer.status, fields.map(|name| answer.header(name).map(str::to_owned)), text)
    };
    for method in ["GET", "HEAD", "POST", "EXECUTE", "PATCH", "DELETE", "OPTIONS"] {
        for query in ["", "?execute=false", "?versions", "?version=1", "?execute=true"] {
            let body: &'static [u8] = if matches!(method, "POST" | "PATCH") { b"{}" } else { b"" };
            if matches!(
                (method, query),
                ("POST" | "PATCH" | "DELETE" | "EXECUTE", "?versions" | "?version=1")
            ) {
                continue;
            }
            for token in [None, Some(other.as_str())] {
                let there = ways(method, &format!("/p/secret.js{query}"), token, body);
                let absent = ways(method, &format!("/p/absent.js{query}"), token, body);
                assert_eq!(there, absent, "{method} {query} {}", token.is_some());
            }
        }
    }
    let reader = stage.token("/localhost/p/secret.js", &["GET"]);
    assert_eq!(
        stage.ask(&Request::new("GET", "/p/secret.js").bearer(&reader)).status,
        403,
        "reading is not running"
    );
    let source = stage.ask(&Request::new("GET", "/p/secret.js?execute=false").bearer(&reader));
    assert!(source.text().contains("marker-7331"));
    let runner = stage.token("/localhost/p/secret.js", &["EXECUTE"]);
    stage.stored(
        "/p/open.js?executable=true&private=false",
        "export default { fetch: () => new Response('ran') }; // marker-7332",
    );
    for way in ["GET /p/open.js?execute=false", "GET /p/open.js?version=1", "COPY /p/open.js"] {
        let (method, target) = way.split_once(' ').unwrap();
        let request = Request::new(method, target).header("Destination", "/p/stolen.js");
        let answer = stage.ask(&request);
        assert!(
            answer.status == 401 && !answer.text().contains("marker-7332"),
            "{way}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let failed = stage.ask(&Request::new("GET", "/p/secret.js").bearer(&runner));
    assert_eq!(failed.status, 500);
    assert!(!failed.text().contains("marker-7331"), "what it throws is for its owner: {}", failed.text());
    assert_ne!(
        stage.ask(&Request::new("GET", "/p/secret.js?execute=false").bearer(&runner)).status,
        200,
        "running is not reading"
    );
    let logs = stage.ask(&stage.own("GET", "/.jsfs/logs?address=/localhost/p/secret.js"));
    assert!(logs.text().contains("marker-7331"), "{}", logs.text());
    let strangers =
        stage.ask(&Request::new("GET", "/.jsfs/logs?address=/localhost/p/secret.js").bearer(&runner));
    assert!(!strangers.text().contains("marker-7331"));
}

#[test]
fn a_run_ends_soon_after_its_client_and_not_when_it_only_has_no_more_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data")).set("programs.runs=1");
    let node = setup.start();
    let stage = Stage { _folder: folder, node, key: setup.root_key() };
    stage.stored("/wait.js?executable=true&private=false", WAIT);
    let ask = |ms: u32, version: &str| {
        let mut client = TcpStream::connect(stage.node.address()).unwrap();
        let head = "Host: localhost\r\nConnection: close\r\n\r\n";
        write!(client, "GET /wait.js?ms={ms} HTTP/{version}\r\n{head}").unwrap();
        client
    };
    // It has closed its side and reads: as `nc` does, and whoever ends its input. It is asked whether it is there, if it can understand that.
    let waits_for = |ms: u32, version: &str| {
        let mut half = ask(ms, version);
        half.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        half.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("waited"), "{answer}");
        answer
    };
    let asked = waits_for(7_000, "1.1");
    assert!(asked.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "), "{asked}");
    assert_eq!(asked.matches("HTTP/1.1 ").count(), 2, "once is enough for a while: {asked}");
    let not_asked = waits_for(2_000, "1.0");
    assert!(!not_asked.contains("100 Continue"), "{not_asked}");
    // It is gone: the only place for a run is free again. Without asking, that is noticed after more than five seconds.
    drop(ask(25_000, "1.1"));
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let answer = stage.ask(&Request::new("GET", "/wait.js?ms=0"));
    assert_eq!((answer.status, answer.text().as_str()), (200, "waited"));
    eprintln!("noticed after {:?} at most", began.elapsed() + Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// Under TLS a client leaves by a reset of its stream (HTTP/2) or by ending the connection (HTTP/1.1).
#[tokio::test]
async fn a_run_ends_with_the_stream_and_with_the_connection_under_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"))
        .set("programs.runs=1")
        .set(&format!("tls.listen=127.0.0.1:{port}"))
        .set(&format!("tls.certificate={}", certificate.display()))
        .set(&format!("tls.key={}", key.display()));
    let node = setup.start();
    let stage = Stage { _folder: folder, node, key: setup.root_key() };
    stage.stored("/wait.js?executable=true&private=false", WAIT);
    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = || reqwest::Client::builder().tls_certs_only([trusted.clone()]).no_proxy();
    for (client, version) in [
        (client().build().unwrap(), reqwest::Version::HTTP_2),
        (client().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
    ] {
        let ask = |ms: u32| client.get(format!("https://localhost:{port}/wait.js?ms={ms}")).send();
        assert_eq!(ask(0).await.unwrap().version(), version);
        let left = tokio::time::timeout(Duration::from_millis(300), ask(25_000)).await;
        assert!(left.is_err(), "it answers {left:?}");
        // The only place for a run is free again.
        let began = Instant::now();
        let answer = ask(0).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "waited"));
        assert!(began.elapsed() < Duration::from_secs(15), "{version:?}: {:?}", began.elapsed());
    }
}

#[test]
fn a_client_that_leaves_in_the_midst_of_an_answer_cancels_its_stream() {
    let stage = Stage::new();
    let source = "export default { fetch(request, env, ctx) {
      ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 1500)).then(() => console.log('waited')));
      return new Response(new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          controller.enqueue(new Uint8Array(1000));
        },
        cancel() { console.log('cancelled'); },
      })); } };";
    stage.stored("/pieces.js?executable=true&private=false", source);
    let mut client = TcpStream::connect(stage.node.address()).unwrap();
    client.write_all(b"GET /pieces.js HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 3_000]).unwrap();
    drop(client);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let log = stage.ask(&stage.own("GET", "/.jsfs/logs?address=/localhost/pieces.js")).text();
        if log.contains("cancelled") && log.contains("waited") {
            break;
        }
        assert!(Instant::now() < until, "{log}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A key that nobody has yet.
fn other_key() -> String {
    let key = jsfs_objects::key::AccessKey::generate(&jsfs_objects::clock::SystemRandom);
    key.seed().unwrap().to_text().to_string()
}

/// Answers its environment, and what comes of a request that it makes.
const ASKS: &str = "export default { async fetch(request, env) {
  const { method = 'GET', path, body } = await request.json();
  const answer = await fetch(path, { method, body });
  return Response.json({ env, status: answer.status, text: await answer.text() });
} };";

impl Stage {
    /// Has a program ask for something, as the holder of a key. Its environment, and the status of what it asked for.
    fn asks(&self, key: &str, program: &str, asked: &Value) -> (Value, u64) {
        let body = asked.to_string();
        let request = Request::new("POST", program).header("X-Access-Key", key).body(body.as_bytes());
        let answer = self.ask(&request);
        assert_eq!(answer.status, 200, "{program}: {}", answer.text());
        (answer.json()["env"].clone(), answer.json()["status"].as_u64().unwrap())
    }

    fn hand_over(&self, address: &str, key: &str) {
        let answer =
            self.ask(&self.own("PATCH", address).header("X-Replacement-Access-Key", key).body(b"{}"));
        assert_eq!(answer.status, 204, "{address}: {}", answer.text());
    }

    fn carry(&self, verb: &str, from: &str, to: &str) {
        let answer = self.ask(&self.own(verb, from).header("Destination", to));
        assert!(matches!(answer.status, 201 | 204), "{verb} {from}: {} {}", answer.status, answer.text());
    }

    /// A private program that writes beside itself, reads one thing elsewhere, and has an environment.
    fn application(&self, directory: &str) {
        self.stored("/config.txt", "configured");
        let attached = "grant=GET,PUT:data/+GET:/config.txt&env=%7B%22A%22%3A%22b%22%7D";
        self.stored(&format!("{directory}api.js?executable=true&{attached}"), ASKS);
    }
}

#[test]
fn a_program_that_its_owner_copies_or_moves_keeps_what_was_attached() {
    let stage = Stage::new();
    stage.application("/app/");
    let (key, has) = (stage.key.clone(), json!({"A": "b"}));
    let write = json!({"method": "PUT", "path": "data/a", "body": "1"});
    assert_eq!(stage.asks(&key, "/app/api.js", &write), (has.clone(), 201));
    // What goes along with a program stays its own; what stays where it is, too.
    stage.carry("COPY", "/app/", "/second/");
    assert_eq!(stage.asks(&key, "/second/api.js", &write), (has.clone(), 200), "the copy of the data");
    assert_eq!(stage.asks(&key, "/second/api.js", &json!({"path": "/app/data/a"})).1, 404);
    assert_eq!(stage.asks(&key, "/second/api.js", &json!({"path": "/config.txt"})).1, 200);
    stage.carry("MOVE", "/app/", "/moved/");
    assert_eq!(stage.asks(&key, "/moved/api.js", &write), (has.clone(), 200));
    assert_eq!(stage.ask(&stage.own("POST", "/app/api.js").body(b"{}")).status, 201, "nothing runs there");
    stage.carry("COPY", "/second/api.js", "/alone.js");
    assert_eq!(stage.asks(&key, "/alone.js", &json!({"path": "/second/data/a"})), (has.clone(), 200));
    assert_eq!(stage.asks(&key, "/alone.js", &write).1, 401, "beside the copy nothing was granted");
    // An older version comes back as the program that it was.
    stage.stored("/alone.js", &format!("{ASKS} // newer"));
    let restored = stage.ask(&stage.own("POST", "/alone.js?restore=1"));
    assert_eq!(restored.status, 200, "{}", restored.text());
    assert_eq!(stage.asks(&key, "/alone.js", &json!({"path": "/second/data/a"})), (has, 200));
}

#[test]
fn nobody_gains_by_copying_what_was_attached_to_a_program() {
    let stage = Stage::new();
    stage.application("/app/");
    let ask = json!({"path": "/config.txt"}).to_string();
    let token = stage.token("/localhost/", &["GET", "PUT", "DELETE"]);
    let by_token = |from: &str, to: &str| {
        let answer = stage.ask(&Request::new("COPY", from).bearer(&token).header("Destination", to));
        assert_eq!(answer.status, 201, "{}", answer.text());
    };
    by_token("/app/api.js", "/file.js");
    let copy = stage.ask(&stage.own("GET", "/file.js"));
    assert_eq!((copy.status, copy.text().as_str()), (200, ASKS), "an ordinary file");
    // A public one stays a program, because its source is nobody's who may only run it, and has nothing.
    stage.carry("COPY", "/app/api.js", "/app/open.js");
    let shown = stage.own("PATCH", "/app/open.js").body(br#"{"private":false}"#);
    assert_eq!(stage.ask(&shown).status, 204);
    by_token("/app/open.js", "/open.js");
    let ran = stage.ask(&Request::new("POST", "/open.js").body(ask.as_bytes())).json();
    assert_eq!((&ran["env"], &ran["status"]), (&json!({}), &json!(404)), "{ran}");
    assert_eq!(stage.ask(&Request::new("GET", "/open.js?executable=false")).status, 401);
    // Who holds the key of the destination and may only read the source has a program that begins with nothing.
    let other = other_key();
    stage.hand_over("/theirs/", &other);
    let reader = stage.token("/localhost/app/api.js", &["GET"]);
    let copy =
        Request::new("COPY", "/app/api.js").header("X-Access-Key", &other).header("X-Access-Token", &reader);
    assert_eq!(stage.ask(&copy.header("Destination", "/theirs/api.js")).status, 201);
    let (env, status) = stage.asks(&other, "/theirs/api.js", &json!({"path": "/config.txt"}));
    assert_eq!((env, status), (json!({}), 404));
    // Restoring an older version is a write: without the key it takes what was attached away.
    stage.stored("/app/api.js", &format!("{ASKS} // newer"));
    let restored = stage.ask(&Request::new("POST", "/app/api.js?restore=1").bearer(&token));
    assert_eq!(restored.status, 200, "{}", restored.text());
    assert_eq!(stage.ask(&stage.own("GET", "/app/api.js")).text(), ASKS, "an ordinary file");
}

#[test]
fn a_program_whose_key_is_replaced_runs_on_and_new_code_begins_with_nothing() {
    let stage = Stage::new();
    let (other, has) = (other_key(), json!({"A": "b"}));
    let read = json!({"path": "/config.txt"});
    stage.application("/one/");
    stage.hand_over("/one/api.js", &other);
    assert_eq!(stage.asks(&other, "/one/api.js", &read), (has.clone(), 200), "granted by who wrote it");
    let write = json!({"method": "PUT", "path": "data/a", "body": "1"});
    assert_eq!(stage.asks(&other, "/one/api.js", &write).1, 201);
    let theirs = |method, target| Request::new(method, target).header("X-Access-Key", &other);
    for (program, method, body) in
        [("/put/api.js", "PUT", ASKS.as_bytes()), ("/patched/api.js", "PATCH", b"{}")]
    {
        stage.application(program.trim_end_matches("api.js"));
        stage.hand_over(program, &other);
        let newer = theirs(method, program).header("X-Env", "{\"B\":\"c\"}").body(body);
        let answer = stage.ask(&newer);
        assert!(answer.status < 300, "{}", answer.text());
        assert_eq!(stage.asks(&other, program, &read), (json!({"B": "c"}), 404), "by another");
    }
    // Nor is it there for bytes that are put behind those that are there.
    stage.application("/longer/");
    stage.hand_over("/longer/api.js", &other);
    let append = theirs("POST", "/longer/api.js?append=true").body(b" // longer");
    assert_eq!(stage.ask(&append).status, 200);
    assert_eq!(stage.ask(&theirs("PATCH", "/longer/api.js?executable=true").body(b"{}")).status, 204);
    assert_eq!(stage.asks(&other, "/longer/api.js", &read), (json!({}), 404));
    // Nor does what the new owner copies elsewhere.
    stage.hand_over("/theirs/", &other);
    let copied = stage.ask(&theirs("COPY", "/one/api.js").header("Destination", "/theirs/api.js"));
    assert_eq!(copied.status, 201, "{}", copied.text());
    assert_eq!(stage.asks(&other, "/theirs/api.js", &read), (json!({}), 404));
    // Stored and handed over in one request.
    let put = stage.own("PUT", "/put.js?executable=true&env=%7B%22A%22%3A%22b%22%7D");
    let put = put.header("Content-Type", "text/javascript").header("X-Replacement-Access-Key", &other);
    assert_eq!(stage.ask(&put.body(ASKS.as_bytes())).status, 201);
    assert_eq!(stage.asks(&other, "/put.js", &read), (has.clone(), 404));
    // A directory: its programs are reached one after another.
    stage.application("/app/");
    stage.hand_over("/app/", &other);
    let until = Instant::now() + Duration::from_secs(20);
    let body = read.to_string();
    // 409 until its turn has come, 503 while it is sealed anew.
    while let status @ (409 | 503) = stage.ask(&theirs("POST", "/app/api.js").body(body.as_bytes())).status {
        assert!(Instant::now() < until, "it was not handed on: {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(stage.asks(&other, "/app/api.js", &write), (has.clone(), 201), "within the directory");
    assert_eq!(stage.asks(&other, "/app/api.js", &read), (has, 200), "outside, by who granted it");
}

#[test]
fn an_object_that_is_no_program_any_more_is_not_run() {
    let stage = Stage::new();
    stage.application("/app/");
    assert_eq!(stage.ask(&stage.own("PATCH", "/app/api.js").body(br#"{"executable":false}"#)).status, 204);
    assert_eq!(stage.ask(&stage.own("POST", "/app/api.js").body(b"posted")).status, 200);
    assert_eq!(stage.ask(&stage.own("GET", "/app/api.js")).text(), "posted");
}
