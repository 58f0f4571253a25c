//! Records of other nodes as the object layer asks for them.

use jsfs_federation::metastore::{Home, Outcome, Slot, Version, Writing, Written};
use jsfs_federation::wire::ErrorCode;
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::{Entries, Entry, Metastore, Observed, RemoteAnswer, StoredAs, Storing, Versions};
use jsfs_peer::{Node, Observation, Reading};

/// The metastore of this node's federation.
pub(super) struct Shared(pub(super) Node);

fn told(slot: &Slot, settled: bool) -> Versions {
    let heads = slot.heads();
    let is_past = |version: &&Version| !heads.contains(version);
    let past = slot.versions().iter().filter(is_past).map(|version| version.bytes().to_vec()).collect();
    Versions { heads: heads.iter().map(|head| head.bytes().to_vec()).collect(), past, settled }
}

fn reading(entries: bool) -> Reading {
    if entries { Reading::Entries } else { Reading::Versions }
}

fn refused(code: ErrorCode) -> StoredAs {
    match code {
        ErrorCode::Busy | ErrorCode::Full | ErrorCode::Role | ErrorCode::Conflict => StoredAs::Busy,
        ErrorCode::Ahead => {
            StoredAs::Refused("the clock of this node is ahead of the other nodes'; set it right".to_owned())
        }
        code => StoredAs::Refused(format!(
            "the other nodes of the federation do not take what this would store ({code:?}); look at `jsfs federation members`"
        )),
    }
}

impl Metastore for Shared {
    fn is_together(&self) -> bool {
        !self.0.is_alone()
    }

    fn grants(&self) -> bool {
        self.0.records().grants()
    }

    fn versions(&self, locator: Locator, past: bool) -> RemoteAnswer<'_, Option<Versions>> {
        Box::pin(async move {
            match self.0.records().fetch(locator, past).await {
                Outcome::Fetched { slot, settled, .. } => Some(told(&slot, settled)),
                _ => None,
            }
        })
    }

    fn entries(&self, group: Group, after: Option<Locator>) -> RemoteAnswer<'_, Option<Entries>> {
        Box::pin(async move {
            let Outcome::Listed(listed) = self.0.records().list(group, after).await else { return None };
            let entry = |entry: &jsfs_federation::metastore::Entry| Entry {
                locator: entry.locator,
                heads: entry.slot.heads().iter().map(|head| head.bytes().to_vec()).collect(),
                incomplete: !entry.large.is_empty(),
            };
            let entries = listed.entries.iter().map(entry).collect();
            Some(Entries { entries, next: listed.next, settled: listed.settled })
        })
    }

    fn store(&self, storing: Storing) -> RemoteAnswer<'_, StoredAs> {
        let Storing { envelope, before, condition } = storing;
        Box::pin(async move {
            match self.0.records().store(Writing { envelope, before, condition }).await {
                Written::Settled => StoredAs::Settled,
                Written::Kept { replicas, of } => StoredAs::Kept { replicas, of },
                Written::Conflict(slot) => StoredAs::Conflict(told(&slot, true)),
                Written::Refused(code) => refused(code),
            }
        })
    }

    fn is_fresh(&self, home: [u8; 32], entries: bool) -> bool {
        self.0.records().is_fresh(Home::from_bytes(home), reading(entries))
    }

    fn observe(&self, home: [u8; 32], entries: bool) -> RemoteAnswer<'_, Option<Observed>> {
        Box::pin(async move {
            let home = Home::from_bytes(home);
            let Observation { ticket, changed } = self.0.records().observe(home, reading(entries)).await?;
            Some(Observed { ticket, changed })
        })
    }

    fn settle(&self, home: [u8; 32], ticket: u64, entries: bool) {
        self.0.records().settle(Home::from_bytes(home), ticket, reading(entries));
    }

    fn distrust(&self, home: [u8; 32]) {
        self.0.records().distrust(Home::from_bytes(home));
    }

    fn stale(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.records().stale()
    }
}
