//! A way to a node that a test cuts: connections are forwarded until it is told to end them, and none is let through while it is shut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What forwards.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    open: Arc<Mutex<Vec<TcpStream>>>,
    opened: Arc<AtomicUsize>,
    shut: Arc<AtomicBool>,
}

impl Proxy {
    /// Forwards what connects to the address that comes back. It goes on until the process ends.
    ///
    /// # Errors
    /// That no port is to be had.
    pub fn start(node: SocketAddr) -> io::Result<(Proxy, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let proxy = Proxy::default();
        let this = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who finds it shut is connected and hung up on.
                let forwarded = TcpStream::connect(node).and_then(|server| this.forward(&client, &server));
                drop(forwarded);
            }
        });
        Ok((proxy, address))
    }

    fn forward(&self, client: &TcpStream, server: &TcpStream) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shut.load(Ordering::Relaxed) {
            return client.shutdown(Shutdown::Both);
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        open.extend([client.try_clone()?, server.try_clone()?]);
        for (from, to) in [(client, server), (server, client)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            std::thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        Ok(())
    }

    /// Cuts everything that is open; says whether anything was.
    pub fn cut(&self) -> bool {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        !open.is_empty()
    }

    /// Cuts everything, and lets nothing through until it is opened again; says whether anything was open.
    pub fn shut(&self) -> bool {
        self.shut.store(true, Ordering::Relaxed);
        self.cut()
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.shut.store(false, Ordering::Relaxed);
    }

    /// How many connections it has let through.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}
