//! `sync` both ways: byte for byte, only what changed, odd names, deletions, mistakes.

use crate::support::{Home, tree};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

const ODD: &[&str] = &[
    "a b/c d.txt",
    "100%.txt",
    "%2e%2e",
    "q?x=1&y=2#frag",
    "quote'\"`$(x).txt",
    "back\\slash",
    "日本 ☃/grün.html",
    "..a",
    "a..",
    "+plus&amp;",
    "-dash",
    "~tilde",
    "a:b",
    "tail ",
    " lead",
    "deep/er/and/deeper/still/x",
    "semi;colon,comma",
    "[brackets]{braces}|pipe",
    "e\u{301}",
    "\u{e9}",
    ".hidden",
    "index.html",
    "sub/index.html",
    "empty",
];

fn summary(home: &Home, arguments: &[&str]) -> (u64, u64, u64) {
    let value = home.json(&[&["sync"], arguments].concat());
    let count = |name: &str| value[name].as_u64().unwrap();
    (count("transferred"), count("unchanged"), count("deleted"))
}

fn odd_tree(home: &Home) -> u64 {
    for (number, name) in ODD.iter().enumerate() {
        let content = if *name == "empty" { String::new() } else { format!("content {number}") };
        home.write(&format!("from/{name}"), content);
    }
    // Larger than what is read at once, and not of one byte.
    let large =
        (0..1_500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>();
    home.write("from/large.bin", large);
    ODD.len() as u64 + 1
}

#[test]
fn a_tree_with_odd_names_comes_back_byte_for_byte_and_a_second_sync_moves_nothing() {
    let home = Home::new();
    let all = odd_tree(&home);
    assert_eq!(summary(&home, &["from", "/localhost/tree/"]), (all, 0, 0));
    assert_eq!(summary(&home, &["from", "tree/", "--delete"]), (0, all, 0));
    assert_eq!(summary(&home, &["/localhost/tree/", "to"]), (all, 0, 0));
    assert_eq!(tree(&home.path("from")), tree(&home.path("to")));
    assert_eq!(summary(&home, &["/localhost/tree/", "to", "--delete"]), (0, all, 0));
    let url = format!("{}/tree/", home.url());
    assert_eq!(summary(&home, &[&url, "to2"]), (all, 0, 0));
}

#[test]
fn only_what_changed_moves_even_if_the_size_is_the_same() {
    let home = Home::new();
    let all = odd_tree(&home);
    home.ok(&["sync", "from", "tree/"]);
    home.write("from/index.html", "CONTENT XX");
    home.write("from/new", "1");
    assert_eq!(summary(&home, &["from", "tree/", "--dry-run"]), (2, all - 1, 0));
    // Files are compared side by side, so their lines come in any order.
    let shown = home.ok(&["sync", "from", "tree/", "-n"]);
    assert_eq!(shown.lines().take(2).collect::<BTreeSet<_>>(), BTreeSet::from(["~ index.html", "+ new"]));
    assert_eq!(summary(&home, &["from", "tree/"]), (2, all - 1, 0));
    assert_eq!(home.ok(&["cat", "tree/index.html"]), "CONTENT XX");
}

#[test]
fn delete_removes_what_the_other_side_does_not_have_and_nothing_else() {
    let home = Home::new();
    home.write("from/keep", "1");
    home.write("from/gone/x", "2");
    home.write("outside", "3");
    home.ok(&["sync", "from", "tree/"]);
    home.ok(&["put", "outside", "tree2"]);
    std::fs::remove_dir_all(home.path("from/gone")).unwrap();
    assert_eq!(summary(&home, &["from", "tree/"]), (0, 1, 0));
    assert_eq!(summary(&home, &["from", "tree/", "--delete", "-n"]), (0, 1, 1));
    assert_eq!(home.ok(&["cat", "tree/gone/x"]), "2");
    assert_eq!(summary(&home, &["from", "tree/", "--delete"]), (0, 1, 1));
    assert_eq!(home.ok(&["ls", "-r"]), "tree/keep\ntree2\n");
    home.write("to/extra/deep/y", "4");
    assert_eq!(summary(&home, &["/localhost/tree/", "to", "--delete"]), (1, 0, 1));
    assert!(!home.path("to/extra").exists(), "an empty directory was left");
}

#[test]
fn links_are_skipped_or_followed_as_asked_and_never_deleted_for() {
    let home = Home::new();
    home.write("from/a", "1");
    home.write("elsewhere/b", "2");
    symlink(home.path("elsewhere"), home.path("from/link")).unwrap();
    symlink(home.path("from"), home.path("from/loop")).unwrap();
    let ran = home.run(&["sync", "from", "x/"]);
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("skipped link: it is a symbolic link"), "{}", ran.err);
    assert_eq!(home.ok(&["ls", "-r", "x"]), "a\n");
    std::fs::remove_file(home.path("from/loop")).unwrap();
    home.ok(&["sync", "from", "x/", "--follow-links"]);
    assert_eq!(home.ok(&["cat", "x/link/b"]), "2");
}

#[test]
fn one_bad_file_is_named_the_rest_goes_on_and_nothing_is_deleted() {
    let home = Home::new();
    home.write("from/good", "1");
    home.write("from/control\u{1}", "2");
    std::fs::write(home.path("from").join(std::ffi::OsString::from_vec(b"latin\xe9".to_vec())), "3").unwrap();
    home.write("a", "4");
    home.ok(&["put", "a", "x/old"]);
    let error = home.fails(1, &["sync", "from", "x/", "--delete"]);
    assert!(
        error.contains("control") && error.contains("not UTF-8") && error.contains("2 of 3 failed"),
        "{error}"
    );
    assert_eq!(home.ok(&["ls", "x"]), "good\nold\n");
}

#[test]
fn visibility_is_set_on_what_is_there_already() {
    let home = Home::new();
    home.write("from/a", "1");
    home.ok(&["sync", "from", "x/"]);
    assert_eq!(home.stranger(&["cat", "x/a"]).code, 3);
    let value = home.json(&["sync", "from", "x/", "--public"]);
    assert_eq!((&value["changed"], &value["transferred"]), (&1.into(), &0.into()));
    assert_eq!(home.stranger(&["cat", "x/a"]).out, "1");
    home.ok(&["sync", "from", "x/"]);
    assert_eq!(home.stranger(&["cat", "x/a"]).out, "1", "a sync without a flag changed who may read");
    home.ok(&["sync", "from", "x/", "--private"]);
    assert_eq!(home.stranger(&["cat", "x/a"]).code, 3);
}

#[test]
fn an_object_and_a_directory_of_one_name_cannot_both_be_files_and_that_is_said() {
    let home = Home::new();
    home.write("a", "1");
    home.ok(&["put", "a", "x/name"]);
    home.ok(&["put", "a", "x/name/below"]);
    home.ok(&["put", "a", "x/other"]);
    let error = home.fails(1, &["sync", "/localhost/x/", "to"]);
    assert!(error.contains("name") && error.contains("1 of 3 failed"), "{error}");
    assert!(home.path("to/other").exists());
}

#[test]
fn mistakes_move_nothing() {
    let home = Home::new();
    home.write("from/a", "1");
    home.ok(&["sync", "from", "x/"]);
    assert!(home.fails(2, &["sync", "form", "x/", "--delete"]).contains("no directory here"));
    home.fails(3, &["sync", "/localhost/absent/", "from", "--delete"]);
    home.fails(2, &["sync", "/localhost/x/", "from", "--public"]);
    assert_eq!(home.ok(&["ls", "-r", "x"]), "a\n");
    assert_eq!(tree(&home.path("from")).len(), 1);
    let ran = home.stranger(&["sync", "from", "x/"]);
    assert_eq!(ran.code, 4, "{}", ran.err);
}

#[test]
fn two_local_directories_are_not_taken_for_an_upload() {
    let home = Home::new();
    home.write("one/a", "1");
    home.write("two/b", "2");
    let error = home.fails(2, &["sync", "one", "two", "--delete"]);
    assert!(error.contains("two is a directory here") && error.contains("/localhost/two"), "{error}");
    home.fails(2, &["sync", "one", "two/"]);
    let absolute = home.path("two");
    let error = home.fails(2, &["sync", "one", absolute.to_str().unwrap()]);
    assert!(error.contains("is a directory here"), "{error}");
    assert_eq!(home.ok(&["ls", "-r"]), "");
    home.ok(&["sync", "one", "/localhost/two/"]);
    assert_eq!(home.ok(&["ls", "-r"]), "two/a\n");
}
