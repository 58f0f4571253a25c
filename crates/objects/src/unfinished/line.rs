//! How an unfinished upload lies in the store: a line of the table `upload`, a clear part and a sealed one.
//!
//! Clear are what this node needs without a credential: where the upload goes (to decide who may go on with it), how much of it is there (for
//! quotas), when it expires. Everything else is sealed under the object's read key, public uploads too, and bound to the clear part.

use crate::{
    address::{ADDRESS_BYTES_MAX, Address},
    cbor::{Cbor, FormatError, Reader, Writer, required},
    manifest::{Manifest, PAGE_BYTES_MAX},
    seal::BlockKey,
    stow::Tail,
};
use jsfs_store::BlockId;

const VERSION: u64 = 1;
/// Conditions are header fields of one request, whose head is bounded by a setting of at most 1 MiB.
const CONDITIONS_BYTES_MAX: usize = 64 << 10;
const CONTENT_TYPE_BYTES_MAX: usize = 1_024;
const HASH_STATE_BYTES_MAX: usize = 256;
const STATE_BYTES_MAX: usize = PAGE_BYTES_MAX + CONDITIONS_BYTES_MAX + 4_096;

/// The clear part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clear {
    pub(super) address: Address,
    /// The epoch of the place that the address belonged to; in another one the upload is void.
    pub(super) epoch: u64,
    pub(super) private: bool,
    /// How many bytes it will have; none where the client has not said so yet.
    pub(super) length: Option<u64>,
    /// How many are here.
    pub(super) offset: u64,
    pub(super) expires_ms: u64,
    /// The version that it became, where it is finished.
    pub(super) version: Option<u64>,
}

/// A line as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) clear: Clear,
    /// Empty where it is finished.
    pub(super) sealed: Vec<u8>,
}

/// The sealed part: what was asked for, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) content_type: Option<String>,
    pub(super) content_type_if_new: Option<String>,
    pub(super) append: bool,
    /// What must hold of the version that is replaced, in the words of the caller.
    pub(super) conditions: String,
    pub(super) sha256: Vec<u8>,
    pub(super) manifest: Manifest,
    pub(super) tail: Option<Tail>,
    /// How many of the list blocks that the line refers to are full and stay as they are.
    pub(super) lists: u64,
}

impl Clear {
    /// What the sealed part is bound to, together with the upload's id.
    pub(super) fn bound(&self, id: &[u8; 16]) -> Vec<u8> {
        let mut out = Writer::new();
        write_clear(&mut out, self);
        [&id[..], &out.into_bytes()].concat()
    }
}

fn write_clear(out: &mut Writer, clear: &Clear) {
    out.array(8).uint(VERSION).text(clear.address.as_str()).uint(clear.epoch).bool(clear.private);
    write_optional(out, clear.length);
    out.uint(clear.offset).uint(clear.expires_ms);
    write_optional(out, clear.version);
}

fn write_optional(out: &mut Writer, value: Option<u64>) {
    match value {
        Some(value) => out.uint(value),
        None => out.null(),
    };
}

fn read_optional(input: &mut Reader<'_>, what: &'static str) -> Result<Option<u64>, FormatError> {
    if input.null() { Ok(None) } else { input.uint(what).map(Some) }
}

fn read_clear(input: &mut Reader<'_>) -> Result<Clear, FormatError> {
    input.tuple("an upload's clear part", 8)?;
    let version = input.uint("an upload's format")?;
    if version != VERSION {
        return Err(FormatError::Version { what: "an upload", version });
    }
    let address = Address::parse_exact(input.text("an address", ADDRESS_BYTES_MAX)?);
    Ok(Clear {
        address: address.map_err(|_| FormatError::Malformed { what: "an address" })?,
        epoch: input.uint("an upload's epoch")?,
        private: input.bool("an upload's privacy")?,
        length: read_optional(input, "an upload's length")?,
        offset: input.uint("an upload's offset")?,
        expires_ms: input.uint("an upload's end")?,
        version: read_optional(input, "an upload's version")?,
    })
}

impl Cbor for Line {
    const NAME: &'static str = "an upload";
    const BYTES_MAX: usize = STATE_BYTES_MAX + ADDRESS_BYTES_MAX + 1_024;

    fn write(&self, out: &mut Writer) {
        out.array(2);
        write_clear(out, &self.clear);
        out.bytes(&self.sealed);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        input.tuple(Self::NAME, 2)?;
        let clear = read_clear(input)?;
        Ok(Line { clear, sealed: input.bytes("an upload's state", Self::BYTES_MAX)?.to_vec() })
    }
}

impl Cbor for State {
    const NAME: &'static str = "an upload's state";
    const BYTES_MAX: usize = STATE_BYTES_MAX;

    fn write(&self, out: &mut Writer) {
        let Self { content_type, content_type_if_new, append, conditions, sha256, manifest, tail, lists } =
            self;
        let texts = [content_type, content_type_if_new];
        out.map(5 + texts.iter().filter(|text| text.is_some()).count() + usize::from(tail.is_some()));
        for (key, text) in (1..).zip(texts) {
            if let Some(text) = text {
                out.uint(key).text(text);
            }
        }
        out.uint(3).bool(*append);
        out.uint(4).text(conditions);
        out.uint(5).bytes(sha256);
        out.uint(6).nested(manifest);
        if let Some(tail) = tail {
            out.uint(7).array(2).bytes(tail.block.as_bytes());
            match &tail.key {
                Some(key) => out.bytes(key.expose()),
                None => out.null(),
            };
        }
        out.uint(8).uint(*lists);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut content_type, mut content_type_if_new, mut tail) = (None, None, None);
        let (mut append, mut conditions, mut sha256, mut manifest, mut lists) =
            (None, None, None, None, None);
        input.map(Self::NAME, |input, key| {
            match key {
                1 => content_type = Some(input.text("a content type", CONTENT_TYPE_BYTES_MAX)?.to_owned()),
                2 => {
                    content_type_if_new =
                        Some(input.text("a content type", CONTENT_TYPE_BYTES_MAX)?.to_owned());
                }
                3 => append = Some(input.bool("an append mark")?),
                4 => conditions = Some(input.text("conditions", CONDITIONS_BYTES_MAX)?.to_owned()),
                5 => sha256 = Some(input.bytes("the state of a hash", HASH_STATE_BYTES_MAX)?.to_vec()),
                6 => manifest = Some(Manifest::read(input)?),
                7 => tail = Some(read_tail(input)?),
                8 => lists = Some(input.uint("a number of list blocks")?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(State {
            content_type,
            content_type_if_new,
            append: required(append, "an append mark")?,
            conditions: required(conditions, "conditions")?,
            sha256: required(sha256, "the state of a hash")?,
            manifest: required(manifest, "a manifest")?,
            tail,
            lists: required(lists, "a number of list blocks")?,
        })
    }
}

fn read_tail(input: &mut Reader<'_>) -> Result<Tail, FormatError> {
    input.tuple("an upload's last bytes", 2)?;
    let block = BlockId::from_bytes(input.fixed("a block id")?);
    let key = if input.null() { None } else { Some(BlockKey::from_bytes(input.fixed("a block key")?)) };
    Ok(Tail { block, key })
}

/// The longest text of conditions that fits a line.
pub(super) const fn conditions_bytes_max() -> usize {
    CONDITIONS_BYTES_MAX
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Cbor, Clear, Line, Manifest, State, Tail};
    use crate::{address::Address, seal::BlockKey};
    use jsfs_store::BlockId;

    #[test]
    fn lines_and_states_come_back_as_they_were() {
        let clear = Clear {
            address: Address::parse("/localhost/a/b").unwrap(),
            epoch: 3,
            private: true,
            length: None,
            offset: 1 << 40,
            expires_ms: 1_800_000_000_000,
            version: None,
        };
        let line = Line { clear: clear.clone(), sealed: vec![7; 300] };
        assert_eq!(Line::from_bytes(&line.to_bytes()).unwrap(), line);
        let finished =
            Line { clear: Clear { length: Some(9), version: Some(2), ..clear }, sealed: Vec::new() };
        assert_eq!(Line::from_bytes(&finished.to_bytes()).unwrap(), finished);
        let tail = |key| Some(Tail { block: BlockId::from_bytes([3; 32]), key });
        for tail in [None, tail(None), tail(Some(BlockKey::from_bytes([4; 32])))] {
            let state = State {
                content_type: tail.is_some().then(|| "text/plain".to_owned()),
                content_type_if_new: Some("text/css".to_owned()),
                append: true,
                conditions: "if-none-match: *\n".to_owned(),
                sha256: vec![1; 105],
                manifest: Manifest::empty(),
                tail,
                lists: 12,
            };
            assert_eq!(State::from_bytes(&state.to_bytes()).unwrap(), state);
        }
        assert!(Line::from_bytes(&line.to_bytes()[1..]).is_err());
    }
}
