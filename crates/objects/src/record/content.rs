//! Content: what describes the bytes of one object version.

use crate::address::{ADDRESS_BYTES_MAX, Address};
use crate::cbor::{Cbor, FormatError, Reader, Writer, required};
use crate::manifest::{Manifest, PAGE_BYTES_MAX};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The longest content type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 1_024;

/// Most bytes that names and values of an object's own properties may take together.
pub const PROPERTIES_BYTES_MAX: usize = 16 * 1_024;

/// Most properties of its own that an object may have.
pub const PROPERTIES_MAX: usize = 256;

/// Address, type, hash, times and manifest of one object version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The object's address.
    pub address: Address,
    /// Its size in bytes.
    pub size: u64,
    /// Its media type, as it was given.
    pub content_type: String,
    /// A strong validator of the bytes.
    pub etag: [u8; 16],
    /// When the object was created, ms since 1970.
    pub created_ms: u64,
    /// When this version was made, ms since 1970.
    pub modified_ms: u64,
    /// Whether it is a program.
    pub executable: bool,
    /// SHA-256 of the bytes; absent where only a part was ever seen.
    pub sha256: Option<[u8; 32]>,
    /// Where the bytes are.
    pub manifest: Manifest,
    /// What clients attached: name → value, both text that means nothing here.
    pub properties: BTreeMap<String, String>,
}

impl Content {
    /// Its bytes, which hold block keys.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.to_bytes())
    }

    /// Reads content.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes(bytes)
    }
}

impl Cbor for Content {
    const NAME: &'static str = "an object's content";
    const BYTES_MAX: usize = PAGE_BYTES_MAX
        + ADDRESS_BYTES_MAX
        + CONTENT_TYPE_BYTES_MAX
        + PROPERTIES_BYTES_MAX
        + PROPERTIES_MAX * 16
        + 256;

    fn write(&self, out: &mut Writer) {
        let properties = !self.properties.is_empty();
        out.map(8 + usize::from(self.sha256.is_some()) + usize::from(properties));
        out.uint(1).text(self.address.as_str());
        out.uint(2).uint(self.size);
        out.uint(3).text(&self.content_type);
        out.uint(4).bytes(&self.etag);
        out.uint(5).uint(self.created_ms);
        out.uint(6).uint(self.modified_ms);
        out.uint(7).bool(self.executable);
        if let Some(sha256) = &self.sha256 {
            out.uint(8).bytes(sha256);
        }
        out.uint(9).nested(&self.manifest);
        if properties {
            out.uint(10).array(self.properties.len());
            for (name, value) in &self.properties {
                out.array(2).text(name).text(value);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let (mut address, mut size, mut content_type, mut etag) = (None, None, None, None);
        let (mut created, mut modified, mut executable, mut sha256, mut manifest) =
            (None, None, None, None, None);
        let mut properties = BTreeMap::new();
        input.map(Self::NAME, |input, key| {
            match key {
                1 => address = Some(input.text("an address", ADDRESS_BYTES_MAX)?.to_owned()),
                2 => size = Some(input.uint("an object's size")?),
                3 => content_type = Some(input.text("a content type", CONTENT_TYPE_BYTES_MAX)?.to_owned()),
                4 => etag = Some(input.fixed("an entity tag")?),
                5 => created = Some(input.uint("a time of creation")?),
                6 => modified = Some(input.uint("a time of modification")?),
                7 => executable = Some(input.bool("an executable mark")?),
                8 => sha256 = Some(input.fixed("a SHA-256 hash")?),
                9 => manifest = Some(Manifest::read(input)?),
                10 => properties = read_properties(input)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let address = Address::parse_exact(&required(address, "an address")?);
        let content = Self {
            address: address.map_err(|_| FormatError::Malformed { what: "an address" })?,
            size: required(size, "an object's size")?,
            content_type: required(content_type, "a content type")?,
            etag: required(etag, "an entity tag")?,
            created_ms: required(created, "a time of creation")?,
            modified_ms: required(modified, "a time of modification")?,
            executable: required(executable, "an executable mark")?,
            sha256,
            manifest: required(manifest, "a manifest")?,
            properties,
        };
        if content.size != content.manifest.length() {
            return Err(FormatError::Contradiction { what: "an object's size is not that of its manifest" });
        }
        if content.address.is_directory() {
            return Err(FormatError::Contradiction {
                what: "content is an object's, and a directory's address was given",
            });
        }
        Ok(content)
    }
}

/// Twice the same name, or names out of order, do not come out again as they went in: the decoder refuses them.
fn read_properties(input: &mut Reader<'_>) -> Result<BTreeMap<String, String>, FormatError> {
    const WHAT: &str = "an object's properties";
    let mut bytes = 0;
    let pairs = input.list(WHAT, PROPERTIES_MAX, |input| {
        input.tuple(WHAT, 2)?;
        let name = input.text(WHAT, PROPERTIES_BYTES_MAX)?.to_owned();
        let value = input.text(WHAT, PROPERTIES_BYTES_MAX)?.to_owned();
        bytes += name.len() + value.len();
        Ok((name, value))
    })?;
    if bytes > PROPERTIES_BYTES_MAX {
        return Err(FormatError::TooLarge { what: WHAT, limit: PROPERTIES_BYTES_MAX });
    }
    Ok(pairs.into_iter().collect())
}
