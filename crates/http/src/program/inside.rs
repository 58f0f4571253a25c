//! What programs reach of the node: the front door from inside, without a socket.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Request, Response};
use jsfs_exec::process::Once;
use jsfs_exec::{Authority, BodyError, BodyStream, Interior};
use jsfs_objects::address::Address;
use jsfs_objects::{Credentials, Effect, ProcessId};

use super::Depth;
use crate::body::{Arriving, Body};
use crate::front::{self, Front};
use crate::problem::Problem;
use crate::process;
use crate::request::Beside;

/// The front door from inside: what a program fetches goes through the same verbs and the same authority, without a socket.
pub(crate) struct Inside(pub(crate) std::sync::Weak<Front>);

impl Interior for Inside {
    fn is_here(&self, host: &str) -> bool {
        let Some(front) = self.0.upgrade() else { return false };
        Address::of_host(host).is_ok_and(|address| front.objects().has_namespace(&address))
    }

    fn now_ms(&self) -> u64 {
        self.0.upgrade().map_or(0, |front| front.objects().now_ms())
    }

    fn answer(
        &self,
        request: Request<Option<BodyStream>>,
        authority: Authority,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>> {
        Box::pin(async move {
            let Some(front) = self.0.upgrade() else {
                return jsfs_exec::Nowhere.answer(request, authority).await;
            };
            let (mut parts, body) = request.into_parts();
            let mut credentials = Credentials::none();
            authority.tokens.iter().for_each(|token| credentials.add_token(token));
            parts.extensions.insert(Beside(credentials));
            parts.extensions.insert(Depth(authority.depth));
            let body = match body {
                Some(body) => {
                    let length =
                        parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                    Arriving::from_program(body, length, front.body_bytes_max())
                }
                None => Arriving::nothing(),
            };
            let is_head = parts.method == hyper::Method::HEAD;
            let response = match front::admit(&front, &parts, &body, None) {
                Ok(mut held) => {
                    let response = Box::pin(front::call(&front, parts, body, &mut held)).await;
                    response.map(|body| body.holding(held))
                }
                Err(full) => full.response(),
            };
            outward(response, is_head)
        })
    }

    fn answer_once(
        &self,
        request: Request<Option<BodyStream>>,
        authority: Authority,
        once: Once,
    ) -> BoxFuture<'_, Response<Option<BodyStream>>> {
        Box::pin(async move {
            let Some(front) = self.0.upgrade() else {
                return jsfs_exec::Nowhere.answer(request, authority).await;
            };
            let Once { process, call, hop, request: of } = once;
            let effect = Effect { process: ProcessId(process.0), call, hop, request: of };
            match front.objects().done(effect) {
                Ok(None) => front.objects().once(effect, self.answer(request, authority)).await,
                Ok(Some(done)) => {
                    let (parts, _) = request.into_parts();
                    outward(process::answer_again(&parts, &done), false)
                }
                Err(error) => outward(Problem::from(error).response(), false),
            }
        })
    }
}

/// An answer as a program gets it.
fn outward(response: Response<Body>, is_head: bool) -> Response<Option<BodyStream>> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.length() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if is_head || body.length() == Some(0) {
        return Response::from_parts(head, None);
    }
    let pieces = body.into_data_stream().map(|piece| piece.map_err(|error| BodyError(error.to_string())));
    Response::from_parts(head, Some(Box::pin(pieces) as BodyStream))
}
