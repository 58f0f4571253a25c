//! Configuration files of any content: each is accepted or refused with a message, and none makes the program crash.
//!
//! Files are made from a good one by cutting, doubling, swapping and replacing parts. `JSFS_CONFIG_ROUNDS` says how many, `JSFS_SEED`
//! repeats a run.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::node::Setup;
use jsfs_testkit::random::Random;

const ROUNDS_DEFAULT: usize = 150;

const GOOD: &str = r#"listen = "127.0.0.1:0"
data = "/tmp/somewhere"

[storage]
locations = ["/tmp/one", "/tmp/two"]
durability = "fsync"
floor = "512MiB"

[limits]
connections = 100
header_timeout = "15s"
body_bytes = "1TiB"

[log]
level = "info,jsfs_http=debug"
"#;

/// What a person or a fault may put where something stood.
const PIECES: &[&[u8]] = &[
    b"",
    b"\"",
    b"[",
    b"]]",
    b"=",
    b"-1",
    b"18446744073709551616",
    b"1e400",
    b"nan",
    b"true",
    b"{}",
    b"[[limits]]",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\"\"\"",
    b"'''",
    b"#",
    b"1979-05-27T07:32:00Z",
    b"0x",
    b"512XiB",
    b"127.0.0.1:99999",
    b"\\u0000",
];

fn place(random: &mut Random, text: &[u8]) -> usize {
    usize::try_from(random.within(0..text.len() as u64 + 1)).unwrap()
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut text = GOOD.as_bytes().to_vec();
    for _ in 0..random.within(1..5) {
        let (one, two) = (place(random, &text), place(random, &text));
        let (from, to) = (one.min(two), one.max(two));
        let piece = PIECES[usize::try_from(random.within(0..PIECES.len() as u64)).unwrap()];
        match random.within(0..4) {
            0 => drop(text.splice(from..to.min(from + 12), piece.iter().copied())),
            1 => drop(text.splice(from..from, piece.iter().copied())),
            2 => text = [&text[..to], &text[from..]].concat(),
            _ => text.truncate(to),
        }
    }
    text
}

#[test]
fn no_configuration_file_makes_the_program_crash() {
    let rounds = std::env::var("JSFS_CONFIG_ROUNDS").map_or(ROUNDS_DEFAULT, |text| text.parse().unwrap());
    let seed = Random::seed_of_this_run();
    eprintln!("{rounds} files, JSFS_SEED={seed}");
    let mut random = Random::seeded(seed);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jsfs.toml");
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &folder.path().join("data"));
    let check = |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        let output = setup.command().args(["config", "check", "--config"]).arg(&file).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = String::from_utf8_lossy(content).into_owned();
        let status = output.status.code();
        assert!(
            matches!(status, Some(0..=2)) && !errors.contains("panicked"),
            "{status:?} {errors}\nof {shown:?}"
        );
        assert!(status == Some(0) || !errors.trim().is_empty(), "refused without a reason: {shown:?}");
        status == Some(0)
    };
    assert!(check(GOOD.as_bytes()), "the good file is accepted");
    assert!(!check(b"lissten = 1"), "an unknown setting is refused");
    let accepted = (0..rounds).filter(|_| check(&mutated(&mut random))).count();
    eprintln!("{accepted} of {rounds} were accepted, the others refused with a reason");
}
