//! ROMs: what is exported is there when the ROM is mounted, for those who may see it, and nothing changes it; imported it is as it was.

use crate::world::{World, at, edited, key, noise, private, public, text, token};
use jsfs_objects::{
    Credentials, Delete, Execute, Expected, Manage, Read, Refusal, RomImported, Watch, Write, WriteError,
    key::Seed,
    record::{Envelope, SignKey},
    token::Method,
};
use jsfs_store::{BlockId, Entry, RomWriter, Table, backup::Decoder, block, open_rom};
use std::path::Path;

/// The items of an export.
async fn export(world: &World, roots: &[&str]) -> Vec<u8> {
    let root = world.objects.authorize_root(&world.root()).await.unwrap();
    let mut sent = world.objects.export(&root, roots.iter().map(|text| at(text)).collect()).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = sent.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

fn make(items: &[u8], path: &Path) {
    let mut writer = RomWriter::create(path).unwrap();
    let mut decoder = Decoder::default();
    decoder.feed(items);
    let mut size = None;
    while let Some(item) = decoder.take().unwrap() {
        size = writer.take(&item).unwrap();
    }
    assert!(size.unwrap().entries > 0);
}

async fn mount(world: &World, path: &Path) {
    let (store, about) = open_rom(path).unwrap();
    world.objects.mount(vec![(store, about, path.display().to_string())]).await.unwrap();
}

async fn import(world: &World, items: &[u8]) -> Result<RomImported, WriteError> {
    let root = world.objects.authorize_root(&world.root()).await.unwrap();
    let mut import = world.objects.import(&root);
    for piece in items.chunks(100_000) {
        import.take(piece).await?;
    }
    import.end()
}

/// A node with a namespace of its own key, and what of it is exported: a public object, a private one, a large one.
async fn author() -> (World, String) {
    let world = World::new().await;
    let own = world.new_key();
    world.namespace("com.example", Some(&own)).await;
    let owner = key(&own);
    world.put_as(&owner, "/com.example/docs/open", b"open", public()).await.unwrap();
    world.put_as(&owner, "/com.example/docs/secret", b"secret", private()).await.unwrap();
    world.put_as(&owner, "/com.example/docs/deep/large", &noise(1, 3_000_000), private()).await.unwrap();
    world.put_as(&owner, "/com.example/docs/gone", b"gone", public()).await.unwrap();
    world.delete_as(&owner, "/com.example/docs/gone").await.unwrap();
    world.put_as(&owner, "/com.example/other", b"other", public()).await.unwrap();
    (world, own)
}

async fn refused<V: jsfs_objects::Verb>(world: &World, who: &Credentials, address: &str) -> Refusal {
    world.objects.authorize::<V>(who, &at(address)).await.err().unwrap()
}

#[tokio::test]
async fn a_mounted_rom_shows_everybody_what_they_might_see_and_nothing_changes_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("docs.rom");
    let (author, own) = author().await;
    make(&export(&author, &["/com.example/docs/"]).await, &path);
    let link = author.token_for(&key(&own), "/com.example/docs/secret", &[Method::Get]).await;
    let reader = World::new().await;
    mount(&reader, &path).await;

    let (owner, nobody) = (key(&own), Credentials::none());
    assert_eq!(reader.get_as(&nobody, "/com.example/docs/open").await.unwrap(), b"open");
    assert_eq!(reader.get_as(&owner, "/com.example/docs/secret").await.unwrap(), b"secret");
    assert_eq!(reader.get_as(&token(&link), "/com.example/docs/secret").await.unwrap(), b"secret");
    assert!(reader.get_as(&owner, "/com.example/docs/deep/large").await.unwrap() == noise(1, 3_000_000));
    assert_eq!(reader.names(&owner, "/com.example/docs/", false).await, ["deep/", "open", "secret"]);
    assert_eq!(reader.names(&nobody, "/com.example/docs/", true).await, ["open"]);
    // What is not in it is not there, and the root key of this node opens nothing in it.
    for (who, address) in [
        (&owner, "/com.example/docs/gone"),
        (&owner, "/com.example/other"),
        (&nobody, "/com.example/docs/secret"),
        (&reader.root(), "/com.example/docs/secret"),
    ] {
        assert!(reader.get_as(who, address).await.is_err(), "{address}");
    }

    for address in ["/com.example/docs/open", "/com.example/docs/new", "/com.example/docs/secret"] {
        assert!(matches!(refused::<Write>(&reader, &owner, address).await, Refusal::Mounted), "{address}");
        assert!(matches!(refused::<Delete>(&reader, &owner, address).await, Refusal::Mounted), "{address}");
        assert!(matches!(refused::<Manage>(&reader, &owner, address).await, Refusal::Mounted), "{address}");
        // A stranger learns no more than anywhere else.
        let other = refused::<Write>(&author, &nobody, "/com.example/x").await;
        assert_eq!(refused::<Write>(&reader, &nobody, address).await.to_string(), other.to_string());
    }
    assert!(matches!(refused::<Execute>(&reader, &owner, "/com.example/docs/open").await, Refusal::Mounted));
    assert!(matches!(refused::<Watch>(&reader, &owner, "/com.example/docs/").await, Refusal::Mounted));

    // Its blocks are not the node's.
    let root = reader.root();
    for (from, to) in [("/com.example/docs/open", "/localhost/x"), ("/com.example/docs/", "/localhost/y/")] {
        let read = reader.objects.authorize::<Read>(&owner, &at(from)).await.unwrap();
        let write = reader.objects.authorize::<Write>(&root, &at(to)).await.unwrap();
        let copied = reader.objects.copy(read, write, Expected::default()).await;
        assert!(matches!(copied, Err(WriteError::Invalid { .. })), "{from}");
    }
    assert!(reader.names(&root, "/localhost/", true).await.is_empty());
    reader.objects.close().await;
}

#[tokio::test]
async fn what_the_node_has_at_the_place_of_a_rom_is_hidden_while_it_is_mounted_and_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.rom");
    let author = World::new().await;
    author.put("/localhost/a/x", b"of the ROM", public()).await;
    make(&export(&author, &["/localhost/a/"]).await, &path);
    let reader = World::new().await;
    reader.put("/localhost/a/x", b"of the node", public()).await;
    reader.put("/localhost/b", b"beside it", public()).await;
    mount(&reader, &path).await;
    assert_eq!(reader.get_as(&Credentials::none(), "/localhost/a/x").await.unwrap(), b"of the ROM");
    assert_eq!(reader.get("/localhost/b").await, b"beside it");
    reader.put("/localhost/b", b"goes on", public()).await;
    // A tree with a ROM in it is not copied, and not deleted behind the ROM.
    reader.namespace("other", None).await;
    let root = reader.root();
    let read = reader.objects.authorize::<Read>(&root, &at("/localhost/")).await.unwrap();
    let write = reader.objects.authorize::<Write>(&root, &at("/other/copy/")).await.unwrap();
    let copied = reader.objects.copy(read, write, Expected::default()).await;
    assert!(copied.unwrap_err().to_string().contains("lies in a ROM"));
    assert!(reader.delete_as(&root, "/localhost/").await.is_err());
    let reader = reader.restarted().await;
    assert_eq!(reader.get("/localhost/a/x").await, b"of the node");
}

#[tokio::test]
async fn an_import_brings_everything_as_it_was_and_a_second_one_changes_nothing() {
    let (author, own) = author().await;
    let items = export(&author, &["/com.example/docs/"]).await;
    let node = World::new().await;
    let done = import(&node, &items).await.unwrap();
    assert_eq!((done.objects, done.present, done.newer, done.directories), (3, 0, 0, 1));
    let owner = key(&own);
    let check = async |node: &World| {
        assert_eq!(node.get_as(&Credentials::none(), "/com.example/docs/open").await.unwrap(), b"open");
        assert_eq!(node.get_as(&owner, "/com.example/docs/secret").await.unwrap(), b"secret");
        assert!(node.get_as(&owner, "/com.example/docs/deep/large").await.unwrap() == noise(1, 3_000_000));
        assert!(node.get_as(&node.root(), "/com.example/docs/secret").await.is_err());
        assert_eq!(node.names(&Credentials::none(), "/com.example/docs/", true).await, ["open"]);
    };
    check(&node).await;
    let again = import(&node, &items).await.unwrap();
    assert_eq!((again.objects, again.present, again.directories), (0, 3, 0));

    // The owner goes on here; an import takes nothing back.
    node.put_as(&owner, "/com.example/docs/open", b"changed", public()).await.unwrap();
    node.delete_as(&owner, "/com.example/docs/secret").await.unwrap();
    let third = import(&node, &items).await.unwrap();
    assert_eq!((third.objects, third.present, third.newer), (0, 1, 2));
    assert_eq!(node.get_as(&owner, "/com.example/docs/open").await.unwrap(), b"changed");
    assert!(node.get_as(&owner, "/com.example/docs/secret").await.is_err());
    let root = node.objects.authorize_root(&node.root()).await.unwrap();
    let info = node.objects.namespaces(&root).await.unwrap();
    let info = info.iter().find(|info| info.name == "com.example").unwrap();
    assert_eq!(info.objects, 2);
    let node = node.restarted().await;
    assert_eq!(node.get_as(&owner, "/com.example/docs/open").await.unwrap(), b"changed");
}

/// Whether a file has these bytes in it.
fn has(path: &Path, wanted: &[u8]) -> bool {
    std::fs::read(path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[tokio::test]
async fn a_rom_is_one_state_and_nothing_that_was_replaced_or_deleted_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("docs.rom");
    let author = World::new().await;
    let (now, before, deleted) = (noise(21, 20_000), noise(22, 20_000), noise(23, 20_000));
    author.put("/localhost/docs/x", &before, public()).await;
    author.put("/localhost/docs/x", &now, public()).await;
    author.put("/localhost/docs/gone", &deleted, public()).await;
    author.delete_as(&author.root(), "/localhost/docs/gone").await.unwrap();
    make(&export(&author, &["/localhost/docs/"]).await, &path);
    // What is public and does not compress lies there as it is, so that it would be found.
    assert!(has(&path, &now[..100]));
    assert!(!has(&path, &before[..100]) && !has(&path, &deleted[..100]));

    let reader = World::new().await;
    mount(&reader, &path).await;
    let anybody = Credentials::none();
    assert!(reader.get_as(&anybody, "/localhost/docs/x").await.unwrap() == now);
    assert!(reader.get_version(&anybody, "/localhost/docs/x", Some(2)).await.unwrap() == now);
    assert!(reader.get_version(&anybody, "/localhost/docs/x", Some(1)).await.is_err());
    let read = reader.objects.authorize::<Read>(&anybody, &at("/localhost/docs/x")).await.unwrap();
    let versions = reader.objects.versions(&read).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2]);
    reader.objects.close().await;
}

#[tokio::test]
async fn a_parcel_that_is_cut_or_changed_or_of_another_owner_is_refused_with_what_is_wrong() {
    let (author, _) = author().await;
    let items = export(&author, &["/com.example/docs/"]).await;
    for length in [0, 100, items.len() / 2, items.len() - 1] {
        let node = World::new().await;
        let error = import(&node, &items[..length]).await.unwrap_err();
        assert!(error.to_string().contains("ROM"), "{length}: {error}");
    }
    for at in [5, 50, items.len() / 3, items.len() - 5] {
        let mut changed = items.clone();
        changed[at] ^= 1;
        let node = World::new().await;
        let error = import(&node, &changed).await.unwrap_err();
        assert!(matches!(error, WriteError::Invalid { .. }), "{at}: {error}");
    }
    let node = World::new().await;
    node.namespace("com.example", None).await;
    node.put("/com.example/docs/open", b"mine", public()).await;
    let error = import(&node, &items).await.unwrap_err();
    assert!(matches!(error, WriteError::Blocked { .. }), "{error}");
    assert_eq!(node.names(&node.root(), "/com.example/", true).await, ["docs/open"]);
    assert_eq!(node.get("/com.example/docs/open").await, b"mine");
}

#[tokio::test]
async fn a_record_that_was_forged_or_comes_under_another_address_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("docs.rom");
    let (author, _) = author().await;
    make(&export(&author, &["/com.example/docs/open"]).await, &path);
    // Changes of the key and the value of the object's entry: none, another address, and each part of the record.
    type Forge = fn(&mut Vec<u8>, &mut Vec<u8>);
    let forged: [(Forge, bool); 5] = [
        (|_, _| {}, true),
        (|key, _| key.extend_from_slice(b"er"), false),
        (|_, value| value[40] ^= 1, false),
        (|_, value| *value.last_mut().unwrap() ^= 1, false),
        (
            |_, value| {
                let middle = value.len() / 2;
                value[middle] ^= 1;
            },
            false,
        ),
    ];
    for (forge, is_good) in forged {
        let items = changed(&path, |key, entry| {
            let mut value = entry.value.to_vec();
            forge(key, &mut value);
            entry.value = value.into();
        });
        let node = World::new().await;
        let done = import(&node, &items).await;
        assert_eq!(done.is_ok(), is_good, "{done:?}");
        let shown = node.names(&Credentials::none(), "/com.example/", true).await;
        assert_eq!(shown.len(), usize::from(is_good));
    }
}

/// The items of a ROM, whose objects are not as they were.
fn changed(path: &Path, change: impl Fn(&mut Vec<u8>, &mut Entry)) -> Vec<u8> {
    let (rom, about) = open_rom(path).unwrap();
    let (directories, objects) = (Table(3), Table(1));
    let mut items = Vec::new();
    let mut sink = |bytes: Vec<u8>| {
        items.extend_from_slice(&bytes);
        true
    };
    let mut parcel = rom.parcel(about, &mut sink).unwrap();
    for table in [directories, objects] {
        for item in rom.scan(table, ..) {
            let (mut key, mut entry) = item.unwrap();
            if table == objects {
                change(&mut key, &mut entry);
            }
            parcel.entry(table, &key, entry).unwrap();
        }
    }
    parcel.end().unwrap();
    items
}

#[tokio::test]
async fn a_record_that_does_not_name_the_base_of_its_delta_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("docs.rom");
    let (author, own) = author().await;
    let (owner, base) = (key(&own), text(1, 400_000));
    author.put_as(&owner, "/com.example/docs/base", &base, public()).await.unwrap();
    let like = edited(&base, 1);
    author.put_as(&owner, "/com.example/docs/like", &like, public()).await.unwrap();
    make(&export(&author, &["/com.example/docs/like"]).await, &path);
    let (rom, _) = open_rom(&path).unwrap();
    let keys = Seed::parse(&own).unwrap().keys();
    // Signed anew by its owner, who leaves the bases out.
    let leave_out = |_: &mut Vec<u8>, entry: &mut Entry| {
        let (head, envelope) = entry.value.split_at(9);
        let envelope = Envelope::decode(envelope).unwrap();
        let mut record = envelope.record().unwrap();
        let bases: Vec<BlockId> =
            (record.blocks.iter()).filter_map(|id| block::base_of(&rom.block(id).unwrap())).collect();
        assert!(!bases.is_empty(), "it has deltas");
        record.blocks.retain(|id| !bases.contains(id));
        entry.references.clone_from(&record.blocks);
        let signed = Envelope::sign(&record, SignKey::Owner(&keys)).unwrap();
        let again = signed.countersigned(keys.signing(), envelope.accepted_ms());
        entry.value = [head, &again.encode()].concat().into();
    };
    let node = World::new().await;
    let error = import(&node, &changed(&path, leave_out)).await.unwrap_err();
    assert!(error.to_string().contains("base of a delta"), "{error}");
    assert!(import(&node, &changed(&path, |_, _| {})).await.is_ok());
    assert!(node.get("/com.example/docs/like").await == like);
}
