//! Records to simulate with: signed and countersigned as real ones are, sealed contents that nobody opens.

use jsfs_federation::metastore::Version;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::key::{Keys, Seed, SigningKey};
use jsfs_objects::read_key::{Group, Locator};
use jsfs_objects::record::{Envelope, Kind, Record, RecordHash, SignKey};

/// 2026-11-23T12:00:00Z.
pub(crate) const START_MS: u64 = 1_795_435_200_000;

pub(crate) fn keys(number: u64) -> Keys {
    Seed::from_bytes(*blake3::hash(&number.to_be_bytes()).as_bytes()).keys()
}

pub(crate) fn node_key(number: usize) -> SigningKey {
    SigningKey::from_secret(blake3::hash(format!("node {number}").as_bytes()).as_bytes())
}

pub(crate) fn locator(number: u64) -> Locator {
    Locator::from_bytes(*blake3::hash(format!("object {number}").as_bytes()).as_bytes())
}

pub(crate) fn group(number: u64) -> Group {
    Group::from_bytes(*blake3::hash(format!("group {number}").as_bytes()).as_bytes())
}

/// What a record is to say.
pub(crate) struct Draft<'a> {
    pub(crate) locator: Locator,
    pub(crate) group: Group,
    pub(crate) kind: Kind,
    pub(crate) owner: &'a Keys,
    pub(crate) after: Option<&'a Version>,
    pub(crate) time: HybridTime,
    /// What makes two records of the same time differ.
    pub(crate) salt: u64,
}

impl Draft<'_> {
    pub(crate) fn record(&self) -> Record {
        let before = self.after.map(Version::record);
        let seal: Vec<u8> = self.salt.to_be_bytes().iter().cycle().take(220).copied().collect();
        Record {
            kind: self.kind,
            locator: self.locator,
            group: self.group,
            owner: self.owner.owner(),
            epoch: before.map_or(1, |before| before.epoch),
            version: before.map_or(1, |before| before.version + 1),
            time: self.time,
            predecessor: self.after.map(Version::hash),
            blocks: Vec::new(),
            content: None,
            sealed: (self.kind == Kind::Object).then_some(seal),
            place: None,
            delegation: None,
            policy: None,
            purged: false,
        }
    }

    pub(crate) fn envelope(&self, node: &SigningKey, accepted_ms: u64) -> Vec<u8> {
        envelope(&self.record(), self.owner, node, accepted_ms)
    }
}

pub(crate) fn envelope(record: &Record, owner: &Keys, node: &SigningKey, accepted_ms: u64) -> Vec<u8> {
    Envelope::sign(record, SignKey::Owner(owner)).unwrap().countersigned(node, accepted_ms).encode()
}

pub(crate) fn hash_of(envelope: &[u8]) -> RecordHash {
    Envelope::decode(envelope).unwrap().record_hash()
}
