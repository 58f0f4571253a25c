//! PATCH: properties of an object without its bytes. A change of `private` seals or unseals the bytes into a new version.

use crate::{
    Done, Objects,
    author::{Author, Body, Draft},
    commit::{ATTEMPTS, Change},
    delete::present,
    error::{Refusal, WriteError},
    event::{Event, EventKind},
    grant::{Grant, Held, Manage, Read, Write},
    handover::Handover,
    key::Keys,
    metadata::Metadata,
    owned::named_owner,
    read::{self, Opened},
    record::{Delegation, Kind, PlaceRoot},
    tables::{self, Stored},
    write::{Precondition, WriteOptions, check_content_type, edit_properties},
};
use jsfs_store::Op;
use std::{collections::BTreeMap, sync::Arc};

/// Properties to change; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct PropertyChange {
    /// The media type.
    pub content_type: Option<String>,
    /// Whether reading it needs a credential.
    pub private: Option<bool>,
    /// Whether it is a program.
    pub executable: Option<bool>,
    /// Properties of the object's own to set, or, with nothing as value, to remove.
    pub properties: BTreeMap<String, Option<String>>,
}

/// A new record for the bytes of the newest version.
struct Revision<'a> {
    before: &'a Stored,
    opened: &'a Opened,
    author: &'a Author,
    place: Option<Vec<PlaceRoot>>,
    delegation: Option<Delegation>,
    /// What the change log says of it.
    kind: EventKind,
}

impl Objects {
    /// Changes properties of an object.
    pub async fn change(
        &self,
        grant: Grant<Write>,
        change: PropertyChange,
        precondition: Option<Precondition>,
    ) -> Result<Metadata, WriteError> {
        check_content_type(change.content_type.as_deref())?;
        let mut held = Arc::clone(&grant.held);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                held = self.authorize_again::<Write>(&held.proven, &held.address).await?.held;
            }
            let before = present(&held.address, &held.chain)?;
            let mut opened = held.open(before)?;
            if precondition.as_ref().is_some_and(|holds| !holds(Some(&opened.metadata()))) {
                return Err(WriteError::Precondition { address: held.address.clone() });
            }
            if change.private == Some(false) && opened.private {
                self.authorize_proven::<Read>(&held.proven, &held.address).map_err(
                    |refusal| match refusal {
                        Refusal::Storage(error) => error.into(),
                        _ => WriteError::from(Refusal::Forbidden {
                            needs: "GET as well as PUT, to show everybody what is private",
                        }),
                    },
                )?;
            }
            if change.private.is_some_and(|private| private != opened.private) {
                return self.rewrite(grant, change, precondition).await;
            }
            let author = Author::of(&held.access, &held.chain)?;
            opened.content.content_type = change.content_type.clone().unwrap_or(opened.content.content_type);
            opened.content.executable = change.executable.unwrap_or(opened.content.executable);
            edit_properties(&mut opened.content.properties, &change.properties)?;
            let mut commit = Change::new();
            let revision = Revision {
                before,
                opened: &opened,
                author: &author,
                place: before.record.place.clone(),
                delegation: before.record.delegation.clone(),
                kind: EventKind::Updated,
            };
            self.revise(&mut commit, &held, revision)?;
            if !opened.content.executable {
                commit.detach_program(self, &held.address)?;
            }
            commit.answers(Done { metadata: Some(opened.metadata()), created: false, new_key: None });
            if commit.commit(self).await?.is_some() {
                return Ok(opened.metadata());
            }
        }
        Err(WriteError::Conflict { address: held.address.clone() })
    }

    /// Replaces the record of the newest version by one that says something else of the same bytes.
    fn revise(&self, commit: &mut Change, held: &Held, revision: Revision<'_>) -> Result<(), WriteError> {
        let Revision { before, opened, author, place, delegation, kind } = revision;
        let address = &held.address;
        let is_place = place.is_some();
        let envelope = author.sign(
            self,
            Draft {
                kind: Kind::Object,
                address,
                version: before.record.version,
                predecessor: Some(before.hash),
                blocks: before.references.clone(),
                body: if opened.private {
                    Body::Private(&opened.content, Some(&before.record))
                } else {
                    Body::Public(&opened.content)
                },
                place,
                delegation,
                policy: None,
                purged: false,
            },
        )?;
        let key = tables::address_key(address);
        commit.expect_chain(&held.chain);
        commit.expect(tables::CURRENT, key.clone(), before.sequence);
        commit.op(Op::Put {
            table: tables::CURRENT,
            key,
            value: tables::entry_value(before.size, &envelope).into(),
            references: before.held.clone(),
        });
        commit.own(address, named_owner(&before.record), is_place.then_some(author.owner));
        let (version, time_ms) = (before.record.version, self.clock().now_ms());
        let public = !opened.private;
        commit.log(&Event {
            kind,
            address: address.clone(),
            from: None,
            version,
            time_ms,
            public,
            was_public: public,
        });
        Ok(())
    }

    /// Reads the bytes and writes them again, sealed or in the clear: one does not become the other in place.
    async fn rewrite(
        &self,
        grant: Grant<Write>,
        change: PropertyChange,
        precondition: Option<Precondition>,
    ) -> Result<Metadata, WriteError> {
        let held = &grant.held;
        let opened = held.open(present(&held.address, &held.chain)?)?;
        let (version, etag) = (opened.version, opened.metadata().etag);
        let unchanged: Precondition = Arc::new(move |now: Option<&Metadata>| {
            now.is_some_and(|now| now.version == version && now.etag == etag)
                && precondition.as_ref().is_none_or(|holds| holds(now))
        });
        let options = WriteOptions {
            content_type: change.content_type,
            private: change.private,
            executable: change.executable,
            properties: change.properties,
            precondition: Some(unchanged),
            ..WriteOptions::default()
        };
        let mut body = read::Object::from_opened(self, opened).whole();
        let mut upload = self.begin(grant, options).await?;
        while let Some(piece) = body.next().await {
            upload.write(piece?).await?;
        }
        Ok(upload.finish().await?.metadata)
    }
}

/// Hands an object over to another key without its bytes being sent again.
pub(crate) async fn hand_over_object(
    objects: &Objects,
    grant: &Grant<Manage>,
    keys: Arc<Keys>,
) -> Result<(), WriteError> {
    let mut held = Arc::clone(&grant.held);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            held = objects.authorize_again::<Manage>(&held.proven, &held.address).await?.held;
        }
        let before = present(&held.address, &held.chain)?;
        let mut opened = held.open(before)?;
        let handover = Handover::prepare(objects, &held, Arc::clone(&keys))?;
        let author = handover.author();
        opened.owner = author.owner;
        let revision = Revision {
            before,
            opened: &opened,
            author: &author,
            place: Some(handover.roots()),
            delegation: handover.delegation(objects, opened.private),
            kind: EventKind::Access,
        };
        let mut commit = Change::new();
        objects.revise(&mut commit, &held, revision)?;
        objects.hand_on_program(&mut commit, &held.address, &handover)?;
        if commit.commit(objects).await?.is_some() {
            return Ok(());
        }
    }
    Err(WriteError::Conflict { address: held.address.clone() })
}
