//! Random operations by random callers against a model: what each may do, what it gets, and what is there afterwards.
//!
//! `JSFS_LONG=1` makes a million operations.

use crate::world::{World, at, edited, key, noise, text, token};
use jsfs_objects::token::Method;
use jsfs_objects::{
    Credentials, Delete, Expected, Read, ReadError, Refusal, Write, WriteError, WriteOptions,
};
use jsfs_store::block::{self, Kind};
use proptest::prelude::*;
use std::{cell::Cell, collections::BTreeMap};

/// `a/` and `c/` belong to the root key, `b/` to another.
const OBJECTS: [&str; 6] = [
    "/localhost/a/1",
    "/localhost/a/2",
    "/localhost/b/1",
    "/localhost/b/2",
    "/localhost/c/1",
    "/localhost/c/2",
];
const DIRECTORIES: [&str; 3] = ["/localhost/a/", "/localhost/b/", "/localhost/c/"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Root,
    /// Owns `b/`.
    Other,
    /// A token for `a/` that reads and lists.
    Reader,
    /// A token for `a/` that writes and deletes.
    Writer,
    Stranger,
}

const CALLERS: [Caller; 5] = [Caller::Root, Caller::Other, Caller::Reader, Caller::Writer, Caller::Stranger];

#[derive(Clone, Debug)]
enum Operation {
    Put {
        object: usize,
        private: Option<bool>,
        seed: u64,
        append: bool,
    },
    Read {
        object: usize,
    },
    List {
        directory: usize,
    },
    Delete {
        object: usize,
    },
    /// Forgets every version, so that bases lose the object that they came with.
    Purge {
        object: usize,
    },
    Collect,
    Carry {
        from: usize,
        to: usize,
        moves: bool,
    },
}

/// The owners oftener than those who may do less.
fn caller() -> impl Strategy<Value = usize> {
    prop_oneof![0..2usize, 0..CALLERS.len()]
}

fn operation() -> impl Strategy<Value = Operation> {
    let object = 0..OBJECTS.len();
    prop_oneof![
        6 => (object.clone(), any::<Option<bool>>(), any::<u64>())
            .prop_map(|(object, private, seed)| Operation::Put { object, private, seed, append: false }),
        2 => (object.clone(), any::<u64>())
            .prop_map(|(object, seed)| Operation::Put { object, private: None, seed, append: true }),
        4 => object.clone().prop_map(|object| Operation::Read { object }),
        2 => (0..DIRECTORIES.len()).prop_map(|directory| Operation::List { directory }),
        2 => object.clone().prop_map(|object| Operation::Delete { object }),
        1 => object.clone().prop_map(|object| Operation::Purge { object }),
        1 => Just(Operation::Collect),
        2 => (object.clone(), object, any::<bool>()).prop_map(|(from, to, moves)| Operation::Carry { from, to, moves }),
    ]
}

/// What is there, in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct There {
    bytes: Vec<u8>,
    private: bool,
}

#[derive(Default)]
struct Model(BTreeMap<usize, There>);

fn owns(caller: Caller, address: &str) -> bool {
    let in_b = address.starts_with("/localhost/b/");
    (caller == Caller::Root && !in_b) || (caller == Caller::Other && in_b)
}

impl Model {
    fn may_read(&self, caller: Caller, object: usize) -> bool {
        let address = OBJECTS[object];
        owns(caller, address)
            || (caller == Caller::Reader && address.starts_with("/localhost/a/"))
            || self.0.get(&object).is_some_and(|there| !there.private)
    }

    fn may_change(caller: Caller, object: usize) -> bool {
        owns(caller, OBJECTS[object])
            || (caller == Caller::Writer && OBJECTS[object].starts_with("/localhost/a/"))
    }

    /// The names in a directory that the caller may know of.
    fn names(&self, caller: Caller, directory: &str) -> Vec<String> {
        let below = self.0.keys().filter(|object| OBJECTS[**object].starts_with(directory));
        below
            .filter(|object| self.may_read(caller, **object))
            .map(|object| OBJECTS[*object][directory.len()..].to_owned())
            .collect()
    }
}

/// A world with its callers.
struct Play {
    world: World,
    credentials: Vec<Credentials>,
    model: Model,
    /// Clear and sealed ones, that were written.
    deltas: [usize; 2],
}

impl Play {
    async fn new() -> Play {
        let world = World::new().await;
        let other = world.new_key();
        world.hand_over(&world.root(), "/localhost/b/", &other).await.unwrap();
        let reader = world.token_for(&world.root(), "/localhost/a/", &[Method::Get, Method::List]).await;
        let writer = world.token_for(&world.root(), "/localhost/a/", &[Method::Put, Method::Delete]).await;
        let credentials =
            vec![world.root(), key(&other), token(&reader), token(&writer), Credentials::none()];
        Play { world, credentials, model: Model::default(), deltas: [0; 2] }
    }

    async fn step(&mut self, caller: usize, operation: &Operation) {
        let (who, credentials) = (CALLERS[caller], self.credentials[caller].clone());
        match *operation {
            Operation::Put { object, private, seed, append } => {
                // Much of it is as in others, so that there are deltas: of what is found by its name, and by its features.
                let bytes = match seed % 3 {
                    0 => edited(&text(0, 40_000), seed.to_be_bytes()[0]),
                    _ => [noise(0, 2_000), noise(seed, 1 + (seed % 1_000) as usize)].concat(),
                };
                let options = WriteOptions { private, append, ..WriteOptions::default() };
                let written = self.world.put_as(&credentials, OBJECTS[object], &bytes, options).await;
                assert_eq!(
                    written.is_ok(),
                    Model::may_change(who, object),
                    "{who:?} {operation:?}: {written:?}"
                );
                if written.is_ok() {
                    self.count_deltas(OBJECTS[object]);
                    let before = self.model.0.get(&object);
                    let private = private.or(before.map(|before| before.private)).unwrap_or(true);
                    let kept =
                        before.filter(|_| append).map(|before| before.bytes.clone()).unwrap_or_default();
                    self.model.0.insert(object, There { bytes: [kept, bytes].concat(), private });
                }
            }
            Operation::Read { object } => {
                let read = self.world.get_as(&credentials, OBJECTS[object]).await;
                match self.model.0.get(&object).filter(|_| self.model.may_read(who, object)) {
                    Some(there) => {
                        assert!(read.is_ok_and(|bytes| bytes == there.bytes), "{who:?} {operation:?}")
                    }
                    None => {
                        let error = read.expect_err("nothing that this caller may see");
                        let hidden = matches!(error, ReadError::Refused(Refusal::Hidden { .. }));
                        assert!(
                            who != Caller::Stranger || hidden,
                            "absent and private are the same: {error}"
                        );
                    }
                }
            }
            Operation::List { directory } => {
                let names = self.world.names(&credentials, DIRECTORIES[directory], false).await;
                assert_eq!(names, self.model.names(who, DIRECTORIES[directory]), "{who:?} {operation:?}");
            }
            Operation::Delete { object } => {
                let deleted = self.world.delete_as(&credentials, OBJECTS[object]).await;
                let is_there = self.model.0.contains_key(&object);
                let expected = is_there && Model::may_change(who, object);
                assert_eq!(deleted.is_ok(), expected, "{who:?} {operation:?}: {deleted:?}");
                if expected {
                    self.model.0.remove(&object);
                }
            }
            Operation::Purge { object } => {
                let purged = self.world.purge_as(&credentials, OBJECTS[object]).await;
                let (is_there, may) = (self.model.0.contains_key(&object), owns(who, OBJECTS[object]));
                // What was deleted still has versions, which may be forgotten too.
                assert!(
                    if purged.is_ok() { may } else { !(is_there && may) },
                    "{who:?} {operation:?}: {purged:?}"
                );
                if purged.is_ok() {
                    self.model.0.remove(&object);
                }
            }
            Operation::Collect => self.world.collect().await,
            Operation::Carry { from, to, moves } => {
                let carried = self.carry(&credentials, from, to, moves).await;
                let is_there = self.model.0.contains_key(&from) && from != to;
                let may = self.model.may_read(who, from)
                    && Model::may_change(who, to)
                    && (!moves || Model::may_change(who, from));
                assert_eq!(carried.is_ok(), is_there && may, "{who:?} {operation:?}: {carried:?}");
                if carried.is_ok() {
                    let there = self.model.0[&from].clone();
                    if moves {
                        self.model.0.remove(&from);
                    }
                    self.model.0.insert(to, there);
                }
            }
        }
    }

    /// Everybody looks at everything.
    async fn look(&mut self) {
        for caller in 0..CALLERS.len() {
            for object in 0..OBJECTS.len() {
                self.step(caller, &Operation::Read { object }).await;
            }
            for directory in 0..DIRECTORIES.len() {
                self.step(caller, &Operation::List { directory }).await;
            }
        }
    }

    /// Counts the deltas that an object needs.
    fn count_deltas(&mut self, address: &str) {
        let store = &self.world.store;
        for id in self.world.references(address) {
            match block::split(&store.block(&id).unwrap()).unwrap().0 {
                Kind::Delta => self.deltas[0] += 1,
                Kind::SealedDelta => self.deltas[1] += 1,
                _ => {}
            }
        }
    }

    async fn carry(&self, by: &Credentials, from: usize, to: usize, moves: bool) -> Result<(), WriteError> {
        let objects = &self.world.objects;
        let read = objects.authorize::<Read>(by, &at(OBJECTS[from])).await?;
        let write = objects.authorize::<Write>(by, &at(OBJECTS[to])).await?;
        if moves {
            let delete = objects.authorize::<Delete>(by, &at(OBJECTS[from])).await?;
            objects.relocate(read, delete, write, Expected::default()).await?;
        } else {
            objects.copy(read, write, Expected::default()).await?;
        }
        Ok(())
    }
}

/// Cases, and operations of each.
fn extent() -> (u32, usize) {
    if std::env::var_os("JSFS_LONG").is_some() { (2_500, 400) } else { (25, 80) }
}

fn cases() -> ProptestConfig {
    let (cases, _) = extent();
    ProptestConfig { cases, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn every_caller_gets_what_the_model_says() {
    let (clear, sealed) = (Cell::new(0), Cell::new(0));
    let steps = prop::collection::vec((caller(), operation()), extent().1);
    proptest!(cases(), |(steps in steps)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deltas = runtime.block_on(async {
            let mut play = Play::new().await;
            for (caller, operation) in &steps {
                play.step(*caller, operation).await;
            }
            play.look().await;
            play.world.collect().await;
            let mut play = Play { world: play.world.restarted().await, ..play };
            play.look().await;
            play.deltas
        });
        clear.set(clear.get() + deltas[0]);
        sealed.set(sealed.get() + deltas[1]);
    });
    assert!(clear.get() > 5 && sealed.get() > 20, "deltas: {} clear, {} sealed", clear.get(), sealed.get());
}
