//! Things to test with: seeded keys, records, bytes that damage other bytes.

use jsfs_objects::address::Address;
use jsfs_objects::clock::{HybridTime, Random, SeededRandom};
use jsfs_objects::key::{Keys, Seed, SigningKey};
use jsfs_objects::manifest::{Builder, ChunkPlace, Extent, Manifest};
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::record::{Content, Kind, PlaceRoot, Record};
use jsfs_objects::seal::BlockKey;
use jsfs_store::BlockId;

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW_MS: u64 = 1_795_435_200_000;
pub(crate) const NOW_S: u64 = NOW_MS / 1_000;

pub(crate) fn random(seed: u64) -> SeededRandom {
    SeededRandom::new(seed)
}

pub(crate) fn keys(seed: u64) -> Keys {
    Seed::generate(&random(seed)).keys()
}

pub(crate) fn node() -> SigningKey {
    SigningKey::generate(&random(9_999))
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse_exact(text).unwrap()
}

pub(crate) fn extent(number: u64, lengths: &[u32], private: bool) -> Extent {
    let random: &dyn Random = &random(number ^ 0x00ab_cdef);
    let mut offset = 0;
    let chunks = lengths
        .iter()
        .map(|length| {
            let place = ChunkPlace { offset, length: *length, hash: random.bytes() };
            offset += length;
            place
        })
        .collect();
    let key = private.then(|| BlockKey::generate(random));
    Extent { block: BlockId::from_bytes(random.bytes()), key, chunks }
}

pub(crate) fn small_manifest(private: bool) -> Manifest {
    let mut builder = Builder::new();
    let mut store =
        |_| -> Result<(BlockId, Option<BlockKey>), ()> { panic!("a small manifest has no pages") };
    builder.push(extent(1, &[60_000, 50_000], private), &mut store).unwrap();
    builder.push(extent(2, &[12_345], private), &mut store).unwrap();
    builder.finish(&mut store).unwrap()
}

pub(crate) fn content(at: &Address, private: bool) -> Content {
    Content {
        address: at.clone(),
        size: 122_345,
        content_type: "text/plain; charset=utf-8".into(),
        etag: [7; 16],
        created_ms: NOW_MS - 1_000,
        modified_ms: NOW_MS,
        executable: false,
        sha256: Some([8; 32]),
        manifest: small_manifest(private),
        properties: Default::default(),
    }
}

/// A record of nothing yet, of the kind given.
pub(crate) fn bare(kind: Kind, at: &Address, owner: &Keys) -> Record {
    Record {
        kind,
        locator: Locator::public(at),
        group: Group::listing(at),
        owner: owner.owner(),
        epoch: 1,
        version: 1,
        time: HybridTime::from_ms(NOW_MS),
        predecessor: None,
        blocks: Vec::new(),
        content: None,
        sealed: None,
        place: None,
        delegation: None,
        policy: None,
        purged: false,
    }
}

pub(crate) fn public_object(at: &Address, owner: &Keys) -> Record {
    let blocks = [1, 2].map(|number| extent(number, &[1], false).block).to_vec();
    Record { blocks, content: Some(content(at, false)), ..bare(Kind::Object, at, owner) }
}

pub(crate) fn private_object(at: &Address, owner: &Keys, read_key: &ReadKey) -> Record {
    let mut record = Record {
        locator: read_key.locator(),
        group: Group::from_bytes([3; 32]),
        blocks: vec![BlockId::from_bytes([4; 32])],
        ..bare(Kind::Object, at, owner)
    };
    record.seal(&content(at, true), read_key, &random(77));
    record
}

pub(crate) fn directory(at: &Address, owner: &Keys, root: &ReadKey) -> Record {
    let place = vec![PlaceRoot { epoch: 1, wrapped: owner.wrap_root(root) }];
    Record { place: Some(place), ..bare(Kind::Directory, at, owner) }
}

/// Every copy of the bytes with one bit turned over.
pub(crate) fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    })
}
