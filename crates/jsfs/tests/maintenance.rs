//! Maintenance of a real node by the command line: check and gc while it runs, and what they say of damage.

#![allow(clippy::unwrap_used, missing_docs)]

use jsfs_testkit::node::Setup;
use std::os::unix::fs::FileExt;

#[test]
fn a_node_that_runs_is_checked_and_frees_space_and_damage_is_named() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &data);
    let node = setup.start();
    let run = |arguments: &[&str]| {
        setup.command().args(arguments).args(["--json", "--data"]).arg(&data).output().unwrap()
    };
    let file = home.path().join("file");
    let noise: Vec<u8> =
        (0..200_000_u32).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    std::fs::write(&file, &noise).unwrap();
    assert!(run(&["put", file.to_str().unwrap(), "kept"]).status.success());
    let checked = run(&["check", "--online"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let freed = run(&["gc", "--dry-run"]);
    assert!(freed.status.success(), "{freed:?}");
    let pack =
        std::fs::File::options().read(true).write(true).open(data.join("packs/000000000001.pack")).unwrap();
    let mut byte = [0];
    pack.read_exact_at(&mut byte, 60_000).unwrap();
    pack.write_all_at(&[byte[0] ^ 1], 60_000).unwrap();
    let damaged = run(&["check", "--online"]);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    let said: serde_json::Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_eq!(said["findings"][0]["pack"], 1, "{said}");
    node.kill();
    assert_eq!(run(&["check", "--online"]).status.code(), Some(2));
}
