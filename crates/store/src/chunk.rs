//! Cuts a stream of bytes into content-defined chunks (FastCDC, the 2020 algorithm of the `fastcdc` crate).
//!
//! The same bytes give the same chunks however they are pushed. At most one maximum chunk is held back.

use crate::params::Chunking;
use bytes::Bytes;
use fastcdc::v2020::FastCDC;

/// Cuts the bytes of one object into chunks.
#[derive(Debug)]
pub struct Chunker {
    chunking: Chunking,
    held: Vec<u8>,
}

/// Chunks that follow each other.
#[derive(Clone, Debug)]
pub struct Chunks {
    /// Their bytes.
    pub bytes: Bytes,
    /// How long each of them is.
    pub lengths: Vec<usize>,
}

impl Chunker {
    /// A chunker for one object.
    #[must_use]
    pub fn new(chunking: Chunking) -> Self {
        Self { chunking, held: Vec::new() }
    }

    /// Takes more of the object's bytes and returns the chunks that are certain now.
    pub fn push(&mut self, bytes: &[u8]) -> Chunks {
        let bytes = [&self.held, bytes].concat();
        self.cut(bytes.into())
    }

    /// As [`Chunker::push`], without copying them: they begin with what is held back.
    pub fn cut(&mut self, mut bytes: Bytes) -> Chunks {
        let (mut lengths, mut at) = (Vec::new(), 0);
        // A cut point depends on nothing after the maximum chunk that begins here.
        while bytes.len() - at >= self.chunking.max as usize {
            lengths.push(self.first(&bytes[at..]));
            at += lengths.last().unwrap_or(&0);
        }
        self.held.clear();
        self.held.extend_from_slice(&bytes[at..]);
        bytes.truncate(at);
        Chunks { bytes, lengths }
    }

    /// The bytes that are held back: the beginning of the next chunk.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Returns the chunks that were held back. The object has no bytes after them.
    #[must_use]
    pub fn finish(mut self) -> Chunks {
        let bytes = Bytes::from(std::mem::take(&mut self.held));
        let (mut lengths, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            lengths.push(self.first(&bytes[at..]));
            at += lengths.last().unwrap_or(&0);
        }
        Chunks { bytes, lengths }
    }

    /// The length of the first chunk of these bytes.
    fn first(&self, bytes: &[u8]) -> usize {
        let Chunking { min, avg, max } = self.chunking;
        let window = &bytes[..bytes.len().min(max as usize)];
        let chunker = FastCDC::new(window, min as usize, avg as usize, max as usize);
        match chunker.cut(0, window.len()).1 {
            0 => window.len(),
            cut => cut,
        }
    }
}

impl From<Bytes> for Chunks {
    /// One chunk.
    fn from(bytes: Bytes) -> Self {
        Self { lengths: vec![bytes.len()], bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"chunks").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks(bytes: &[u8], step: usize) -> Vec<Bytes> {
        let mut chunker = Chunker::new(Chunking::default());
        let mut chunks: Vec<Bytes> = bytes.chunks(step).flat_map(|part| apart(chunker.push(part))).collect();
        chunks.extend(apart(chunker.finish()));
        chunks
    }

    fn apart(Chunks { mut bytes, lengths }: Chunks) -> Vec<Bytes> {
        lengths.into_iter().map(|length| bytes.split_to(length)).collect()
    }

    #[test]
    fn the_same_bytes_give_the_same_chunks_however_they_are_pushed() {
        let bytes = noise(3_000_000);
        let whole = chunks(&bytes, bytes.len());
        assert_eq!(whole.concat(), bytes);
        for step in [1_000, 65_536, 262_144, 1_000_003] {
            assert_eq!(chunks(&bytes, step), whole, "step {step}");
        }
        let reference: Vec<usize> =
            FastCDC::new(&bytes, 16_384, 65_536, 262_144).map(|chunk| chunk.length).collect();
        assert_eq!(whole.iter().map(Bytes::len).collect::<Vec<_>>(), reference);
    }

    #[test]
    fn chunks_keep_their_bounds_and_an_empty_object_has_none() {
        assert!(chunks(&[], 1).is_empty());
        let all = chunks(&vec![0; 1_000_000], 1_000_000);
        assert!(all.iter().rev().skip(1).all(|chunk| (16_384..=262_144).contains(&chunk.len())));
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let bytes = noise(2_000_000);
        let mut changed = bytes.clone();
        changed.splice(1_000_000..1_000_000, *b"inserted");
        let (before, after) = (chunks(&bytes, 65_536), chunks(&changed, 65_536));
        let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!(new <= 3, "{new} new chunks");
    }
}
