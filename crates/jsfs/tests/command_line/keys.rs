//! Keys and namespaces.

use crate::support::Home;
use std::os::unix::fs::PermissionsExt;

#[test]
fn keys_are_kept_where_asked_and_shown_only_where_asked() {
    let home = Home::new();
    home.ok(&["key", "new", "-o", "k"]);
    let mode = std::fs::metadata(home.path("k")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(home.fails(1, &["key", "new", "-o", "k"]).contains("cannot keep the key in k"));
    let root = home.setup.root_key();
    let shown = home.run(&["key", "show"]);
    assert!(shown.out.contains("did:key:z6Mk") && !shown.out.contains(&root) && !shown.err.contains(&root));
    assert_eq!(home.run(&["key", "export"]).out.trim(), root);
    let ran = home.stranger(&["key", "show"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn a_directory_that_was_handed_over_belongs_to_the_new_key_only() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    home.ok(&["key", "replace", "x/", "-o", "new.key"]);
    assert_eq!(home.ok(&["cat", "x/a", "--key-file", "new.key"]), "1");
    home.ok(&["put", "a", "x/b", "--key-file", "new.key"]);
    assert_eq!(home.run(&["put", "a", "x/c"]).code, 4);
    assert_eq!(home.run(&["cat", "x/b"]).code, 3);
}

#[test]
fn replacing_the_root_key_keeps_this_machine_working() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/a"]);
    let before = home.setup.root_key();
    let new = home.ok(&["key", "replace", "localhost:"]);
    assert_eq!(home.setup.root_key(), new.trim());
    assert_eq!(std::fs::read_to_string(home.setup.data().join("root.key.1")).unwrap().trim(), before);
    assert_eq!(home.ok(&["cat", "x/a"]), "1");
    home.ok(&["namespace", "add", "example.com"]);
    assert_eq!(home.run(&["put", "a", "x/b", "--key", &before]).code, 4);
    home.ok(&["key", "replace", "localhost:"]);
    assert!(home.setup.data().join("root.key.2").exists());
}

#[test]
fn a_namespace_of_its_own_key_answers_to_that_key() {
    let home = Home::new();
    home.write("a", "1");
    let key = home.ok(&["namespace", "add", "example.com", "--public", "--new-key"]);
    let mut command = home.command(&["put", "a", "example.com:x/a"]);
    let ran = crate::support::ran(command.env("JSFS_ACCESS_KEY", key.trim()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(home.stranger(&["cat", "http://example.com/x/a"]).out, "1");
    let mut command = home.command(&["put", "a", "example.com:x/b"]);
    assert_eq!(crate::support::ran(command.env("JSFS_ACCESS_KEY", "another key")).code, 4);
    let list = home.json(&["namespace", "list"]);
    let names =
        list["namespaces"].as_array().unwrap().iter().map(|namespace| namespace["host"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["example.com", "localhost"]);
    assert_ne!(
        home.run(&["namespace", "add", "example.com", "--new-key"]).code,
        0,
        "a key that does not own it was handed out"
    );
}

#[test]
fn a_namespace_of_the_root_key_needs_no_further_key_and_can_be_changed() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["namespace", "add", "photos", "--public"]);
    home.ok(&["put", "a", "/photos/a"]);
    assert_eq!(home.stranger(&["cat", "/photos/a"]).out, "1");
    home.ok(&["namespace", "set", "photos", "--private", "--quota", "1KiB", "--keep-versions", "2"]);
    home.ok(&["put", "a", "/photos/b"]);
    assert_eq!(home.stranger(&["cat", "/photos/b"]).code, 3);
    home.write("large", vec![1; 4_096]);
    assert_eq!(home.run(&["put", "large", "/photos/c"]).code, 1, "the quota was passed");
    home.ok(&["namespace", "set", "photos", "--create", "anyone"]);
    assert_eq!(home.run(&["namespace", "set", "photos"]).code, 2);
    assert_eq!(home.stranger(&["namespace", "list"]).code, 4);
}

#[test]
fn a_key_that_a_person_chose_works_like_any_other() {
    let home = Home::new();
    home.write("a", "1");
    home.write("chosen", "correct horse battery staple\n");
    home.ok(&["namespace", "add", "example.org", "--owner-key-file", "chosen"]);
    home.ok(&["put", "a", "example.org:a", "--key-file", "chosen"]);
    assert_eq!(home.ok(&["cat", "example.org:a", "--key-file", "chosen"]), "1");
    assert_eq!(home.run(&["cat", "example.org:a"]).code, 3);
}

#[test]
fn a_mistyped_key_is_noticed_before_it_is_sent() {
    let home = Home::new();
    let mut wrong = home.setup.root_key();
    wrong.pop();
    let ran = home.run(&["ls", "--key", &wrong]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("mistyped") && !ran.err.contains(&wrong), "{}", ran.err);
}

#[test]
fn json_of_a_new_namespace_is_one_result_and_success_is_no_warning() {
    let home = Home::new();
    let ran = home.run(&["namespace", "add", "example.com", "--new-key", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let made: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&made["name"], &made["host"]), (&"com.example".into(), &"example.com".into()));
    assert!(made["owner"].as_str().unwrap().starts_with("did:key:"), "{made}");
    let key = made["access_key"].as_str().unwrap();
    home.write("a", "1");
    home.write("k", key);
    home.ok(&["put", "a", "example.com:a", "--key-file", "k"]);
    let plain = home.run(&["namespace", "add", "example.org", "--new-key"]);
    assert!(plain.out.starts_with("jsfs_") && plain.out.lines().count() == 1, "{}", plain.out);
    assert!(plain.err.contains("made /org.example/"), "{}", plain.err);
    home.node.signal(rustix::process::Signal::TERM);
    let checked = loop {
        let ran = home.run(&["check", "--json"]);
        if ran.code != 2 {
            break ran;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!((checked.code, checked.err.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&checked.out).unwrap()["clean"], true);
}

#[test]
fn whoever_replaces_the_root_key_hears_what_stays_with_the_one_before() {
    let home = Home::new();
    for host in ["photos", "example.com"] {
        home.ok(&["namespace", "add", host]);
    }
    home.ok(&["namespace", "add", "own.example", "--new-key"]);
    let ran = home.run(&["key", "replace", "localhost:"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("2 namespaces") && !ran.err.contains("example.own"), "{}", ran.err);
    let commands: Vec<&str> =
        ran.err.lines().filter_map(|line| line.trim().strip_prefix("jsfs key replace ")).collect();
    assert_eq!(commands.len(), 2, "{}", ran.err);
    home.write("a", "1");
    assert_eq!(home.run(&["put", "a", "/photos/a"]).code, 4, "the new key owned it all the same");
    for command in commands {
        let arguments: Vec<&str> = ["key", "replace"].into_iter().chain(command.split(' ')).collect();
        home.ok(&arguments);
    }
    home.ok(&["put", "a", "/photos/a"]);
    home.ok(&["put", "a", "/com.example/a"]);
    // Nothing is left to be told of.
    let again = home.run(&["key", "replace", "localhost:", "--quiet"]);
    assert!(again.err.contains("2 namespaces"), "{}", again.err);
}

#[test]
fn a_namespace_that_is_made_private_says_what_stays_public() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["namespace", "add", "photos", "--public"]);
    home.ok(&["put", "a", "/photos/a"]);
    let ran = home.run(&["namespace", "set", "photos", "--private"]);
    assert!(ran.err.contains("stays as it is") && ran.err.contains("/photos/"), "{}", ran.err);
    assert_eq!(home.stranger(&["cat", "/photos/a"]).code, 0, "it does stay");
    let ran = home.run(&["namespace", "set", "photos", "--quota", "1GiB"]);
    assert_eq!(ran.err, "", "nothing to say where nothing was asked of that");
    home.write("d/a", "1");
    home.ok(&["sync", "d", "/photos/", "--private"]);
    assert_eq!(home.stranger(&["cat", "/photos/a"]).code, 3, "what it says does help");
}
