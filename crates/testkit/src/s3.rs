//! A server of object storage that others wrote (moto), and a link to it that fails as networks do.

use crate::http::{Client, Request};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A running server; it ends when this is dropped, and keeps nothing.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts one with a bucket of that name. None where moto is not installed, which is said.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[allow(clippy::print_stderr, reason = "who runs the tests must know that one was left out")]
    pub fn start(bucket: &str) -> Option<Server> {
        let Some(program) = program() else {
            eprintln!("skipped: moto_server is not there (.ci/run tools installs it)");
            return None;
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a port is free");
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p"]).arg(address.port().to_string());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("moto_server starts");
        let server = Server { child, address };
        let begun = Instant::now();
        let target = format!("/{bucket}");
        while !Client::new(address)
            .send(&Request::new("PUT", &target))
            .is_ok_and(|answer| answer.status == 200)
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "moto_server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a bucket has, as the server tells it.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn listing(&self, bucket: &str) -> String {
        let answer = Client::new(self.address).send(&Request::new("GET", &format!("/{bucket}?list-type=2")));
        answer.expect("it answers").text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(own).chain(std::env::split_paths(&path));
    places.find_map(|place| Some(place.join("moto_server")).filter(|program| program.exists()))
}

/// What a link does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Carries it.
    None,
    /// Closes it.
    Refuse,
    /// Takes what comes and answers nothing.
    Silence,
    /// Answers that it is busy.
    Busy,
    /// Ends it after so many bytes of the answer.
    Cut(usize),
    /// Carries each piece of an answer after so many milliseconds.
    Slow(u64),
    /// Carries each piece of a request after so many milliseconds.
    Late(u64),
}

/// A way to a server that can be told to fail.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
}

impl Link {
    /// A way to that server.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn to(server: SocketAddr) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let fault = Arc::new(Mutex::new(Fault::None));
        let told = Arc::clone(&fault);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || carry(&connection, server, &told));
            }
        });
        Link { address, fault }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from the next bytes on.
    pub fn does(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

fn now(fault: &Mutex<Fault>) -> Fault {
    *fault.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(client: &TcpStream, server: SocketAddr, fault: &Arc<Mutex<Fault>>) -> Option<()> {
    if now(fault) == Fault::Refuse {
        return None;
    }
    let server = TcpStream::connect(server).ok()?;
    let (mut from, mut to, told) = (client.try_clone().ok()?, server.try_clone().ok()?, Arc::clone(fault));
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            match now(&told) {
                Fault::Silence => continue,
                Fault::Refuse => break,
                Fault::Busy => {
                    let _ = from.write_all(
                        b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    break;
                }
                Fault::Late(ms) => std::thread::sleep(Duration::from_millis(ms)),
                Fault::None | Fault::Cut(_) | Fault::Slow(_) => {}
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(std::net::Shutdown::Both);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut from, mut to) = (server, client);
    let (mut bytes, mut carried) = ([0; 16 << 10], 0);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut part = &bytes[..count];
        match now(fault) {
            Fault::Cut(after) => part = &part[..count.min(after.saturating_sub(carried))],
            Fault::Slow(ms) => std::thread::sleep(Duration::from_millis(ms)),
            _ => {}
        }
        carried += count;
        if to.write_all(part).is_err() || part.len() < count {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
    None
}
