//! TLS at the front door: the certificate and its key, read from files and read again when those change.
//!
//! Invariants: a connection speaks under the certificate that was good when it began; files that cannot be used (half written, a key
//! of another certificate) change nothing and are named once. Nobody waits for the disk while a connection is accepted.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::ready;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::PollSemaphore;
use zeroize::Zeroizing;

/// What a connection is carried by: TCP, in the clear or under TLS.
pub(crate) type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How often the files are looked at.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(10);

/// A certificate or a key has no business being larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// HTTP/2, as TLS names it.
const H2: &[u8] = b"h2";

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}; name a PEM file that this node may read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without what it is read for.
    #[error("{} holds no {what} in PEM form", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A certificate and a key that cannot be used together.
    #[error("the certificate in {} cannot be used with the key in {}: {reason}", .certificate.display(), .key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: rustls::Error,
    },
}

/// A certificate chain and its key, in files. A handle: copies are the same.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
    /// Of handshakes that compute.
    turns: Arc<Semaphore>,
}

/// What the files said last.
struct Seen {
    files: Files,
    /// Their fault, once it was told.
    fault: Option<String>,
}

/// The contents of both files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Tls {
    /// Reads a certificate chain, the node's own certificate first, and its key.
    ///
    /// # Errors
    /// Names the file that cannot be read or used.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files::read(certificate, key)?;
        let config = files.config(certificate, key)?;
        Ok(Self(Arc::new(Inner {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            config: RwLock::new(config),
            seen: Mutex::new(Seen { files, fault: None }),
            turns: Arc::new(Semaphore::new(half_of_the_processors())),
        })))
    }

    /// Reads the files again where they have changed. New connections use what they say; faulty ones change nothing and are told of once.
    pub fn refresh(&self) {
        let inner = &*self.0;
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Files::read(&inner.certificate, &inner.key);
        let read = read.and_then(|files| {
            if files == seen.files {
                return Ok(None);
            }
            let config = files.config(&inner.certificate, &inner.key)?;
            Ok(Some((files, config)))
        });
        match read {
            Ok(None) => seen.fault = None,
            Ok(Some((files, config))) => {
                *inner.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                *seen = Seen { files, fault: None };
                tracing::info!(certificate = %inner.certificate.display(), "read the certificate again");
            }
            Err(error) => {
                let fault = error.to_string();
                if seen.fault.as_ref() != Some(&fault) {
                    tracing::error!("the certificate was not changed: {fault}");
                    seen.fault = Some(fault);
                }
            }
        }
    }

    /// Looks at the files for as long as it is polled.
    pub(crate) async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            let this = self.clone();
            // Files of a certificate may lie on a disk of another machine.
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
        }
    }

    /// The handshake of a new connection. Those that have something to compute take turns, so that everything else goes on beside a crowd of them.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        let mut handshake = TlsAcceptor::from(config).accept(socket);
        let mut turns = PollSemaphore::new(Arc::clone(&self.0.turns));
        poll_fn(|cx| {
            // Closed it never is.
            let _turn = ready!(turns.poll_acquire(cx));
            Pin::new(&mut handshake).poll(cx)
        })
        .await
    }
}

/// The other half is for everything else.
fn half_of_the_processors() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { certificate: read(certificate)?, key: Zeroizing::new(read(key)?) })
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
        let missing = |path: &Path, what| TlsError::Missing { path: path.to_owned(), what };
        let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| missing(certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| missing(key, "private key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|reason| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason,
        })?;
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than any certificate or key")));
    }
    std::fs::read(path).map_err(failed)
}

/// Whether the client asked for HTTP/2.
pub(crate) fn speaks_http2(wire: &Wire) -> bool {
    match wire {
        Either::Left(_) => false,
        Either::Right(tls) => tls.get_ref().1.alpn_protocol() == Some(H2),
    }
}
