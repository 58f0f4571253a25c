//! How many bytes lie with a member, in all and of what each member accepted: nobody fills it up for the others.

use super::super::{Change, Shelf, ShelfError, Slot, Version};
use super::Server;
use crate::membership::PeerId;
use std::collections::BTreeMap;

/// The name of the note that counts the bytes that a member accepted; that of all is the prefix alone.
const USAGE: &[u8] = b"usage/";

impl<S: Shelf> Server<S> {
    /// What the counters become with so many bytes more of what members accepted; none where that is more than anybody may have.
    pub(super) fn account(&self, grown: BTreeMap<PeerId, i64>) -> Result<Option<Vec<Change>>, ShelfError> {
        let all = (USAGE.to_vec(), grown.values().sum::<i64>(), self.limits.bytes);
        let by_member = grown
            .into_iter()
            .map(|(peer, grown)| ([USAGE, peer.as_bytes()].concat(), grown, self.limits.bytes_per_member));
        let mut changes = Vec::new();
        for (name, grown, limit) in by_member.chain([all]).filter(|(_, grown, _)| *grown != 0) {
            let used = self.usage(&name)?.saturating_add_signed(grown);
            if grown > 0 && used > limit {
                return Ok(None);
            }
            changes.push(Change::Note(name, (used > 0).then(|| used.to_be_bytes().to_vec())));
        }
        Ok(Some(changes))
    }

    fn usage(&self, name: &[u8]) -> Result<u64, ShelfError> {
        let note = self.shelf.note(name)?;
        Ok(note.and_then(|value| value.try_into().ok()).map_or(0, u64::from_be_bytes))
    }
}

/// How many bytes of what each member accepted come with a change of a slot.
pub(super) fn grown(before: &Slot, after: &Slot) -> BTreeMap<PeerId, i64> {
    let mut grown: BTreeMap<PeerId, i64> = BTreeMap::new();
    let mut note = |version: &Version, sign: i64| {
        let bytes = i64::try_from(version.bytes().len()).unwrap_or(i64::MAX);
        *grown.entry(version.node()).or_default() += sign * bytes;
    };
    let (old, new) = (before.versions(), after.versions());
    new.iter().filter(|version| !old.contains(version)).for_each(|version| note(version, 1));
    old.iter().filter(|version| !new.contains(version)).for_each(|version| note(version, -1));
    grown
}
