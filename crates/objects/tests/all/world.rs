//! A node's object layer over a store in memory, with a clock that stands still and seeded randomness.

use bytes::Bytes;
use jsfs_objects::{
    Credentials, Delete, List, ListOptions, Manage, NamespaceOptions, Objects, OpenOptions, Purge, Read,
    ReadError, Refusal, Settings, Write, WriteError, WriteOptions, Written,
    address::Address,
    clock::{ManualClock, SeededRandom},
    key::{Seed, SigningKey},
    token::{Method, Methods},
};
use jsfs_store::{BlockId, Store, Table, backend::Memory};
use std::sync::Arc;

/// The time that the clock starts with.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

pub(crate) struct World {
    pub(crate) objects: Objects,
    pub(crate) store: Store,
    pub(crate) disk: Arc<Memory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) random: Arc<SeededRandom>,
    pub(crate) root: String,
    node_key: SigningKey,
}

pub(crate) fn at(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn key(text: &str) -> Credentials {
    let mut credentials = Credentials::none();
    credentials.add_key(text);
    credentials
}

pub(crate) fn token(text: &str) -> Credentials {
    let mut credentials = Credentials::none();
    credentials.add_token(text);
    credentials
}

pub(crate) fn public() -> WriteOptions {
    WriteOptions { private: Some(false), ..WriteOptions::default() }
}

pub(crate) fn private() -> WriteOptions {
    WriteOptions { private: Some(true), ..WriteOptions::default() }
}

/// Bytes that repeat neither within themselves nor for another seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Text of so many bytes, another for each seed.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = noise(0, 4_000);
    let order = noise(seed, length);
    let mut text = Vec::with_capacity(length + 8);
    for pair in order.chunks_exact(2) {
        let at = usize::from(pair[0]) * 8 + usize::from(pair[1] % 8);
        text.extend(words[at..at + 5].iter().map(|byte| b'a' + byte % 26));
        text.push(b' ');
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// The same with a few places changed.
pub(crate) fn edited(text: &[u8], by: u8) -> Vec<u8> {
    let mut text = text.to_vec();
    for at in (10_000..text.len()).step_by(40_000) {
        text.splice(at..at, [b'<', b'0' + by % 10, b'>']);
    }
    text
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> World {
        let disk = Arc::new(Memory::new(4 << 30));
        let store = Store::open(jsfs_store::OpenOptions::new(vec![disk.clone()])).unwrap();
        World::over(disk, store, settings).await
    }

    /// Over a store that may hold something already.
    pub(crate) async fn over(disk: Arc<Memory>, store: Store, settings: Settings) -> World {
        let clock = Arc::new(ManualClock::starting_at(START_MS));
        let random = Arc::new(SeededRandom::new(1));
        let root = Seed::generate(&*random);
        let node_key = SigningKey::generate(&*random);
        World::of(disk, store, clock, random, root, node_key, settings).await
    }

    async fn of(
        disk: Arc<Memory>,
        store: Store,
        clock: Arc<ManualClock>,
        random: Arc<SeededRandom>,
        root: Seed,
        node_key: SigningKey,
        settings: Settings,
    ) -> World {
        let options = OpenOptions {
            store: store.clone(),
            node_key: node_key.clone(),
            root_key: Some(root.clone()),
            clock: clock.clone(),
            random: random.clone(),
            settings,
        };
        let objects = Objects::open(options).await.unwrap();
        World { objects, store, disk, clock, random, root: root.to_text().to_string(), node_key }
    }

    /// The same node after a restart.
    pub(crate) async fn restarted(self) -> World {
        let node_key = self.node_key.clone();
        self.restarted_with(node_key).await
    }

    /// The same node after it was stopped, lost its own key, and was started with a new one.
    pub(crate) async fn restarted_without_its_key(self) -> World {
        let node_key = SigningKey::generate(&*self.random);
        self.restarted_with(node_key).await
    }

    async fn restarted_with(self, node_key: SigningKey) -> World {
        let World { objects, store, disk, clock, random, root, .. } = self;
        objects.close().await;
        drop(objects);
        store.close().unwrap();
        let root = Seed::parse(&root).unwrap();
        let store = Store::open(jsfs_store::OpenOptions::new(vec![disk.clone()])).unwrap();
        World::of(disk, store, clock, random, root, node_key, Settings::default()).await
    }

    /// A fresh generated key.
    pub(crate) fn new_key(&self) -> String {
        Seed::generate(&*self.random).to_text().to_string()
    }

    pub(crate) fn root(&self) -> Credentials {
        key(&self.root)
    }

    pub(crate) async fn namespace(&self, name: &str, owner_key: Option<&str>) {
        let root = self.objects.authorize_root(&self.root()).await.unwrap();
        let options =
            NamespaceOptions { owner_key: owner_key.map(str::to_owned), ..NamespaceOptions::default() };
        self.objects.add_namespace(&root, name, options).await.unwrap();
    }

    pub(crate) async fn put_as(
        &self,
        credentials: &Credentials,
        address: &str,
        bytes: &[u8],
        options: WriteOptions,
    ) -> Result<Written, WriteError> {
        let grant = self.objects.authorize::<Write>(credentials, &at(address)).await?;
        let mut upload = self.objects.begin(grant, options).await?;
        for piece in bytes.chunks(100_000) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
        }
        upload.finish().await
    }

    pub(crate) async fn put(&self, address: &str, bytes: &[u8], options: WriteOptions) -> Written {
        self.put_as(&self.root(), address, bytes, options).await.unwrap()
    }

    pub(crate) async fn append(&self, address: &str, bytes: &[u8]) -> Written {
        self.put(address, bytes, WriteOptions { append: true, ..WriteOptions::default() }).await
    }

    pub(crate) async fn get_as(
        &self,
        credentials: &Credentials,
        address: &str,
    ) -> Result<Vec<u8>, ReadError> {
        self.get_version(credentials, address, None).await
    }

    pub(crate) async fn get_version(
        &self,
        credentials: &Credentials,
        address: &str,
        version: Option<u64>,
    ) -> Result<Vec<u8>, ReadError> {
        let grant = self.objects.authorize::<Read>(credentials, &at(address)).await?;
        let object = self.objects.read(&grant, version).await?;
        let mut body = object.whole();
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece?);
        }
        assert_eq!(bytes.len() as u64, object.metadata.size);
        // What is remembered is the same, at first and again.
        for _ in 0..2 {
            if let Some(at_once) = object.at_once(0..object.metadata.size).await {
                assert!(at_once? == bytes, "{address}: what is remembered is something else");
            }
        }
        Ok(bytes)
    }

    pub(crate) async fn get(&self, address: &str) -> Vec<u8> {
        self.get_as(&self.root(), address).await.unwrap()
    }

    pub(crate) async fn delete_as(&self, credentials: &Credentials, address: &str) -> Result<(), WriteError> {
        let grant = self.objects.authorize::<Delete>(credentials, &at(address)).await?;
        self.objects.delete(grant, None).await
    }

    pub(crate) async fn purge_as(&self, credentials: &Credentials, address: &str) -> Result<(), WriteError> {
        let grant = self.objects.authorize::<Purge>(credentials, &at(address)).await?;
        self.objects.purge(grant).await
    }

    /// Forgets every version.
    pub(crate) async fn purge(&self, address: &str) {
        self.purge_as(&self.root(), address).await.unwrap();
    }

    /// Frees all that nothing needs.
    pub(crate) async fn collect(&self) {
        self.store.settle().await.unwrap();
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || store.compact(0.0).unwrap()).await.unwrap();
    }

    /// The blocks that the entry of an object refers to.
    pub(crate) fn references(&self, address: &str) -> Vec<BlockId> {
        self.store.get(Table(1), address.as_bytes()).unwrap().unwrap().references
    }

    pub(crate) async fn names(
        &self,
        credentials: &Credentials,
        address: &str,
        recursive: bool,
    ) -> Vec<String> {
        let options = ListOptions { recursive, ..ListOptions::default() };
        match self.list(credentials, address, options).await {
            Ok(names) => names,
            Err(ReadError::Absent { .. } | ReadError::Refused(Refusal::Hidden { .. })) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn list(
        &self,
        credentials: &Credentials,
        address: &str,
        options: ListOptions,
    ) -> Result<Vec<String>, ReadError> {
        let grant = self.objects.authorize::<List>(credentials, &at(address)).await?;
        let listing = self.objects.list(&grant, options).await?;
        Ok(listing.entries.into_iter().map(|entry| entry.name).collect())
    }

    pub(crate) async fn token_for(&self, owner: &Credentials, address: &str, methods: &[Method]) -> String {
        let grant = self.objects.authorize::<Manage>(owner, &at(address)).await.unwrap();
        let methods = methods.iter().fold(Methods::default(), |all, method| all.with(*method));
        let expires_s = START_MS / 1_000 + 3_600;
        self.objects.mint_token(&grant, methods, expires_s).await.unwrap().text
    }

    pub(crate) async fn hand_over(
        &self,
        owner: &Credentials,
        address: &str,
        to: &str,
    ) -> Result<(), WriteError> {
        let grant = self.objects.authorize::<Manage>(owner, &at(address)).await?;
        self.objects.hand_over(grant, to).await
    }
}
