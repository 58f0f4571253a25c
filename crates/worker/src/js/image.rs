//! Images: what the memory of an instance has that the base image has not.
//!
//! An image belongs to exactly one base image, whose hash it carries, and is taken only while the instance's stack is empty. Its form: a head in
//! postcard's encoding, then the pages: of a prepared program what they differ in from the base image's (most of a page is the same: loading a program
//! counts uses in many), compressed together; of a process as they are, in pieces that are kept one by one.

use super::{
    Base, Vm,
    written::{self, PAGE},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, iter, ops::Range};
use wasmtime::{Result, Val, format_err};

/// Bytes of a page of WebAssembly.
const WASM_PAGE: usize = 65_536;
/// Largest image that is opened.
const IMAGE_MAX: usize = 1 << 30;
/// Pages that lie this close together make one piece of an image.
const PIECE_PAGES: u32 = 16;
/// Bytes of a piece, at most.
const PIECE_MAX: usize = 1 << 20;

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
    /// How long the run has lasted, in ms: its clock does not go backwards when it is gone on with.
    pub(crate) elapsed_ms: u64,
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
        let written = written::pages(memory, usize::MAX);
        let written = written.unwrap_or_else(|| iter::once(0..memory.len() / PAGE).collect());
        for number in written.into_iter().flatten() {
            let page = &memory[number * PAGE..(number + 1) * PAGE];
            if page != base.page(number) {
                pages.numbers.push(u32::try_from(number)?);
                pages.bytes.extend_from_slice(page);
            }
        }
        Ok(pages)
    }

    /// Makes of its bytes what they differ in from those of the base image, and back.
    fn differ(&mut self, base: &Base) {
        for (number, page) in self.numbers.iter().zip(self.bytes.chunks_exact_mut(PAGE)) {
            page.iter_mut().zip(base.page(*number as usize)).for_each(|(byte, same)| *byte ^= same);
        }
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
    /// The image with its pages as they are, and the lengths of the pieces that it is to be kept in: the head, then pages by where they lie, so
    /// that what did not change is the same piece as before.
    pub(crate) fn in_pieces(&self) -> Result<(Vec<u8>, Vec<u32>)> {
        let mut out = vec![0; 4];
        out = postcard::to_extend(self, out).map_err(|error| format_err!("{error}"))?;
        let head = u32::try_from(out.len() - 4).map_err(|error| format_err!("{error}"))?;
        out[..4].copy_from_slice(&head.to_le_bytes());
        let mut pieces: Vec<usize> = out.chunks(PIECE_MAX).map(<[u8]>::len).collect();
        let mut place = None;
        for number in &self.pages.numbers {
            let here = Some(number / PIECE_PAGES);
            match pieces.last_mut() {
                Some(last) if place == here => *last += PAGE,
                _ => pieces.push(PAGE),
            }
            place = here;
        }
        out.extend_from_slice(&self.pages.bytes);
        let pieces = pieces.into_iter().map(|piece| u32::try_from(piece).unwrap_or(u32::MAX)).collect();
        Ok((out, pieces))
    }

    /// The image that [`Image::in_pieces`] made, all pieces together.
    pub(crate) fn of_pieces(bytes: &Bytes) -> Result<Image> {
        let (mut image, pages) = Image::head(bytes)?;
        image.pages.bytes = pages.to_vec();
        image.checked()
    }

    pub(crate) fn encode(&self, base: &Base) -> Result<Vec<u8>> {
        let mut out = postcard::to_stdvec(self).map_err(|error| format_err!("{error}"))?;
        let head = u32::try_from(out.len()).map_err(|error| format_err!("{error}"))?;
        out.splice(0..0, head.to_le_bytes());
        let mut pages = self.pages.clone();
        pages.differ(base);
        out.extend(zstd::bulk::compress(&pages.bytes, 1)?);
        Ok(out)
    }

    pub(crate) fn decode(bytes: &Bytes, base: &Base) -> Result<Image> {
        let (mut image, pages) = Image::head(bytes)?;
        let size = image.pages.numbers.len().checked_mul(PAGE).filter(|size| *size <= IMAGE_MAX);
        image.pages.bytes = zstd::bulk::decompress(pages, size.ok_or_else(malformed)?)?;
        image.pages.differ(base);
        image.checked()
    }

    /// The image without its pages, and the bytes that follow.
    fn head(bytes: &Bytes) -> Result<(Image, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(malformed)?;
        let head = u32::from_le_bytes(*head) as usize;
        let (head, pages) = rest.split_at_checked(head).ok_or_else(malformed)?;
        Ok((postcard::from_bytes(head).map_err(|_| malformed())?, pages))
    }

    fn checked(self) -> Result<Image> {
        if self.pages.bytes.len() == self.pages.numbers.len() * PAGE { Ok(self) } else { Err(malformed()) }
    }
}

fn malformed() -> wasmtime::Error {
    format_err!("an image is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_in_pieces_comes_back_and_what_did_not_change_is_the_same_piece() {
        let pages = |numbers: &[u32], fill: &[u8]| Pages {
            memory_bytes: 1 << 20,
            stack_pointer: 64,
            numbers: numbers.to_vec(),
            bytes: fill.iter().flat_map(|byte| vec![*byte; PAGE]).collect(),
        };
        let image = |pages| Image {
            base: [7; 32],
            handlers: Vec::new(),
            pending: BTreeSet::from([3]),
            timers: vec![(4, 5)],
            takes_events: true,
            has_answered: false,
            elapsed_ms: 9,
            pages,
        };
        let first = image(pages(&[1, 2, 20, 40, 41], &[1, 2, 3, 4, 5]));
        let (bytes, lengths) = first.in_pieces().unwrap();
        assert_eq!(lengths[1..], [8_192, 4_096, 8_192]);
        assert_eq!(lengths.iter().sum::<u32>() as usize, bytes.len());
        assert_eq!(Image::of_pieces(&bytes.clone().into()).unwrap(), first);
        let (again, _) = image(pages(&[1, 2, 20, 40, 41], &[1, 2, 9, 4, 5])).in_pieces().unwrap();
        assert_eq!(bytes[bytes.len() - 8_192..], again[again.len() - 8_192..]);
        assert!(Image::of_pieces(&Bytes::from(bytes[..bytes.len() - 1].to_vec())).is_err());
    }
}
