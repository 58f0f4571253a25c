//! A WebSocket at a process: output comes out, input goes in. And processes that are started over one. Spoken by hand, because frames of a client are
//! a few bytes.

use crate::support::Stage;
use jsfs_testkit::http::Request;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const ECHO: &str =
    "export default { async main(args, ctx) { ctx.write('ready'); for await (const heard of ctx.input()) {
  ctx.write(typeof heard === 'string' ? `heard ${heard}` : new Uint8Array(heard)); } } };";

struct Socket(BufReader<TcpStream>);

impl Socket {
    /// The socket, or the status of the refusal.
    fn open(stage: &Stage, target: &str, key: &str) -> Result<Socket, u16> {
        let mut stream = TcpStream::connect(stage.node().address()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let credential = if key.is_empty() { String::new() } else { format!("X-Access-Key: {key}\r\n") };
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{credential}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        if status == 101 { Ok(Socket(reader)) } else { Err(status) }
    }

    /// A masked frame, as clients send them; the mask is zero.
    fn send(&mut self, kind: u8, bytes: &[u8]) {
        let [high, low] = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let head: &[u8] = if bytes.len() < 126 { &[0x80 | low] } else { &[0x80 | 126, high, low] };
        let frame = [&[0x80 | kind], head, &[0; 4], bytes].concat();
        self.0.get_mut().write_all(&frame).unwrap();
    }

    /// The kind and the bytes of the next frame that is no ping.
    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            assert!(head[1] < 127, "short frames only");
            let mut length = u16::from(head[1]);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).unwrap();
                length = u16::from_be_bytes(long);
            }
            let mut bytes = vec![0; usize::from(length)];
            self.0.read_exact(&mut bytes).unwrap();
            if head[0] & 0xf != 9 {
                return (head[0] & 0xf, bytes);
            }
        }
    }

    /// What a call is answered with.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.send(1, call.to_string().as_bytes());
        serde_json::from_slice(&self.next().1).unwrap()
    }
}

#[test]
fn a_socket_attaches_to_a_process() {
    let stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"");
    let mut socket = Socket::open(&stage, &process, &stage.key).ok().unwrap();
    assert_eq!(socket.next(), (1, b"ready".to_vec()));
    socket.send(1, b"you");
    assert_eq!(socket.next(), (1, b"heard you".to_vec()));
    socket.send(2, &[0xff, 1]);
    assert_eq!(socket.next(), (2, vec![0xff, 1]));
    // Another one begins where it says; the process does not hear of either.
    let mut later = Socket::open(&stage, &format!("{process}?after=5"), &stage.key).ok().unwrap();
    let mut heard = Vec::new();
    while heard.len() < 11 {
        heard.extend(later.next().1);
    }
    assert_eq!(heard, b"heard you\xff\x01");
    assert_eq!(stage.ask(&stage.own("DELETE", &process)).status, 202);
    for mut one in [socket, later] {
        let (kind, bytes) = one.next();
        assert_eq!((kind, &bytes[..2], &bytes[2..]), (8, &1000_u16.to_be_bytes()[..], &b"stopped"[..]));
    }
}

#[test]
fn a_socket_of_a_stranger_is_refused_as_one_to_nothing() {
    let stage = Stage::new(&[]);
    stage.stored("/echo.js?executable=true", ECHO);
    let process = stage.started("/echo.js", b"");
    let absent = format!("/.jsfs/proc/{}", "0".repeat(32));
    assert_eq!(Socket::open(&stage, &process, "").err(), Some(404));
    assert_eq!(Socket::open(&stage, &absent, &stage.key).err(), Some(404));
}

#[test]
fn a_process_that_was_started_over_a_socket_is_read_to_its_end() {
    let stage = Stage::new(&[]);
    let source = "export default { async main(args, ctx) { for await (const heard of ctx.input()) return `${args.join('|')} heard ${heard}`; } };";
    stage.stored("/app/work.js?executable=true", source);
    let mut calls = Socket::open(&stage, "/app/", &stage.key).ok().unwrap();
    let answer = calls.call("start", &json!({"path": "work.js", "args": ["a b", "ä&?"], "text": "you"}));
    let (started, process) = (&answer["result"], answer["result"]["location"].as_str().unwrap());
    let mut own = Socket::open(&stage, process, &stage.key).ok().unwrap();
    let mut output = Vec::new();
    loop {
        let (kind, bytes) = own.next();
        if kind == 8 {
            assert_eq!((&bytes[..2], &bytes[2..]), (&1000_u16.to_be_bytes()[..], &b"done"[..]));
            break;
        }
        output.extend(bytes);
    }
    assert_eq!(String::from_utf8(output).unwrap(), "a b|ä&? heard you");
    let status = stage.status(process);
    assert_eq!((&started["id"], &started["address"]), (&status["id"], &json!("/localhost/app/work.js")));
    // It is described as HTTP describes it.
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let http = stage.ask(&stage.own("EXECUTE", "/app/work.js").header("Prefer", "respond-async")).json();
    let of_socket: Vec<_> = fields(started).into_iter().filter(|name| name != "location").collect();
    assert_eq!(of_socket, fields(&http));
    let described: Value = serde_json::from_str(include_str!("../../../../docs/asyncapi.json")).unwrap();
    let schema = &described["components"]["schemas"]["Started"];
    assert!(fields(started).iter().all(|name| schema["properties"].get(name).is_some()), "{started}");
    assert!(
        schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .all(|name| started.get(name.as_str().unwrap()).is_some())
    );
}

#[test]
fn what_starts_no_process_over_http_starts_none_over_a_socket() {
    let stage = Stage::new(&["programs.processes_each=1"]);
    stage.stored("/echo.js?executable=true", ECHO);
    stage.stored("/public.js?executable=true&private=false", ECHO);
    stage.stored("/text.js", "export default {};");
    let mut strange = Socket::open(&stage, "/", "").ok().unwrap();
    let mut own = Socket::open(&stage, "/", &stage.key).ok().unwrap();
    stage.started("/echo.js", b"");
    for (path, is_own, status) in [
        ("/echo.js", false, 404),
        ("/public.js", false, 401),
        ("/absent.js", true, 404),
        ("/text.js", true, 0),
        ("/echo.js", true, 503),
    ] {
        let key = if is_own { stage.key.as_str() } else { "" };
        let request = Request::new("EXECUTE", path).header("Prefer", "respond-async");
        let http = stage.ask(&if is_own { request.header("X-Access-Key", key) } else { request });
        assert!(http.status >= 400 && (status == 0 || http.status == status), "{path}: {}", http.text());
        let socket = if is_own { &mut own } else { &mut strange };
        let mut refused = socket.call("start", &json!({ "path": path }));
        // What HTTP has in a header.
        let id = refused["error"]["data"].as_object_mut().unwrap().remove("id");
        assert!(id.is_some_and(|id| id.is_string()));
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["data"]),
            (&json!(http.status), &http.json())
        );
    }
    let processes = stage.ask(&stage.own("GET", "/.jsfs/proc/")).json();
    assert_eq!(processes["processes"].as_array().unwrap().len(), 1, "{processes}");
}
