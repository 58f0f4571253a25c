//! A command that says what it sees, for tests of WASI commands.

use std::io::{Read, Write};
use std::time::Duration;

fn main() {
    let query = std::env::var("QUERY_STRING").unwrap_or_default();
    let mut output = std::io::stdout().lock();
    match query.strip_prefix("do=").unwrap_or_default() {
        "much" => {
            for _ in 0..900 {
                output.write_all(&[b'a'; 1_000]).expect("there is room");
            }
        }
        "sleep" => std::thread::sleep(Duration::from_secs(3_600)),
        "count" => {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body).expect("a body");
            write!(output, "{}", body.len()).expect("there is room");
        }
        _ => {
            let mut text = String::new();
            for (name, value) in std::env::vars() {
                text.push_str(&format!("{name}={value}\n"));
            }
            let files = if std::fs::read_dir("/").is_err() { "none" } else { "some" };
            let sockets = if std::net::TcpStream::connect("127.0.0.1:80").is_err() { "none" } else { "some" };
            text.push_str(&format!("arguments: {:?}\n", std::env::args().collect::<Vec<_>>()));
            text.push_str(&format!("files: {files}\nsockets: {sockets}\n"));
            eprintln!("asked with {query}");
            std::io::stdin().read_to_string(&mut text).expect("a body");
            output.write_all(text.as_bytes()).expect("there is room");
        }
    }
}
