//! A server in this process, its root key, and short ways to ask it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use jsfs_http::{Handle, Limits, Listener, Server, Tls};
use jsfs_objects::clock::{SystemClock, SystemRandom};
use jsfs_objects::key::{Seed, SigningKey};
use jsfs_objects::{Objects, OpenOptions, Settings};
use jsfs_store::Store;
use jsfs_store::backend::{Backend, Faulty, Memory};
use jsfs_testkit::http::{Answer, Client, Request};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running server. Stops with it.
pub struct Node {
    pub address: SocketAddr,
    pub handle: Handle,
    pub key: String,
    /// Where the node listens besides, if it does.
    pub metrics: Option<SocketAddr>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub fn start() -> Node {
        Node::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Node {
        Node::over(Arc::new(Memory::new(4 << 30)), limits, Listener::from, None)
    }

    /// Under TLS.
    pub fn secured(limits: Limits, tls: Tls) -> Node {
        let secure = move |socket| Listener::secured(socket, tls);
        Node::over(Arc::new(Memory::new(4 << 30)), limits, secure, None)
    }

    /// With a second place to listen.
    pub fn beside(limits: Limits, second: fn(TcpListener) -> Listener) -> Node {
        Node::over(Arc::new(Memory::new(4 << 30)), limits, Listener::from, Some(second))
    }

    /// On a disk that fails on demand.
    pub fn faulty() -> (Node, Faulty) {
        let disk = Faulty::new(1 << 30);
        (Node::over(Arc::new(disk.clone()), Limits::default(), Listener::from, None), disk)
    }

    fn over(
        disk: Arc<dyn Backend>,
        limits: Limits,
        first: impl FnOnce(TcpListener) -> Listener + Send + 'static,
        second: Option<fn(TcpListener) -> Listener>,
    ) -> Node {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let (objects, key) = objects(disk).await;
                let server = Server::new(objects, "5.0.0-test", limits).unwrap();
                let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
                let listener = first(bind().await);
                let address = listener.local_addr().unwrap();
                let mut listeners = vec![listener];
                if let Some(second) = second {
                    listeners.push(second(bind().await));
                }
                let beside = listeners.get(1).map(|listener| listener.local_addr().unwrap());
                sender.send((address, server.handle(), key, beside)).unwrap();
                server.run(listeners, stop).await;
            });
        });
        let (address, handle, key, metrics) = receiver.recv().unwrap();
        Node { address, handle, key, metrics, shutdown, thread: Some(thread) }
    }

    /// One request on a connection of its own. The answer comes without its id, which every answer has and no two share.
    pub fn ask(&self, request: &Request<'_>) -> Answer {
        let answer = Client::new(self.address).send(request).unwrap();
        check_every_answer(&answer);
        without_id(answer)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.ask(&Request::new("GET", target))
    }

    /// With the root key.
    pub fn own<'a>(&self, method: &'a str, target: &'a str) -> Request<'a> {
        Request::new(method, target).bearer(&self.key)
    }

    /// Stores something public.
    pub fn put(&self, target: &str, body: &[u8]) -> Answer {
        let answer = self.ask(&self.own("PUT", target).header("X-Private", "false").body(body));
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        answer
    }

    /// Stores something private.
    pub fn put_private(&self, target: &str, body: &[u8]) -> Answer {
        let answer = self.ask(&self.own("PUT", target).header("X-Private", "true").body(body));
        assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        answer
    }

    /// Makes a namespace of the root key.
    pub fn add_namespace(&self, name: &str) {
        let target = format!("/.jsfs/namespaces/{name}");
        let made = self.ask(&self.own("PUT", &target).body(b"{}"));
        assert_eq!(made.status, 201, "{}", made.text());
    }

    /// Asks the server to stop and waits for it.
    pub fn stop(mut self) {
        self.shutdown.cancel();
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn objects(disk: Arc<dyn Backend>) -> (Objects, String) {
    let random = Arc::new(SystemRandom);
    let root = Seed::generate(&*random);
    let options = OpenOptions {
        store: Store::open(jsfs_store::OpenOptions::new(vec![disk])).unwrap(),
        node_key: SigningKey::generate(&*random),
        root_key: Some(root.clone()),
        clock: Arc::new(SystemClock),
        random,
        settings: Settings::default(),
    };
    (Objects::open(options).await.unwrap(), root.to_text().to_string())
}

pub fn without_id(mut answer: Answer) -> Answer {
    answer.headers.retain(|(name, _)| name != "x-request-id");
    answer
}

/// What holds for every answer whatever its status.
pub fn check_every_answer(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert!(answer.header("cache-control").is_some());
    let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-request-id").collect();
    assert!(ids.len() == 1 && !ids[0].1.is_empty(), "{answer:?}");
    if answer.status == 401 {
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"jsfs\""));
    }
    if answer.status == 405 {
        assert!(answer.header("allow").is_some());
    }
    if matches!(answer.status, 429 | 503) {
        assert!(answer.header("retry-after").is_some());
    }
    if answer.status >= 400 && !answer.body.is_empty() {
        check_problem(answer);
    }
}

fn check_problem(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{problem}");
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.starts_with("https://") && kind.contains("/docs/http.md#"), "{kind}");
    assert!(!problem["title"].as_str().unwrap().is_empty());
    assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
}
