//! Has cargo and rustc build what runs in a node: packages and single files for targets of WebAssembly.

use std::path::Path;
use std::process::{Command, Output};

/// A command of cargo's for a target: none of what cargo told this test, because it is not meant for another package. The error says that the
/// target is not installed.
///
/// # Errors
/// When the target is not installed.
pub fn cargo(target: &str) -> Result<Command, String> {
    installed(target)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_ours = matches!(&*name, "RUSTFLAGS" | "RUSTC_WORKSPACE_WRAPPER" | "CLIPPY_ARGS");
        if name.starts_with("CARGO_") && name != "CARGO_HOME" || is_ours {
            cargo.env_remove(&*name);
        }
    }
    Ok(cargo)
}

fn installed(target: &str) -> Result<(), String> {
    let library = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    let library = library.map_err(|error| format!("rustc cannot be run: {error}"))?;
    if Path::new(String::from_utf8_lossy(&library.stdout).trim()).exists() {
        return Ok(());
    }
    Err(format!("the target {target} is not installed (rustup target add {target})"))
}

/// Whether cargo failed because it reached no registry.
pub fn is_offline(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let complaints = ["failed to download", "failed to get", "download of", "Could not", "failed to fetch"];
    !output.status.success() && complaints.iter().any(|one| said.contains(one))
}

/// Builds a Rust package for a WebAssembly target. None where that cannot be done here, which is said.
///
/// # Panics
/// When it does not compile.
#[must_use]
#[allow(clippy::print_stderr, reason = "who runs the tests must know that one was left out")]
pub fn built(package: &Path, target: &str, file: &str) -> Option<Vec<u8>> {
    let mut cargo = match cargo(target) {
        Ok(cargo) => cargo,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let build = cargo.args(["build", "--release", "--locked", "--target", target]);
    let output = build.current_dir(package).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    if is_offline(&output) {
        eprintln!("skipped: crates cannot be fetched: {said}");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(std::fs::read(package.join("target").join(target).join("release").join(file)).expect("it was built"))
}

/// Compiles one file that needs nothing but the standard library. None where that cannot be done here, which is said.
///
/// # Panics
/// When it does not compile.
#[must_use]
#[allow(clippy::print_stderr, reason = "who runs the tests must know that one was left out")]
pub fn compiled(source: &Path, target: &str) -> Option<Vec<u8>> {
    if let Err(reason) = installed(target) {
        eprintln!("skipped: {reason}");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let made = folder.path().join("program.wasm");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-O", "-C", "panic=abort", "--target", target, "-o"]);
    let output = rustc.arg(&made).arg(source).output().expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(std::fs::read(made).expect("it was compiled"))
}
