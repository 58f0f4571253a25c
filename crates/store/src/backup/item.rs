//! Items: what a backup consists of, on its way from the node and in its segments. Pure encoding and decoding.
//!
//! An item is checked by its own hash, and a block or a chunk of rows besides by its id. A decoder takes bytes that anyone may have damaged: it
//! never allocates more than it was given, but for rows, whose length it bounds.

use crate::{
    frame::{BlockHead, Operation, Reader, decode_head, decode_operation, encode_head, encode_operation},
    id::BlockId,
};
use bytes::{Buf, Bytes, BytesMut};

/// Bytes before an item's body.
pub(crate) const ITEM_HEADER: usize = 40;
/// Longest body that a reader accepts.
const BODY_MAX: usize = 32 << 20;
/// Longest chunk of rows, in bytes of plaintext.
const ROWS_MAX: usize = 8 << 20;
/// A chunk of rows is compressed so hard.
const ROWS_LEVEL: i32 = 3;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What state this is, and after which one: JSON. Comes first.
    Head = 1,
    /// A chunk of entries.
    Rows = 2,
    /// A chunk of entries that the destination has: its id.
    Same = 3,
    /// A block with its tags.
    Block = 4,
    /// Something that could not be read: text.
    Damage = 5,
    /// How much there is to come: blocks and bytes, `u64` each.
    Size = 6,
    /// What the layer above adds: JSON.
    Note = 7,
    /// How many chunks of rows and blocks there were, `u64` each. Comes last.
    End = 8,
}

/// An item whose hash was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its body.
    pub body: Bytes,
}

/// Bytes that are no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadItem(pub(crate) &'static str);

impl BadItem {
    /// What is missing at the end.
    #[must_use]
    pub const fn cut_off() -> Self {
        Self("something is missing in it")
    }

    /// What does not belong where it is.
    #[must_use]
    pub const fn out_of_place() -> Self {
        Self("an item that does not belong there")
    }
}

impl Item {
    /// Its bytes.
    #[must_use]
    pub fn encode(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = Vec::with_capacity(ITEM_HEADER + length);
        out.extend_from_slice(&[kind as u8, 0, 0, 0]);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&out);
        for part in parts {
            hasher.update(part);
        }
        out.extend_from_slice(hasher.finalize().as_bytes());
        for part in parts {
            out.extend_from_slice(part);
        }
        out
    }

    /// The item at the beginning of `bytes`; none where more is needed.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Kind, usize)>, BadItem> {
        let Some(head) = bytes.get(..ITEM_HEADER) else { return Ok(None) };
        let kind = match head[0] {
            1 => Kind::Head,
            2 => Kind::Rows,
            3 => Kind::Same,
            4 => Kind::Block,
            5 => Kind::Damage,
            6 => Kind::Size,
            7 => Kind::Note,
            8 => Kind::End,
            _ => return Err(BadItem("an item of an unknown kind")),
        };
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if head[1..4] != [0, 0, 0] || length > BODY_MAX {
            return Err(BadItem("the header of an item"));
        }
        let Some(body) = bytes.get(ITEM_HEADER..ITEM_HEADER + length) else { return Ok(None) };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head[..8]).update(body);
        if hasher.finalize().as_bytes() != &head[8..] {
            return Err(BadItem("an item"));
        }
        Ok(Some((kind, ITEM_HEADER + length)))
    }
}

/// Takes items off bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Decoder(BytesMut);

impl Decoder {
    /// More bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next item, if it is whole.
    pub fn take(&mut self) -> Result<Option<Item>, BadItem> {
        let Some((kind, length)) = Item::decode(&self.0)? else { return Ok(None) };
        let mut bytes = self.0.split_to(length).freeze();
        bytes.advance(ITEM_HEADER);
        Ok(Some(Item { kind, body: bytes }))
    }

    /// Whether nothing is left over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The id of a chunk of rows: the hash of its plaintext.
pub(crate) type RowsId = [u8; 32];

/// The body of a chunk of rows.
pub(crate) fn encode_rows(plain: &[u8]) -> std::io::Result<(RowsId, Vec<u8>)> {
    let id = *blake3::hash(plain).as_bytes();
    let packed = zstd::bulk::compress(plain, ROWS_LEVEL)?;
    let mut body = Vec::with_capacity(36 + packed.len());
    body.extend_from_slice(&id);
    body.extend_from_slice(&u32::try_from(plain.len()).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(&packed);
    Ok((id, body))
}

/// The id and the operations of a chunk of rows.
pub fn decode_rows(body: &Bytes) -> Result<(RowsId, Vec<Row>), BadItem> {
    let bad = BadItem("a chunk of entries");
    let (Some(id), Some(length)) = (body.first_chunk::<32>(), body.get(32..36)) else { return Err(bad) };
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > ROWS_MAX {
        return Err(bad);
    }
    let plain = zstd::bulk::decompress(&body[36..], length).map_err(|_| bad)?;
    if plain.len() != length || blake3::hash(&plain).as_bytes() != id {
        return Err(bad);
    }
    let plain = Bytes::from(plain);
    let mut reader = Reader { bytes: &plain, at: 0 };
    let mut rows = Vec::new();
    while reader.at < plain.len() {
        rows.push(Row(decode_operation(&mut reader).ok_or(bad)?));
    }
    Ok((*id, rows))
}

/// An entry in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub(crate) Operation);

pub(crate) fn push_row(out: &mut Vec<u8>, operation: &Operation) {
    encode_operation(out, operation);
}

/// An item with a block and its tags.
pub(crate) fn encode_block(head: &BlockHead, stored: &[u8]) -> Vec<u8> {
    let mut described = Vec::with_capacity(64);
    encode_head(&mut described, head);
    Item::encode(Kind::Block, &[&described, stored])
}

/// A block that is what its id says.
pub(crate) fn decode_block(body: &Bytes) -> Result<(BlockHead, Bytes), BadItem> {
    let mut reader = Reader { bytes: body, at: 0 };
    let head = decode_head(&mut reader).ok_or(BadItem("the description of a block"))?;
    let stored = reader.rest();
    if stored.len() != head.len as usize || BlockId::of(&stored) != head.id {
        return Err(BadItem("a block"));
    }
    Ok((head, stored))
}

/// Reads every kind of item in `bytes`, as a reader of a backup would. For fuzzing.
pub fn read_all(bytes: &[u8]) -> Result<usize, BadItem> {
    let mut decoder = Decoder::default();
    decoder.feed(bytes);
    let mut count = 0;
    while let Some(item) = decoder.take()? {
        match item.kind {
            Kind::Rows => drop(decode_rows(&item.body)?),
            Kind::Block => drop(decode_block(&item.body)?),
            _ => {}
        }
        count += 1;
    }
    Ok(count)
}
