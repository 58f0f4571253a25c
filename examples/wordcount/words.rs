//! Counts words, as wordcount.js does: with the argument `map` those of a part of the input, with `reduce` it adds the counts of several parts.
//!
//! Standard library alone: rustc --edition 2024 --target wasm32-wasip1 -O -C panic=abort words.rs

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufRead, Write};

/// Words and how often each is there.
type Counts = HashMap<Box<[u8]>, u64, BuildHasherDefault<Fnv>>;

fn main() -> io::Result<()> {
    let input = io::stdin().lock();
    match std::env::args().nth(1).as_deref() {
        Some("map") => print(&map(input)?),
        Some("reduce") => print(&reduce(input)?),
        _ => Err(io::Error::other("run it with ?parallel=auto&input=ADDRESS")),
    }
}

fn map(mut part: impl BufRead) -> io::Result<Counts> {
    let mut counts = Counts::default();
    let mut line = Vec::new();
    while part.read_until(b'\n', &mut line)? > 0 {
        if line.is_ascii() {
            line.make_ascii_lowercase();
            for word in line.split(|byte| !byte.is_ascii_lowercase()) {
                count(&mut counts, word, 1);
            }
        } else {
            let text = String::from_utf8_lossy(&line).to_lowercase();
            for word in text.split(|letter: char| !letter.is_alphabetic()) {
                count(&mut counts, word.as_bytes(), 1);
            }
        }
        line.clear();
    }
    Ok(counts)
}

/// Each value is a line that says how many bytes it has, and these.
fn reduce(mut values: impl BufRead) -> io::Result<Counts> {
    let mut counts = Counts::default();
    let mut length = String::new();
    while values.read_line(&mut length)? > 0 {
        let mut value = vec![0; length.trim().parse().map_err(io::Error::other)?];
        values.read_exact(&mut value)?;
        // {"word":count,…}: words are letters, so nothing in them is escaped.
        for entry in value.split(|byte| matches!(byte, b'{' | b',' | b'}')).filter(|entry| !entry.is_empty()) {
            let end = entry.iter().rposition(|byte| *byte == b':').ok_or(io::ErrorKind::InvalidData)?;
            let digits = &entry[end + 1..];
            count(&mut counts, &entry[1..end - 1], digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        }
        length.clear();
    }
    Ok(counts)
}

fn count(counts: &mut Counts, word: &[u8], times: u64) {
    match counts.get_mut(word) {
        Some(count) => *count += times,
        None if word.is_empty() => {}
        None => drop(counts.insert(word.into(), times)),
    }
}

fn print(counts: &Counts) -> io::Result<()> {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_unstable();
    let mut text = Vec::from(*b"{");
    for (at, (word, count)) in sorted.into_iter().enumerate() {
        text.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
        text.extend_from_slice(word);
        write!(text, "\":{count}")?;
    }
    text.push(b'}');
    io::stdout().write_all(&text)
}

/// The hash of Fowler, Noll and Vo: enough for words.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
