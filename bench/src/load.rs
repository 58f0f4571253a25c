//! Load for a server over HTTP, on one thread, so that the server has the other processors.
//!
//!   load ADDRESS put LIMIT CONNECTIONS BYTES PREFIX     stores objects PREFIX0, PREFIX1, …; `%` in PREFIX stands for a thousand's number
//!   load ADDRESS check COUNT BYTES PREFIX               fetches a hundred of so many of them and compares every byte
//!   load ADDRESS get LIMIT CONNECTIONS PATH             fetches one object again and again
//!   load ADDRESS upload noise|text|later MIB PATH SEED  stores one large object; `later` is the text of the same seed with other words in 2 KiB of each MiB
//!   load ADDRESS compare noise|text|later MIB PATH SEED fetches it and compares every byte
//!   load ADDRESS idle COUNT PATH                        opens connections, uses each once, and holds them until its input ends
//!   load ADDRESS beside ROUNDS BYTES PREFIX             reads PREFIX0, over one connection and over a new one each time, and stores PREFIX-…, in turn
//!
//! `LIMIT` is a time (`5s`) or a number of requests. `LOAD_HEADERS` has header lines for each request, separated by `|`. Prints one JSON object. Any
//! answer but a success ends it with an error: figures for requests that failed are no figures. `beside` counts them instead.

mod beside;

use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

type Failure = Box<dyn std::error::Error>;

/// Room for what comes from a socket at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes of a large body that are made and written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of each piece that a later version has otherwise.
const CHANGED_BYTES: usize = 2 << 10;

/// Objects that a check looks at.
const CHECKED: u64 = 100;

/// An answer that is no success.
#[derive(Debug)]
struct Refused {
    status: u16,
    text: String,
}

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answers {}: {}", self.status, self.text)
    }
}

/// The connection ended before anything of an answer had come.
#[derive(Debug)]
struct Ended;

impl std::error::Error for Ended {}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ended before an answer")
    }
}

/// When to stop asking.
#[derive(Clone, Copy)]
enum Limit {
    Time(Duration),
    Requests(u64),
}

impl Limit {
    fn parse(text: &str) -> Result<Limit, Failure> {
        Ok(match text.strip_suffix('s') {
            Some(seconds) => Limit::Time(Duration::from_secs_f64(seconds.parse()?)),
            None => Limit::Requests(text.parse()?),
        })
    }

    fn is_reached(self, number: u64, begun: Instant) -> bool {
        match self {
            Limit::Time(time) => begun.elapsed() >= time,
            Limit::Requests(count) => number >= count,
        }
    }
}

/// A connection, opened again when the server has closed it in good order.
struct Client {
    address: Rc<str>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    filled: usize,
}

/// The head of an answer.
struct Head {
    status: u16,
    length: u64,
    closes: bool,
    bytes: usize,
}

impl Client {
    fn new(address: &Rc<str>) -> Client {
        Client { address: Rc::clone(address), stream: None, buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    async fn stream(&mut self) -> Result<&mut TcpStream, Failure> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&*self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
            self.filled = 0;
        }
        Ok(self.stream.as_mut().expect("just opened"))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream().await?.write_all(bytes).await?)
    }

    /// Reads an answer and gives its body to `take`, piece by piece. Answers its length in bytes.
    async fn answer(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<u64, Failure> {
        let head = self.head().await?;
        if !(200..300).contains(&head.status) {
            let text = String::from_utf8_lossy(&self.buffer[..self.filled]).into_owned();
            return Err(Refused { status: head.status, text }.into());
        }
        let mut left = head.length;
        let here = (self.filled - head.bytes).min(usize::try_from(left)?);
        take(&self.buffer[head.bytes..head.bytes + here])?;
        left -= here as u64;
        self.filled = 0;
        while left > 0 {
            let stream = self.stream.as_mut().ok_or("the connection is closed")?;
            let read = stream.read(&mut self.buffer).await?;
            if read == 0 || read as u64 > left {
                return Err("the answer is not as long as it says".into());
            }
            take(&self.buffer[..read])?;
            left -= read as u64;
        }
        if head.closes {
            self.stream = None;
        }
        Ok(head.length)
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            let seen = &self.buffer[..self.filled];
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                return parse(&seen[..end], end + 4);
            }
            let stream = self.stream.as_mut().ok_or("the connection is closed")?;
            let read = stream.read(&mut self.buffer[self.filled..]).await?;
            if read == 0 {
                return Err(Ended.into());
            }
            self.filled += read;
        }
    }
}

fn parse(head: &[u8], bytes: usize) -> Result<Head, Failure> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.split("\r\n");
    let status: u16 = lines.next().and_then(|line| line.get(9..12)).ok_or("no status")?.parse()?;
    let mut length = (status == 204).then_some(0);
    let mut closes = false;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("no header")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Ok(Head { status, length: length.ok_or("an answer without a length")?, closes, bytes })
}

/// What each request begins with, and what it is asked of.
struct Asking {
    address: Rc<str>,
    headers: String,
}

impl Asking {
    fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", self.headers).into_bytes()
    }

    fn put(&self, path: &str, length: u64) -> Vec<u8> {
        let headers = &self.headers;
        format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n")
            .into_bytes()
    }
}

/// Bytes that do not compress, told by a number: xorshift64*.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) {
        while out.len() < bytes {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(bytes);
    }
}

/// Sentences whose words follow Zipf's law.
struct Prose {
    noise: Noise,
    words: Vec<String>,
}

const SYLLABLES: &[&str] = &[
    "ka", "lo", "mi", "ne", "ru", "sa", "te", "vo", "un", "el", "ar", "is", "or", "en", "ta", "de", "pi",
    "mo", "gra", "stel",
];

impl Prose {
    fn new(seed: u64) -> Prose {
        let mut noise = Noise::new(7);
        let mut syllable = |_| SYLLABLES[noise.next() as usize % SYLLABLES.len()];
        let words = (0..20_000).map(|at| (0..1 + at % 4).map(&mut syllable).collect()).collect();
        Prose { noise: Noise::new(seed), words }
    }

    fn fill(&mut self, out: &mut Vec<u8>, bytes: usize) {
        while out.len() < bytes {
            let number = self.noise.next();
            let share = (number >> 11) as f64 / (1u64 << 53) as f64;
            let rank = (self.words.len() as f64).powf(share) as usize - 1;
            out.extend_from_slice(self.words[rank].as_bytes());
            out.extend_from_slice(if number % 13 == 0 { b".\n" } else { b" " });
        }
        out.truncate(bytes);
    }
}

/// The pieces of a large body.
fn pieces(kind: &str, mib: u64, seed: u64) -> Result<impl Iterator<Item = Vec<u8>>, Failure> {
    let (mut noise, mut prose, mut other) = match kind {
        "noise" => (Some(Noise::new(seed)), None, None),
        "text" => (None, Some(Prose::new(seed)), None),
        "later" => (None, Some(Prose::new(seed)), Some(Prose::new(!seed))),
        _ => return Err("noise, text or later".into()),
    };
    Ok((0..mib).map(move |_| {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 16);
        noise.iter_mut().for_each(|noise| noise.fill(&mut piece, PIECE_BYTES));
        prose.iter_mut().for_each(|prose| prose.fill(&mut piece, PIECE_BYTES));
        if let Some(other) = &mut other {
            let mut words = Vec::with_capacity(CHANGED_BYTES + 16);
            other.fill(&mut words, CHANGED_BYTES);
            let at = other.noise.next() as usize % (PIECE_BYTES - CHANGED_BYTES);
            piece[at..at + CHANGED_BYTES].copy_from_slice(&words);
        }
        piece
    }))
}

fn path(prefix: &str, number: u64) -> String {
    format!("{}{number}", prefix.replace('%', &(number / 1_000).to_string()))
}

/// What the object of this number holds; another prefix, other bytes.
fn small(prefix: &str, number: u64, bytes: usize, out: &mut Vec<u8>) {
    let seed = prefix.bytes().fold(number, |seed, byte| seed.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte));
    out.clear();
    Noise::new(seed.wrapping_add(number)).fill(out, bytes);
}

/// Asks over so many connections until the limit: `ask` is given a client and the request's number, and answers how many bytes were moved.
async fn measure(
    asking: Rc<Asking>,
    limit: Limit,
    connections: usize,
    ask: impl AsyncAsk,
) -> Result<(), Failure> {
    let (next, ask, begun) = (Rc::new(Cell::new(0)), Rc::new(ask), Instant::now());
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (asking, next, ask) = (Rc::clone(&asking), Rc::clone(&next), Rc::clone(&ask));
            tokio::task::spawn_local(async move {
                let mut client = Client::new(&asking.address);
                let (mut took_us, mut bytes) = (Vec::new(), 0);
                while !limit.is_reached(next.get(), begun) {
                    let number = next.replace(next.get() + 1);
                    let begun = Instant::now();
                    let moved =
                        ask.ask(&asking, &mut client, number).await.map_err(|error| error.to_string())?;
                    took_us.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
                    bytes += moved;
                }
                Ok::<_, String>((took_us, bytes))
            })
        })
        .collect();
    let (mut took_us, mut bytes) = (Vec::new(), 0);
    for task in tasks {
        let (own, moved) = task.await??;
        took_us.extend(own);
        bytes += moved;
    }
    tell(begun.elapsed(), took_us, bytes);
    Ok(())
}

fn tell(elapsed: Duration, mut took_us: Vec<u64>, bytes: u64) {
    took_us.sort_unstable();
    let at = |percent: usize| took_us[(took_us.len() * percent / 100).min(took_us.len() - 1)];
    let figures = json!({
        "requests": took_us.len(), "seconds": elapsed.as_secs_f64(), "bytes": bytes, "p50_us": at(50), "p99_us": at(99),
    });
    println!("{figures}");
}

/// What is asked again and again.
trait AsyncAsk: 'static {
    async fn ask(&self, asking: &Asking, client: &mut Client, number: u64) -> Result<u64, Failure>;
}

struct Put {
    prefix: String,
    bytes: usize,
}

impl AsyncAsk for Put {
    async fn ask(&self, asking: &Asking, client: &mut Client, number: u64) -> Result<u64, Failure> {
        let mut request = asking.put(&path(&self.prefix, number), self.bytes as u64);
        let mut body = Vec::with_capacity(self.bytes + 8);
        small(&self.prefix, number, self.bytes, &mut body);
        request.extend_from_slice(&body);
        client.send(&request).await?;
        client.answer(|_| Ok(())).await?;
        Ok(self.bytes as u64)
    }
}

struct Get {
    path: String,
}

impl AsyncAsk for Get {
    async fn ask(&self, asking: &Asking, client: &mut Client, _: u64) -> Result<u64, Failure> {
        client.send(&asking.get(&self.path)).await?;
        client.answer(|_| Ok(())).await
    }
}

async fn check(asking: &Asking, count: u64, bytes: usize, prefix: &str) -> Result<(), Failure> {
    let mut client = Client::new(&asking.address);
    let mut body = Vec::new();
    for place in 0..CHECKED.min(count) {
        let number = place * count / CHECKED.min(count);
        let path = path(prefix, number);
        client.send(&asking.get(&path)).await?;
        let mut got = Vec::new();
        client.answer(|piece| Ok(got.extend_from_slice(piece))).await?;
        small(prefix, number, bytes, &mut body);
        if got != body {
            return Err(format!("{path} holds other bytes than were stored there").into());
        }
    }
    Ok(())
}

async fn upload(asking: &Asking, kind: &str, mib: u64, path: &str, seed: u64) -> Result<(), Failure> {
    // Made before the clock starts, where it fits into memory.
    let made: Option<Vec<_>> =
        (mib <= 1 << 10).then(|| pieces(kind, mib, seed)).transpose()?.map(Iterator::collect);
    let mut client = Client::new(&asking.address);
    let begun = Instant::now();
    client.send(&asking.put(path, mib << 20)).await?;
    match made {
        Some(made) => {
            for piece in &made {
                client.send(piece).await?;
            }
        }
        None => {
            for piece in pieces(kind, mib, seed)? {
                client.send(&piece).await?;
            }
        }
    }
    client.answer(|_| Ok(())).await?;
    let took = begun.elapsed();
    tell(took, vec![u64::try_from(took.as_micros())?], mib << 20);
    Ok(())
}

async fn compare(asking: &Asking, kind: &str, mib: u64, path: &str, seed: u64) -> Result<(), Failure> {
    let mut client = Client::new(&asking.address);
    client.send(&asking.get(path)).await?;
    let mut pieces = pieces(kind, mib, seed)?;
    let (mut expected, mut at) = (Vec::new(), 0);
    let length = client
        .answer(|mut got| {
            while !got.is_empty() {
                if at == expected.len() {
                    (expected, at) = (pieces.next().ok_or("longer than what was stored")?, 0);
                }
                let both = got.len().min(expected.len() - at);
                if got[..both] != expected[at..at + both] {
                    return Err("other bytes than were stored".into());
                }
                (got, at) = (&got[both..], at + both);
            }
            Ok(())
        })
        .await?;
    if length == mib << 20 { Ok(()) } else { Err("not as long as what was stored".into()) }
}

async fn idle(asking: &Asking, count: u64, path: &str) -> Result<(), Failure> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut client = Client::new(&asking.address);
        client.send(&asking.get(path)).await?;
        client.answer(|_| Ok(())).await?;
        held.push(client.stream.take());
    }
    println!("{}", json!({ "connections": held.iter().flatten().count() }));
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

async fn run(arguments: &[&str]) -> Result<(), Failure> {
    let [address, what, rest @ ..] = arguments else {
        return Err("see the head of bench/src/load.rs".into());
    };
    let headers = std::env::var("LOAD_HEADERS").unwrap_or_default();
    let headers =
        headers.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    let asking = Rc::new(Asking { address: Rc::from(*address), headers });
    match (*what, rest) {
        ("put", [limit, connections, bytes, prefix]) => {
            let put = Put { prefix: (*prefix).to_owned(), bytes: bytes.parse()? };
            measure(asking, Limit::parse(limit)?, connections.parse()?, put).await
        }
        ("get", [limit, connections, path]) => {
            measure(asking, Limit::parse(limit)?, connections.parse()?, Get { path: (*path).to_owned() })
                .await
        }
        ("check", [count, bytes, prefix]) => check(&asking, count.parse()?, bytes.parse()?, prefix).await,
        ("upload", [kind, mib, path, seed]) => upload(&asking, kind, mib.parse()?, path, seed.parse()?).await,
        ("compare", [kind, mib, path, seed]) => {
            compare(&asking, kind, mib.parse()?, path, seed.parse()?).await
        }
        ("beside", [rounds, bytes, prefix]) => {
            beside::measure(&asking, rounds.parse()?, bytes.parse()?, prefix).await
        }
        ("idle", [count, path]) => idle(&asking, count.parse()?, path).await,
        _ => Err("see the head of bench/src/load.rs".into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match LocalSet::new().run_until(run(&arguments)).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
