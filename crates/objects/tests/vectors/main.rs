//! The test vectors of `docs/vectors/`: made here from the code, compared with what is committed, and checked by the second
//! implementation in JavaScript. `JSFS_WRITE_VECTORS=1` writes them anew; a difference means that a frozen format has changed.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod addresses;
mod blocks;
mod envelopes;
mod keys;
mod manifests;
mod read_keys;
mod records;
mod tokens;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// 2026-11-23T12:00:00Z.
const NOW_MS: u64 = 1_795_435_200_000;
const NOW_S: u64 = NOW_MS / 1_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors")
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A number as JSON: as text where JavaScript's numbers do not hold it.
fn number(value: u64) -> Value {
    if value < 1 << 53 { value.into() } else { value.to_string().into() }
}

fn key<const N: usize>(fill: u8) -> [u8; N] {
    std::array::from_fn(|index| fill.wrapping_add(u8::try_from(index % 251).unwrap_or_default()))
}

#[test]
fn vectors_are_what_the_code_makes() {
    let files = [
        ("addresses", addresses::vectors()),
        ("keys", keys::vectors()),
        ("read_keys", read_keys::vectors()),
        ("blocks", blocks::vectors()),
        ("manifests", manifests::vectors()),
        ("records", records::vectors()),
        ("envelopes", envelopes::vectors()),
        ("tokens", tokens::vectors()),
    ];
    let write = std::env::var_os("JSFS_WRITE_VECTORS").is_some();
    for (name, vectors) in files {
        let path = folder().join(format!("{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&vectors).unwrap());
        if write {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/vectors/{name}.json is not what the code makes: a frozen format has changed. If that is meant, \
             run JSFS_WRITE_VECTORS=1 cargo test -p jsfs-objects vectors"
        );
    }
}

/// The path of a program, if it runs.
fn program(name: &str) -> Option<&str> {
    let version = Command::new(name).arg("--version").output();
    version.is_ok_and(|output| output.status.success()).then_some(name)
}

#[test]
fn vectors_are_confirmed_by_the_second_implementation() {
    let (Some(_), Some(npm)) = (program("node"), program("npm")) else {
        println!("skipped: Node.js (node and npm) is not installed");
        return;
    };
    // The implementation is the SDK's, so far as that goes.
    for needed in [folder(), folder().join("../../sdk/js")] {
        if needed.join("node_modules").exists() {
            continue;
        }
        let install = Command::new(npm).arg("ci").current_dir(&needed).output().unwrap();
        if !install.status.success() {
            let reason = String::from_utf8_lossy(&install.stderr);
            assert!(std::env::var_os("CI").is_none(), "npm ci: {reason}");
            println!("skipped: npm cannot install what {} needs: {reason}", needed.display());
            return;
        }
    }
    let check = Command::new(npm).args(["run", "--silent", "check"]).current_dir(folder()).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    println!("{said}");
    assert!(check.status.success(), "{said}");
}
