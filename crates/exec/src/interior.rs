//! What programs reach of the node: its own verbs, without a socket.

use crate::{body::BodyStream, process::Once};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::sync::Arc;

/// What a program may do: the tokens that its owner attached to it, and the hosts that its owner named.
#[derive(Clone, Default)]
pub struct Authority {
    /// Access tokens, each good for one place.
    pub tokens: Arc<[String]>,
    /// Hosts outside the node, as [`Host`](crate::Host) reads them.
    pub hosts: Arc<[String]>,
    /// How many programs deep its requests are.
    pub depth: u8,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority of {} tokens", self.tokens.len())
    }
}

/// Answers a program's requests as the front door answers anybody's. The URI is absolute.
pub trait Interior: Send + Sync {
    /// Whether an address on this host is an address of this node.
    fn is_here(&self, host: &str) -> bool;

    /// Milliseconds since 1970, by the node's clock.
    fn now_ms(&self) -> u64;

    /// Answers a request with a program's authority and nothing else.
    fn answer(
        &self,
        request: Request<Option<BodyStream>>,
        authority: Authority,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>>;

    /// The same for a request that changes something, which is made again by who cannot know whether it was made: it takes place at most once, and is
    /// answered every time.
    fn answer_once(
        &self,
        request: Request<Option<BodyStream>>,
        authority: Authority,
        once: Once,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>>;
}

/// A node without a front door: there is nothing to reach.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl Interior for Nowhere {
    fn is_here(&self, _host: &str) -> bool {
        false
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn answer(
        &self,
        _: Request<Option<BodyStream>>,
        _: Authority,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>> {
        Box::pin(async {
            let mut response = Response::new(None);
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response
        })
    }

    fn answer_once(
        &self,
        request: Request<Option<BodyStream>>,
        authority: Authority,
        _: Once,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>> {
        self.answer(request, authority)
    }
}
