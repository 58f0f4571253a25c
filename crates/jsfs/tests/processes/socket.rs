//! A WebSocket at a process: output comes out, input goes in. Spoken by hand, because frames of a client are a few bytes.

use crate::support::Stage;
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
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Access-Key: {key}\r\n\r\n"
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
        let length = u8::try_from(bytes.len()).unwrap();
        let frame = [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], bytes].concat();
        self.0.get_mut().write_all(&frame).unwrap();
    }

    /// The kind and the bytes of the next frame that is no ping.
    fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            assert!(head[1] < 126, "short frames only");
            let mut bytes = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut bytes).unwrap();
            if head[0] & 0xf != 9 {
                return (head[0] & 0xf, bytes);
            }
        }
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
