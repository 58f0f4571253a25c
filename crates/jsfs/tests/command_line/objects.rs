//! put, get, cat, ls, stat, rm, mv, cp, versions, restore-version, purge; exit codes and JSON.

use crate::support::Home;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_file_goes_in_and_comes_back() {
    let home = Home::new();
    home.write("a b.txt", "hello\n");
    assert_eq!(home.ok(&["put", "a b.txt", "docs/"]), "/localhost/docs/a b.txt 6 B, version 1, private\n");
    assert_eq!(home.ok(&["cat", "docs/a b.txt"]), "hello\n");
    assert_eq!(home.ok(&["cat", "docs/a b.txt", "--range", "1-3"]), "ell");
    assert_eq!(home.ok(&["cat", "docs/a b.txt", "--range", "4-"]), "o\n");
    assert_eq!(home.ok(&["ls", "docs"]), "a b.txt\n");
    assert_eq!(home.ok(&["ls"]), "docs/\n");
    assert_eq!(home.ok(&["ls", "-r"]), "docs/a b.txt\n");
    assert_eq!(home.ok(&["ls", "docs/a b.txt"]), "a b.txt\n");
    assert!(home.fails(3, &["ls", "nothing/"]).contains("nothing below /localhost/nothing/"));
    home.fails(3, &["ls", "nothing"]);
    assert!(home.fails(2, &["cat", "docs"]).contains("it is a directory"));
    home.fails(3, &["ls", "nowhere.example:"]);
    let stat = home.json(&["stat", "docs/a b.txt"]);
    assert_eq!((&stat["size"], &stat["private"], &stat["version"]), (&6.into(), &true.into(), &1.into()));
    assert_eq!(stat["content_type"], "text/plain; charset=utf-8");
    home.ok(&["get", "docs/a b.txt", "back"]);
    assert_eq!(std::fs::read_to_string(home.path("back")).unwrap(), "hello\n");
    std::fs::create_dir(home.path("below")).unwrap();
    home.ok(&["get", "docs/a b.txt", "below"]);
    assert_eq!(std::fs::read_to_string(home.path("below/a b.txt")).unwrap(), "hello\n");
    assert_eq!(home.ok(&["get", "docs/a b.txt", "-"]), "hello\n");
    home.ok(&["get", "-r", "docs", "tree"]);
    assert_eq!(std::fs::read_to_string(home.path("tree/a b.txt")).unwrap(), "hello\n");
}

#[test]
fn standard_input_of_any_length_is_an_object() {
    let home = Home::new();
    for length in [0, 1, 5_000_000] {
        let content = (0..length)
            .map(|n: u32| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap())
            .collect::<Vec<_>>();
        let ran = home.with_input(&["put", "-", "stdin.bin", "--json"], &content);
        assert_eq!(ran.code, 0, "{}", ran.err);
        home.ok(&["get", "stdin.bin", "back.bin"]);
        assert_eq!(std::fs::read(home.path("back.bin")).unwrap(), content, "{length}");
    }
}

#[test]
fn several_files_go_into_a_directory_and_nowhere_else() {
    let home = Home::new();
    home.write("a", "1");
    home.write("b", "2");
    home.ok(&["put", "a", "b", "x/", "--public"]);
    assert_eq!(home.ok(&["ls", "x"]), "a\nb\n");
    assert!(home.fails(2, &["put", "a", "b", "x"]).contains("write x/"));
    assert!(home.fails(2, &["put", "-", "x/"]).contains("has no name"));
    std::fs::create_dir(home.path("d")).unwrap();
    assert!(home.fails(2, &["put", "d", "x/"]).contains("jsfs sync"));
    assert!(home.fails(1, &["put", "missing", "x/"]).contains("cannot read missing"));
}

#[test]
fn public_and_private_are_what_was_asked_for() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "open", "--public"]);
    home.ok(&["put", "a", "closed"]);
    assert_eq!(home.stranger(&["cat", "open"]).out, "1");
    let ran = home.stranger(&["cat", "closed"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("no key was sent"), "{}", ran.err);
    assert_eq!(home.stranger(&["cat", "absent"]).code, 3);
    assert_eq!(home.stranger(&["put", "a", "new"]).code, 4);
    home.write("large", vec![7; 60_000_000]);
    let ran = home.stranger(&["put", "large", "new"]);
    assert_eq!(ran.code, 4, "the refusal of a large upload got lost: {}", ran.err);
    home.ok(&["put", "a", "open"]);
    assert_eq!(home.stranger(&["cat", "open"]).code, 0, "a second put changed what was public");
}

#[test]
fn a_host_name_that_was_not_turned_round_is_noticed() {
    let home = Home::new();
    home.write("a", "1");
    let error = home.fails(3, &["put", "a", "/example.org/a"]);
    assert!(error.contains("`jsfs namespace add org.example` makes it"), "{error}");
    home.ok(&["namespace", "add", "example.org"]);
    let error = home.fails(3, &["put", "a", "/example.org/a"]);
    assert!(error.contains("that of example.org is /org.example/"), "{error}");
    home.ok(&["put", "a", "/org.example/a"]);
}

#[test]
fn moving_and_copying_keep_the_content() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    home.ok(&["put", "a", "x/sub/b"]);
    home.ok(&["cp", "x/a", "y/"]);
    home.ok(&["mv", "x/a", "y/c"]);
    assert_eq!(home.ok(&["ls", "-r", "y"]), "a\nc\n");
    home.ok(&["cp", "x/", "z"]);
    assert_eq!(home.ok(&["cat", "z/sub/b"]), "1");
    home.ok(&["mv", "z/", "w/"]);
    assert_eq!(home.ok(&["ls", "-r", "w"]), "sub/b\n");
    home.fails(3, &["ls", "z/"]);
    home.fails(3, &["mv", "x/a", "q"]);
    assert!(home.fails(2, &["cp", "x/", "x/y/"]).contains("below it"));
    home.fails(2, &["mv", "x/sub/b", "x/sub/b"]);
}

#[test]
fn deleted_is_gone_and_versions_bring_it_back_until_it_is_purged() {
    let home = Home::new();
    home.write("a", "one");
    home.ok(&["put", "a", "x/a"]);
    home.write("a", "two");
    home.ok(&["put", "a", "x/a"]);
    assert_eq!(home.ok(&["cat", "x/a", "--version", "1"]), "one");
    home.ok(&["rm", "x/a"]);
    home.fails(3, &["cat", "x/a"]);
    home.ok(&["restore-version", "x/a", "1"]);
    assert_eq!(home.ok(&["cat", "x/a"]), "one");
    let versions = home.json(&["versions", "x/a"]);
    let versions = versions["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 4, "{versions:?}");
    assert_eq!(versions.iter().filter(|version| version["deleted"] == true).count(), 1);
    home.fails(3, &["restore-version", "x/a", "9"]);
    home.ok(&["purge", "x/a"]);
    home.fails(3, &["cat", "x/a"]);
    home.fails(3, &["restore-version", "x/a", "1"]);
}

#[test]
fn directories_are_removed_only_with_r() {
    let home = Home::new();
    home.write("a", "1");
    for address in ["x/a", "x/b/c", "y"] {
        home.ok(&["put", "a", address]);
    }
    assert!(home.fails(2, &["rm", "y", "x/"]).contains("add -r"));
    assert_eq!(home.ok(&["cat", "y"]), "1", "something was deleted before the mistake was noticed");
    home.ok(&["rm", "-r", "x/"]);
    assert_eq!(home.ok(&["ls", "-r"]), "y\n");
}

#[test]
fn every_command_speaks_json() {
    let home = Home::new();
    home.write("d/a", "1");
    for line in [
        "put d/a x/a",
        "put d/a d/a x/",
        "ls",
        "ls -r",
        "ls -l x",
        "stat x/a",
        "versions x/a",
        "restore-version x/a 1",
        "get x/a out",
        "get -r x out2",
        "sync d s/",
        "sync d s/ --dry-run --delete",
        "sync /localhost/s/ e",
        "cp x/a x/b",
        "mv x/b x/c",
        "share x/",
        "key show",
        "key export",
        "key new",
        "namespace add example.com --public",
        "namespace set example.com --private --keep-days 3",
        "namespace list",
        "config show",
        "config check",
        "rm x/c",
        "purge x/a",
        "key replace s/",
    ] {
        home.json(&line.split(' ').collect::<Vec<_>>());
    }
    let error = home.fails(2, &["put", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&error).unwrap()["error"]["exit"], 2);
    let error = home.fails(3, &["cat", "absent", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!((&error["error"]["status"], &error["error"]["exit"]), (&404.into(), &3.into()));
}

#[test]
fn nothing_in_a_pipe_has_escape_codes() {
    let home = Home::new();
    home.write("d/a", vec![7; 3_000_000]);
    for line in [
        "put d/a x/a",
        "get x/a out",
        "sync d s/",
        "sync /localhost/s/ e",
        "ls -l x",
        "cat absent",
        "put",
        "help",
        "get --help",
    ] {
        let ran = home.run(&line.split(' ').collect::<Vec<_>>());
        assert!(
            !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}') && !ran.err.contains('\r'),
            "{line}: {}{}",
            ran.out,
            ran.err
        );
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = Home::new();
    home.write("a", vec![7; 3_000_000]);
    home.ok(&["put", "a", "a"]);
    let mut child = home
        .command(&["cat", "a"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_node_that_is_not_there_is_code_6_and_says_how_to_start_one() {
    let home = Home::new();
    let ran = home.run(&["ls", "--node", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 6);
    assert!(ran.err.contains("jsfs serve"), "{}", ran.err);
}

#[test]
fn a_download_that_fails_leaves_what_was_there() {
    let home = Home::new();
    let path = home.write("mine", "mine");
    home.fails(3, &["get", "absent", "mine"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    home.fails(1, &["put", "mine", "x", "--content-type", "bad\nvalue"]);
    let directory = home.path("closed");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o500)).unwrap();
    home.ok(&["put", "mine", "x"]);
    if !rustix_is_root() {
        assert!(home.fails(1, &["get", "x", "closed/x"]).contains("closed/x"));
    }
}

/// Root may write everywhere, so a test of permissions would not test anything.
fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn an_error_names_the_address_once_and_the_command_that_helps() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    let error = home.fails(3, &["cat", "none"]);
    assert_eq!(error.lines().next().unwrap(), "jsfs: there is nothing at /localhost/none (status 404)");
    let error = home.fails(3, &["cat", "x/a", "--version", "9"]);
    assert!(error.starts_with("jsfs: /localhost/x/a has no version 9;"), "{error}");
    assert!(error.contains("`jsfs versions"), "{error}");
    let error = home.fails(4, &["put", "a", "/com.example.none/a", "--token", "eyJh.eyJi.c"]);
    assert!(
        error.starts_with("jsfs: /com.example.none/a: "),
        "what does not name it is told with it: {error}"
    );
}

#[test]
fn what_the_system_said_is_told_once() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    std::fs::create_dir_all(home.path("b")).unwrap();
    for arguments in [
        &["get", "x/a", "b/"][..],
        &["get", "-r", "x", "a"],
        &["key", "new", "-o", "b"],
        &["ls", "--key-file", "b"],
        &["ls", "--data", "a"],
        &["check", "--data", "a"],
        &["serve", "--data", "a", "--listen", "127.0.0.1:0"],
        &["config", "check", "--config", "b"],
        &["put", "b/none", "x/"],
        &["key", "replace", "x/", "-o", "none/k"],
    ] {
        let ran = home.run(arguments);
        let told = ran.err.matches("(os error").count();
        assert!(told <= 1, "{arguments:?}: {}", ran.err);
    }
    let data = home.path("damaged");
    let setup = jsfs_testkit::node::Setup::new(crate::support::BINARY, &data);
    assert_eq!(setup.start().stop().code(), Some(0));
    for name in ["root.key", "node.key", "store.json", "lock"] {
        let path = data.join(name);
        std::fs::rename(&path, data.join("aside")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let ran = crate::support::ran(
            setup.command().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data),
        );
        assert_eq!(ran.code, 2, "{name}: {}", ran.err);
        let last = ran.err.lines().last().unwrap();
        assert_eq!(last.matches("Is a directory (os error 21)").count(), 1, "{name}: {}", ran.err);
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(data.join("aside"), &path).unwrap();
    }
}

#[test]
fn a_directory_shows_the_policy_that_holds_in_it() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    home.ok(&["namespace", "set", "localhost", "--keep-days", "3", "--quota", "1GiB"]);
    let shown = home.ok(&["stat", "x/"]);
    for part in
        ["address       /localhost/x/", "private       yes", "create        owner", "3 days", "did:key:"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("application/json") && !shown.contains("etag"), "{shown}");
    assert!(home.ok(&["stat", "localhost:"]).contains("1.00 GiB"), "the quota of its own");
    let json = home.json(&["stat", "x/"]);
    assert_eq!((&json["address"], &json["type"]), (&"/localhost/x/".into(), &"directory".into()));
    assert_eq!((&json["private"], &json["retention"]["days"]), (&true.into(), &3.into()));
    assert_eq!(home.stranger(&["stat", "x/"]).code, 4);
    assert!(home.fails(2, &["stat", "x/", "--version", "1"]).contains("version"));
}

#[test]
fn json_of_a_put_has_its_blocks_only_where_they_are_asked_for() {
    let home = Home::new();
    home.write("a", vec![7; 300_000]);
    let plain = home.json(&["put", "a", "x/a"]);
    assert_eq!((&plain["version"], plain.get("blocks")), (&1.into(), None), "{plain}");
    let many = home.json(&["put", "a", "a", "x/"]);
    assert!(many.as_array().unwrap().iter().all(|one| one.get("blocks").is_none()), "{many}");
    let asked = home.json(&["put", "a", "x/a", "--blocks"]);
    assert!(!asked["blocks"].as_array().unwrap().is_empty(), "{asked}");
    assert_eq!(home.json(&["restore-version", "x/a", "1"]).get("blocks"), None);
}
