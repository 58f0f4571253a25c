//! A location that fails on demand, for tests: power losses at any operation, full disks, I/O errors, flipped bits.
//!
//! It keeps, beside what a process sees, what a disk would have: the bytes at the last sync and every change since. [`Faulty::cut_power_at`] freezes everything before
//! the n-th change; [`Faulty::after_power_loss`] makes a new location from what the disk kept. A failed sync loses its writes for good,
//! though they stay visible, as Linux does it: a later sync that succeeds does not bring them back.

use super::{Backend, LockGuard, PackFile, Space};
use crate::sync::hold;
use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex},
};

/// What a disk does with what was not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing of it is there.
    Dropped,
    /// All of it is there.
    Kept,
    /// The first changes of each file are there, and the last of those only up to some byte.
    Torn,
    /// Some sectors of some changes are there, in no order.
    Reordered,
}

/// An operation that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading from a pack.
    Read,
    /// Writing to a pack.
    Write,
    /// Syncing a pack.
    Sync,
    /// Creating a pack.
    Create,
}

/// Makes operations fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which ones.
    pub operation: Operation,
    /// How many of them succeed first.
    pub after: u32,
    /// How many of them fail then.
    pub times: u32,
    /// With what.
    pub error: io::ErrorKind,
}

/// A location that fails on demand. A clone is the same location.
#[derive(Clone)]
pub struct Faulty {
    disk: Arc<Mutex<Disk>>,
}

/// What disks of one machine share.
#[derive(Default)]
struct Power {
    /// Changes so far, and the number of the one before which the power goes.
    changes: u64,
    cut_at: Option<u64>,
    is_off: bool,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// The directory as a process sees it, and as it was synced: numbers to files.
    packs: BTreeMap<u64, u64>,
    synced_packs: BTreeMap<u64, u64>,
    contents: BTreeMap<u64, Content>,
    next_content: u64,
    is_locked: bool,
    total: u64,
    faults: Vec<Fault>,
    bytes_read: u64,
    name: Option<String>,
    power: Arc<Mutex<Power>>,
}

#[derive(Clone, Default)]
struct Content {
    visible: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

const SECTOR: usize = 512;

impl Faulty {
    /// A location that works until it is told otherwise, of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk { total, ..Disk::default() })) }
    }

    /// Changes how much fits, as if somebody else had filled or cleared the disk.
    pub fn set_total(&self, total: u64) {
        hold(&self.disk).total = total;
    }

    /// Calls it something else than `faulty`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        hold(&self.disk).name = Some(name.to_owned());
        self
    }

    /// Makes operations fail.
    pub fn inject(&self, fault: Fault) {
        hold(&self.disk).faults.push(fault);
    }

    /// Another disk of the same machine: it loses power at the same moment.
    #[must_use]
    pub fn beside(self, other: &Self) -> Self {
        let power = hold(&other.disk).power.clone();
        hold(&self.disk).power = power;
        self
    }

    /// Cuts the power before the n-th change of any of the machine's disks from now on (0: the next one). A write that is cut is among what the disk may keep.
    pub fn cut_power_at(&self, changes: u64) {
        self.with_power(|power| power.cut_at = Some(power.changes + changes));
    }

    /// How many changes there were: writes, syncs, creations, removals, and so on.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.with_power(|power| power.changes)
    }

    /// Bytes that were read from packs so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        hold(&self.disk).bytes_read
    }

    /// Whether the power went.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.with_power(|power| power.is_off)
    }

    fn with_power<T>(&self, look: impl FnOnce(&mut Power) -> T) -> T {
        let power = hold(&self.disk).power.clone();
        look(&mut hold(&power))
    }

    /// Flips a bit of a pack, on the disk and in every cache.
    pub fn flip_bit(&self, number: u64, offset: u64, bit: u8) {
        let mut disk = hold(&self.disk);
        let Some(content) = disk.packs.get(&number).copied().and_then(|id| disk.contents.get_mut(&id)) else {
            return;
        };
        let Ok(at) = usize::try_from(offset) else { return };
        for bytes in [&mut content.visible, &mut content.synced] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// The bytes of a pack as a process sees them.
    #[must_use]
    pub fn pack_bytes(&self, number: u64) -> Vec<u8> {
        let disk = hold(&self.disk);
        let content = disk.packs.get(&number).and_then(|id| disk.contents.get(id));
        content.map_or_else(Vec::new, |content| content.visible.clone())
    }

    /// A copy of the location as it is now, unlocked, with no faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.after_power_loss(Loss::Kept, 0)
    }

    /// What the disk holds when the power comes back. `seed` decides what is left to chance.
    #[must_use]
    pub fn after_power_loss(&self, loss: Loss, seed: u64) -> Self {
        let disk = hold(&self.disk);
        let mut chance = Chance(seed);
        let mut after = Disk {
            files: disk.files.clone(),
            total: disk.total,
            name: disk.name.clone(),
            next_content: disk.next_content,
            ..Disk::default()
        };
        let mut numbers: Vec<u64> = disk.packs.keys().chain(disk.synced_packs.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let (now, synced) = (disk.packs.get(&number), disk.synced_packs.get(&number));
            let is_kept = match loss {
                Loss::Kept => true,
                Loss::Dropped => false,
                Loss::Torn | Loss::Reordered => chance.coin(),
            };
            let Some(id) = (if is_kept { now } else { synced }) else { continue };
            let Some(content) = disk.contents.get(id) else { continue };
            let bytes = content.after(loss, &mut chance);
            after.packs.insert(number, *id);
            after
                .contents
                .insert(*id, Content { visible: bytes.clone(), synced: bytes, unsynced: Vec::new() });
        }
        after.synced_packs = after.packs.clone();
        Self { disk: Arc::new(Mutex::new(after)) }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Content {
    fn after(&self, loss: Loss, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let count = self.unsynced.len();
        match loss {
            Loss::Dropped => {}
            Loss::Kept => bytes.clone_from(&self.visible),
            Loss::Torn => {
                let kept = chance.below(count + 1);
                for change in &self.unsynced[..kept] {
                    change.apply(&mut bytes);
                }
                if let Some(Change::Write(at, written)) = self.unsynced.get(kept) {
                    let part = written[..chance.below(written.len() + 1)].to_vec();
                    Change::Write(*at, part).apply(&mut bytes);
                }
            }
            Loss::Reordered => {
                for change in &self.unsynced {
                    let Change::Write(at, written) = change else {
                        if chance.coin() {
                            change.apply(&mut bytes);
                        }
                        continue;
                    };
                    let mut from = 0;
                    while from < written.len() {
                        let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(written.len());
                        if chance.coin() {
                            Change::Write(at + from, written[from..to].to_vec()).apply(&mut bytes);
                        }
                        from = to;
                    }
                }
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(at, written) => {
                if bytes.len() < at + written.len() {
                    bytes.resize(at + written.len(), 0);
                }
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
        }
    }
}

impl Disk {
    /// Counts a change. An error when the power is off, or goes now.
    fn change(&self) -> io::Result<()> {
        self.change_or_cut().map_err(|_| power())
    }

    /// As [`Disk::change`]; the error says whether the power goes just now.
    fn change_or_cut(&self) -> Result<(), bool> {
        let mut power = hold(&self.power);
        if power.is_off {
            return Err(false);
        }
        power.changes += 1;
        power.is_off = power.cut_at.is_some_and(|at| power.changes > at);
        if power.is_off { Err(true) } else { Ok(()) }
    }

    fn check_power(&self) -> io::Result<()> {
        if hold(&self.power).is_off { Err(power()) } else { Ok(()) }
    }

    fn fault(&mut self, operation: Operation) -> io::Result<()> {
        for fault in self.faults.iter_mut().filter(|fault| fault.operation == operation && fault.times > 0) {
            if fault.after > 0 {
                fault.after -= 1;
            } else {
                fault.times -= 1;
                return Err(fault.error.into());
            }
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let visible = self.packs.values().filter_map(|id| self.contents.get(id));
        visible.map(|content| content.visible.len() as u64).sum()
    }

    fn check_room(&self, id: u64, length: usize) -> io::Result<()> {
        let now = self.contents.get(&id).map_or(0, |content| content.visible.len());
        let more = length.saturating_sub(now) as u64;
        if more > 0 && self.used() + more > self.total {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn apply(&mut self, id: u64, change: Change) {
        if let Some(content) = self.contents.get_mut(&id) {
            change.apply(&mut content.visible);
            content.unsynced.push(change);
        }
    }
}

fn power() -> io::Error {
    io::Error::other("the power is off")
}

struct FaultyLock(Arc<Mutex<Disk>>);

impl Drop for FaultyLock {
    fn drop(&mut self) {
        hold(&self.0).is_locked = false;
    }
}

impl Backend for Faulty {
    fn describe(&self) -> String {
        hold(&self.disk).name.clone().unwrap_or_else(|| "faulty".to_owned())
    }

    fn lock(&self) -> io::Result<LockGuard> {
        let mut disk = hold(&self.disk);
        if std::mem::replace(&mut disk.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultyLock(self.disk.clone())))
    }

    fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let disk = hold(&self.disk);
        disk.check_power()?;
        Ok(disk.files.get(name).cloned())
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        disk.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn keep_cut(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_file(&format!("cut/{name}"), bytes)
    }

    fn packs(&self) -> io::Result<Vec<u64>> {
        let disk = hold(&self.disk);
        disk.check_power()?;
        Ok(disk.packs.keys().copied().collect())
    }

    fn create_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        disk.fault(Operation::Create)?;
        if disk.packs.contains_key(&number) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.next_content += 1;
        let id = disk.next_content;
        disk.packs.insert(number, id);
        disk.contents.insert(id, Content::default());
        Ok(Arc::new(FaultyPack { disk: self.disk.clone(), id }))
    }

    fn open_pack(&self, number: u64) -> io::Result<Arc<dyn PackFile>> {
        let disk = hold(&self.disk);
        disk.check_power()?;
        let id = *disk.packs.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultyPack { disk: self.disk.clone(), id }))
    }

    fn remove_pack(&self, number: u64) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        disk.packs.remove(&number).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_packs(&self) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        disk.synced_packs = disk.packs.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let disk = hold(&self.disk);
        disk.check_power()?;
        Ok(Space { free: disk.total.saturating_sub(disk.used()), total: disk.total })
    }
}

struct FaultyPack {
    disk: Arc<Mutex<Disk>>,
    id: u64,
}

impl fmt::Debug for FaultyPack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyPack")
    }
}

impl PackFile for FaultyPack {
    fn len(&self) -> io::Result<u64> {
        let disk = hold(&self.disk);
        disk.check_power()?;
        Ok(disk.contents.get(&self.id).map_or(0, |content| content.visible.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = hold(&self.disk);
        disk.check_power()?;
        disk.fault(Operation::Read)?;
        let bytes = disk.contents.get(&self.id).map_or(&[][..], |content| &content.visible);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        disk.bytes_read += count as u64;
        Ok(count)
    }

    fn read_now_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let bytes = parts.concat();
        if let Err(is_cut_now) = disk.change_or_cut() {
            if is_cut_now {
                disk.apply(self.id, Change::Write(at, bytes));
            }
            return Err(power());
        }
        disk.fault(Operation::Write)?;
        disk.check_room(self.id, at + bytes.len())?;
        disk.apply(self.id, Change::Write(at, bytes));
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        disk.check_room(self.id, length)?;
        if disk.contents.get(&self.id).is_some_and(|content| content.visible.len() < length) {
            disk.apply(self.id, Change::Length(length));
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        disk.check_room(self.id, length)?;
        disk.apply(self.id, Change::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = hold(&self.disk);
        disk.change()?;
        let failed = disk.fault(Operation::Sync);
        let Some(content) = disk.contents.get_mut(&self.id) else { return failed };
        let unsynced = std::mem::take(&mut content.unsynced);
        if failed.is_ok() {
            for change in &unsynced {
                change.apply(&mut content.synced);
            }
        }
        failed
    }
}

/// A small generator of chance (SplitMix64), so that a seed always means the same.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}
