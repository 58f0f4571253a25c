//! HTTPS: both versions of HTTP over it, certificates that change, and clients that wait or ask for too much.

use std::net::SocketAddr;
use std::time::Duration;

use jsfs_http::{Limits, Tls};
use reqwest::{Certificate, Client, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::Node;

/// A certificate in files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> (Files, Certificate) {
        let files = Files { directory: tempfile::tempdir().unwrap() };
        let certificate = files.renew();
        (files, certificate)
    }

    /// Puts a new certificate in the place of the old.
    fn renew(&self) -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.path("certificate.pem"), made.cert.pem()).unwrap();
        Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn tls(&self) -> Tls {
        Tls::read(&self.path("certificate.pem"), &self.path("key.pem")).unwrap()
    }
}

/// A client that trusts one certificate and keeps its connection.
fn client(certificate: &Certificate) -> reqwest::ClientBuilder {
    Client::builder()
        .tls_certs_only([certificate.clone()])
        .no_proxy()
        .resolve("localhost", SocketAddr::from(([127, 0, 0, 1], 0)))
}

struct Secured {
    node: Node,
    files: Files,
    certificate: Certificate,
    tls: Tls,
}

impl Secured {
    fn start() -> Secured {
        Secured::with(Limits::default())
    }

    fn with(limits: Limits) -> Secured {
        let (files, certificate) = Files::new();
        let tls = files.tls();
        Secured { node: Node::secured(limits, tls.clone()), files, certificate, tls }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.node.address.port())
    }

    async fn put(&self, client: &Client, path: &str, body: Vec<u8>) -> reqwest::Response {
        let request = client.put(self.url(path)).bearer_auth(&self.node.key).header("X-Private", "false");
        request.body(body).send().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_store_and_read_and_say_https() {
    let secured = Secured::start();
    let multiplexed = client(&secured.certificate).build().unwrap();
    let single = client(&secured.certificate).http1_only().build().unwrap();
    let content = vec![7; 3_000_000];
    for (client, version, path) in
        [(&multiplexed, Version::HTTP_2, "/two"), (&single, Version::HTTP_11, "/one")]
    {
        let stored = secured.put(client, path, content.clone()).await;
        assert_eq!((stored.status(), stored.version()), (StatusCode::CREATED, version));
        let said = stored.text().await.unwrap();
        assert!(said.contains(r#""url":"https://localhost:"#), "{said}");
        let read = client.get(secured.url(path)).send().await.unwrap();
        assert_eq!((read.status(), read.version()), (StatusCode::OK, version));
        assert!(read.headers().get("connection").is_none());
        assert!(read.bytes().await.unwrap() == content);
        let copied = client
            .request(reqwest::Method::from_bytes(b"COPY").unwrap(), secured.url(path))
            .bearer_auth(&secured.node.key)
            .header("Destination", format!("{path}-copy"))
            .send()
            .await
            .unwrap();
        assert_eq!(copied.status(), StatusCode::CREATED);
        let refused = client.get(secured.url("/nothing")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        let again = client.get(secured.url(path)).header("Range", "bytes=1-2").send().await.unwrap();
        assert_eq!(again.status(), StatusCode::PARTIAL_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_leaves_the_connection_of_others_alone() {
    let secured = Secured::start();
    let client = client(&secured.certificate).build().unwrap();
    secured.put(&client, "/kept", b"kept".to_vec()).await;
    for _ in 0..20 {
        let stranger = client.put(secured.url("/kept")).body(vec![0; 200_000]).send().await.unwrap();
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
        let read = client.get(secured.url("/kept")).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), "kept");
    }
    assert_eq!(secured.node.handle.load().connections, 1, "all went over one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_more_of_one_answer_is_cut_off_from_that_one_only() {
    let limits = Limits { progress_time: Duration::from_millis(400), ..Limits::default() };
    let secured = Secured::with(limits);
    let client = client(&secured.certificate)
        .http2_initial_stream_window_size(65_535)
        .http2_initial_connection_window_size(4_000_000)
        .build()
        .unwrap();
    secured.put(&client, "/large", vec![7; 3_000_000]).await;
    secured.put(&client, "/small", b"small".to_vec()).await;
    let stalled = client.get(secured.url("/large")).send().await.unwrap();
    let started = std::time::Instant::now();
    while secured.node.handle.load().requests > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the stalled answer was not given up");
        let read = client.get(secured.url("/small")).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), "small");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(stalled.bytes().await.is_err(), "a part is not taken for the whole");
    assert_eq!(secured.node.handle.load().connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_told_so_and_a_steady_one_is_not() {
    let limits =
        Limits { progress_time: Duration::from_millis(400), progress_bytes_min: 1_000, ..Limits::default() };
    let secured = Secured::with(limits);
    let client = client(&secured.certificate).build().unwrap();
    let upload = |path: &str, piece: usize| {
        let pieces = futures_util::stream::unfold(0, move |count| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            (count < 15).then(|| (Ok::<_, std::io::Error>(vec![1_u8; piece]), count + 1))
        });
        let request = client.put(secured.url(path)).bearer_auth(&secured.node.key);
        request.body(reqwest::Body::wrap_stream(pieces)).send()
    };
    let (slow, steady) = tokio::join!(upload("/slow", 1), upload("/steady", 2_000));
    assert_eq!(steady.unwrap().status(), StatusCode::CREATED);
    // Reset, or told in time: either way nothing is stored.
    assert!(slow.is_err() || slow.unwrap().status() == StatusCode::REQUEST_TIMEOUT);
    let read = client.get(secured.url("/slow")).bearer_auth(&secured.node.key).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_end_and_clear_text_is_no_tls() {
    let limits = Limits { head_time_max: Duration::from_millis(300), ..Limits::default() };
    let secured = Secured::with(limits);
    let mut silent = TcpStream::connect(secured.node.address).await.unwrap();
    let mut clear = TcpStream::connect(secured.node.address).await.unwrap();
    clear.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut told = Vec::new();
    let _ = clear.read_to_end(&mut told).await;
    assert!(!told.starts_with(b"HTTP"), "no answer in the clear");
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
    // One that has shaken hands and asks for nothing.
    let client = client(&secured.certificate).build().unwrap();
    secured.put(&client, "/a", b"a".to_vec()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_rests_makes_room_or_ends() {
    let limits = Limits { idle_time_max: Duration::from_millis(300), ..Limits::default() };
    let secured = Secured::with(limits);
    let client = client(&secured.certificate).build().unwrap();
    secured.put(&client, "/a", b"a".to_vec()).await;
    assert_eq!(secured.node.handle.load().connections, 1);
    let started = std::time::Instant::now();
    while secured.node.handle.load().connections > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the connection rests for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_used_and_one_that_cannot_be_is_not() {
    let secured = Secured::start();
    let trusts = async |certificate: &Certificate| {
        client(certificate).build().unwrap().get(secured.url("/")).send().await.is_ok()
    };
    assert!(trusts(&secured.certificate).await);
    std::fs::write(secured.files.path("certificate.pem"), "half of a").unwrap();
    secured.tls.refresh();
    assert!(trusts(&secured.certificate).await, "the old one goes on");
    let renewed = secured.files.renew();
    secured.tls.refresh();
    assert!(trusts(&renewed).await);
    assert!(!trusts(&secured.certificate).await);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let (files, _) = Files::new();
    let read = |certificate: &str, key: &str| {
        Tls::read(&files.path(certificate), &files.path(key)).err().unwrap().to_string()
    };
    assert!(read("nowhere.pem", "key.pem").contains("nowhere.pem"), "{}", read("nowhere.pem", "key.pem"));
    assert!(read("key.pem", "key.pem").contains("holds no certificate"));
    assert!(read("certificate.pem", "certificate.pem").contains("holds no private key"));
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(files.path("other.pem"), other.signing_key.serialize_pem()).unwrap();
    assert!(read("certificate.pem", "other.pem").contains("cannot be used with the key"));
}
