//! Where a server takes connections, and what is told there.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::tls::Tls;

/// A socket that takes connections.
pub struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics_only: bool,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket, tls: None, metrics_only: false }
    }
}

impl Listener {
    /// One whose connections are under TLS.
    #[must_use]
    pub fn secured(socket: TcpListener, tls: Tls) -> Self {
        Self { socket, tls: Some(tls), metrics_only: false }
    }

    /// One that tells the node's metrics to everybody, and nothing else.
    #[must_use]
    pub fn metrics(socket: TcpListener) -> Self {
        Self { socket, tls: None, metrics_only: true }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
