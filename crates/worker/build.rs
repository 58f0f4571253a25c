//! Makes the guest: fetches the engine by its lock file, bundles the web APIs, and tells the crate where both lie.
//!
//! It works on a copy, so that the sources stay as they are. `JSFS_QUICKJS_WASM` and `JSFS_PRELUDE_JS` name files to take instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() {
    let guest = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("guest");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("guest");
    println!("cargo::rerun-if-env-changed=JSFS_QUICKJS_WASM");
    println!("cargo::rerun-if-env-changed=JSFS_PRELUDE_JS");
    for part in ["src", "package.json", "package-lock.json", "build.mjs"] {
        println!("cargo::rerun-if-changed={}", guest.join(part).display());
    }
    let named = (env::var("JSFS_QUICKJS_WASM"), env::var("JSFS_PRELUDE_JS"));
    let (engine, prelude) = match named {
        (Ok(engine), Ok(prelude)) => (PathBuf::from(engine), PathBuf::from(prelude)),
        (engine, prelude) => {
            build(&guest, &out);
            let engine = engine.map_or_else(|_| out.join("dist/quickjs.wasm"), PathBuf::from);
            (engine, prelude.map_or_else(|_| out.join("dist/prelude.js"), PathBuf::from))
        }
    };
    println!("cargo::rustc-env=JSFS_QUICKJS={}", engine.display());
    println!("cargo::rustc-env=JSFS_PRELUDE={}", prelude.display());
}

fn build(guest: &Path, out: &Path) {
    copy(guest, out)
        .unwrap_or_else(|error| panic!("cannot copy {} to {}: {error}", guest.display(), out.display()));
    let lock = |of: &Path| fs::read(of.join("package-lock.json")).unwrap_or_default();
    let installed = out.join("installed-lock.json");
    if fs::read(&installed).ok() != Some(lock(out)) {
        npm(out, &["ci", "--silent", "--no-audit", "--no-fund"]);
        fs::write(&installed, lock(out))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", installed.display()));
    }
    npm(out, &["run", "--silent", "build"]);
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.join("src"))?;
    for name in ["package.json", "package-lock.json", "build.mjs", ".npmrc", "tsconfig.json"] {
        if from.join(name).is_file() {
            fs::copy(from.join(name), to.join(name))?;
        }
    }
    fs::remove_dir_all(to.join("src"))?;
    copy_tree(&from.join("src"), &to.join("src"))
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn npm(directory: &Path, arguments: &[&str]) {
    let status = Command::new("npm").args(arguments).current_dir(directory).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("`npm {}` failed ({status}) in {}", arguments.join(" "), directory.display()),
        Err(error) => panic!(
            "npm, which comes with Node.js, is needed to fetch the JavaScript engine: {error}; install Node.js, or name the \
             files by JSFS_QUICKJS_WASM and JSFS_PRELUDE_JS"
        ),
    }
}
