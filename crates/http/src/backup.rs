//! `POST /.jsfs/backup`: the state of the node as of now, for the holder of the root key, as the items of a backup.
//!
//! The body says what the asker has; the answer is what it lacks (`docs/storage.md`, Backup). It is not counted among the requests that are being answered
//! and breaks off when the node stops. A client that leaves ends it at the next item. An answer without its last item was cut off.

use futures_util::stream;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use jsfs_objects::{BACKUP_ASK_MAX, Backup};

use crate::body::{Arriving, Body, BrokenOff};
use crate::front::Front;
use crate::headers;
use crate::problem::Problem;
use crate::request::Asked;

/// Begins a backup.
pub(crate) async fn answer(
    front: &Front,
    asked: &Asked<'_>,
    body: Arriving,
) -> Result<Response<Body>, Problem> {
    let grant = front.objects().authorize_root(&asked.credentials()?).await?;
    let ask = body.at_most(BACKUP_ASK_MAX).collect().await?.into();
    Ok(pieces(front, front.objects().backup(&grant, &ask)?))
}

/// An answer of items, which breaks off when the node stops.
pub(crate) fn pieces(front: &Front, backup: Backup) -> Response<Body> {
    let stopping = front.counters().stopping();
    let pieces = stream::unfold(Some(backup), move |backup| {
        let stopping = stopping.clone();
        async move {
            let mut backup = backup?;
            let piece = tokio::select! {
                () = stopping.cancelled() => return Some((Err(BrokenOff("the node is stopping".to_owned())), None)),
                piece = backup.next() => piece?,
            };
            match piece {
                Ok(bytes) => Some((Ok(bytes), Some(backup))),
                Err(error) => Some((Err(BrokenOff(error.to_string())), None)),
            }
        }
    });
    let mut response = Response::new(Body::lasting(Box::pin(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers::hand_on_at_once(headers);
    response
}
