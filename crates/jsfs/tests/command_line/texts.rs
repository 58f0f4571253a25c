//! What people read: help and errors, as snapshots.

use crate::support::{BINARY, ran};
use std::fmt::Write;
use std::process::Command;

/// Where no node answers: at the usual port one may run while this is tested.
const NOBODY: &str = "http://127.0.0.1:9";

fn output(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .env("HOME", home.path())
        .env("JSFS_NODE", NOBODY)
        .current_dir(home.path())
        .args(arguments);
    let ran = ran(&mut command);
    let text = format!("$ jsfs {}\n{}{}status {}\n\n", arguments.join(" "), ran.out, ran.err, ran.code);
    text.replace(&home.path().display().to_string(), "HOME").replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn shells_and_man_know_the_commands() {
    let home = tempfile::tempdir().unwrap();
    for (shell, wanted) in
        [("bash", "complete -F _jsfs"), ("zsh", "#compdef jsfs"), ("fish", "complete -c jsfs")]
    {
        let script = ran(Command::new(BINARY).args(["completions", shell]));
        assert_eq!(script.code, 0, "{}", script.err);
        assert!(script.out.contains(wanted) && script.out.contains("restore-version"), "{}", script.out);
    }
    let pages = home.path().join("man");
    let written = ran(Command::new(BINARY).arg("manual").arg(&pages));
    assert_eq!(written.code, 0, "{}", written.err);
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("jsfs.1").contains("jsfs\\-put(1)"), "{}", page("jsfs.1"));
    assert!(page("jsfs-put.1").contains("Store files"), "{}", page("jsfs-put.1"));
    std::fs::write(home.path().join("file"), "").unwrap();
    let refused = ran(Command::new(BINARY).arg("manual").arg(home.path().join("file")));
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot write manual pages into"), "{}", refused.err);
}

#[test]
fn help_of_every_command() {
    let mut text = output(&["--help"]);
    let commands = [
        "serve",
        "put",
        "get",
        "cat",
        "ls",
        "stat",
        "rm",
        "mv",
        "cp",
        "versions",
        "restore-version",
        "purge",
        "sync",
        "run",
        "logs",
        "new",
        "dev",
        "share",
        "revoke",
        "key",
        "key new",
        "key show",
        "key export",
        "key replace",
        "namespace",
        "namespace add",
        "namespace list",
        "namespace set",
        "config",
        "config show",
        "config check",
        "check",
    ];
    for command in commands {
        let mut arguments = command.split(' ').collect::<Vec<_>>();
        arguments.push("-h");
        text.write_str(&output(&arguments)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn errors_name_the_thing_and_the_next_step() {
    let lines: &[&[&str]] = &[
        &["--version"],
        &["nonsense"],
        &["put", "a"],
        &["put", "a", "b", "--public", "--private"],
        &["ls"],
        &["ls", "--json"],
        &["ls", "/"],
        &["ls", "a//b"],
        &["ls", "http://localhost:7399/x"],
        &["ls", "http://user:secret@localhost/x"],
        &["ls", "--node", "ftp://x"],
        &["ls", "--key", "jsfs_mistyped"],
        &["ls", "--key-file", "missing"],
        &["cat", "/localhost/.jsfs/x"],
        &["get", "dir/"],
        &["get", "x", "--range", "9-1"],
        &["sync", "missing", "x/"],
        &["share", "x", "--for", "soon"],
        &["revoke", "id"],
        &["key", "show"],
        &["key", "export"],
        &["namespace", "add", "not a host"],
        &["namespace", "set", "example.com"],
        &["serve", "--set", "limits.conections=1"],
        &["serve", "--set", "storage.durability=never"],
        &["config", "check", "--config", "missing.toml"],
        &["config", "check", "--set", "log.level="],
        &["check"],
        &["check", "--data", "missing"],
    ];
    let text = lines.iter().map(|line| output(line)).collect::<String>();
    insta::assert_snapshot!(text);
}
