//! Programs that are copied, moved or handed over stay programs, as far as whoever does it may attach to what arrives.
//!
//! Invariants: nobody gains a grant. What arrives at another address holds tokens made anew with the key of whoever carries it, for places
//! that this key owns, and only if the same key attached them to the source. A change of owner makes anew what the new owner owns; the other
//! tokens stay the earlier owner's word for the earlier owner's code, and end with what the new owner writes.

use super::{Attachment, LIFETIME_S};
use crate::{
    Objects,
    address::Address,
    chain::Chain,
    commit::Change,
    error::{ReadError, Refusal, StorageError, WriteError},
    grant::{Grant, Held, Manage, Opener},
    handover::Handover,
    key::{Keys, Owner},
    read::Opened,
    read_key::ReadKey,
    tables,
    token::{Method, Methods, Token},
    tree,
};
use jsfs_store::Op;
use std::sync::Arc;

/// Attachments made anew in one commit after a directory changed hands.
const STEP: usize = 64;

/// Where something is carried, with all that is below it.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) from: &'a Address,
    pub(crate) to: &'a Address,
}

impl Way<'_> {
    /// Where a place is afterwards: what is carried along with the program stays its own.
    fn place(&self, place: &str) -> Option<Address> {
        let place = Address::parse_exact(place).ok()?;
        if !place.starts_with(self.from) {
            return Some(place);
        }
        let below = place.as_str().strip_prefix(self.from.as_str())?;
        Address::parse_exact(&format!("{}{below}", self.to)).ok()
    }
}

impl Objects {
    /// What is attached to a program where it arrives. Whoever may not attach there brings none: what is private is an ordinary file then, for
    /// nothing would read it to run it, and what is public stays a program, because its source is not for whoever may only run it.
    pub(crate) fn carry_program(
        &self,
        source: &Held,
        target: &Held,
        opened: &mut Opened,
        way: Way<'_>,
    ) -> Result<Option<Attachment>, WriteError> {
        if !opened.content.executable {
            return Ok(None);
        }
        let Some(manage) = self.may_attach(target, &target.address)? else {
            opened.content.executable = !opened.private;
            return Ok(None);
        };
        let kept = match self.may_attach(source, &source.address)? {
            Some(owned) => self.attachment_by(&source.address, owned.owner())?.unwrap_or_default(),
            None => Attachment::default(),
        };
        let expires_s = self.clock().now_ms() / 1_000 + LIFETIME_S;
        let read = Methods::default().with(Method::Get);
        let mut arriving = Attachment {
            source: Some(self.mint(&manage, read, expires_s)?.text),
            env: kept.env,
            hosts: kept.hosts,
            ..Attachment::default()
        };
        for (place, names) in kept.granted {
            let methods = names.iter().map(|name| Method::from_name(name)).collect::<Option<Methods>>();
            let (Some(place), Some(methods)) = (way.place(&place), methods) else { continue };
            let Some(owned) = self.may_attach(target, &place)? else { continue };
            arriving.tokens.push(self.mint(&owned, methods, expires_s)?.text);
            arriving.granted.push((place.as_str().to_owned(), names));
        }
        Ok(Some(arriving))
    }

    fn may_attach(&self, held: &Held, address: &Address) -> Result<Option<Grant<Manage>>, WriteError> {
        match self.authorize_proven::<Manage>(&held.proven, address) {
            Ok(grant) => Ok(Some(grant)),
            Err(Refusal::Storage(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// What this owner attached. What an earlier owner did is for that owner's code, and goes no further.
    pub(crate) fn attachment_by(
        &self,
        address: &Address,
        owner: Owner,
    ) -> Result<Option<Attachment>, WriteError> {
        let attachment = self.legible_attachment(address)?;
        Ok(attachment.filter(|attachment| attachment.attached_by() == Some(owner)))
    }

    /// What was attached, unless it does not open any more: then the program has nothing, and carrying it on does not change that.
    fn legible_attachment(&self, address: &Address) -> Result<Option<Attachment>, WriteError> {
        match self.attachment(address) {
            Err(ReadError::Storage(error @ StorageError::Record { .. })) => {
                tracing::warn!(%error, "not carried on");
                Ok(None)
            }
            attachment => Ok(attachment?),
        }
    }

    /// What stays attached to a program whose own key is replaced.
    pub(crate) fn hand_on_program(
        &self,
        change: &mut Change,
        address: &Address,
        handover: &Handover,
    ) -> Result<(), WriteError> {
        let Some(attachment) = self.legible_attachment(address)? else { return Ok(()) };
        let root = |subject: &Address| Ok((subject == address).then(|| handover.root().clone()));
        if let Some(renewed) = self.renew(attachment, address, handover.keys(), root)? {
            change.attach_program(self, address, Some(&renewed))?;
        }
        Ok(())
    }

    /// The same for all programs below a directory that changed hands. A program that this has not reached is answered with a 409.
    pub(crate) async fn hand_on_programs_below(
        &self,
        directory: &Address,
        keys: &Arc<Keys>,
    ) -> Result<(), WriteError> {
        let mut from = tables::address_key(directory);
        loop {
            let chain = Chain::load(self, directory)?.filter(|chain| chain.place.owner == keys.owner());
            let Some(chain) = chain else { return Ok(()) };
            let mut change = Change::new();
            let last = self.hand_on_step(&mut change, directory, keys, &chain, from.clone())?;
            let Some(mut last) = last else { return Ok(()) };
            change.expect_chain(&chain);
            if change.len() == 0 || change.commit(self).await?.is_some() {
                last.push(0);
                from = last;
            }
        }
    }

    /// The key of the last entry that was looked at.
    fn hand_on_step(
        &self,
        change: &mut Change,
        directory: &Address,
        keys: &Keys,
        chain: &Chain,
        from: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let opener = Opener::of_owner(keys, chain);
        let read_key = |subject: &Address| -> Result<Option<ReadKey>, WriteError> {
            let is_within = self.place_of(subject)?.is_some_and(|place| place == *directory);
            let key = || opener.as_ref().and_then(|opener| opener.read_key(subject, chain.place.epoch));
            Ok(is_within.then(key).flatten())
        };
        let end = tables::after_prefix(directory.as_str().as_bytes());
        let mut last = None;
        for item in self.store().scan(tables::PROGRAM, from..end).take(STEP) {
            let (key, entry) = item?;
            let address = tree::address_of(&key)?;
            last = Some(key.clone());
            let Ok(attachment) = self.open_attachment(&address, &entry.value) else { continue };
            if let Some(renewed) = self.renew(attachment, &address, keys, read_key)? {
                change.expect(tables::PROGRAM, key, entry.sequence);
                change.attach_program(self, &address, Some(&renewed))?;
            }
        }
        Ok(last)
    }

    /// The attachment with those tokens made anew whose subject has a read key of the new owner's. Nothing where the program is not the new
    /// owner's, or that was done before.
    fn renew(
        &self,
        attachment: Attachment,
        address: &Address,
        keys: &Keys,
        read_key: impl Fn(&Address) -> Result<Option<ReadKey>, WriteError>,
    ) -> Result<Option<Attachment>, WriteError> {
        let Some(own) = read_key(address)? else { return Ok(None) };
        let known = attachment.source().and_then(|text| Token::parse(text).ok());
        let is_good = |known: &Token| {
            known.issuer() == keys.owner()
                && known.read_key().is_some_and(|key| key.commitment() == own.commitment())
        };
        if known.as_ref().is_some_and(is_good) {
            return Ok(None);
        }
        let expires_s = self.clock().now_ms() / 1_000 + LIFETIME_S;
        let sign = |subject: &Address, key: ReadKey, methods: Methods| {
            let token = self.sign_token(keys, subject, Some(key), methods, expires_s)?;
            Ok::<_, WriteError>(token.to_text().to_string())
        };
        let mut tokens = Vec::new();
        for text in &attachment.tokens {
            let token = Token::parse(text).ok();
            let key = token.as_ref().map(|token| read_key(token.subject())).transpose()?.flatten();
            tokens.push(match (token, key) {
                (Some(token), Some(key)) => sign(token.subject(), key, token.methods())?,
                _ => text.clone(),
            });
        }
        let source = Some(sign(address, own, Methods::default().with(Method::Get))?);
        let by = attachment.attached_by().map(|owner| owner.to_string());
        Ok(Some(Attachment { source, tokens, by, ..attachment }))
    }
}

impl Change {
    /// What is attached to a program from now on. Nothing takes away what was.
    pub(crate) fn attach_program(
        &mut self,
        objects: &Objects,
        address: &Address,
        attachment: Option<&Attachment>,
    ) -> Result<(), StorageError> {
        let key = tables::address_key(address);
        match attachment {
            Some(attachment) => self.op(objects.attaching(address, attachment)?),
            None if objects.store().get(tables::PROGRAM, &key)?.is_some() => {
                self.op(Op::Delete { table: tables::PROGRAM, key });
            }
            None => {}
        }
        Ok(())
    }
}
