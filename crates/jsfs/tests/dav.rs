//! WebDAV with the clients that people use, and what strangers and hostile clients get, against a real node. A tool that is not installed
//! leaves its test out, with the reason printed.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn setup(folder: &Path) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.join("data"))
}

fn ask(node: &Node, request: &Request<'_>) -> Answer {
    Client::new(node.address()).send(request).unwrap()
}

/// A command, unless its tool is missing.
fn tool(name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().is_ok() {
        return Some(Command::new(name));
    }
    eprintln!("skipped: {name} is not installed");
    None
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn token(node: &Node, key: &str, address: &str, methods: &str) -> String {
    let body = format!(r#"{{"address":"{address}","methods":{methods}}}"#);
    let request = Request::new("POST", "/.jsfs/tokens").bearer(key).body(body.as_bytes());
    ask(node, &request).json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn litmus_finds_no_fault() {
    let Some(mut litmus) = tool("litmus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let url = format!("http://localhost:{}/.jsfs/dav/", node.address().port());
    let output =
        litmus.args(["-k", &url, "any", &setup.root_key()]).current_dir(folder.path()).output().unwrap();
    let text = said(&output);
    let summaries: Vec<&str> = text.lines().filter(|line| line.starts_with("<- summary")).collect();
    assert_eq!(summaries.len(), 5, "{text}");
    for line in summaries {
        assert!(line.ends_with(" 0 failed. 100.0%"), "{line}\n{text}");
    }
    // It sends a fragment in the request's line, which the library that reads URIs cuts off before anything sees it.
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains("WARNING")).collect();
    assert!(
        warnings.iter().all(|line| line.contains("fragment")) && warnings.len() <= 1,
        "{warnings:?}\n{text}"
    );
}

/// A remote of rclone's that is given in the environment.
fn rclone(node: &Node, credential: &str, arguments: &[&str]) -> Output {
    let obscured = Command::new("rclone").args(["obscure", credential]).output().unwrap();
    Command::new("rclone")
        .env("RCLONE_CONFIG", "/dev/null")
        .env("RCLONE_CONFIG_DAV_TYPE", "webdav")
        .env("RCLONE_CONFIG_DAV_VENDOR", "other")
        .env("RCLONE_CONFIG_DAV_URL", format!("http://127.0.0.1:{}/.jsfs/dav/", node.address().port()))
        .env("RCLONE_CONFIG_DAV_USER", "any")
        .env("RCLONE_CONFIG_DAV_PASS", String::from_utf8(obscured.stdout).unwrap().trim())
        .args(["--retries", "1", "--low-level-retries", "1", "--transfers", "8"])
        .args(arguments)
        .output()
        .unwrap()
}

const NAMES: [&str; 9] =
    ["plain.txt", "with space", "ünïcode 漢字", "a#b", "100%", "%41", "x+y", "q?&=;'()[]", ".dot"];

fn plant(top: &Path) {
    std::fs::create_dir_all(top.join("an/empty directory")).unwrap();
    for (round, name) in NAMES.iter().enumerate() {
        let folder = top.join(format!("round {round}")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        // All names in a few directories are enough.
        for (index, name) in NAMES.iter().enumerate().filter(|(index, _)| round < 3 || *index == round) {
            std::fs::write(folder.join(name), "x".repeat(index * 3_000 * round)).unwrap();
        }
    }
    let deep = top.join("d/".repeat(12));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("leaf"), "deep").unwrap();
    for name in NAMES {
        std::fs::write(top.join(name), name).unwrap();
    }
}

#[test]
fn rclone_copies_a_tree_of_odd_names_up_and_down_and_a_read_only_token_changes_nothing() {
    if tool("rclone").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let key = setup.root_key();
    let (up, down) = (folder.path().join("up"), folder.path().join("down"));
    plant(&up);
    let (up, down) = (up.to_str().unwrap(), down.to_str().unwrap());
    let planted = format!("{up}/plain.txt");
    let fine = |output: Output| assert!(output.status.success(), "{}", said(&output));
    fine(rclone(&node, &key, &["copy", "--create-empty-src-dirs", up, "dav:tree"]));
    fine(rclone(&node, &key, &["check", "--download", up, "dav:tree"]));
    node.kill();
    let node = setup.start();
    let reader = token(&node, &key, "/localhost/tree/", r#"["GET","LIST"]"#);
    fine(rclone(&node, &reader, &["copy", "--create-empty-src-dirs", "dav:tree", down]));
    fine(rclone(&node, &reader, &["check", "--download", down, "dav:tree"]));
    assert!(Command::new("diff").args(["-r", up, down]).status().unwrap().success());
    assert!(Path::new(down).join("an/empty directory").is_dir());
    for arguments in [
        &["deletefile", "dav:tree/plain.txt"][..],
        &["purge", "dav:tree"],
        &["copyto", "--ignore-times", &planted, "dav:tree/plain.txt"],
        &["mkdir", "dav:tree/new"],
    ] {
        assert!(!rclone(&node, &reader, arguments).status.success(), "{arguments:?}");
    }
    fine(rclone(&node, &key, &["check", "--download", up, "dav:tree"]));
}

/// A namespace that davfs2 has mounted.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// With a key as password, or else with a token in a header: davfs2 cuts passwords off after 255 bytes. None where this machine cannot mount, which is
    /// said.
    fn new(folder: &Path, node: &Node, credential: &str) -> Option<Mounted> {
        tool("mount.davfs")?;
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !is_root || std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            eprintln!("skipped: mounting needs root and /dev/fuse");
            return None;
        }
        let (at, conf, secrets) = (folder.join("mounted"), folder.join("conf"), folder.join("secrets"));
        let url = format!("http://127.0.0.1:{}/.jsfs/dav/", node.address().port());
        // Linux asks for more of a directory at once than the default buffer takes (docs/webdav.md).
        let mut settings = format!("buf_size 64\ndelay_upload 0\nsecrets {}\n", secrets.display());
        let mut known = String::new();
        match credential.len() {
            ..256 => known = format!("{url} any {credential}\n"),
            _ => settings += &format!("ask_auth 0\nadd_header Authorization \"Bearer {credential}\"\n"),
        }
        std::fs::write(&conf, settings).unwrap();
        std::fs::write(&secrets, known).unwrap();
        for file in [&conf, &secrets] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::create_dir_all(&at).unwrap();
        let options = format!("conf={}", conf.display());
        let mount = Command::new("mount.davfs").arg(&url).arg(&at).args(["-o", &options]).output().unwrap();
        assert!(mount.status.success(), "{}", said(&mount));
        Some(Mounted { at })
    }
}

impl Drop for Mounted {
    /// Waits until all that was written has arrived.
    fn drop(&mut self) {
        let output = Command::new("umount").arg(&self.at).output().unwrap();
        assert!(output.status.success() || std::thread::panicking(), "{}", said(&output));
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    // davfs2 adds this one.
    names.retain(|name| name != "lost+found");
    names.sort();
    names
}

#[test]
fn davfs2_mounts_a_namespace_as_a_folder_and_a_read_only_token_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let key = setup.root_key();
    let large = "large, and in several pieces. ".repeat(100_000);
    let own =
        |method, path, body: &str| ask(&node, &Request::new(method, path).bearer(&key).body(body.as_bytes()));
    for (path, body) in [("/there.txt", "there"), ("/d/inner.txt", "inner"), ("/gone.txt", "gone")] {
        assert_eq!(own("PUT", path, body).status, 201);
    }
    let Some(mounted) = Mounted::new(folder.path(), &node, &key) else { return };
    let top = mounted.at.clone();
    assert_eq!(names_in(&top), ["d", "gone.txt", "there.txt"]);
    assert_eq!(std::fs::read_to_string(top.join("d/inner.txt")).unwrap(), "inner");
    std::fs::write(top.join("large.txt"), &large).unwrap();
    std::fs::create_dir_all(top.join("new/deep")).unwrap();
    std::fs::write(top.join("new/deep/ünïcode 漢字"), "named").unwrap();
    std::fs::write(top.join("there.txt"), "there again").unwrap();
    std::fs::rename(top.join("d/inner.txt"), top.join("new/moved.txt")).unwrap();
    std::fs::remove_file(top.join("gone.txt")).unwrap();
    drop(mounted);

    assert_eq!(own("GET", "/there.txt", "").text(), "there again");
    assert!(own("GET", "/large.txt", "").text() == large);
    assert_eq!(own("GET", "/new/deep/%C3%BCn%C3%AFcode%20%E6%BC%A2%E5%AD%97", "").text(), "named");
    assert_eq!(own("GET", "/new/moved.txt", "").text(), "inner");
    assert_eq!(own("GET", "/d/inner.txt", "").status, 404);
    assert_eq!(own("GET", "/gone.txt", "").status, 404);

    let reader = token(&node, &key, "/localhost/", r#"["GET","LIST"]"#);
    let Some(mounted) = Mounted::new(folder.path(), &node, &reader) else { return };
    // A directory is there while something is in it.
    assert_eq!(names_in(&top), ["large.txt", "new", "there.txt"]);
    assert!(std::fs::read_to_string(top.join("large.txt")).unwrap() == large);
    let _ = std::fs::write(top.join("there.txt"), "changed by a reader");
    assert!(std::fs::remove_file(top.join("large.txt")).is_err());
    assert!(std::fs::create_dir(top.join("by a reader")).is_err());
    drop(mounted);
    assert_eq!(own("GET", "/there.txt", "").text(), "there again");
    assert!(own("GET", "/large.txt", "").text() == large);
}

const LOCKINFO: &str =
    r#"<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>"#;

#[test]
fn a_stranger_cannot_tell_private_from_absent() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let key = setup.root_key();
    for (path, body) in [("/p/x", "secret"), ("/p/d/y", "secret"), ("/open?private=false", "all")] {
        assert_eq!(ask(&node, &Request::new("PUT", path).bearer(&key).body(body.as_bytes())).status, 201);
    }
    let lock = ask(&node, &Request::new("LOCK", "/.jsfs/dav/p/x").bearer(&key).body(LOCKINFO.as_bytes()));
    assert_eq!(lock.status, 200, "{}", lock.text());
    let insufficient = token(&node, &key, "/localhost/p/", r#"["WATCH"]"#);
    let elsewhere = token(&node, &key, "/localhost/q/", r#"["GET","LIST","PUT","DELETE"]"#);
    let credentials =
        [("", 401), ("jsfs_2NEpo7TZRRrLZSi2U", 401), (elsewhere.as_str(), 401), (insufficient.as_str(), 403)];
    let update =
        r#"<propertyupdate xmlns="DAV:"><set><prop><a xmlns="b">c</a></prop></set></propertyupdate>"#;
    for (method, body) in [
        ("PROPFIND", ""),
        ("GET", ""),
        ("HEAD", ""),
        ("PUT", "x"),
        ("MKCOL", ""),
        ("DELETE", ""),
        ("PROPPATCH", update),
        ("COPY", ""),
        ("MOVE", ""),
        ("LOCK", LOCKINFO),
        ("UNLOCK", ""),
    ] {
        for (credential, want) in credentials {
            let answers: Vec<_> = ["x", "n", "d", "m"]
                .iter()
                .map(|name| {
                    let path = format!("/.jsfs/dav/p/{name}");
                    let mut request = Request::new(method, &path).header("Depth", "0").body(body.as_bytes());
                    request = request.header("Destination", "/.jsfs/dav/q/x").header("Lock-Token", "<urn:x>");
                    if !credential.is_empty() {
                        request = request.bearer(credential);
                    }
                    let mut answer = ask(&node, &request);
                    answer.headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
                    (answer.status, answer.headers.clone(), answer.text())
                })
                .collect();
            let is_read = matches!(method, "PROPFIND" | "GET" | "HEAD" | "COPY" | "MOVE");
            assert!(
                answers.iter().all(|answer| *answer == answers[0]),
                "{method} {credential}: {answers:#?}"
            );
            // To a token whose reach ends elsewhere all is hidden.
            assert!(
                answers[0].0 == want || (is_read && answers[0].0 == 401),
                "{method} {credential} {answers:?}"
            );
            if answers[0].0 == 401 {
                let asks = answers[0]
                    .1
                    .iter()
                    .any(|(name, value)| name == "www-authenticate" && value.starts_with("Basic"));
                assert!(asks, "{method}");
            }
        }
    }
    let shown = ask(&node, &Request::new("PROPFIND", "/.jsfs/dav/").header("Depth", "1"));
    assert_eq!(shown.status, 207);
    assert!(shown.text().contains("/.jsfs/dav/open<") && !shown.text().contains("/p"), "{}", shown.text());
    // What a person's browser or a page sends is never asked for a password, and a remembered one opens nothing.
    let page = Request::new("GET", "/.jsfs/dav/p/x").header("Sec-Fetch-Site", "same-origin");
    assert_eq!(ask(&node, &page).header("www-authenticate"), Some("Bearer realm=\"jsfs\""));
    let basic = "Basic ".to_owned() + &base64(&format!("u:{key}"));
    let plain = Request::new("GET", "/.jsfs/dav/p/x").header("Authorization", &basic);
    assert_eq!(ask(&node, &plain).text(), "secret");
    assert_eq!(ask(&node, &page.header("Authorization", &basic)).status, 401);
    assert_eq!(ask(&node, &plain.header("Origin", "http://evil.example")).status, 401);
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            out.push(if place <= group.len() {
                char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize])
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn hostile_input_is_bounded_and_destinations_ask_for_their_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let key = setup.root_key();
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let mut request = Request::new(method, path).bearer(&key).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        ask(&node, &request).status
    };
    let bomb =
        br#"<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><propfind xmlns="DAV:">&c;</propfind>"#;
    assert_eq!(send("PROPFIND", "/.jsfs/dav/", &[("Depth", "0")], bomb), 400);
    assert_eq!(send("PROPFIND", "/.jsfs/dav/", &[("Depth", "0")], "<a>".repeat(9_000).as_bytes()), 400);
    assert_eq!(send("PROPFIND", "/.jsfs/dav/", &[("Depth", "0")], &vec![b' '; 100_000]), 413);
    assert_eq!(send("PROPFIND", "/.jsfs/dav/", &[("Depth", "infinity")], b""), 403);
    let long = "(<urn:x>)".repeat(120_000);
    assert_eq!(send("PUT", "/.jsfs/dav/x", &[("If", &long)], b""), 431);
    assert_eq!(send("PUT", "/.jsfs/dav/x", &[("If", &"(<urn:x>)".repeat(2_000))], b""), 400);
    assert_eq!(send("PUT", "/.jsfs/dav/x", &[], b"x"), 201);
    assert_eq!(send("PUT", "/.jsfs/dav/none/x", &[], b"x"), 409);
    assert_eq!(send("PUT", "/.jsfs/dav/.jsfs-directory", &[], b"x"), 403);
    assert_eq!(send("DELETE", "/.jsfs/dav/", &[], b""), 403);
    let namespace = Request::new("PUT", "/.jsfs/namespaces/com.other")
        .bearer(&key)
        .body(br#"{"owner_key":"the key of another"}"#);
    assert_eq!(ask(&node, &namespace).status, 201);
    for (destination, want) in [
        ("http://other.com/.jsfs/dav/x", 401),
        ("http://nowhere.example/.jsfs/dav/x", 404),
        ("/x2", 502),
        ("ftp://localhost/.jsfs/dav/x", 400),
        ("http://localhost/.jsfs/dav/y", 201),
    ] {
        assert_eq!(send("COPY", "/.jsfs/dav/x", &[("Destination", destination)], b""), want, "{destination}");
    }
    // A tree of many entries: one level in pieces, all levels never.
    for number in 0..450 {
        let path = format!("/many/{number}");
        assert_eq!(send("PUT", &path, &[], b""), 201);
    }
    let listed = ask(&node, &Request::new("PROPFIND", "/.jsfs/dav/many").bearer(&key).header("Depth", "1"));
    assert_eq!(listed.text().matches("<D:response>").count(), 451);
}

#[test]
fn directories_properties_and_locks_are_kept_as_long_as_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let node = setup.start();
    let key = setup.root_key();
    let send = |node: &Node, method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let mut request = Request::new(method, path).bearer(&key).body(body.as_bytes());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        ask(node, &request)
    };
    let update =
        r#"<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:b">kept</a></prop></set></propertyupdate>"#;
    assert_eq!(send(&node, "MKCOL", "/.jsfs/dav/d", &[], "").status, 201);
    assert_eq!(send(&node, "PUT", "/.jsfs/dav/f", &[], "1").status, 201);
    for path in ["/.jsfs/dav/d", "/.jsfs/dav/f"] {
        assert_eq!(send(&node, "PROPPATCH", path, &[], update).status, 207);
    }
    assert_eq!(send(&node, "PUT", "/.jsfs/dav/f", &[], "2").status, 200);
    assert_eq!(send(&node, "COPY", "/.jsfs/dav/f", &[("Destination", "/.jsfs/dav/d/g")], "").status, 201);
    assert_eq!(send(&node, "MOVE", "/.jsfs/dav/d", &[("Destination", "/.jsfs/dav/e")], "").status, 201);
    let lock = send(&node, "LOCK", "/.jsfs/dav/e", &[], LOCKINFO);
    let token = lock.header("lock-token").unwrap().to_owned();
    assert_eq!(send(&node, "PUT", "/.jsfs/dav/e/new", &[], "x").status, 423);
    assert_eq!(
        send(&node, "PUT", "/.jsfs/dav/e/new", &[("If", &format!("</.jsfs/dav/e> ({token})"))], "x").status,
        201
    );
    // A lock binds WebDAV only.
    assert_eq!(send(&node, "PUT", "/e/new", &[], "y").status, 200);
    node.kill();
    let node = setup.start();
    assert_eq!(send(&node, "PUT", "/.jsfs/dav/e/new", &[], "z").status, 200);
    let all = send(&node, "PROPFIND", "/.jsfs/dav/e", &[("Depth", "1")], "").text();
    assert_eq!(all.matches("kept").count(), 2, "{all}");
    assert!(!all.contains(".jsfs-directory"), "{all}");
    assert_eq!(send(&node, "GET", "/e/new", &[], "").header("x-private"), Some("true"));
}
