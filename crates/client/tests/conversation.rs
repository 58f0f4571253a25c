//! The client against a node that says exactly what a test wrote down: repetition, patience, errors, and where credentials go.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use jsfs_client::{AccessKey, Address, Client, Credential, Error, Get, Reference, Source, Write};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Answers requests in order, one per connection, and keeps what it was asked.
struct Script {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Script {
    fn new(answers: &[&str]) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect::<Vec<_>>();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let early = answer.starts_with("HTTP/1.1 401");
                kept.lock().unwrap().push(read_request(&stream, early));
                (&stream).write_all(answer.as_bytes()).unwrap();
                if early {
                    // What was not read would make the close a reset, which a real node's lingering close prevents.
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let _ = std::io::copy(&mut (&stream).take(1 << 30), &mut std::io::sink());
                }
            }
        });
        Script { url, heads, thread }
    }

    fn client(&self, credential: Option<Credential>) -> Client {
        Client::new(self.url.parse().unwrap(), credential).unwrap()
    }

    /// What was asked, after the last answer.
    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap();
        Arc::try_unwrap(self.heads).unwrap().into_inner().unwrap()
    }
}

/// Head and body of a request; with `early` the head only.
fn read_request(stream: &TcpStream, early: bool) -> String {
    let mut reader = BufReader::new(stream);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut text).unwrap() > 0, "the client hung up: {text}");
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |n| n.parse::<usize>().unwrap());
    if !early {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        if text.contains("transfer-encoding: chunked") {
            while !text.ends_with("0\r\n\r\n") {
                assert!(reader.read_line(&mut text).unwrap() > 0);
            }
        }
        text.push_str(&String::from_utf8_lossy(&body));
    }
    text
}

fn address(text: &str) -> Address {
    Reference::parse(text).unwrap().address
}

fn put_answer() -> String {
    let body = r#"{"address":"/localhost/a","version":1,"file_size":5,"private":true,"new_field":[1]}"#;
    format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const BUSY_FOR_EVER: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n";
const BUSY_WITHOUT_A_TIME: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\nContent-Length: 60\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"t\",\"status\":401,\"detail\":\"d\"}";

#[tokio::test]
async fn a_busy_node_is_asked_again_with_the_same_body() {
    let put = put_answer();
    let script = Script::new(&[BUSY, BUSY, &put]);
    let client = script.client(None);
    let write = Write { content_type: Some("text/plain".into()), private: Some(false), ..Write::default() };
    let metadata = client.put(&address("a b"), Source::Bytes("hello".into()), write).await.unwrap();
    assert_eq!((metadata.version, metadata.file_size, metadata.private), (1, 5, true));
    assert!(metadata.other.contains_key("new_field"), "a field of a later node was dropped");
    let requests = script.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert!(request.starts_with("PUT /.localhost/a%20b HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("content-type: text/plain\r\n") && request.contains("x-private: false\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\nhello"), "{request}");
    }
}

#[tokio::test]
async fn a_busy_node_is_not_asked_again_where_that_cannot_help_or_could_do_harm() {
    let status = |result: Result<(), Error>| result.unwrap_err().status();
    let script = Script::new(&[BUSY_FOR_EVER]);
    assert_eq!(status(script.client(None).delete(&address("a")).await), Some(503));
    let script = Script::new(&[BUSY_WITHOUT_A_TIME]);
    assert_eq!(status(script.client(None).delete(&address("a")).await), Some(503));
    let script = Script::new(&[BUSY]);
    assert_eq!(status(script.client(None).rename(&address("a"), &address("b")).await), Some(503));
    let script = Script::new(&[BUSY]);
    let source = Source::Reader(Box::new(&b"hello"[..]));
    assert_eq!(
        status(script.client(None).put(&address("a"), source, Write::default()).await.map(drop)),
        Some(503)
    );
}

#[tokio::test]
async fn repetition_ends() {
    let script = Script::new(&[BUSY; 6]);
    assert_eq!(script.client(None).delete(&address("a")).await.unwrap_err().status(), Some(503));
    assert_eq!(script.requests().len(), 6);
}

#[tokio::test]
async fn a_redirect_is_an_error_and_no_credential_follows_it() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = elsewhere.local_addr().unwrap();
    let script = Script::new(&[&format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{to}/x\r\nContent-Length: 0\r\n\r\n"
    )]);
    let key = AccessKey::generate().unwrap();
    let client = script.client(Some(Credential::Key(key.clone())));
    assert_eq!(client.head(&address("a"), None).await.unwrap_err().status(), Some(302));
    assert!(script.requests()[0].contains(&format!("x-access-key: {}", key.text().as_str())));
    assert!(elsewhere.accept().is_err(), "the client followed");
}

#[tokio::test]
async fn a_chosen_key_travels_in_its_generated_form_only() {
    let script = Script::new(&["HTTP/1.1 204 No Content\r\n\r\n"]);
    let client = script.client(Some(Credential::parse("correct horse").unwrap()));
    client.delete(&address("example.com:a")).await.unwrap();
    let expected = AccessKey::stretch("correct horse", "com.example").unwrap();
    let request = script.requests().remove(0);
    assert!(request.contains(&format!("x-access-key: {}\r\n", expected.text().as_str())), "{request}");
    assert!(!request.contains("horse"));
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_upload_is_the_error_that_is_shown() {
    let script = Script::new(&[REFUSED]);
    let source = Source::Bytes(vec![0; 8 << 20].into());
    let error = script.client(None).put(&address("a"), source, Write::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "/localhost/a: d (status 401)");
}

#[tokio::test]
async fn an_error_without_a_problem_detail_says_its_status() {
    let script =
        Script::new(&["HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>"]);
    let error = script.client(None).delete(&address("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "/localhost/a: not found (status 404)");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error() {
    let script = Script::new(&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]);
    let mut download = script.client(None).get(&address("a"), &Get::default()).await.unwrap();
    let mut result = download.chunk().await;
    while let Ok(Some(_)) = result {
        result = download.chunk().await;
    }
    assert!(matches!(result, Err(Error::Broken { .. })), "{result:?}");
}

#[tokio::test]
async fn the_whole_object_is_not_taken_for_a_part() {
    let script = Script::new(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"]);
    let get = Get { range: Some((1, Some(1))), version: Some(2) };
    assert!(matches!(
        script.client(None).get(&address("a"), &get).await.err(),
        Some(Error::Unexpected { .. })
    ));
    let request = script.requests().remove(0);
    assert!(
        request.starts_with("GET /.localhost/a?version=2 ") && request.contains("range: bytes=1-1\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_listing_whose_cursor_stands_still_ends() {
    let body = r#"{"address":"/localhost/","entries":[],"next":"x&y"}"#;
    let page = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let script = Script::new(&[&page, &page]);
    let mut lister = script.client(None).list(&address("/localhost/"), true);
    assert!(lister.page().await.unwrap().is_some());
    assert!(matches!(lister.page().await, Err(Error::Unexpected { .. })));
    assert!(script.requests()[1].starts_with("GET /.localhost/?limit=1000&recursive=true&after=x%26y "));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let script = Script::new(&[]);
    let source = Source::File("/nonexistent/file".into());
    let error = script.client(None).put(&address("a"), source, Write::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/file: "), "{error}");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_unreachable_by_every_loopback_name() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost", "any.name.localhost"] {
        let client = Client::new(format!("http://{host}:{port}").parse().unwrap(), None).unwrap();
        let error = client.status().await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{host}: {error}");
    }
}

#[tokio::test]
async fn any_name_below_localhost_reaches_this_machine_without_a_resolver() {
    let script = Script::new(&["HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}"]);
    let url = script.url.replace("127.0.0.1", "files.example.com.localhost");
    let client = Client::new(url.parse().unwrap(), None).unwrap();
    assert_eq!(client.status().await.unwrap()["status"], "ok");
    assert!(script.requests()[0].contains("host: files.example.com.localhost:"));
}
