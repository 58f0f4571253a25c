//! Images: what the memory of an instance has that the base image has not.
//!
//! An image belongs to exactly one base image, whose hash it carries, and is taken only while the instance's stack is empty. Its form: a head in
//! postcard's encoding, then the pages, compressed together.

use super::{
    Base, Vm,
    written::{self, PAGE},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, ops::Range};
use wasmtime::{Result, Val, format_err};

/// Bytes of a page of WebAssembly.
const WASM_PAGE: usize = 65_536;
/// Largest image that is opened.
const IMAGE_MAX: usize = 1 << 30;

/// Pages of an instance's memory, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pages {
    /// Bytes of the whole memory.
    memory_bytes: u64,
    stack_pointer: i32,
    numbers: Vec<u32>,
    #[serde(skip)]
    bytes: Vec<u8>,
}

/// A program or a run, to be gone on with in a fresh instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// The hash of the base image that it belongs to.
    pub(crate) base: [u8; 32],
    pub(crate) handlers: Vec<String>,
    /// Calls under way when it was taken, which the node ends.
    pub(crate) pending: BTreeSet<u32>,
    /// Timers: their ids and how many ms they had left.
    pub(crate) timers: Vec<(u32, u64)>,
    pub(crate) takes_events: bool,
    pub(crate) has_answered: bool,
    pub(crate) pages: Pages,
}

impl Pages {
    /// What the instance's memory has that the base image has not.
    pub(crate) fn of(vm: &mut Vm, base: &Base) -> Result<Pages> {
        let stack_pointer = vm.exports.stack_pointer.get(&mut vm.store).i32();
        let stack_pointer = stack_pointer.ok_or_else(|| format_err!("the stack pointer is no number"))?;
        let memory = vm.exports.memory.data(&vm.store);
        let mut pages = Pages { memory_bytes: memory.len() as u64, stack_pointer, ..Pages::default() };
        // Where the kernel does not tell what was written, everything is compared.
        let written = written::pages(memory, usize::MAX).unwrap_or_else(|| vec![0..memory.len() / PAGE]);
        for number in written.into_iter().flatten() {
            let page = &memory[number * PAGE..(number + 1) * PAGE];
            if page != base.page(number) {
                pages.numbers.push(u32::try_from(number)?);
                pages.bytes.extend_from_slice(page);
            }
        }
        Ok(pages)
    }

    /// Makes a fresh instance what this was taken of.
    pub(crate) fn restore(&self, vm: &mut Vm) -> Result<()> {
        let now = vm.exports.memory.data_size(&vm.store) as u64;
        if self.memory_bytes > now {
            let grow = (self.memory_bytes - now).div_ceil(WASM_PAGE as u64);
            vm.exports.memory.grow(&mut vm.store, grow)?;
        }
        let memory = vm.exports.memory.data_mut(&mut vm.store);
        for (number, page) in self.numbers.iter().zip(self.bytes.chunks_exact(PAGE)) {
            put(memory, *number as usize, page)?;
        }
        vm.exports.stack_pointer.set(&mut vm.store, Val::I32(self.stack_pointer))
    }

    /// Makes an instance that has run what a fresh one of this image is. `written` are the pages of its memory that are its own.
    pub(crate) fn reset(&self, vm: &mut Vm, base: &Base, written: &[Range<usize>]) -> Result<()> {
        let memory = vm.exports.memory.data_mut(&mut vm.store);
        let mut own = self.numbers.iter().map(|number| *number as usize).zip(self.bytes.chunks_exact(PAGE));
        let mut next = own.next();
        for number in written.iter().cloned().flatten() {
            while let Some((own_number, page)) = next.filter(|(own_number, _)| *own_number < number) {
                put(memory, own_number, page)?;
                next = own.next();
            }
            match next {
                Some((own_number, page)) if own_number == number => {
                    put(memory, number, page)?;
                    next = own.next();
                }
                _ => put(memory, number, base.page(number))?,
            }
        }
        while let Some((number, page)) = next {
            put(memory, number, page)?;
            next = own.next();
        }
        vm.exports.stack_pointer.set(&mut vm.store, Val::I32(self.stack_pointer))
    }

    /// Bytes of the memory of an instance that this was restored in.
    pub(crate) fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory_bytes).unwrap_or(usize::MAX)
    }

    /// Bytes that it keeps in this process.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + self.numbers.len() * 4
    }
}

fn put(memory: &mut [u8], number: usize, page: &[u8]) -> Result<()> {
    let at = number * PAGE;
    let place = memory.get_mut(at..at + PAGE);
    place.ok_or_else(|| format_err!("a page lies outside the memory"))?.copy_from_slice(page);
    Ok(())
}

impl Image {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = postcard::to_stdvec(self).map_err(|error| format_err!("{error}"))?;
        let head = u32::try_from(out.len()).map_err(|error| format_err!("{error}"))?;
        out.splice(0..0, head.to_le_bytes());
        out.extend(zstd::bulk::compress(&self.pages.bytes, 1)?);
        Ok(out)
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Image> {
        let malformed = || format_err!("an image is malformed");
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
        let head = u32::from_le_bytes(*head) as usize;
        let (head, pages) = rest.split_at_checked(head).ok_or_else(malformed)?;
        let mut image: Image = postcard::from_bytes(head).map_err(|_| malformed())?;
        let size = image.pages.numbers.len().checked_mul(PAGE).filter(|size| *size <= IMAGE_MAX);
        image.pages.bytes = zstd::bulk::decompress(pages, size.ok_or_else(malformed)?)?;
        if image.pages.bytes.len() != image.pages.numbers.len() * PAGE {
            return Err(malformed());
        }
        Ok(image)
    }
}
