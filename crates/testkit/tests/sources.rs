//! Rules of the source text that no lint knows: headers, sizes, imports, layout and vocabulary.
//!
//! Each rule is a function from a file to complaints, so that the same rule is shown to fail on a file made for it.

use std::path::{Path, PathBuf};

/// Files past 600 lines, each with its reason. A file that has shrunk must leave the list.
const LONG_FILES: &[(&str, &str)] = &[];

const LINES_MAX: usize = 600;

/// What may be imported whole: a prelude made for it, and by an inline test module the file that it tests.
const GLOBS_ALLOWED: &[&str] = &["use proptest::prelude::*", "    use super::*;"];

/// Second words for things that have a name already.
const WORDS_FORBIDDEN: &[&str] =
    &["superblock", "jnode", "bucket", "agent", "manager", "helper", "util", "utils", "utility"];

/// Where "bucket" is what object storage calls it; in JSFS itself nothing is called so.
const BUCKETS_OF_OTHERS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "crates/bucket/",
    "crates/jsfs/Cargo.toml",
    "crates/jsfs/src/cli.rs",
    "crates/jsfs/src/commands/backup.rs",
    "crates/jsfs/src/config/",
    "crates/jsfs/src/locations.rs",
    "crates/jsfs/src/serve.rs",
    "crates/jsfs/tests/backup_s3.rs",
    "crates/jsfs/tests/bucket.rs",
    "crates/jsfs/tests/command_line/",
    "crates/testkit/src/s3.rs",
    "crates/testkit/tests/dependencies.rs",
    "deny.toml",
    "docs/configuration.md",
    "docs/operating.md",
    "docs/storage.md",
];

/// Names that others gave and that contain such a word: taken out before looking.
const NAMES_FOREIGN: &[&str] = &[
    "user-agent",
    "user_agent",
    "user agent",
    "file managers",
    "hyper_util",
    "hyper-util",
    "http_body_util",
    "http-body-util",
    "io-util",
    "tracing_subscriber::util",
    "test-util",
    "tokio_util",
    "tokio-util",
    "futures_util",
    "futures-util",
];

/// This file, which has to name them.
const THIS_FILE: &str = "crates/testkit/tests/sources.rs";

struct Source {
    /// Path from the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    fn complaint(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Every file below `crates/` and `fuzz/` with one of the extensions.
fn sources(extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0
            || !(name.starts_with('.')
                || ["target", "node_modules", "corpus", "artifacts"].contains(&name.as_ref()))
    }) {
        let entry = entry.expect("a readable tree");
        let extension = entry.path().extension().and_then(|e| e.to_str()).unwrap_or_default();
        if entry.file_type().is_file() && extensions.contains(&extension) {
            let path = entry
                .path()
                .strip_prefix(&root)
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            found.push(Source { path, text: std::fs::read_to_string(entry.path()).expect("UTF-8") });
        }
    }
    found
}

fn header(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    if first.starts_with("//! ") && first.len() > 12 {
        return Vec::new();
    }
    vec![source.complaint(0, "begins without a `//!` header that says what the file is for")]
}

fn length(source: &Source, exempt: &[(&str, &str)]) -> Vec<String> {
    let lines = source.text.lines().count();
    let listed = exempt.iter().any(|(path, reason)| *path == source.path && !reason.is_empty());
    match (lines > LINES_MAX, listed) {
        (true, false) => {
            vec![source.complaint(lines - 1, "is past 600 lines: is there a second room in it?")]
        }
        (false, true) => vec![source.complaint(lines, "is short enough now: take it off the list")],
        _ => Vec::new(),
    }
}

fn globs(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let code = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let whole =
            code.starts_with("use ") && (code.contains("::*") || code.contains("{*") || code.contains(", *"));
        if whole && !GLOBS_ALLOWED.iter().any(|allowed| line.contains(allowed)) {
            complaints.push(source.complaint(number, "imports everything: name what is used"));
        }
    }
    complaints
}

fn layout(source: &Source) -> Vec<String> {
    if source.path.ends_with("/mod.rs") {
        return vec![source.complaint(0, "is called mod.rs: name it after its module, beside the folder")];
    }
    Vec::new()
}

/// The words of a line, identifiers taken apart at `_`, `-` and capital letters, in lower case.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut last_was_lower = false;
    for c in line.chars() {
        if !c.is_alphabetic() || c.is_uppercase() && last_was_lower {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        last_was_lower = c.is_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The line with foreign names blanked, whatever their case.
fn without_foreign_names(line: &str) -> String {
    let mut kept = line.to_owned();
    for name in NAMES_FOREIGN {
        while let Some(at) = kept.to_ascii_lowercase().find(name) {
            kept.replace_range(at..at + name.len(), " ");
        }
    }
    kept
}

fn vocabulary(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    if source.path == THIS_FILE {
        return complaints;
    }
    let is_storage = BUCKETS_OF_OTHERS.iter().any(|place| source.path.starts_with(place));
    for (number, line) in source.text.lines().enumerate() {
        for word in words(&without_foreign_names(line)) {
            let singular = word.strip_suffix('s').unwrap_or(&word);
            if is_storage && singular == "bucket" {
                continue;
            }
            if WORDS_FORBIDDEN.contains(&word.as_str()) || WORDS_FORBIDDEN.contains(&singular) {
                let what = format!("says {word:?}: use the word that the thing has");
                complaints.push(source.complaint(number, &what));
            }
        }
    }
    complaints
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let sources = sources(&["rs"]);
    assert!(sources.len() > 5, "found only {} source files", sources.len());
    none(sources.iter().flat_map(header).collect());
    none(header(&Source::new("a.rs", "//! What a good header says in one sentence.\n")));
    assert_eq!(header(&Source::new("a.rs", "use std::fs;\n")).len(), 1);
    assert_eq!(header(&Source::new("a.rs", "")).len(), 1);
}

#[test]
fn no_file_grows_past_600_lines_without_a_reason() {
    none(sources(&["rs"]).iter().flat_map(|source| length(source, LONG_FILES)).collect());
    for (path, _) in LONG_FILES {
        assert!(root().join(path).is_file(), "{path} is on the list and not there");
    }
    let long = Source::new("a.rs", &"x\n".repeat(601));
    assert_eq!(length(&long, &[]).len(), 1);
    none(length(&long, &[("a.rs", "one table")]));
    assert_eq!(length(&Source::new("a.rs", "x\n"), &[("a.rs", "one table")]).len(), 1);
}

#[test]
fn imports_name_what_they_use() {
    none(sources(&["rs"]).iter().flat_map(globs).collect());
    assert_eq!(globs(&Source::new("a.rs", "use super::*;\n")).len(), 1);
    assert_eq!(globs(&Source::new("a.rs", "    pub use crate::wire::{*};\n")).len(), 1);
    none(globs(&Source::new("a.rs", "use proptest::prelude::*;\n    use super::*;\nlet a = b::c * d;\n")));
}

#[test]
fn modules_are_named_after_themselves() {
    none(sources(&["rs"]).iter().flat_map(layout).collect());
    assert_eq!(layout(&Source::new("crates/store/src/pack/mod.rs", "")).len(), 1);
}

#[test]
fn things_are_called_by_one_name() {
    none(sources(&["rs", "md", "toml"]).iter().flat_map(vocabulary).collect());
    for text in ["struct PoolManager;", "fn file_helpers()", "a Superblock", "mod utils;"] {
        assert_eq!(vocabulary(&Source::new("a.rs", text)).len(), 1, "{text}");
    }
    none(vocabulary(&Source::new("a.rs", "the User-Agent of tokio_util, and a utilitarian")));
}
