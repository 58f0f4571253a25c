//! Each part of the wall, tried from inside: this test program starts itself again, puts the part up there, and tries what it forbids. Without the
//! part, the same attempt succeeds, so that a test which forbids nothing is noticed.

use super::{Walls, after_engine, before_engine, before_runs, calls, limits, nice, no_files};
use std::{
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::AsRawFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Command, ExitStatus},
    thread,
    time::Instant,
};

const WALL: &str = "JSFS_TEST_WALL";
const ATTEMPT: &str = "JSFS_TEST_ATTEMPT";
/// Statuses of the process in which something is tried.
const DONE: i32 = 40;
const REFUSED: i32 = 41;
/// The signal of a call that ends the process.
const SIGSYS: i32 = 31;

fn put_up(wall: &str) {
    match wall {
        "nothing" => {}
        "landlock" => no_files().unwrap(),
        "seccomp" => calls::restrict(nice()).unwrap(),
        "limits" => limits().unwrap(),
        "all" => {
            let mut walls = before_engine().unwrap();
            after_engine(&mut walls);
            before_runs(&mut walls);
            assert!(!walls.to_string().contains("without"), "{walls}");
        }
        other => panic!("no wall {other}"),
    }
}

fn attempt(name: &str, port: u16) -> io::Result<()> {
    let temporary = std::env::temp_dir().join(format!("jsfs-wall-{}", std::process::id()));
    match name {
        "read a file" => File::open("/etc/passwd").map(drop),
        "list a directory" => fs::read_dir("/").map(drop),
        "write a file" => fs::write(&temporary, "x").and_then(|()| fs::remove_file(&temporary)),
        "read its own memory map" => File::open("/proc/self/maps").map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "connect" => TcpStream::connect(("127.0.0.1", port)).map(drop),
        "send a datagram" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "make a pair of sockets" => UnixStream::pair().map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "become a program" => Err(Command::new("/bin/true").exec()),
        "be traced" => nix::sys::ptrace::traceme().map_err(io::Error::from),
        "signal its parent" => {
            rustix::process::test_kill_process(rustix::process::getppid().unwrap()).map_err(io::Error::from)
        }
        "take another priority" => rustix::process::setpriority_process(None, 7).map_err(io::Error::from),
        "be scheduled otherwise" => crate::way::take_policy(libc::SCHED_BATCH),
        "open many descriptors" => (0..2_000)
            .map(|_| rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC))
            .collect::<Result<Vec<_>, _>>()
            .map(drop)
            .map_err(io::Error::from),
        "live" => live(),
        other => panic!("no attempt {other}"),
    }
}

/// What the engine needs goes on: threads, memory with and without a name, time, chance, and the socket that is there.
fn live() -> io::Result<()> {
    thread::Builder::new()
        .name("probe".to_owned())
        .spawn(|| thread::sleep(std::time::Duration::from_millis(1)))?
        .join()
        .unwrap();
    let image = rustix::fs::memfd_create(
        "image",
        rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
    )?;
    rustix::fs::ftruncate(&image, 1 << 20)?;
    rustix::io::write(&image, b"pages")?;
    rustix::fs::fcntl_add_seals(&image, rustix::fs::SealFlags::SHRINK)?;
    drop(vec![1_u8; 64 << 20]);
    getrandom::fill(&mut [0; 32]).map_err(io::Error::other)?;
    let _ = Instant::now();
    crate::way::take_policy(libc::SCHED_IDLE)?;
    rustix::io::dup(io::stdin())
        .map(drop)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).map(drop))?;
    Ok(())
}

/// Not a test of its own: what the other tests start.
#[test]
fn attempt_in_a_process() {
    let (Ok(wall), Ok(name)) = (std::env::var(WALL), std::env::var(ATTEMPT)) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    put_up(&wall);
    std::process::exit(if attempt(&name, port).is_ok() { DONE } else { REFUSED });
}

fn try_behind(wall: &str, name: &str) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["wall::tests::attempt_in_a_process", "--exact", "--nocapture", "-q"]);
    command.env(WALL, wall).env(ATTEMPT, name);
    command.stdout(std::process::Stdio::null()).status().unwrap()
}

#[track_caller]
fn assert_refused(wall: &str, attempts: &[&str]) {
    for name in attempts {
        let free = try_behind("nothing", name);
        assert_eq!(free.code(), Some(DONE), "{name} works without a wall: {free}");
        let held = try_behind(wall, name);
        assert_eq!(held.code(), Some(REFUSED), "{name} is refused behind {wall}: {held}");
    }
}

const FILES: [&str; 4] = ["read a file", "list a directory", "write a file", "read its own memory map"];
const SOCKETS: [&str; 4] = ["listen", "connect", "send a datagram", "make a pair of sockets"];

#[test]
fn landlock_holds_files_and_connections() {
    assert_refused("landlock", &FILES);
    assert_refused("landlock", &["connect", "listen"]);
}

#[test]
fn seccomp_holds_files_sockets_programs_and_signals() {
    assert_refused("seccomp", &FILES);
    assert_refused("seccomp", &SOCKETS);
    assert_refused("seccomp", &["start a program", "signal its parent"]);
    assert_refused("seccomp", &["take another priority", "be scheduled otherwise"]);
}

#[test]
fn seccomp_ends_a_process_that_becomes_or_inspects_another() {
    for name in ["become a program", "be traced"] {
        let held = try_behind("seccomp", name);
        assert_eq!(held.signal(), Some(SIGSYS), "{name}: {held}");
    }
    // A process that is really traced would wait for its tracer, so only the other is tried without the wall.
    assert_eq!(try_behind("nothing", "become a program").code(), Some(0));
}

#[test]
fn limits_hold_descriptors() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_none_or(|current| current > 2_100) {
        assert_refused("limits", &["open many descriptors"]);
    } else {
        assert_eq!(try_behind("limits", "open many descriptors").code(), Some(REFUSED));
    }
}

#[test]
fn behind_all_walls_what_the_engine_needs_goes_on() {
    for wall in ["nothing", "landlock", "seccomp", "limits", "all"] {
        let lives = try_behind(wall, "live");
        assert_eq!(lives.code(), Some(DONE), "behind {wall}: {lives}");
    }
}

#[test]
fn what_was_inherited_is_closed() {
    // In the process that the test starts, so that this one keeps what is its own.
    let inherited = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let number = inherited.as_raw_fd();
    let script = |then: &str| format!("test -e /proc/self/fd/{number} && exec {then}");
    let there = Command::new("/bin/sh").args(["-c", &script("true")]).status().unwrap();
    assert!(there.success(), "without the wall it is handed on");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["wall::tests::closes_in_a_process", "--exact", "--nocapture", "-q"]);
    let status = command.env(WALL, number.to_string()).stdout(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(DONE));
}

/// Not a test of its own either.
#[test]
fn closes_in_a_process() {
    let Some(number) = std::env::var(WALL).ok().and_then(|text| text.parse::<i32>().ok()) else { return };
    let path = format!("/proc/self/fd/{number}");
    assert!(fs::symlink_metadata(&path).is_ok(), "it was inherited");
    super::close_inherited();
    std::process::exit(if fs::symlink_metadata(&path).is_err() { DONE } else { REFUSED });
}

#[test]
fn what_stands_is_told() {
    let mut walls = Walls::default();
    walls.note("limits", Ok::<(), io::Error>(()));
    walls.note("landlock", Err("the kernel has none"));
    assert_eq!(walls.to_string(), "limits, without landlock (the kernel has none)");
}
