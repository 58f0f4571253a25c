//! Vectors of manifests and their pages, and of encodings that are none.

use crate::{hex, key, number, unhex};
use jsfs_objects::manifest::{Builder, ChunkPlace, Extent, Items, Manifest, NewPage};
use jsfs_objects::seal::BlockKey;
use jsfs_store::BlockId;
use serde_json::{Value, json};

/// Makes block ids of page bytes and keeps the pages.
pub(crate) fn keep(
    pages: &mut Vec<NewPage>,
) -> impl FnMut(NewPage) -> Result<(BlockId, Option<BlockKey>), ()> + '_ {
    |page| {
        let id = BlockId::of(&page.bytes);
        pages.push(page);
        Ok((id, Some(BlockKey::from_bytes(key(50)))))
    }
}

pub(crate) fn extent(fill: u8, lengths: &[u32], private: bool) -> Extent {
    let mut offset = 0;
    let chunks = lengths.iter().map(|length| {
        let place = ChunkPlace { offset, length: *length, hash: key(fill ^ 0x55) };
        offset += length;
        place
    });
    let chunks = chunks.collect();
    Extent {
        block: BlockId::from_bytes(key(fill)),
        key: private.then(|| BlockKey::from_bytes(key(fill ^ 0xaa))),
        chunks,
    }
}

pub(crate) fn small(private: bool) -> Manifest {
    let mut pages = Vec::new();
    let mut builder = Builder::new();
    builder.push(extent(1, &[65_536, 1, 23], private), &mut keep(&mut pages)).unwrap();
    builder.push(extent(2, &[24, 255, 256], private), &mut keep(&mut pages)).unwrap();
    builder.finish(&mut keep(&mut pages)).unwrap()
}

pub(crate) fn described(manifest: &Manifest) -> Value {
    let secret = |key: &Option<BlockKey>| key.as_ref().map(|key| hex(key.expose()));
    let items: Vec<Value> = match manifest.items() {
        Items::Extents(extents) => extents
            .iter()
            .map(|extent| {
                let chunks = extent.chunks.iter().map(
                    |chunk| json!({"offset": chunk.offset, "length": chunk.length, "hash": hex(chunk.hash)}),
                );
                json!({
                    "block": hex(extent.block.as_bytes()),
                    "key": secret(&extent.key),
                    "chunks": chunks.collect::<Vec<_>>(),
                })
            })
            .collect(),
        Items::Pages(pages) => pages
            .iter()
            .map(|page| {
                let block = hex(page.block.as_bytes());
                json!({"block": block, "key": secret(&page.key), "length": number(page.length)})
            })
            .collect(),
    };
    json!({"level": manifest.level(), "length": number(manifest.length()), "items": items})
}

fn valid(manifest: &Manifest) -> Value {
    json!({"encoding": hex(manifest.encode()), "manifest": described(manifest)})
}

pub(crate) fn vectors() -> Value {
    let mut pages = Vec::new();
    let mut builder = Builder::new();
    for fill in 0..120 {
        builder.push(extent(fill, &[1 << 20], true), &mut keep(&mut pages)).unwrap();
    }
    let large = builder.finish(&mut keep(&mut pages)).unwrap();
    assert_eq!(large.level(), 1);
    let block = "5820".to_owned() + &"01".repeat(32);
    let chunk = |offset: &str, length: &str| format!("83{offset}{length}5820{}", "02".repeat(32));
    let leaf = |chunks: &str| format!("82008183{block}f6{chunks}");
    let good = leaf(&format!("81{}", chunk("00", "1903e8")));
    assert!(Manifest::decode(&unhex(&good)).is_ok());
    let invalid = [
        ("a longer form than needed", format!("821800{}", &good[4..])),
        ("an indefinite length", format!("9f00{}ff", &good[4..])),
        ("a byte after the end", format!("{good}00")),
        ("cut short", good[..good.len() - 2].to_owned()),
        ("a tag", format!("c1{good}")),
        ("undefined instead of null", good.replacen("f6", "f7", 1)),
        ("a block key of 31 bytes", good.replacen("f6", &format!("581f{}", "03".repeat(31)), 1)),
        ("a level past 8", "820980".to_owned()),
        ("pages without items", "820180".to_owned()),
        ("an extent without chunks", leaf("80")),
        ("a chunk without bytes", leaf(&format!("81{}", chunk("00", "00")))),
        ("a chunk past its block", leaf(&format!("81{}", chunk("01", "1a00100000")))),
        ("a length in a longer form", leaf(&format!("81{}", chunk("00", "1817")))),
        ("a negative offset", leaf(&format!("81{}", chunk("20", "01")))),
        ("a page without bytes", format!("82018183{block}f600")),
        (
            "pages that are longer than any object",
            format!("82018283{block}f61bffffffffffffffff83{block}f601"),
        ),
        ("not a manifest", "a0".to_owned()),
        ("nothing", String::new()),
    ];
    let invalid = invalid.map(|(why, encoding)| {
        assert!(Manifest::decode(&unhex(&encoding)).is_err(), "{why}");
        json!({"why": why, "encoding": encoding})
    });
    let first = &pages[0];
    json!({
        "valid": [valid(&Manifest::empty()), valid(&small(false)), valid(&small(true)), valid(&large)],
        "invalid": invalid,
        "pages": [{"parent": hex(large.encode()), "index": 0, "level": first.level, "page": hex(&first.bytes)}],
    })
}
