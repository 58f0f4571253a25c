//! Uploads that are interrupted: the node is killed, the connection breaks, the command is killed. What was kept goes on; nothing appears half.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use jsfs_testkit::random::Random;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

fn setup(folder: &Path) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.join("data"))
}

fn tus<'a>(key: &str, method: &'a str, target: &'a str) -> Request<'a> {
    Request::new(method, target).bearer(key).header("Tus-Resumable", "1.0.0")
}

fn ask(node: SocketAddr, request: &Request<'_>) -> Answer {
    Client::new(node).send(request).unwrap()
}

fn offset(node: SocketAddr, key: &str, location: &str) -> usize {
    let answer = ask(node, &tus(key, "HEAD", location));
    assert_eq!(answer.status, 200);
    answer.header("upload-offset").unwrap().parse().unwrap()
}

#[test]
fn an_upload_goes_on_after_kill_9_and_the_store_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let bytes = Random::seeded(1).bytes(90 * MIB);
    let node = setup.start();
    let key = setup.root_key();
    let request = tus(&key, "POST", "/killed").header("Upload-Length", &bytes.len().to_string());
    let location = ask(node.address(), &request).header("location").unwrap().to_owned();
    let mut node = Some(node);
    let mut sent = 0;
    for round in 0..3 {
        let running: Node = node.take().unwrap_or_else(|| setup.start());
        let at = offset(running.address(), &key, &location);
        assert!(at + 17 * MIB > sent && at <= sent, "round {round}: {at} of {sent} are kept");
        let mut stream = TcpStream::connect(running.address()).unwrap();
        let length = bytes.len() - at;
        write!(stream, "PATCH {location} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nTus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: {at}\r\nContent-Length: {length}\r\n\r\n").unwrap();
        sent = at + 27 * MIB;
        stream.write_all(&bytes[at..sent]).unwrap();
        // The rest of it is in the sockets' buffers or was read; both are lost with the node.
        std::thread::sleep(Duration::from_millis(300));
        running.kill();
    }
    let check = setup.check();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let node = setup.start();
    let at = offset(node.address(), &key, &location);
    assert_eq!(ask(node.address(), &Request::new("GET", "/killed").bearer(&key)).status, 404);
    let request = tus(&key, "PATCH", &location).header("Content-Type", "application/offset+octet-stream");
    let request = request.header("Upload-Offset", &at.to_string()).body(&bytes[at..]);
    assert_eq!(ask(node.address(), &request).status, 204);
    let read = ask(node.address(), &Request::new("GET", "/killed").bearer(&key));
    assert!(read.body == bytes);
    node.kill();
    let check = setup.check();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// A proxy that breaks each connection after so many bytes to the node, as often as it is told.
struct Breaking {
    address: SocketAddr,
    /// Bytes that went to the node.
    passed: Arc<AtomicU64>,
    broken: Arc<AtomicUsize>,
}

impl Breaking {
    fn before(node: SocketAddr, after: usize, times: usize) -> Breaking {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (passed, broken) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let counters = (Arc::clone(&passed), Arc::clone(&broken));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (passed, broken) = (Arc::clone(&counters.0), Arc::clone(&counters.1));
                std::thread::spawn(move || carry(client, node, after, times, &passed, &broken));
            }
        });
        Breaking { address, passed, broken }
    }
}

fn carry(
    mut client: TcpStream,
    node: SocketAddr,
    after: usize,
    times: usize,
    passed: &AtomicU64,
    broken: &AtomicUsize,
) {
    let Ok(mut server) = TcpStream::connect(node) else { return };
    let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut buffer, mut moved) = (vec![0; 64 << 10], 0);
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
        moved += read;
        passed.fetch_add(read as u64, Ordering::Relaxed);
        if moved > after && broken.load(Ordering::Relaxed) < times {
            broken.fetch_add(1, Ordering::Relaxed);
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

fn large_file(folder: &Path, seed: u64) -> (PathBuf, Vec<u8>) {
    let bytes = Random::seeded(seed).bytes(70 * MIB);
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("large.bin");
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn jsfs(setup: &Setup, node: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = setup.command();
    command.env("JSFS_NODE", format!("http://{node}")).env("JSFS_ACCESS_KEY", setup.root_key());
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn put_and_sync_go_on_after_a_broken_connection() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    for (number, verb) in [(1, "put"), (2, "sync")] {
        let (path, bytes) = large_file(&folder.path().join(verb), number);
        let proxy = Breaking::before(node.address(), 25 * MIB, 2);
        let from = if verb == "put" { path.clone() } else { path.parent().unwrap().to_owned() };
        let target = format!("/localhost/{verb}/");
        let output =
            jsfs(&setup, proxy.address, &["--json", verb, from.to_str().unwrap(), &target]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(proxy.broken.load(Ordering::Relaxed), 2);
        let passed = proxy.passed.load(Ordering::Relaxed);
        assert!(
            passed < 82 * MIB as u64,
            "{passed} bytes for 70 MiB: only what was on its way is sent again"
        );
        let read = ask(
            node.address(),
            &Request::new("GET", &format!("/{verb}/large.bin")).bearer(&setup.root_key()),
        );
        assert!(read.body == bytes);
        if verb == "put" {
            let metadata: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(metadata["file_size"].as_u64(), Some(bytes.len() as u64));
            assert!(metadata["sha256"].is_string(), "{metadata}");
        } else {
            let again =
                jsfs(&setup, node.address(), &["--json", verb, from.to_str().unwrap(), &target]).output();
            let summary: serde_json::Value = serde_json::from_slice(&again.unwrap().stdout).unwrap();
            assert_eq!(summary["unchanged"].as_u64(), Some(1), "the hash of an upload in pieces is known");
        }
    }
}

#[test]
fn put_goes_on_after_the_command_itself_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let (path, bytes) = large_file(&folder.path().join("killed"), 3);
    let put = || {
        let mut command = jsfs(&setup, node.address(), &["put", path.to_str().unwrap(), "/localhost/killed"]);
        command.env("XDG_CACHE_HOME", folder.path().join("cache"));
        command
    };
    let noted = folder.path().join("cache/jsfs/uploads");
    let mut running = put().spawn().unwrap();
    let location = loop {
        let files = std::fs::read_dir(&noted).into_iter().flatten();
        let text = files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).next();
        match text.as_deref().and_then(|text| text.split("\n\n").nth(1)) {
            Some(location) => break location.to_owned(),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    std::thread::sleep(Duration::from_millis(150));
    running.kill().unwrap();
    running.wait().unwrap();
    let key = setup.root_key();
    std::thread::sleep(Duration::from_millis(500));
    let at = offset(node.address(), &key, &location);
    eprintln!("killed at {at}");
    let output = put().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stands = ask(node.address(), &tus(&key, "HEAD", &location));
    assert_eq!(stands.header("content-location"), Some("/killed"), "it went on with the same upload");
    assert!(ask(node.address(), &Request::new("GET", "/killed").bearer(&key)).body == bytes);
    assert_eq!(std::fs::read_dir(&noted).unwrap().count(), 0, "nothing is remembered of what is done");
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Node.js and the folder of the script, with its package installed; else the reason why not.
fn script() -> Result<(PathBuf, PathBuf), String> {
    let node = program("node").ok_or("Node.js is not installed")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tus");
    let folder = folder.canonicalize().map_err(|error| format!("tests/tus: {error}"))?;
    if !folder.join("node_modules/tus-js-client").is_dir() {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let npm = Command::new("npm").args(install).current_dir(&folder).output();
        let npm = npm.map_err(|error| format!("npm cannot be run: {error}"))?;
        if !npm.status.success() {
            return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&npm.stderr).trim()));
        }
    }
    Ok((node, folder))
}

/// The assertions are in `tests/tus/upload.mjs`. Without Node.js or the npm package the test says so and is skipped, unless `JSFS_BROWSER=required`.
#[test]
fn tus_js_client_uploads_and_goes_on() {
    let (program, scripts) = match script() {
        Ok(script) => script,
        Err(reason) if std::env::var_os("JSFS_BROWSER").is_none() => {
            eprintln!("skipped: {reason}");
            return;
        }
        Err(reason) => panic!("{reason}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let port = node.address().port().to_string();
    let mut script = Command::new(program);
    let output = script.args(["upload.mjs", &port, &setup.root_key()]).current_dir(scripts).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.matches("ok: ").count(), 8, "{said}{errors}");
    eprint!("{said}");
}
