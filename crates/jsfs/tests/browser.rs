//! A real Chromium at a real node: a public tree can be browsed at `http://NAME.localhost:PORT/`, a private one shows nothing, but to who opens
//! it by a link that works once.
//!
//! Two visitors of the guestbook see each other's entries. The assertions are in `tests/browser`. Without Node.js, Chromium or the npm package the test says so and is skipped, unless
//! `JSFS_BROWSER=required`. Screenshots are left in cargo's folder for test files.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Client, Request};
use jsfs_testkit::node::Setup;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const INDEX: &str = r#"<!doctype html>
<title>Herbarium</title>
<link rel="stylesheet" href="style/main.css">
<h1>Herbarium</h1>
<img src="leaf.svg" alt="">
<p id="script">no script</p>
<a href="plants/ferns.html">Ferns</a>
<script src="script.js"></script>
"#;

/// The public tree: path and content. The last name is an attempt to be markup.
const PAGES: &[(&str, &str)] = &[
    ("index.html", INDEX),
    ("style/main.css", "h1 { color: teal }"),
    ("script.js", "document.getElementById('script').textContent = 'the script ran'"),
    ("leaf.svg", r#"<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle r="20"/></svg>"#),
    (
        "plants/ferns.html",
        r#"<!doctype html><link rel="stylesheet" href="../style/main.css"><h1>Ferns</h1><a href="../">Back</a>"#,
    ),
    ("plants/<b>bold.txt", "a name that looks like markup"),
];

const DIARY: &[(&str, &str)] =
    &[("index.html", "<h1>Dear diary</h1>"), ("letters/one.html", "<h1>Dear diary, too</h1>")];

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// The folder of the script, with its package installed; else the reason why not.
fn script_folder() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
    let folder = folder.canonicalize().map_err(|e| format!("tests/browser: {e}"))?;
    if !folder.join("node_modules/playwright-core").is_dir() {
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let npm = Command::new("npm").args(install).current_dir(&folder).output();
        let npm = npm.map_err(|e| format!("npm cannot be run: {e}"))?;
        if !npm.status.success() {
            return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&npm.stderr).trim()));
        }
    }
    Ok(folder)
}

struct Tools {
    node: PathBuf,
    chromium: PathBuf,
    folder: PathBuf,
}

fn tools() -> Result<Tools, String> {
    let node = program(&["node"]).ok_or("Node.js is not installed")?;
    let chromium =
        program(&["chromium", "chromium-browser", "google-chrome"]).ok_or("Chromium is not installed")?;
    Ok(Tools { node, chromium, folder: script_folder()? })
}

fn write_tree(folder: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn succeeded(what: &str, output: &Output) {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{said}{errors}", output.status);
    eprint!("{said}");
}

/// A book of a few hundred pages that comes with many a Rust toolchain.
fn book() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let book = Path::new(sysroot.trim()).join("share/doc/rust/html/book");
    book.join("index.html").is_file().then_some(book)
}

/// What a test needs; nothing, with the reason printed, where something is missing and may be.
fn tools_or_skip() -> Option<Tools> {
    match tools() {
        Ok(tools) => Some(tools),
        Err(reason) if std::env::var_os("JSFS_BROWSER").is_none() => {
            eprintln!("skipped: {reason}");
            None
        }
        Err(reason) => panic!("{reason}"),
    }
}

/// Where screenshots are left.
fn pictures() -> PathBuf {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}

#[test]
fn a_browser_sees_a_public_tree_and_nothing_of_a_private_one() {
    let Some(tools) = tools_or_skip() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
    let node = setup.start();
    let jsfs = |arguments: &[&str]| {
        let mut command = setup.command();
        command
            .env("JSFS_NODE", format!("http://{}", node.address()))
            .env("JSFS_ACCESS_KEY", setup.root_key());
        succeeded(&arguments.join(" "), &command.args(arguments).output().unwrap());
    };
    let store = |source: &Path, address: &str| jsfs(&["sync", source.to_str().unwrap(), address]);
    write_tree(&folder.path().join("pages"), PAGES);
    write_tree(&folder.path().join("diary"), DIARY);
    jsfs(&["namespace", "add", "pages", "--public"]);
    jsfs(&["namespace", "add", "diary"]);
    store(&folder.path().join("pages"), "/pages/");
    store(&folder.path().join("diary"), "/diary/");
    let book = book();
    if let Some(book) = &book {
        jsfs(&["namespace", "add", "book", "--public"]);
        store(book, "/book/");
    }
    let pictures = pictures();
    let link = |what: &str| {
        let mut command = setup.command();
        command
            .env("JSFS_NODE", format!("http://{}", node.address()))
            .env("JSFS_ACCESS_KEY", setup.root_key());
        String::from_utf8(command.args(["open", "--print", what]).output().unwrap().stdout).unwrap()
    };
    let mut browse = Command::new(tools.node);
    browse.arg("browse.mjs").arg(tools.chromium).arg(node.address().port().to_string()).arg(&pictures);
    browse.args([link("/diary/").trim(), link("--status").trim()]);
    if book.is_some() {
        browse.arg("book");
    }
    succeeded("browse.mjs", &browse.current_dir(tools.folder).output().unwrap());
}

#[test]
fn two_browsers_see_each_others_entries_in_the_guestbook_also_after_a_restart() {
    let Some(tools) = tools_or_skip() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
    let node = setup.start();
    let port = node.address().port();
    let setup = setup.port(port);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/guestbook/index.html");
    for arguments in
        [&["namespace", "add", "guests", "--public"][..], &["put", page.to_str().unwrap(), "/guests/"]]
    {
        let mut command = setup.command();
        command
            .env("JSFS_NODE", format!("http://{}", node.address()))
            .env("JSFS_ACCESS_KEY", setup.root_key());
        succeeded(&arguments.join(" "), &command.args(arguments).output().unwrap());
    }
    let policy = Request::new("PATCH", "/entries/")
        .header("Host", "guests.localhost")
        .bearer(&setup.root_key())
        .body(br#"{"create":"anyone","quota":10000000}"#);
    assert_eq!(Client::new(node.address()).send(&policy).unwrap().status, 204);
    let mut visit = Command::new(tools.node);
    visit.arg("guestbook.mjs").arg(tools.chromium).arg(port.to_string()).arg(pictures());
    let mut visit =
        visit.current_dir(tools.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut node = Some(node);
    for line in BufReader::new(visit.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        eprintln!("{line}");
        if line == "restart" {
            node.take().unwrap().kill();
            node = Some(setup.start());
            visit.stdin.take().unwrap().write_all(b"restarted\n").unwrap();
        }
    }
    assert!(visit.wait().unwrap().success());
}

#[test]
fn browsers_chat_and_count_by_programs() {
    let Some(tools) = tools_or_skip() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
    let node = setup.start();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["chat", "counter"] {
        let source = examples.join(name);
        let target = format!("/{name}/");
        for arguments in
            [["namespace", "add", name, "--public"], ["sync", source.to_str().unwrap(), &target, "-q"]]
        {
            let mut command = setup.command();
            command
                .env("JSFS_NODE", format!("http://{}", node.address()))
                .env("JSFS_ACCESS_KEY", setup.root_key());
            succeeded(&arguments.join(" "), &command.args(arguments).output().unwrap());
        }
    }
    let mut visit = Command::new(tools.node);
    visit.arg("programs.mjs").arg(tools.chromium).arg(node.address().port().to_string()).arg(pictures());
    succeeded("programs.mjs", &visit.current_dir(tools.folder).output().unwrap());
}
