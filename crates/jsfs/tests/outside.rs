//! Hosts outside the node, on a real node: reached where the owner named them, and, where they are not open to everybody, the operator too.
//!
//! The host is a small server on this machine. That its addresses are not open to everybody makes every test of what is reached one of both names.
#![allow(clippy::unwrap_used, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest wait for what another request is to bring about.
const WAIT: Duration = Duration::from_secs(20);

/// A host that is not of the node. It lives as long as the test program.
struct Elsewhere {
    port: u16,
    asked: Arc<AtomicUsize>,
}

/// What one connection tells another: that something came, and that it may go on.
struct Signals {
    came: (SyncSender<()>, Mutex<Receiver<()>>),
    go: (SyncSender<()>, Mutex<Receiver<()>>),
}

fn signal() -> (SyncSender<()>, Mutex<Receiver<()>>) {
    let (sender, receiver) = sync_channel(8);
    (sender, Mutex::new(receiver))
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, signals) = (Arc::clone(&asked), Arc::new(Signals { came: signal(), go: signal() }));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let signals = Arc::clone(&signals);
                std::thread::spawn(move || serve(stream.unwrap(), &signals));
            }
        });
        Elsewhere { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// The next piece of a chunked body; empty at its end.
fn piece(reader: &mut impl BufRead) -> Vec<u8> {
    let mut bytes = vec![0; usize::from_str_radix(&line(reader), 16).unwrap()];
    reader.read_exact(&mut bytes).unwrap();
    line(reader);
    bytes
}

/// Answers one request.
fn serve(mut stream: TcpStream, signals: &Signals) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let first = line(&mut reader);
    let (method, target) = first.rsplit_once(' ').unwrap().0.split_once(' ').unwrap();
    let mut fields = Vec::new();
    loop {
        match line(&mut reader) {
            end if end.is_empty() => break,
            field => fields.push(field.to_ascii_lowercase()),
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let ok = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    match path {
        "/to" => {
            let status = if method == "GET" { 302 } else { 307 };
            write!(
                stream,
                "HTTP/1.1 {status} Go\r\nConnection: close\r\nLocation: {query}\r\nContent-Length: 0\r\n\r\n"
            )
            .unwrap();
        }
        // Half of the answer, and the rest when it is asked for.
        "/halves" => {
            write!(stream, "{ok}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
            signals.go.1.lock().unwrap().recv_timeout(WAIT).unwrap();
            write!(stream, "6\r\nsecond\r\n0\r\n\r\n").unwrap();
        }
        "/go" => {
            signals.go.0.send(()).unwrap();
            write!(stream, "{ok}Content-Length: 0\r\n\r\n").unwrap();
        }
        // A body in pieces; says when the first has come.
        "/pieces" => {
            let mut body = piece(&mut reader);
            signals.came.0.send(()).unwrap();
            loop {
                match piece(&mut reader) {
                    end if end.is_empty() => break,
                    more => body.extend(more),
                }
            }
            write!(stream, "{ok}Content-Length: {}\r\n\r\n", body.len()).unwrap();
            stream.write_all(&body).unwrap();
        }
        "/came" => {
            signals.came.1.lock().unwrap().recv_timeout(WAIT).unwrap();
            write!(stream, "{ok}Content-Length: 0\r\n\r\n").unwrap();
        }
        "/breaks" => write!(stream, "{ok}Content-Length: 10\r\n\r\nhalf").unwrap(),
        _ => {
            let length = fields.iter().find_map(|field| field.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let said = json!({ "method": method, "target": target, "fields": fields, "body": String::from_utf8(body).unwrap() });
            let said = said.to_string();
            write!(
                stream,
                "{ok}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            )
            .unwrap();
        }
    }
}

/// A node, and its owner's key.
struct Stage {
    _folder: tempfile::TempDir,
    node: Node,
    key: String,
}

/// Asks what it is told to ask, and says what came of it.
const ASK: &str = "export default { async fetch(request) {
  const { url, ...init } = await request.json();
  try {
    const answer = await fetch(url, init);
    const said = { status: answer.status, url: answer.url, redirected: answer.redirected };
    said.text = await answer.text();
    return Response.json(said);
  } catch (error) {
    return Response.json({ name: error.name, message: error.message });
  }
} };";

impl Stage {
    fn new(settings: &[String]) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
        let setup = settings.iter().fold(setup, |setup, setting| setup.set(setting));
        let node = setup.start();
        let key = setup.root_key();
        Stage { _folder: folder, node, key }
    }

    /// A node whose operator lets programs reach these.
    fn letting(hosts: &[String]) -> Stage {
        Stage::new(&[format!("programs.private_hosts={}", hosts.join(","))])
    }

    fn ask(&self, request: &Request<'_>) -> Answer {
        Client::new(self.node.address()).send(request).unwrap()
    }

    fn own<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        Request::new(method, target).header("X-Access-Key", &self.key)
    }

    fn stored(&self, path: &str, hosts: &str, source: &str) {
        let target = format!("{path}?executable=true&private=false");
        let request =
            self.own("PUT", &target).header("X-Hosts", hosts).header("Content-Type", "text/javascript");
        let answer = self.ask(&request.body(source.as_bytes()));
        assert!(matches!(answer.status, 200 | 201), "{path}: {} {}", answer.status, answer.text());
    }

    /// What the program there says of a request.
    fn said(&self, path: &str, request: &Value) -> Value {
        let answer = self.ask(&Request::new("POST", path).body(request.to_string().as_bytes()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The program is refused this address, and told so in these words.
    fn refused(&self, path: &str, url: &str, words: &str) {
        let said = self.said(path, &json!({ "url": url }));
        let message = said["message"].as_str().unwrap_or_default();
        assert!(said["name"] == "TypeError" && message.contains(words), "{url}: {said}");
    }
}

#[test]
fn a_host_of_this_machine_is_reached_where_owner_and_operator_named_it() {
    let elsewhere = Elsewhere::new();
    let (host, other) = (format!("127.0.0.1:{}", elsewhere.port), format!("localhost:{}", elsewhere.port));
    let stage = Stage::letting(std::slice::from_ref(&host));
    stage.stored("/named.js", &format!("{host},{other}"), ASK);
    stage.stored("/unnamed.js", "api.example.com, 127.0.0.1", ASK);
    stage.refused("/unnamed.js", &elsewhere.url("/"), &format!("store it with hosts={host}"));
    // The operator named an address, and not the name that leads to it.
    stage.refused("/named.js", &format!("http://{other}/"), "programs.private_hosts");
    stage.refused("/named.js", "http://127.0.0.1:1/", "hosts=127.0.0.1:1");
    assert_eq!(elsewhere.asked(), 0, "nobody asked it");
    let said =
        stage.said("/named.js", &json!({ "url": elsewhere.url("/x?y=z"), "headers": { "X-Mine": "1" } }));
    assert_eq!((&said["status"], &said["redirected"]), (&json!(200), &json!(false)), "{said}");
    let heard: Value = serde_json::from_str(said["text"].as_str().unwrap()).unwrap();
    assert_eq!((&heard["method"], &heard["target"]), (&json!("GET"), &json!("/x?y=z")));
    let version = env!("CARGO_PKG_VERSION");
    let mut fields: Vec<&str> =
        heard["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
    fields.sort_unstable();
    let expected = [
        "accept: */*".to_owned(),
        format!("host: {host}"),
        format!("user-agent: jsfs/{version}"),
        "x-mine: 1".to_owned(),
    ];
    assert_eq!(fields, expected, "what the program said, and nothing of the node's");
    // An operator who named nothing lets nothing of the machine be reached, and one who lets no host be reached no other either.
    for (setting, words) in
        [("programs.outside=true", "programs.private_hosts"), ("programs.outside=false", "programs.outside")]
    {
        let stage = Stage::new(&[setting.to_owned()]);
        stage.stored("/named.js", &format!("{host},{other},10.0.0.1"), ASK);
        for url in [elsewhere.url("/"), format!("http://{other}/"), "http://10.0.0.1/".to_owned()] {
            stage.refused("/named.js", &url, words);
        }
    }
    assert_eq!(elsewhere.asked(), 1);
}

#[test]
fn a_redirect_is_followed_to_what_is_named_and_never_into_the_node() {
    let (elsewhere, another) = (Elsewhere::new(), Elsewhere::new());
    let hosts = [elsewhere.port, another.port].map(|port| format!("127.0.0.1:{port}"));
    let stage = Stage::letting(&hosts);
    stage.stored("/both.js", &hosts.join(","), ASK);
    stage.stored("/one.js", &hosts[0], ASK);
    let to = |target: &str| elsewhere.url(&format!("/to?{target}"));
    let init = |url: String| json!({ "url": url, "method": "PUT", "body": "text", "headers": { "Authorization": "mine", "Cookie": "a=b", "X-A": "1" } });
    let said = stage.said("/both.js", &init(to(&another.url("/x"))));
    assert_eq!((&said["url"], &said["redirected"]), (&json!(another.url("/x")), &json!(true)), "{said}");
    let text = said["text"].as_str().unwrap();
    assert!(text.contains("x-a: 1") && text.contains(r#""body":"text""#) && text.contains("PUT"), "{text}");
    assert!(!text.contains("mine") && !text.contains("a=b"), "what was for the first host alone: {text}");
    let said = stage.said("/both.js", &init(to("/y")));
    assert!(said["text"].as_str().unwrap().contains("authorization: mine"), "the same host: {said}");
    let before = another.asked();
    stage.refused("/one.js", &to(&another.url("/x")), &format!("store it with hosts={}", hosts[1]));
    stage.refused("/one.js", &to("http://169.254.169.254/"), "store it with hosts=169.254.169.254");
    assert_eq!(another.asked(), before, "the other host was not asked");
    // Into the node: with what the program was granted somebody outside would choose what is asked for.
    stage.ask(&stage.own("PUT", "/open.txt?private=false").body(b"open"));
    let node = "http://localhost/open.txt";
    stage.refused("/both.js", &to(node), "which is of this node");
    let said = stage.said("/both.js", &json!({ "url": to(node), "redirect": "manual" }));
    assert_eq!(said["status"], 302);
    assert_eq!(
        stage.said("/both.js", &json!({ "url": "/open.txt" }))["text"],
        "open",
        "by itself it is fetched"
    );
}

#[test]
fn bodies_go_and_come_as_they_are_made() {
    let elsewhere = Elsewhere::new();
    let host = format!("127.0.0.1:{}", elsewhere.port);
    let stage = Stage::letting(std::slice::from_ref(&host));
    let source = format!(
        "const at = 'http://{host}', text = bytes => new TextDecoder().decode(bytes);
        export default {{ async fetch(request) {{
          const reader = (await fetch(at + '/halves')).body.getReader();
          const first = text((await reader.read()).value);
          await fetch(at + '/go');
          const second = text((await reader.read()).value);
          const {{ readable, writable }} = new TransformStream();
          const writer = writable.getWriter();
          const answered = fetch(at + '/pieces', {{ method: 'POST', body: readable, duplex: 'half' }});
          await writer.write(new TextEncoder().encode('one'));
          await fetch(at + '/came');
          await writer.write(new TextEncoder().encode('two'));
          await writer.close();
          const echoed = await (await answered).text();
          const broken = await fetch(at + '/breaks').then(answer => answer.text()).catch(error => error.name);
          return Response.json([first, second, echoed, broken]);
        }} }};"
    );
    stage.stored("/streams.js", &host, &source);
    let answer = stage.ask(&Request::new("GET", "/streams.js"));
    assert_eq!(answer.text(), r#"["first","second","onetwo","TypeError"]"#);
    let large = "x".repeat(3 << 20);
    stage.stored("/ask.js", &host, ASK);
    let said = stage.said("/ask.js", &json!({ "url": elsewhere.url("/"), "method": "POST", "body": large }));
    assert!(said["text"].as_str().unwrap_or_default().contains(&large), "{}", said["message"]);
}

#[test]
fn hosts_are_named_by_the_owner_and_taken_away_by_who_writes_the_program() {
    let elsewhere = Elsewhere::new();
    let host = format!("127.0.0.1:{}", elsewhere.port);
    let stage = Stage::letting(std::slice::from_ref(&host));
    stage.stored("/p.js", &host, ASK);
    let is_reached = || stage.said("/p.js", &json!({ "url": elsewhere.url("/") }))["status"] == 200;
    assert!(is_reached());
    // What is not said stays; an empty list is none.
    assert_eq!(stage.ask(&stage.own("PUT", "/p.js").body(ASK.as_bytes())).status, 200);
    assert!(is_reached(), "it stays as it was");
    assert!(stage.ask(&stage.own("PATCH", "/p.js?hosts=").body(b"{}")).status < 300);
    assert!(!is_reached(), "none is named");
    let many = |count: usize| (0..count).map(|n| format!("h{n}.example.com")).collect::<Vec<_>>().join(",");
    for (hosts, status) in
        [("http://a/", 400), ("*", 400), ("a:0", 400), (many(33).as_str(), 400), (many(32).as_str(), 204)]
    {
        let answer = stage.ask(&stage.own("PATCH", "/p.js").header("X-Hosts", hosts).body(b"{}"));
        assert!(
            answer.status == status || (status == 204 && answer.status == 200),
            "{hosts}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert!(stage.ask(&stage.own("PATCH", "/p.js").header("X-Hosts", &host).body(b"{}")).status < 300);
    assert!(is_reached());
    let body = json!({ "address": "/localhost/p.js", "methods": ["GET", "PUT"] }).to_string();
    let token = stage.ask(&stage.own("POST", "/.jsfs/tokens").body(body.as_bytes())).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let put = |hosts: &str| {
        let request = Request::new("PUT", "/p.js").bearer(&token).body(ASK.as_bytes());
        stage.ask(&if hosts.is_empty() { request } else { request.header("X-Hosts", hosts) }).status
    };
    assert_eq!(put(&host), 403, "whoever has no key names none");
    assert!(is_reached(), "and nothing was stored");
    assert_eq!(put(""), 200);
    assert!(!is_reached(), "somebody else's code");
    let answer = stage.ask(&stage.own("PUT", "/a.txt").header("X-Hosts", &host).body(b"x"));
    assert_eq!(answer.status, 400, "no program: {}", answer.text());
}
