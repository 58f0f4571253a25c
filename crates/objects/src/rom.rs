//! ROMs: parts of a node in a file, with the authority that they had: made of a node, mounted on one, taken up by one.
//!
//! A mounted ROM is an object layer of its own over a store that takes no writes. Whatever is asked for at or below one of its roots it answers, by the keys,
//! tokens and policies in it; what the node itself has there is hidden for as long as it is mounted, and is not touched. What would change something is refused after
//! authority was decided, so that nobody learns by a refusal what a read would not tell. Programs in it do not run, and nothing is copied out of it within
//! the node: blocks of a ROM are not the node's.

mod export;
mod import;

pub use export::send_rom;
pub use import::{RomImport, RomImported};

use crate::{
    Objects, OpenOptions,
    address::Address,
    authority::Need,
    error::{Refusal, WriteError},
    grant::{Grant, Verb},
};
use jsfs_store::Store;
use serde_json::Value;
use std::sync::Arc;

/// Most roots of one ROM.
pub const ROM_ROOTS_MAX: usize = 1_000;

/// A ROM that is part of what the node shows.
pub(crate) struct Mounted {
    place: String,
    roots: Vec<Address>,
    objects: Objects,
}

impl Objects {
    /// Shows ROMs, each an open one with what it says of itself and its name for people. Once, before anything is asked.
    ///
    /// # Errors
    /// [`WriteError::Invalid`] where one says nothing of use, or two have the same address.
    pub async fn mount(&self, roms: Vec<(Store, Value, String)>) -> Result<(), WriteError> {
        let mut all: Vec<Mounted> = Vec::new();
        for (store, about, place) in roms {
            let roots = roots_of(&about)
                .ok_or_else(|| WriteError::Invalid { what: format!("{place} does not say what is in it") })?;
            for mounted in &all {
                let same = roots.iter().find(|root| mounted.roots.iter().any(|other| overlap(root, other)));
                if let Some(root) = same {
                    let what = format!("{place} and {} both have {root}; mount one of them", mounted.place);
                    return Err(WriteError::Invalid { what });
                }
            }
            let options = OpenOptions {
                store,
                node_key: self.node_key().clone(),
                root_key: None,
                clock: Arc::clone(&self.0.clock),
                random: Arc::clone(&self.0.random),
                settings: self.settings().clone(),
            };
            let objects = Box::pin(Objects::open(options)).await?;
            all.push(Mounted { place, roots, objects });
        }
        // A second time changes nothing.
        let _ = self.0.mounted.set(all);
        Ok(())
    }

    /// The ROM that answers for an address, if any.
    pub(crate) fn rom_at(&self, address: &Address) -> Option<&Objects> {
        let all = self.0.mounted.get()?;
        all.iter().find(|rom| rom.roots.iter().any(|root| address.starts_with(root))).map(|rom| &rom.objects)
    }

    /// Lets go of mounted ROMs.
    pub(crate) async fn close_roms(&self) {
        for rom in self.0.mounted.get().into_iter().flatten() {
            Box::pin(rom.objects.close()).await;
        }
    }
}

/// What remains of a decision that a ROM has made: reading.
pub(crate) fn only_read<V: Verb>(grant: Grant<V>) -> Result<Grant<V>, Refusal> {
    match V::NEED {
        Need::Read | Need::List => Ok(grant),
        _ => Err(Refusal::Mounted),
    }
}

/// Refuses a source that lies in a ROM.
pub(crate) fn refuse_source(objects: &Objects, source: &Address) -> Result<(), WriteError> {
    match objects.rom_at(source) {
        Some(_) => Err(WriteError::Invalid {
            what: format!("{source} lies in a ROM; fetch it and store it, or import the ROM"),
        }),
        None => Ok(()),
    }
}

fn overlap(one: &Address, other: &Address) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn roots_of(about: &Value) -> Option<Vec<Address>> {
    let roots = about.get("roots")?.as_array().filter(|roots| (1..=ROM_ROOTS_MAX).contains(&roots.len()))?;
    roots.iter().map(|root| Address::parse_exact(root.as_str()?).ok()).collect()
}
