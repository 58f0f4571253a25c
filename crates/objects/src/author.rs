//! Making records: what a change says, sealed where it is private, signed by whoever made it, countersigned by this node.

use crate::{
    Objects,
    address::Address,
    chain::{Chain, PlaceState},
    error::{Refusal, StorageError},
    grant::{Access, Opener},
    key::{Keys, Owner},
    read_key::{Group, Locator, ReadKey},
    record::{Content, Delegation, Envelope, Kind, PlaceRoot, Policy, Record, RecordHash, SignKey},
    tables::Stored,
    token::Token,
};
use jsfs_store::BlockId;
use std::sync::Arc;

/// Who signs a change, for which place and epoch, and what they can seal.
pub(crate) struct Author {
    pub(crate) owner: Owner,
    pub(crate) epoch: u64,
    pub(crate) signer: Signer,
    pub(crate) opener: Option<Opener>,
}

pub(crate) enum Signer {
    Owner(Arc<Keys>),
    Token(Arc<Token>),
}

/// A record before it is signed.
pub(crate) struct Draft<'a> {
    pub(crate) kind: Kind,
    pub(crate) address: &'a Address,
    pub(crate) version: u64,
    pub(crate) predecessor: Option<RecordHash>,
    pub(crate) blocks: Vec<BlockId>,
    pub(crate) body: Body<'a>,
    pub(crate) place: Option<Vec<PlaceRoot>>,
    pub(crate) delegation: Option<Delegation>,
    pub(crate) policy: Option<Policy>,
    pub(crate) purged: bool,
}

/// What a record says of bytes.
pub(crate) enum Body<'a> {
    Public(&'a Content),
    /// Sealed; with the record before, whose group stays where the author cannot know it.
    Private(&'a Content, Option<&'a Record>),
    /// A tombstone: it stays filed where the object was.
    Gone {
        locator: Locator,
        group: Group,
    },
    /// A directory.
    Directory,
}

impl Author {
    /// Who a grant's holder signs as; refused where the credential carries no key to sign with.
    pub(crate) fn of(access: &Access, chain: &Chain) -> Result<Author, Refusal> {
        let &PlaceState { owner, epoch, .. } = &*chain.place;
        let signer = match access {
            Access::Owner(keys) => Signer::Owner(Arc::clone(keys)),
            Access::Token(token) if token.sign_key().is_some() => Signer::Token(Arc::clone(token)),
            Access::Token(_) => {
                return Err(Refusal::Forbidden {
                    needs: "the token's fourth part, which holds the key to sign with",
                });
            }
            Access::Public | Access::Anyone(_) | Access::Directory(_) => {
                return Err(Refusal::Unauthenticated { note: None });
            }
        };
        Ok(Author { owner, epoch, signer, opener: access.opener(chain) })
    }

    /// The read key under which this author seals an object.
    pub(crate) fn read_key(&self, address: &Address) -> Result<ReadKey, Refusal> {
        self.opener
            .as_ref()
            .and_then(|opener| opener.read_key(address, self.epoch))
            .ok_or(Refusal::Forbidden { needs: "the token's fourth part, which holds the key to seal with" })
    }

    /// Seals, signs and countersigns.
    pub(crate) fn sign(&self, objects: &Objects, draft: Draft<'_>) -> Result<Envelope, Refusal> {
        let (locator, group) = self.filed(&draft)?;
        let mut record = Record {
            kind: draft.kind,
            locator,
            group,
            owner: self.owner,
            epoch: self.epoch,
            version: draft.version,
            time: objects.hybrid_time(),
            predecessor: draft.predecessor,
            blocks: draft.blocks,
            content: None,
            sealed: None,
            place: draft.place,
            delegation: draft.delegation,
            policy: draft.policy.filter(|policy| !policy.is_empty()),
            purged: draft.purged,
        };
        match draft.body {
            Body::Public(content) => record.content = Some(content.clone()),
            Body::Private(content, _) => {
                record.seal(content, &self.read_key(draft.address)?, objects.random())
            }
            Body::Gone { .. } | Body::Directory => {}
        }
        self.sign_record(objects, &record)
    }

    /// Signs and countersigns what is sealed already.
    pub(crate) fn sign_record(&self, objects: &Objects, record: &Record) -> Result<Envelope, Refusal> {
        let now_ms = objects.clock().now_ms();
        let key = match &self.signer {
            Signer::Owner(keys) => SignKey::Owner(keys),
            Signer::Token(token) => SignKey::Token(token),
        };
        let signed = Envelope::sign(record, key).map_err(|error| StorageError::Write(error.to_string()))?;
        Ok(signed.countersigned(objects.node_key(), now_ms))
    }

    /// The tombstone that says where an object was, of which this is the next version, that it is filed elsewhere now.
    pub(crate) fn moved_on(
        &self,
        objects: &Objects,
        before: &Stored,
        version: u64,
    ) -> Result<Envelope, Refusal> {
        self.sign_record(
            objects,
            &Record {
                kind: Kind::Tombstone,
                version,
                owner: self.owner,
                epoch: self.epoch,
                time: objects.hybrid_time(),
                predecessor: Some(before.hash),
                blocks: Vec::new(),
                content: None,
                sealed: None,
                place: None,
                delegation: None,
                policy: None,
                purged: false,
                ..before.record.clone()
            },
        )
    }

    /// Where the record is filed: in the clear for what is public, under derived names for what is not.
    fn filed(&self, draft: &Draft<'_>) -> Result<(Locator, Group), Refusal> {
        let address = draft.address;
        let public = || Group::listing(address);
        Ok(match (&draft.body, &self.opener) {
            (Body::Gone { locator, group }, _) => (*locator, *group),
            (Body::Private(_, before), opener) => {
                let known = opener.as_ref().and_then(|opener| opener.group(address, self.epoch));
                let before = before.filter(|before| before.is_private()).map(|before| before.group);
                (self.read_key(address)?.locator(), known.or(before).unwrap_or_else(public))
            }
            (Body::Public(_) | Body::Directory, _) => (Locator::public(address), public()),
        })
    }
}
