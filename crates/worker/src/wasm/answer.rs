//! How an answer goes to the node: whole in one message where it is small and comes soon, else piece by piece as it is produced.
//!
//! Whoever reads slowly holds the program up: the next piece is sent when there is room for it.

use super::{calls::Conversation, run::Stop};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use jsfs_exec::wire::{Level, ToNode};
use serde_json::json;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::sleep;

/// Longest answer that is kept back for the rest of it.
const WHOLE_MAX: usize = 64 << 10;
/// How long an answer is kept back for the rest of it.
const PATIENCE: Duration = Duration::from_millis(10);

/// The head of an answer. Values are strings of bytes, as they are in JavaScript.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
}

/// Sends an answer: its head, what is known of its body, and what follows.
pub(super) async fn deliver(
    conversation: &Arc<Conversation>,
    head: Head,
    known: Bytes,
    pieces: impl Stream<Item = Result<Bytes, String>>,
) -> Result<(), Stop> {
    let mut pieces = pin!(pieces);
    let mut patience = pin!(sleep(PATIENCE));
    conversation.take_output(known.len())?;
    let mut body = BytesMut::from(known);
    let is_whole = loop {
        if body.len() > WHOLE_MAX {
            break false;
        }
        tokio::select! {
            biased;
            piece = pieces.next() => match piece {
                Some(piece) => {
                    let piece = piece.map_err(Stop::Failed)?;
                    conversation.take_output(piece.len())?;
                    body.extend_from_slice(&piece);
                }
                None => break true,
            },
            () = &mut patience => break false,
        }
    };
    let how = if is_whole { "bytes" } else { "stream" };
    let head =
        json!({ "status": head.status, "statusText": "", "headers": head.fields, "body": how }).to_string();
    conversation.say(
        |run| ToNode::Respond { run, head, has_bytes: is_whole },
        if is_whole { &body[..] } else { &[] },
    );
    if is_whole {
        return Ok(());
    }
    if !body.is_empty() {
        write(conversation, &body).await?;
    }
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => {
                conversation.take_output(piece.len())?;
                write(conversation, &piece).await?;
            }
            Err(why) => {
                conversation.log(Level::Error, &format!("the answer breaks off: {why}"));
                return close(conversation, Some(&why)).await;
            }
        }
    }
    close(conversation, None).await
}

async fn write(conversation: &Arc<Conversation>, bytes: &[u8]) -> Result<(), Stop> {
    let call = conversation.begin("write", &json!({ "to": 0 }), Some(bytes)).map_err(Stop::Failed)?;
    // It fails when the client has gone: then nobody wants the rest.
    call.await.map(drop).map_err(|_| Stop::Cancelled)
}

async fn close(conversation: &Arc<Conversation>, error: Option<&str>) -> Result<(), Stop> {
    let params = match error {
        Some(error) => json!({ "to": 0, "error": error }),
        None => json!({ "to": 0 }),
    };
    let call = conversation.begin("close", &params, None).map_err(Stop::Failed)?;
    call.await.map(drop).map_err(|_| Stop::Cancelled)
}
