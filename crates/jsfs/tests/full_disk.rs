//! A full disk refuses new data with 507, goes on reading and deleting, and takes writes again as soon as there is room, without a restart.
//!
//! The disk is a small tmpfs that the test mounts, which needs root; without it the test says so and is skipped.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test program throughout")]

use jsfs_testkit::http::{Answer, Client, Request};
use jsfs_testkit::node::{Node, Setup};
use jsfs_testkit::random::Random;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// Room for the index, a few packs' worth of data, and the tests' ballast.
const DISK_MIB: usize = 128;
const OBJECT_BYTES: usize = 4 * MIB;
/// Longest wait for space to come back after a delete.
const RECOVERY: Duration = Duration::from_secs(60);

/// A small disk of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason on standard error, where mounting is not possible.
    fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={DISK_MIB}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Some(SmallDisk(at.to_owned())),
            Ok(output) => {
                eprintln!(
                    "skipped: no tmpfs can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                eprintln!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    /// Makes room, as somebody does who enlarges the volume.
    fn grow(&self) {
        let size = format!("remount,size={}m", DISK_MIB * 2);
        let status = Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap();
        assert!(status.success(), "a tmpfs can be enlarged");
    }

    /// Fills the disk, as somebody else's files would, until `free` bytes are left.
    fn ballast(&self, free: usize) -> PathBuf {
        let path = self.0.join("ballast");
        let file = std::fs::File::create(&path).unwrap();
        let space = rustix::fs::statvfs(&self.0).unwrap();
        let available = space.f_bavail * space.f_frsize;
        let length = available.saturating_sub(free as u64);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

struct Peer {
    client: Client,
    key: String,
}

impl Peer {
    fn send(&mut self, method: &str, target: &str, body: &[u8]) -> Answer {
        let request = Request::new(method, target).bearer(&self.key).body(body);
        // A refusal may end the connection with the body half sent; the next attempt gets a new one.
        self.client.send(&request).or_else(|_| self.client.send(&request)).unwrap()
    }
}

/// Different bytes for each number, which cannot be compressed or deduplicated.
fn body(number: u64) -> Vec<u8> {
    Random::seeded(number).bytes(OBJECT_BYTES)
}

/// Puts objects until one is refused with 507; their number.
fn fill(peer: &mut Peer) -> u64 {
    for number in 0..DISK_MIB as u64 {
        let answer = peer.send("PUT", &format!("/full/{number}"), &body(number));
        match answer.status {
            201 => {}
            507 => {
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json"),
                    "{}",
                    answer.text()
                );
                return number;
            }
            other => panic!("PUT number {number}: {other} {}", answer.text()),
        }
    }
    panic!("a disk of {DISK_MIB} MiB took more than it holds");
}

/// Waits until an object can be stored; how long that took.
fn until_writable(peer: &mut Peer, target: &str, number: u64) -> Duration {
    let start = Instant::now();
    loop {
        let answer = peer.send("PUT", target, &body(number));
        match answer.status {
            200 | 201 => return start.elapsed(),
            507 if start.elapsed() < RECOVERY => std::thread::sleep(Duration::from_millis(100)),
            other => panic!(
                "{other} {} s after there was room again: {}",
                start.elapsed().as_secs(),
                answer.text()
            ),
        }
    }
}

fn reads_what_was_stored(peer: &mut Peer, numbers: Range<u64>) {
    for number in numbers {
        let answer = peer.send("GET", &format!("/full/{number}"), &[]);
        assert_eq!(answer.status, 200, "GET number {number}: {}", answer.text());
        assert!(answer.body == body(number), "number {number} is not what was stored");
    }
}

fn start(disk: &SmallDisk, folder: &Path, floor: &str) -> (Setup, Node, Peer) {
    let setup = Setup::new(env!("CARGO_BIN_EXE_jsfs"), &disk.0.join("data"))
        .set(&format!("storage.floor={floor}"))
        .log(&folder.join("log"));
    let node = setup.start();
    let peer = Peer { client: Client::new(node.address()), key: setup.root_key() };
    (setup, node, peer)
}

fn ends_clean(setup: &Setup, node: Node) {
    assert!(node.stop().success());
    let check = setup.check();
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn a_disk_at_its_floor_refuses_writes_and_recovers_after_a_purge() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    let (setup, node, mut peer) = start(&disk, folder.path(), "16MiB");
    let stored = fill(&mut peer);
    assert!(stored >= 4, "a disk of {DISK_MIB} MiB took only {stored} objects of 4 MiB");
    reads_what_was_stored(&mut peer, 0..stored);
    assert_eq!(peer.send("DELETE", "/full/0", &[]).status, 204, "deletes go on");
    assert_eq!(peer.send("GET", "/full/0", &[]).status, 404);

    let half = stored / 2;
    for number in 1..half {
        let answer = peer.send("DELETE", &format!("/full/{number}?purge=true"), &[]);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let waited = until_writable(&mut peer, "/full/after-purge", 1_000);
    eprintln!(
        "{stored} objects until 507; writable {} ms after half of them were purged",
        waited.as_millis()
    );
    reads_what_was_stored(&mut peer, half..stored);
    ends_clean(&setup, node);
}

/// Without a floor nothing is left for the deletes themselves either: it takes room from outside.
#[test]
fn a_disk_filled_to_the_last_byte_refuses_writes_and_recovers_when_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    let (setup, node, mut peer) = start(&disk, folder.path(), "0");
    let stored = fill(&mut peer);
    for number in 0..20 {
        let small = peer.send("PUT", &format!("/full/small-{number}"), &body(number)[..60_000]);
        assert!([201, 507].contains(&small.status), "{} {}", small.status, small.text());
        let delete = peer.send("DELETE", &format!("/full/none-{number}"), &[]);
        assert!([404, 507].contains(&delete.status), "{} {}", delete.status, delete.text());
    }
    reads_what_was_stored(&mut peer, 0..stored);

    disk.grow();
    let waited = until_writable(&mut peer, "/full/after-growing", 1_000);
    eprintln!("{stored} objects until 507; writable {} ms after the disk grew", waited.as_millis());
    reads_what_was_stored(&mut peer, 0..stored);
    ends_clean(&setup, node);
}

#[test]
fn space_that_others_give_back_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    for floor in ["16MiB", "0"] {
        let (_, node, mut peer) = start(&disk, folder.path(), floor);
        let target = format!("/others/{floor}");
        assert_eq!(peer.send("PUT", &target, &body(1)).status, 201);

        let ballast = disk.ballast(MIB);
        // What was allocated ahead may take a few more.
        let refused = (2..40)
            .find(|number| peer.send("PUT", &format!("{target}-{number}"), &body(*number)).status == 507);
        assert!(refused.is_some(), "floor {floor}: a disk with 1 MiB left takes 4 MiB after 4 MiB");
        assert!(peer.send("GET", &target, &[]).body == body(1), "reads go on");

        std::fs::remove_file(ballast).unwrap();
        let waited = until_writable(&mut peer, &format!("{target}-again"), 99);
        eprintln!("floor {floor}: writable {} ms after others made room", waited.as_millis());
        assert!(node.stop().success());
    }
}

/// A node that was killed, or stopped in good order, while its disk was full starts again, reads, refuses writes, and takes them when there is room.
#[test]
fn a_node_starts_on_a_full_disk() {
    let cases = [
        ("16MiB", true, false),
        ("0", false, false),
        ("0", true, false),
        ("16MiB", true, true),
        ("0", false, true),
    ];
    for (floor, is_killed, is_index_lost) in cases {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
        let (setup, node, mut peer) = start(&disk, folder.path(), floor);
        let stored = fill(&mut peer);
        let mut ballast = disk.ballast(0);
        if is_killed {
            node.kill();
        } else {
            let ended = node.stop();
            assert!(ended.success(), "{}", std::fs::read_to_string(folder.path().join("log")).unwrap());
        }
        if is_index_lost {
            std::fs::remove_dir_all(setup.data().join("index")).unwrap();
            ballast = disk.ballast(0);
        }
        let node = setup.start();
        let mut peer = Peer { client: Client::new(node.address()), key: peer.key };
        reads_what_was_stored(&mut peer, 0..stored);
        let refused = peer.send("PUT", "/full/more", &body(500));
        assert_eq!(refused.status, 507, "floor {floor}, killed {is_killed}: {}", refused.text());
        let status = peer.send("GET", "/.jsfs/status", &[]);
        assert_eq!(status.json()["status"], "degraded", "{}", status.text());
        std::fs::remove_file(ballast).unwrap();
        disk.grow();
        let waited = until_writable(&mut peer, "/full/again", 501);
        eprintln!(
            "floor {floor}, killed {is_killed}, index lost {is_index_lost}: writable {} ms after others made room",
            waited.as_millis()
        );
        reads_what_was_stored(&mut peer, 0..stored);
        ends_clean(&setup, node);
        let node = setup.start();
        let mut peer = Peer { client: Client::new(node.address()), key: peer.key };
        assert!(peer.send("GET", "/full/again", &[]).body == body(501));
        ends_clean(&setup, node);
    }
}
