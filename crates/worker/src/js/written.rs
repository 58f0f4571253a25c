//! Which pages of an instance's memory are its own: the kernel knows, and tells in one call.
//!
//! A page that was never written to is still that of the base image, shared with every other instance. One that was is private to the
//! instance from then on, whether it was written by this run or by one before.

use rustix::{
    fd::BorrowedFd,
    io,
    ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode},
};
use std::{ffi::c_void, fs::File, ops::Range, os::fd::AsFd, sync::OnceLock};

/// Bytes of a page: what the machine copies when one is written to.
pub(crate) const PAGE: usize = 4_096;
/// Stretches of pages that one call tells.
const STRETCHES: usize = 256;

// `linux/fs.h`: what a page is.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZEROS: u64 = 1 << 5;

static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();

/// Opens what is asked. Later there are no files to open.
pub(crate) fn open() {
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok());
}

/// `struct page_region` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Stretch {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    stretches: u64,
    stretches_len: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}

/// `PAGEMAP_SCAN` into a list of stretches.
struct Request<'a> {
    scan: Scan,
    stretches: &'a mut [Stretch; STRETCHES],
}

#[allow(unsafe_code, reason = "the kernel writes into what it is given")]
// SAFETY: the number and the structure are those of `PAGEMAP_SCAN` in `linux/fs.h`; `stretches` points to as many elements as `stretches_len`
// says, and both are borrowed for as long as the request lives.
unsafe impl Ioctl for Request<'_> {
    /// How many stretches were found, and up to which address.
    type Output = (usize, u64);
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Scan>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.scan.stretches = self.stretches.as_mut_ptr().expose_provenance() as u64;
        self.scan.stretches_len = STRETCHES as u64;
        (&raw mut self.scan).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, scan: *mut c_void) -> io::Result<Self::Output> {
        // SAFETY: it is the pointer that `as_ptr` gave.
        let scan = unsafe { &*scan.cast::<Scan>() };
        Ok((usize::try_from(out).unwrap_or(0).min(STRETCHES), scan.walk_end))
    }
}

/// The pages of a memory that are its own, by number, in order. `None` where the kernel does not tell, or there are more than `pages_max`.
pub(crate) fn pages(memory: &[u8], pages_max: usize) -> Option<Vec<Range<usize>>> {
    let pagemap = PAGEMAP.get()?.as_ref()?;
    let base = memory.as_ptr().addr();
    let end = base + memory.len();
    let (mut at, mut found, mut count) = (base, Vec::new(), 0);
    while at < end {
        let mut stretches = [Stretch::default(); STRETCHES];
        let (told, walked) = scan(pagemap.as_fd(), at..end, &mut stretches).ok()?;
        for stretch in &stretches[..told] {
            let first = usize::try_from(stretch.start).ok()?.checked_sub(base)? / PAGE;
            let last = usize::try_from(stretch.end).ok()?.checked_sub(base)? / PAGE;
            count += last - first;
            found.push(first..last);
        }
        if count > pages_max {
            return None;
        }
        let walked = usize::try_from(walked).ok()?;
        if walked <= at {
            return None;
        }
        at = walked;
    }
    Some(found)
}

#[allow(unsafe_code, reason = "the kernel writes into what it is given")]
fn scan(
    pagemap: BorrowedFd<'_>,
    range: Range<usize>,
    stretches: &mut [Stretch; STRETCHES],
) -> io::Result<(usize, u64)> {
    let scan = Scan {
        size: size_of::<Scan>() as u64,
        start: range.start as u64,
        end: range.end as u64,
        inverted: FILE | ZEROS,
        all_of: FILE | ZEROS,
        any_of: PRESENT | SWAPPED,
        ..Scan::default()
    };
    // SAFETY: see `Request`. The range is only looked up, not written to.
    unsafe { ioctl(pagemap, Request { scan, stretches }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_were_written_are_told() {
        open();
        // So large that every allocator asks the kernel for it, and nothing was written there before.
        let mut memory = vec![0_u8; 10_000 * PAGE];
        let first = memory.as_ptr().addr().next_multiple_of(PAGE) - memory.as_ptr().addr();
        let memory = &mut memory[first..first + 2_000 * PAGE];
        let Some(before) = pages(memory, 4_000) else {
            return eprintln!("skipped: this kernel does not tell which pages were written");
        };
        assert!(before.is_empty(), "{before:?}");
        // More stretches than one call tells.
        for number in (0..1_000).step_by(2) {
            memory[number * PAGE] = 1;
        }
        memory[1_500 * PAGE..1_502 * PAGE].fill(1);
        let written = pages(memory, 4_000).unwrap();
        assert_eq!(written.len(), 501);
        assert_eq!(written[1], 2..3);
        assert_eq!(written[500], 1_500..1_502);
        assert!(pages(memory, 100).is_none());
    }
}
