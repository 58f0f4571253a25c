//! A version: one signed record, judged before anybody keeps or believes it.
//!
//! A member that stores has no read keys and knows no names. What it can tell, it tells: the author's signature, a token's, a delegation's,
//! that the member who accepted the record signed for its time, that nothing is from the future, that a public record lies where its address says, and
//! that a namespace begins with who may grant it. Who is the right owner of an address is for the reader to say; so records of different owners stand beside
//! each other and never take each other's place without the earlier owner's signature ([`Version::follows`]).

use super::placement::Members;
use crate::membership::PeerId;
use crate::wire::ErrorCode;
use jsfs_objects::address::Address;
use jsfs_objects::cbor::FormatError;
use jsfs_objects::clock::HybridTime;
use jsfs_objects::key::Owner;
use jsfs_objects::read_key::Locator;
use jsfs_objects::record::{Envelope, EnvelopeError, Kind, Record, RecordHash};
use std::sync::Arc;

/// A record, its envelope and its hash.
#[derive(Clone, Debug)]
pub struct Version {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    record: Record,
    hash: RecordHash,
    node: PeerId,
    accepted_ms: u64,
}

impl Version {
    /// Judges an envelope that came from elsewhere.
    pub fn judge(bytes: &[u8], members: &Members, now_ms: u64) -> Result<Self, ErrorCode> {
        let envelope = Envelope::decode(bytes).map_err(|_| ErrorCode::Malformed)?;
        let verified = envelope.verify(now_ms).map_err(|error| code_of(&error))?;
        // Only the word of a member makes a token's record outlive the token. An owner's signature needs no help.
        if verified.token.is_some() && !members.vouches(&envelope.node()) {
            return Err(ErrorCode::Signature);
        }
        let record = verified.record;
        Ok(Self::of(bytes.to_vec(), record, &envelope))
    }

    /// Reads an envelope that was judged before it was kept.
    pub fn kept(bytes: Vec<u8>) -> Result<Self, FormatError> {
        let envelope = Envelope::decode(&bytes)?;
        let record = envelope.record()?;
        Ok(Self::of(bytes, record, &envelope))
    }

    fn of(bytes: Vec<u8>, record: Record, envelope: &Envelope) -> Self {
        let (hash, node, accepted_ms) = (envelope.record_hash(), envelope.node(), envelope.accepted_ms());
        Self { inner: Arc::new(Inner { bytes, record, hash, node, accepted_ms }) }
    }

    /// The envelope's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.inner.bytes
    }

    /// The record in it.
    pub fn record(&self) -> &Record {
        &self.inner.record
    }

    /// The record's hash, by which versions are told apart.
    pub fn hash(&self) -> RecordHash {
        self.inner.hash
    }

    /// Who accepted it.
    pub fn node(&self) -> PeerId {
        self.inner.node
    }

    /// When it was accepted, ms since 1970.
    pub fn accepted_ms(&self) -> u64 {
        self.inner.accepted_ms
    }

    /// Whether this takes the place of another under the same locator: its owner made it from that one, or was given the place by that one's
    /// owner.
    pub fn follows(&self, other: &Version) -> bool {
        let (later, earlier) = (self.record(), other.record());
        if later.locator != earlier.locator {
            return false;
        }
        let handed_over = later.delegation.as_ref().is_some_and(|delegation| {
            delegation.from() == earlier.owner
                && delegation.place() == later.locator
                && delegation.epoch() > earlier.epoch
        });
        let made_from = later.predecessor == Some(other.hash()) && later.owner == earlier.owner;
        handed_over || (made_from && later.is_newer_than(earlier))
    }

    /// Whether it is the record of a namespace.
    pub fn is_namespace(&self) -> bool {
        self.record().group.as_bytes() == blake3::hash(b"/").as_bytes()
    }

    /// Whether it is the record of a namespace, by or from somebody who may grant it: an admin, or the key that the namespace is named by.
    pub fn is_granted(&self, members: &Members) -> bool {
        let may_grant = |owner: &Owner| members.grants(owner) || self.is_named_by(owner);
        let granted =
            self.record().delegation.as_ref().is_some_and(|delegation| {
                delegation.place() == self.locator() && may_grant(&delegation.from())
            });
        self.is_namespace() && (granted || may_grant(&self.owner()))
    }

    fn is_named_by(&self, owner: &Owner) -> bool {
        Address::parse_exact(&format!("/{}/", owner.namespace()))
            .is_ok_and(|namespace| Locator::public(&namespace) == self.locator())
    }

    /// Whether it has a right to stand beside others: that of a namespace only if it was granted, or goes on from one that has.
    pub fn may_join(&self, others: &[Version], members: &Members) -> bool {
        !self.is_namespace()
            || self.is_granted(members)
            || others.iter().any(|other| other.owner() == self.owner() || self.follows(other))
    }

    /// What decides between versions of which neither follows from the other: an edit beats a delete, then epoch, version and time, then
    /// the hash, so that there is always one.
    pub fn rank(&self) -> (bool, u64, u64, HybridTime, RecordHash) {
        let record = self.record();
        (record.kind != Kind::Tombstone, record.epoch, record.version, record.time, self.hash())
    }

    /// Whose it is.
    pub fn owner(&self) -> Owner {
        self.record().owner
    }

    /// What it is filed under.
    pub fn locator(&self) -> Locator {
        self.record().locator
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Version {}

fn code_of(error: &EnvelopeError) -> ErrorCode {
    match error {
        EnvelopeError::Format(FormatError::Contradiction { what }) if what.contains("filed") => {
            ErrorCode::Misfiled
        }
        EnvelopeError::Format(_) => ErrorCode::Malformed,
        EnvelopeError::Ahead { .. } => ErrorCode::Ahead,
        _ => ErrorCode::Signature,
    }
}
