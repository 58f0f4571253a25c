//! Links in the documents lead somewhere: every relative link to a file that exists, every anchor to a heading.
//!
//! Addresses on other hosts are left alone: tests need no network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn documents(root: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || name == "target" || name == "node_modules")
        })
        .map(|entry| entry.expect("a readable tree").into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The lines that are prose: without fenced blocks, and without what stands between backquotes.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let outside: Vec<&str> = line.split('`').step_by(2).collect();
            lines.push((number + 1, outside.join("``")));
        }
    }
    lines
}

/// The targets of `[text](target)` and `[label]: target`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let target = after.split([')', ' ']).next().unwrap_or_default();
            found.push((number, target.to_owned()));
            rest = after;
        }
        if let Some((label, target)) = line.split_once("]: ")
            && label.starts_with('[')
        {
            found.push((number, target.trim().to_owned()));
        }
    }
    found
}

/// The anchors that a page offers, made from its headings as the usual renderers do.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let times = seen.entry(slug.clone()).or_insert(0);
        anchors.push(if *times == 0 { slug.clone() } else { format!("{slug}-{times}") });
        *times += 1;
    }
    anchors
}

/// The links of all pages below `root` that lead nowhere.
fn broken(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for page in documents(root) {
        let text = std::fs::read_to_string(&page).expect("UTF-8");
        let name = page.strip_prefix(root).expect("below the root").display().to_string();
        for (line, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file =
                if path.is_empty() { page.clone() } else { page.parent().expect("a folder").join(path) };
            if !file.exists() {
                complaints.push(format!("{name}:{line}: {target} does not exist"));
            } else if !anchor.is_empty() {
                let headings = std::fs::read_to_string(&file).map(|text| anchors(&text)).unwrap_or_default();
                if !headings.iter().any(|heading| heading == anchor) {
                    complaints.push(format!("{name}:{line}: {target}: no heading gives this anchor"));
                }
            }
        }
    }
    complaints
}

/// Folders whose files documents name between backquotes.
const FOLDERS: &[&str] = &["crates/", "docs/", "fuzz/", "tests/", ".ci/"];

/// The paths between backquotes that do not exist. A name that ends in a word in capitals, or has a `*`, stands for several files.
fn missing(root: &Path, text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    let paths = spans.filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder)));
    let plain = paths.filter(|path| !path.contains(['*', ' ', '…', '<']) && !path.contains("NNN"));
    plain.filter(|path| !root.join(path).exists()).map(str::to_owned).collect()
}

#[test]
fn every_path_that_the_map_names_exists() {
    let root = root();
    for page in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "docs/security.md", "docs/operating.md"] {
        let text = std::fs::read_to_string(root.join(page)).expect("UTF-8");
        assert_eq!(missing(&root, &text), Vec::<String>::new(), "{page}");
    }
    assert_eq!(missing(&root, "`crates/store` and `crates/nowhere/src`, `fuzz/`"), ["crates/nowhere/src"]);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = root();
    let pages = documents(&root);
    assert!(pages.len() >= 5, "found only {} pages", pages.len());
    let complaints = broken(&root);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = "# A heading, twice\n# A heading, twice\n\
        [good](b.md#there-it-is) [good](#a-heading-twice-1) [elsewhere](https://example.com/x) `[code](none.md)`\n\
        ```\n[fenced](none.md)\n```\n\
        [gone](none.md) and [no anchor](b.md#not-there)\n\n[label]: none2.md\n";
    std::fs::write(folder.path().join("a.md"), page).expect("written");
    std::fs::write(folder.path().join("b.md"), "## There it is!\n").expect("written");
    let complaints = broken(folder.path());
    assert_eq!(
        complaints,
        [
            "a.md:7: none.md does not exist",
            "a.md:7: b.md#not-there: no heading gives this anchor",
            "a.md:9: none2.md does not exist",
        ]
    );
}
