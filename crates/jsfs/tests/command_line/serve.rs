//! `serve` and `check`: starting, stopping, reloading, and everything that keeps a node from starting.

use crate::support::{BINARY, Home, ran};
use jsfs_testkit::http::Request;
use jsfs_testkit::node::Setup;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

#[test]
fn a_node_stops_cleanly_and_has_everything_when_it_starts_again() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    let mode =
        |name: &str| std::fs::metadata(home.setup.data().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("root.key"), mode("node.key"), mode("")), (0o600, 0o600, 0o700));
    let url = std::fs::read_to_string(home.setup.data().join("node.url")).unwrap();
    assert_eq!(url.trim(), home.url());
    let Home { setup, node, .. } = &home;
    node.signal(Signal::TERM);
    wait(|| !setup.data().join("node.url").exists());
    let again = restart(setup);
    let mut command = home.command(&["cat", "x/a"]);
    assert_eq!(ran(&mut command).out, "1");
    assert_eq!(again.stop().code(), Some(0));
    let check = setup.check();
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}

/// Starts the node as soon as the one before has let go of the store.
fn restart(setup: &Setup) -> jsfs_testkit::node::Node {
    wait(|| setup.check().status.code() == Some(0));
    setup.start()
}

fn wait(mut until: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !until() {
        assert!(Instant::now() < end, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a node that cannot start says; it must end with 2.
fn refusal(setup: &Setup, arguments: &[&str]) -> String {
    let ran = ran(setup.command().arg("serve").arg("--data").arg(setup.data()).args(arguments));
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "", "it said that it was ready");
    ran.err
}

#[test]
fn a_node_that_cannot_start_says_why_and_ends_with_2() {
    let home = Home::new();
    let taken = home.node.address().to_string();
    let other = Setup::new(BINARY, &home.path("other"));
    assert!(refusal(&other, &["--listen", &taken]).contains("in use"));
    assert!(!home.path("other").exists(), "a data directory was made for a node that could not start");
    assert!(refusal(&home.setup, &["--listen", "127.0.0.1:0"]).contains("in use by another process"));
    assert_eq!(home.ok(&["ls", "-r"]), "", "the node that runs was disturbed");
    assert!(refusal(&other, &["--listen", "192.0.2.1:0"]).contains("does not have the address"));
    assert!(refusal(&other, &["--listen", "7302"]).contains("ADDRESS:PORT"));
    assert!(refusal(&other, &["--set", "limits.conections=1"]).contains("did you mean limits.connections?"));
    assert!(refusal(&other, &["--config", "/nonexistent"]).contains("/nonexistent"));
    assert!(
        refusal(&other, &["--set", "limits.uploads=9", "--set", "limits.requests=8"])
            .contains("limits.uploads")
    );
    home.write("file", "");
    let in_a_file = Setup::new(BINARY, &home.path("file/data"));
    assert!(refusal(&in_a_file, &["--listen", "127.0.0.1:0"]).contains("file/data"));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let home = Home::new();
    let closed = home.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let setup = Setup::new(BINARY, &closed.join("data"));
    assert!(refusal(&setup, &["--listen", "127.0.0.1:0"]).contains("closed/data"));
}

#[test]
fn a_damaged_root_key_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(BINARY, &directory.path().join("data"));
    assert_eq!(setup.start().stop().code(), Some(0));
    let path = setup.data().join("root.key");
    std::fs::write(&path, "jsfs_short\n").unwrap();
    assert!(refusal(&setup, &["--listen", "127.0.0.1:0"]).contains("root.key"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "jsfs_short\n");
}

#[test]
fn a_hang_up_reads_the_settings_again_and_mistakes_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("jsfs.toml");
    std::fs::write(&config, "[log]\nlevel = \"info\"\n").unwrap();
    let home = directory.path().join(".config/jsfs");
    std::fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(&config, home.join("jsfs.toml")).unwrap();
    let setup = Setup::new(BINARY, &directory.path().join("data"));
    let node = setup.start();
    let logged = |text: &str| wait(|| node.log_text().contains(text));
    std::fs::write(&config, "[limits]\nrequests = 300\n[versions]\ndays = 3\n").unwrap();
    node.signal(Signal::HUP);
    logged("versions.days changes at the next start");
    logged("read the configuration again");
    std::fs::write(&config, "[limits]\nrequets = 300\n").unwrap();
    node.signal(Signal::HUP);
    logged("did you mean limits.requests?");
    assert_eq!(node.stop().code(), Some(0));
}

#[test]
fn beyond_loopback_without_tls_is_said_loudly() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(BINARY, &directory.path().join("data")).set("listen=0.0.0.0:0");
    let node = setup.start();
    wait(|| node.log_text().contains("without TLS"));
    let url = std::fs::read_to_string(setup.data().join("node.url")).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
}

#[test]
fn check_asks_the_node_that_runs_and_names_damage() {
    let home = Home::new();
    home.write("a", vec![7; 300_000]);
    home.ok(&["put", "a", "x/a"]);
    let check = home.setup.check();
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success() && said.contains("it is checked while it goes on"), "{said}");
    let missing = home.path("missing");
    let none = home.run(&["check", "--data", missing.to_str().unwrap()]);
    assert!(none.code == 2 && none.err.contains("no store") && !missing.exists());
    home.node.signal(Signal::TERM);
    wait(|| home.setup.check().status.code() == Some(0));
    let pack = home.setup.data().join("packs/000000000001.pack");
    let pack = if pack.exists() {
        pack
    } else {
        std::fs::read_dir(home.setup.data().join("packs")).unwrap().next().unwrap().unwrap().path()
    };
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let damaged = home.run(&["check", "--json"]);
    assert_eq!(damaged.code, 1, "{}", damaged.err);
    let report: serde_json::Value = serde_json::from_str(&damaged.out).unwrap();
    assert_eq!(report["clean"], false);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["pack"].as_u64().unwrap() > 0), "{report}");
}

/// What a node prints when it is ready, line by line, until the last line of the greeting.
fn greeting(setup: &Setup, arguments: &[&str]) -> (std::process::Child, Vec<String>) {
    use std::io::{BufRead, BufReader};
    let log = std::fs::File::create(setup.data().with_extension("greeting.log")).unwrap();
    let mut command = setup.command();
    command.arg("serve").args(["--listen", "127.0.0.1:0"]).args(arguments);
    command.current_dir(setup.data().parent().unwrap());
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let last = line.contains("everything else");
        lines.push(line);
        if last {
            break;
        }
    }
    (child, lines)
}

/// The command of the greeting that follows these words.
fn command_of<'a>(lines: &'a [String], words: &str) -> &'a str {
    let line = lines.iter().find(|line| line.trim_start().starts_with(words));
    line.unwrap_or_else(|| panic!("{words}: {lines:?}")).trim_start().trim_start_matches(words).trim()
}

#[test]
fn the_commands_that_a_node_prints_when_it_is_ready_find_it() {
    for data in [None, Some("else where"), Some("it's")] {
        let home = tempfile::tempdir().unwrap();
        let setup = Setup::new(BINARY, &home.path().join("data"));
        let arguments: Vec<&str> = data.iter().flat_map(|data| ["--data", data]).collect();
        let (mut node, lines) = greeting(&setup, &arguments);
        std::fs::create_dir_all(home.path().join("elsewhere/DIR")).unwrap();
        std::fs::write(home.path().join("elsewhere/index.html"), "hello").unwrap();
        std::fs::write(home.path().join("elsewhere/DIR/b.txt"), "b").unwrap();
        let shell = |line: &str| {
            let mut command = setup.command();
            let environment: Vec<_> =
                command.get_envs().map(|(n, v)| (n.to_owned(), v.map(ToOwned::to_owned))).collect();
            command = std::process::Command::new("sh");
            for (name, value) in environment {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            ran(command.args(["-c", line]).current_dir(home.path().join("elsewhere")))
        };
        for words in ["store a file", "store a tree", "everything else"] {
            let line = command_of(&lines, words);
            assert_eq!(line.contains("--data"), data.is_some(), "{line}");
            let ran = shell(line);
            assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        }
        let listed =
            shell(&command_of(&lines, "store a file").replace("put --public index.html site/", "ls -r"));
        assert_eq!(listed.out, "site/b.txt\nsite/index.html\n");
        assert!(command_of(&lines, "root key").contains("root.key"), "{lines:?}");
        node.kill().unwrap();
        node.wait().unwrap();
    }
}

#[test]
fn a_root_key_that_is_not_there_is_not_said_to_be_found() {
    let home = tempfile::tempdir().unwrap();
    let setup = Setup::new(BINARY, &home.path().join("data"));
    assert_eq!(setup.start().stop().code(), Some(0));
    std::fs::remove_file(setup.data().join("root.key")).unwrap();
    let (mut node, lines) = greeting(&setup, &["--data", "data"]);
    let line = command_of(&lines, "root key");
    assert!(line.contains("missing") && !line.contains("finds it by itself"), "{line}");
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn the_log_of_a_node_is_about_the_node() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    let again = restart_of(&home);
    let log = again.log_text();
    assert!(log.contains("ready"), "{log}");
    for name in ["lsm_tree", "sfa", "fjall"] {
        assert!(!log.contains(name), "{log}");
    }
}

fn restart_of(home: &Home) -> jsfs_testkit::node::Node {
    home.node.signal(Signal::TERM);
    wait(|| !home.setup.data().join("node.url").exists());
    restart(&home.setup)
}

#[test]
fn requests_are_logged_in_one_line_with_their_ids_where_the_level_asks_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(BINARY, &directory.path().join("data")).set("log.level=info,jsfs_http=debug");
    let node = setup.start();
    let root = setup.root_key();
    let send = |request: Request<'_>| {
        let answer = jsfs_testkit::http::Client::new(node.address()).send(&request).unwrap();
        let id = answer.header("x-request-id").unwrap().to_owned();
        (answer, id)
    };
    let line_of = |part: &str| {
        wait(|| node.log_text().contains(part));
        node.log_text().lines().find(|line| line.contains(part)).unwrap().to_owned()
    };
    let (answer, id) = send(Request::new("GET", "/some/where?access_key=secret"));
    let line = line_of("/some/where");
    let (length, id) = (format!("bytes={}", answer.body.len()), format!("request=\"{id}\""));
    for part in ["method=GET", "path=/some/where", "status=404", &length, "ms=", &id] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!node.log_text().contains("secret"), "{}", node.log_text());

    // One that a proxy made is kept, also where the answer is in memory; what could pose as something else in the log is not.
    send(Request::new("PUT", "/there?private=false").bearer(&root).body(b"there"));
    for (number, sent, is_kept) in
        [(1, "of-a-proxy:1", true), (2, "of-a-proxy:2", true), (3, "a method=PUT", false)]
    {
        let (answer, id) = send(Request::new("GET", "/there").header("X-Request-ID", sent));
        assert_eq!((answer.status, id == sent), (200, is_kept), "{number}: {id}");
        let line = line_of(&format!("request=\"{id}\""));
        assert!(line.contains("path=/there"), "{line}");
    }
    assert!(!node.log_text().contains("a method=PUT"));
    assert!(node.stop().success());

    let node = setup.set("log.format=json").start();
    let request = Request::new("GET", "/there").header("X-Request-ID", "as-json");
    jsfs_testkit::http::Client::new(node.address()).send(&request).unwrap();
    wait(|| node.log_text().contains("as-json"));
    let log = node.log_text();
    let line: serde_json::Value =
        serde_json::from_str(log.lines().find(|line| line.contains("as-json")).unwrap()).unwrap();
    assert_eq!(line["fields"]["request"], "as-json", "{line}");
}

#[test]
fn a_configuration_that_serve_refuses_does_not_pass_the_check() {
    let home = tempfile::tempdir().unwrap();
    let setup = Setup::new(BINARY, &home.path().join("data"));
    for settings in [
        &["limits.requests=5"][..],
        &["limits.uploads=2000"],
        &["limits.header_timeout=600s", "limits.request_timeout=60s"],
        &["limits.request_timeout=15s"],
    ] {
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let said = refusal(&setup, &[&flags[..], &["--listen", "127.0.0.1:0"]].concat());
        let checked = ran(setup.command().args(["config", "check"]).args(&flags));
        assert_eq!(checked.code, 1, "{settings:?}: {}{}", checked.out, checked.err);
        let reason = checked.err.trim().rsplit(": ").next().unwrap();
        assert!(said.contains(reason), "{said} {reason}");
        let json = ran(setup.command().args(["config", "check", "--json"]).args(&flags));
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["problems"].as_array().unwrap().len(), 1, "{json}");
        let shown = ran(setup.command().args(["config", "show"]).args(&flags));
        assert_eq!(shown.code, 1, "{settings:?}");
    }
    let together = ["config", "check", "--set", "limits.requests=5", "--set", "limits.uploads=5"];
    assert_eq!(ran(setup.command().args(together)).code, 0);
}
