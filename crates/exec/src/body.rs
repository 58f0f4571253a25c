//! Bodies as they cross this crate: a stream of pieces, each of which may be the last because something broke.

use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;

/// A body broke off: what happened, for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// Pieces of a body.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;
