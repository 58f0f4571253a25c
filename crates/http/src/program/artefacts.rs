//! What programs are prepared to, and what map and reduce came to, kept in the store beside what else is derived.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jsfs_exec::{Artefact, Artefacts};
use jsfs_objects::{Derived, Objects};

/// The store, for what the worker makes.
pub(crate) struct Kept(pub(crate) Objects);

fn derived(what: Artefact) -> Derived {
    match what {
        Artefact::Base => Derived::Compiled,
        Artefact::Program => Derived::Image,
        Artefact::Value => Derived::Result,
    }
}

impl Artefacts for Kept {
    fn get(&self, what: Artefact, key: [u8; 32]) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async move { self.0.derived(derived(what), &key).await })
    }

    fn keep(&self, what: Artefact, key: [u8; 32], bytes: Bytes) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.keep_derived(derived(what), &key, bytes).await })
    }
}
