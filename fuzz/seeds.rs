//! Writes the seeds from which the fuzz targets of signed and sealed structures start: `cargo run --example seeds` in `fuzz/`.
//!
//! Mutation alone never finds a signature or a checksum, so these are real ones, made from a seeded random source: the same
//! files every time.

use jsfs_objects::address::Address;
use jsfs_objects::clock::{HybridTime, SeededRandom};
use jsfs_objects::key::{AccessKey, Seed, SigningKey};
use jsfs_objects::manifest::{ChunkPlace, Extent, Manifest};
use jsfs_objects::read_key::{Group, Locator, ReadKey};
use jsfs_objects::record::{Content, Envelope, Kind, Record, SignKey};
use jsfs_objects::seal::BlockKey;
use jsfs_objects::token::{Method, Methods, Mint};
use jsfs_store::{BlockId, block};
use std::convert::Infallible;
use std::fs;

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = format!("{}/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(format!("{folder}/{name}"), bytes).expect("the seed can be written");
}

fn manifest(key: Option<BlockKey>) -> Manifest {
    let mut builder = jsfs_objects::manifest::Builder::new();
    for number in 0..3_u8 {
        let chunk = |offset| ChunkPlace { offset, length: 70_000, hash: [number; 32] };
        let extent =
            Extent { block: BlockId::of(&[number]), key: key.clone(), chunks: vec![chunk(0), chunk(70_000)] };
        let store = &mut |_| Ok::<_, Infallible>((BlockId::of(b"page"), None));
        builder.push(extent, store).expect("nothing fails");
    }
    builder.finish(&mut |_| Ok::<_, Infallible>((BlockId::of(b"page"), None))).expect("nothing fails")
}

/// The input of the target `manifest`: a range of 100,000 bytes from 50,000, and the root.
fn walk(manifest: &Manifest) -> Vec<u8> {
    let root = manifest.encode();
    let length = u16::try_from(root.len()).expect("a small manifest");
    [&50_000_u32.to_be_bytes()[..], &100_000_u32.to_be_bytes(), &length.to_be_bytes(), &root].concat()
}

fn content(address: &Address, manifest: Manifest) -> Content {
    Content {
        address: address.clone(),
        size: manifest.length(),
        content_type: "text/html; charset=utf-8".into(),
        etag: [7; 16],
        created_ms: 1_780_000_000_000,
        modified_ms: 1_780_000_001_000,
        executable: false,
        sha256: Some([9; 32]),
        manifest,
        properties: Default::default(),
    }
}

fn main() {
    let random = SeededRandom::new(1);
    let seed = Seed::generate(&random);
    let keys = seed.keys();
    let address = Address::parse("/com.example/a/page.html").expect("an address");
    let directory = Address::parse("/com.example/a/").expect("an address");
    write("key", "generated", seed.to_text().as_bytes());
    write("key", "owner", keys.owner().to_string().as_bytes());
    write("key", "chosen", b"correct horse battery staple");
    let _: AccessKey = seed.clone().into();

    let methods = |methods: &[Method]| methods.iter().copied().collect::<Methods>();
    let mint = |methods| Mint {
        subject: directory.clone(),
        methods,
        expires_s: 1_800_000_000,
        not_before_s: Some(1_700_000_000),
        read: Some(ReadKey::from_bytes([3; 32])),
    };
    let reads = mint(methods(&[Method::Get, Method::List])).sign(&keys, &random).expect("a token");
    let writes = mint(methods(&[Method::Put, Method::Delete])).sign(&keys, &random).expect("a token");
    write("token", "reads", reads.to_text().as_bytes());
    write("token", "writes", writes.to_text().as_bytes());
    write("token", "public", writes.public_text().as_bytes());

    let clear = manifest(None);
    write("manifest", "clear", &walk(&clear));
    write("manifest", "sealed", &walk(&manifest(Some(BlockKey::from_bytes([5; 32])))));

    let content = content(&address, clear);
    write("record", "content", &content.encode());
    let public = Record {
        kind: Kind::Object,
        locator: Locator::public(&address),
        group: Group::public(&directory),
        owner: keys.owner(),
        epoch: 1,
        version: 2,
        time: HybridTime::from_ms(1_780_000_001_000),
        predecessor: Some([4; 32]),
        blocks: (0..3_u8).map(|number| BlockId::of(&[number])).collect(),
        content: Some(content.clone()),
        sealed: None,
        place: None,
        delegation: None,
        policy: None,
        purged: false,
    };
    let read_key = ReadKey::from_bytes([6; 32]);
    let mut private =
        Record { locator: read_key.locator(), group: read_key.group(), content: None, ..public.clone() };
    private.seal(&content, &read_key, &random);
    let tombstone = Record { kind: Kind::Tombstone, blocks: Vec::new(), content: None, ..public.clone() };
    let node = SigningKey::generate(&random);
    for (name, record) in [("public", &public), ("private", &private), ("tombstone", &tombstone)] {
        write("record", name, &record.encode());
        let signed = Envelope::sign(record, SignKey::Owner(&keys)).expect("a record that can be signed");
        write("envelope", name, &signed.countersigned(&node, 1_780_000_002_000).encode());
    }
    let text = b"text that repeats, text that repeats, text that repeats".repeat(20);
    write("block", "clear", &block::encode_clear(&text, block::LEVEL).expect("short enough"));
    write("block", "body", &block::encode_body(&text, block::LEVEL).expect("short enough"));
    write("block", "list", &block::encode_list(0, &public.blocks).expect("few enough"));
    write("recovery", "flip", &[0, 200, 0, 1, 0, 0, 0]);
    write("recovery", "cut", &[1, 44, 2, 0, 0, 0, 0]);
    write("frame", "empty", &[&[2, 0, 255, 255, 0, 0, 0][..], &[0; 8]].concat());
    let put =
        [&[1_u8][..], &14_u64.to_le_bytes(), &[0; 4], &[1], &[1, 0, b'x'], &[0, 0], &[1, 0, 0, 0, b'y']]
            .concat();
    write("frame", "put", &[&[2, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], &put].concat());
    let signed = Envelope::sign(&public, SignKey::Token(&writes)).expect("a record that can be signed");
    write("envelope", "token", &signed.countersigned(&node, 1_780_000_002_000).encode());
}
