//! What can be made again, kept so that it need not be: the base image, prepared programs, and what map and reduce came to.
//!
//! It is kept by what it was made of: the base image by the version of the program, a prepared program by its text and the base image, a value by the program and the content. Whoever keeps it
//! must give back the very bytes or none: what is in them is run.

use crate::Prepared;
use bytes::Bytes;
use futures_util::future::BoxFuture;

/// What something that is kept is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artefact {
    /// The engine, compiled, with the web APIs in it.
    Base,
    /// A program, ready to run.
    Program,
    /// What a part, or several values, came to.
    Value,
}

/// Where it is kept. Nothing there is ever missed: what is not there is made again.
pub trait Artefacts: Send + Sync {
    /// What was kept under this key.
    fn get(&self, what: Artefact, key: [u8; 32]) -> BoxFuture<'_, Option<Bytes>>;

    /// Keeps it, if that can be done.
    fn keep(&self, what: Artefact, key: [u8; 32], bytes: Bytes) -> BoxFuture<'_, ()>;
}

/// The key of the base image. A worker of another build refuses what it finds there, and makes its own.
pub(crate) fn base_key() -> [u8; 32] {
    let platform = format!("{} {}", std::env::consts::ARCH, std::env::consts::OS);
    key("jsfs base image 1", &[env!("CARGO_PKG_VERSION").as_bytes(), platform.as_bytes()])
}

/// The key of a prepared program.
pub(crate) fn program_key(identity: &[u8; 32], base: &[u8; 32]) -> [u8; 32] {
    key("jsfs prepared program 4", &[identity, base])
}

fn key(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl Prepared {
    /// By what came of it: the same text with other imports is another program to the worker.
    pub(crate) fn new(handlers: Vec<String>, source: [u8; 32], image: Bytes, base: [u8; 32]) -> Self {
        Self { id: *blake3::hash(&image).as_bytes(), handlers: handlers.into(), source, image, base }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let head = postcard::to_stdvec(&(&*self.handlers, self.source)).unwrap_or_default();
        [&*head, &*self.image].concat().into()
    }

    pub(crate) fn decode(kept: &Bytes, base: [u8; 32]) -> Option<Self> {
        let ((handlers, source), image) = postcard::take_from_bytes::<(Vec<String>, [u8; 32])>(kept).ok()?;
        Some(Self::new(handlers, source, kept.slice_ref(image), base))
    }

    /// Bytes that it keeps in memory.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.image.len() as u64 + 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_program_comes_back_as_it_went() {
        let prepared =
            Prepared::new(vec!["fetch".into(), "map".into()], [3; 32], Bytes::from_static(b"image"), [7; 32]);
        let back = Prepared::decode(&prepared.encode(), [7; 32]).unwrap();
        assert_eq!((back.id, back.source, back.image), (prepared.id, prepared.source, prepared.image));
        assert_eq!(back.handlers, prepared.handlers);
        assert!(Prepared::decode(&Bytes::from_static(&[255]), [7; 32]).is_none());
    }
}
