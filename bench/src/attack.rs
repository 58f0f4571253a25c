//! Clients that mean ill, over HTTP/1.1 and TCP, on one thread: attack ADDRESS KIND NUMBER, so many at a time, each again as soon as it is over, until its input ends.
//!
//!   silent        connect and say nothing
//!   heads         send most of a long head at once and the rest a byte at a time
//!   unsent        announce a short body without authority and never send it
//!   bodies        send the most of a body at once and the rest a byte at a time, to /box/, where everybody may store
//!   readers       ask for /large and take some bytes of it a second
//!   headers       send heads that are too large: one long field, many fields, a long target
//!   connections   connect and go
//!   requests      ask for /wide/, which has many entries, and go without waiting
//!   compressed    ask for /text with a content coding, and read it
//!   keys          present keys that have to be stretched
//!   guesses       the same, and go without waiting
//!   sockets       open a WebSocket and send calls without reading answers, calls, what is no call, or pings, all the time
//!   hello HEX     send these bytes (the first of a handshake) and go when something of an answer is there
//!
//! To a loopback address they come from many others, because one has too few ports. Prints `under way` when all have begun, and in the end one JSON object: how
//! many connections there were, which statuses came how often, and what else ended them.

use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

/// What is sent at once: the kernel lets nobody else have the processor meanwhile, and attackers would be on other machines.
const PIECE_BYTES: usize = 16 << 10;

/// Between two bytes of those who are slow.
const DRIP: Duration = Duration::from_millis(500);

/// Before a client that was refused, or whose connection was not taken, comes again.
const PAUSE: Duration = Duration::from_millis(100);

/// From the beginning of one client to that of the next: many more at once would be lost before the node has heard of them.
const APART: Duration = Duration::from_micros(250);

/// How long the first round may take.
const ROUND_MAX: Duration = Duration::from_secs(30);

/// How long anybody waits for an answer that is to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses of loopback that clients come from.
const SOURCES: u64 = 200;

/// How one connection ended.
enum End {
    /// With an answer of this status.
    Answered(u16),
    /// By the other side, without an answer.
    Closed,
    /// By the client, as it had meant to.
    Done,
}

/// What became of all of them.
#[derive(Default)]
struct Tally {
    connected: u64,
    unconnected: BTreeMap<String, u64>,
    ended: BTreeMap<String, u64>,
    sent_bytes: u64,
}

struct Attack {
    address: SocketAddr,
    kind: String,
    /// What is sent, where it is always the same.
    bytes: Vec<u8>,
    /// Heads that are too large.
    heads: [Vec<u8>; 3],
    tally: RefCell<Tally>,
}

impl Attack {
    async fn connect(&self, number: u64) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.address.ip().is_loopback() {
            let last = 2 + u8::try_from(number % SOURCES).unwrap_or_default();
            socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        }
        if self.kind == "readers" {
            socket.set_recv_buffer_size(4_096)?;
        }
        // Who goes leaves nothing behind: otherwise its port would be taken for a minute.
        socket.set_zero_linger()?;
        socket.connect(self.address).await
    }

    /// One connection from its beginning to its end. `round` tells those of one client apart.
    async fn once(&self, stream: TcpStream, number: u64, round: u64) -> io::Result<End> {
        match self.kind.as_str() {
            "silent" => answered(stream).await,
            "heads" => self.trickle(stream, &self.bytes, b"x").await,
            "unsent" => {
                let head = format!("PUT /unsent-{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n");
                self.ask(stream, head.as_bytes()).await
            }
            "bodies" => {
                let head = format!("PUT /box/{number}-{round} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1100000\r\n\r\n");
                let begun = [head.as_bytes(), &vec![b'x'; 1_000_000]].concat();
                self.trickle(stream, &begun, b"x").await
            }
            "readers" => self.sip(stream).await,
            "headers" => self.ask(stream, &self.heads[((number + round) % 3) as usize]).await,
            "connections" => Ok(End::Done),
            "sockets" => self.flood(stream, number).await,
            "requests" => self.leave(stream, b"GET /wide/?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
            "compressed" => {
                self.ask(stream, b"GET /text HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n").await
            }
            "keys" | "guesses" => {
                let request = format!(
                    "GET /nothing HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess-{number}-{round}\r\nConnection: close\r\n\r\n"
                );
                match self.kind.as_str() {
                    "keys" => self.ask(stream, request.as_bytes()).await,
                    _ => self.leave(stream, request.as_bytes()).await,
                }
            }
            "hello" => {
                let mut stream = stream;
                self.send(&mut stream, &self.bytes).await?;
                let read = timeout(PATIENCE, stream.read(&mut [0; 16])).await??;
                Ok(if read == 0 { End::Closed } else { End::Done })
            }
            _ => Err(io::Error::other("see the head of bench/src/attack.rs")),
        }
    }

    async fn send(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes).await?;
        self.tally.borrow_mut().sent_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Asks and goes when that is being worked on.
    async fn leave(&self, mut stream: TcpStream, request: &[u8]) -> io::Result<End> {
        self.send(&mut stream, request).await?;
        sleep(Duration::from_millis(2)).await;
        Ok(End::Done)
    }

    /// Sends all of a request, as far as it is taken, and reads its whole answer.
    async fn ask(&self, mut stream: TcpStream, request: &[u8]) -> io::Result<End> {
        let (mut reading, mut writing) = stream.split();
        let mut answer = Answer::default();
        let sending = async {
            for piece in request.chunks(PIECE_BYTES) {
                // An answer may come before all is said, and the connection may end with it.
                if writing.write_all(piece).await.is_err() {
                    break;
                }
                self.tally.borrow_mut().sent_bytes += piece.len() as u64;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sending => unreachable!("it never ends"),
            read = timeout(PATIENCE, answer.read_all(&mut reading)) => read??,
        }
        Ok(answer.end())
    }

    /// Sends the beginning at once and then a byte at a time, until there is an answer or an end.
    async fn trickle(&self, mut stream: TcpStream, begun: &[u8], drop: &[u8]) -> io::Result<End> {
        let (mut reading, mut writing) = stream.split();
        let mut answer = Answer::default();
        let sending = async {
            if writing.write_all(begun).await.is_ok() {
                self.tally.borrow_mut().sent_bytes += begun.len() as u64;
                for byte in drop.iter().cycle() {
                    sleep(DRIP).await;
                    if writing.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    self.tally.borrow_mut().sent_bytes += 1;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sending => unreachable!("it never ends"),
            read = answer.read_all(&mut reading) => read?,
        }
        Ok(answer.end())
    }

    /// Asks for much and takes little.
    async fn sip(&self, mut stream: TcpStream) -> io::Result<End> {
        self.send(&mut stream, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = Answer::default();
        let mut space = [0; 64];
        loop {
            let read = stream.read(&mut space).await?;
            if read == 0 {
                return Ok(answer.end());
            }
            answer.take(&space[..read]);
            // What is refused is short, and over.
            if answer.status.is_some_and(|status| status != 200) {
                return Ok(answer.end());
            }
            sleep(DRIP).await;
        }
    }

    /// Opens a WebSocket and sends messages for as long as they are taken. Every fourth reads nothing.
    async fn flood(&self, mut stream: TcpStream, number: u64) -> io::Result<End> {
        let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let handshake = format!(
            "GET /wide/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n\r\n"
        );
        self.send(&mut stream, handshake.as_bytes()).await?;
        let mut answer = Answer::default();
        let mut space = [0; 4_096];
        while answer.status.is_none() {
            match stream.read(&mut space).await? {
                0 => return Ok(answer.end()),
                read => answer.take(&space[..read]),
            }
        }
        if answer.status != Some(101) {
            return Ok(answer.end());
        }
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"list","params":{"path":"","limit":10000}}"#;
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"head","params":{"path":"0"}}"#;
        let message = match number % 4 {
            0 => frame(TEXT, list),
            1 => frame(TEXT, head),
            2 => frame(TEXT, "{"),
            _ => frame(PING, ""),
        };
        let piece = message.repeat(PIECE_BYTES / message.len());
        let (mut reading, mut writing) = stream.split();
        let sending = async {
            while writing.write_all(&piece).await.is_ok() {
                self.tally.borrow_mut().sent_bytes += piece.len() as u64;
            }
        };
        if number % 4 == 0 {
            sending.await;
            return Ok(End::Closed);
        }
        let mut ignored = Answer::default();
        tokio::select! {
            () = sending => {}
            read = ignored.read_all(&mut reading) => read?,
        }
        Ok(End::Closed)
    }

    /// One client, for ever. Tells when its first connection is there, or is known not to be.
    async fn again(self: Rc<Self>, number: u64, begun: Rc<RefCell<u64>>) {
        sleep(APART * u32::try_from(number).unwrap_or(u32::MAX)).await;
        for round in 0.. {
            let connected = self.connect(number).await;
            if round == 0 {
                *begun.borrow_mut() += 1;
            }
            let stream = match connected {
                Ok(stream) => stream,
                Err(error) => {
                    *self.tally.borrow_mut().unconnected.entry(error.kind().to_string()).or_default() += 1;
                    sleep(PAUSE).await;
                    continue;
                }
            };
            self.tally.borrow_mut().connected += 1;
            let (how, is_refusal) = match self.once(stream, number, round).await {
                Ok(End::Answered(status)) => (status.to_string(), matches!(status, 429 | 503)),
                Ok(End::Closed) => ("closed by the node".to_owned(), false),
                Ok(End::Done) => ("as it meant to".to_owned(), false),
                Err(error) => (error.kind().to_string(), true),
            };
            *self.tally.borrow_mut().ended.entry(how).or_default() += 1;
            if is_refusal {
                sleep(PAUSE).await;
            }
        }
    }
}

const TEXT: u8 = 1;
const PING: u8 = 9;

/// A frame of a WebSocket (RFC 6455) with a mask that changes nothing.
fn frame(kind: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short one");
    assert!(length < 126, "a length of one byte");
    [&[0x80 | kind, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// What comes back.
#[derive(Default)]
struct Answer {
    head: Vec<u8>,
    status: Option<u16>,
}

impl Answer {
    fn take(&mut self, bytes: &[u8]) {
        if self.status.is_none() {
            self.head.extend_from_slice(bytes);
            self.status = std::str::from_utf8(self.head.get(9..12).unwrap_or_default())
                .ok()
                .and_then(|text| text.parse().ok());
        }
    }

    async fn read_all(&mut self, reading: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
        let mut space = vec![0; 16 << 10];
        loop {
            match reading.read(&mut space).await {
                Ok(0) => return Ok(()),
                Ok(read) => self.take(&space[..read]),
                // Whoever is answered while it still sends may be cut off.
                Err(_) if self.status.is_some() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn end(&self) -> End {
        self.status.map_or(End::Closed, End::Answered)
    }
}

async fn answered(mut stream: TcpStream) -> io::Result<End> {
    let mut answer = Answer::default();
    answer.read_all(&mut stream).await?;
    Ok(answer.end())
}

async fn run(arguments: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let [address, kind, number, rest @ ..] = arguments else {
        return Err("see the head of bench/src/attack.rs".into());
    };
    let number: u64 = number.parse()?;
    let bytes = match rest {
        [hex] => (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
            .collect::<Result<_, _>>()?,
        _ => format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(30_000)).into_bytes(),
    };
    let head = |target: &str, fields: &str| {
        format!("GET /{target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n").into_bytes()
    };
    let long = "x".repeat(1 << 20);
    let heads =
        [head("", &format!("X-Long: {long}")), head("", &"A: b\r\n".repeat(100_000)), head(&long, "A: b")];
    let attack = Rc::new(Attack {
        address: address.parse()?,
        kind: (*kind).to_owned(),
        bytes,
        heads,
        tally: RefCell::default(),
    });
    let begun = Rc::new(RefCell::new(0));
    for one in 0..number {
        drop(tokio::task::spawn_local(Rc::clone(&attack).again(one, Rc::clone(&begun))));
    }
    let started = Instant::now();
    while *begun.borrow() < number && started.elapsed() < ROUND_MAX {
        sleep(Duration::from_millis(20)).await;
    }
    println!("under way");
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    let tally = attack.tally.borrow();
    let (connected, unconnected, ended) = (tally.connected, &tally.unconnected, &tally.ended);
    println!(
        "{}",
        json!({ "connected": connected, "unconnected": unconnected, "ended": ended, "sent_bytes": tally.sent_bytes })
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match LocalSet::new().run_until(run(&arguments)).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attack: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
