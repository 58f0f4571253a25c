//! A WebSocket to a program: its messages go to the program's handlers and nowhere else.
//!
//! A handshake at the address of a program that handles messages, by a caller who may run it, becomes one, unless it offers the subprotocol
//! `jsfs.v1`. What waits is bounded on both ways by short queues; a client that takes nothing is cut off by the connection's own marks,
//! one that is silent is asked whether it is there. The program hears of every end, of a broken connection too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use jsfs_exec::{AnswerBody, Frame, Socket};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};
use tokio_tungstenite::tungstenite::{Bytes as WsBytes, Message};

use super::handshake::{accept, offers_jsfs};
use super::parting::short;
use super::socket::{GONE_AFTER, PARTING_TIME_MAX, PING_AFTER, Stream, opened};
use crate::body::Body;
use crate::front::Front;
use crate::problem::Problem;
use crate::program;
use crate::request::{Asked, Target};
use crate::server::{Continuing, Ending};

/// Opens a socket to the program at the address, if there is one that takes it.
pub(crate) async fn open(front: &Arc<Front>, parts: &Parts) -> Option<Result<Response<Body>, Problem>> {
    if front.exec().is_none() || offers_jsfs(&parts.headers) {
        return None;
    }
    let Ok((asked, Target::Address(address))) = Asked::parse(parts) else { return None };
    if address.is_directory() {
        return None;
    }
    let answer = match program::connect(front, &asked, &address).await? {
        Ok(answer) => answer,
        Err(problem) => return Some(Err(problem)),
    };
    if !matches!(answer.body, AnswerBody::Socket(_)) {
        return Some(program::respond(&asked, &address, answer));
    }
    Some(become_socket(parts, answer))
}

fn become_socket(parts: &Parts, answer: jsfs_exec::Answer) -> Result<Response<Body>, Problem> {
    let AnswerBody::Socket(socket) = answer.body else { return Err(missing()) };
    let mut response = accept(parts)?;
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned().ok_or_else(missing)?;
    let continuing = parts.extensions.get::<Continuing>().cloned().ok_or_else(missing)?;
    if let Some(protocol) = answer.headers.get("sec-websocket-protocol") {
        response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
    }
    continuing.with(Box::new(move |ending| Box::pin(run(upgrade, ending, socket))));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    Ok(response)
}

pub(super) fn missing() -> Problem {
    Problem::malformed("a socket needs HTTP/1.1 and connection: upgrade")
}

/// Serves the socket to its end.
async fn run(upgrade: OnUpgrade, ending: Ending, socket: Socket) {
    let Socket { incoming, mut outgoing } = socket;
    let Some(stream) = opened(upgrade, &ending).await else { return };
    let (mut sink, mut stream) = stream.split();
    let mut heard = Instant::now();
    let mut look = tokio::time::interval(PING_AFTER);
    let close = loop {
        tokio::select! {
            // Nothing more is read while the program has no room: the client waits, as it would for any reader.
            permit = incoming.reserve() => {
                let Ok(permit) = permit else { break Some((1011, "the program has ended".to_owned())) };
                let taken = tokio::select! {
                    taken = next(&mut stream) => taken,
                    frame = outgoing.recv() => {
                        drop(permit);
                        match send(&mut sink, frame).await {
                            Ok(()) => continue,
                            Err(close) => break close,
                        }
                    }
                    _ = look.tick() => {
                        drop(permit);
                        if heard.elapsed() >= GONE_AFTER {
                            break None;
                        }
                        if heard.elapsed() >= PING_AFTER && sink.send(Message::Ping(WsBytes::new())).await.is_err() {
                            break None;
                        }
                        continue;
                    }
                    () = ending.shutdown.cancelled() => break Some((1001, "the node stops".to_owned())),
                    () = ending.cut.cancelled() => return,
                };
                heard = Instant::now();
                match taken {
                    Taken::Frame(frame) => permit.send(frame),
                    // The library may have answered. More is read when that was written.
                    Taken::Nothing => {
                        if sink.flush().await.is_err() {
                            break None;
                        }
                    }
                    Taken::End => break None,
                }
            }
            frame = outgoing.recv() => {
                if let Err(close) = send(&mut sink, frame).await {
                    break close;
                }
            }
            () = ending.cut.cancelled() => return,
        }
    };
    let reason = close.as_ref().map_or(1006, |(code, _)| *code);
    let _ = incoming.try_send(Frame::Close { code: reason, reason: String::new() });
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code: CloseCode::from(code), reason: short(&reason) };
        let goodbye = async {
            let _ = sink.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = stream.next().await {}
        };
        // Whatever happens to the goodbye, the connection ends here.
        let _ = tokio::time::timeout(PARTING_TIME_MAX, goodbye).await;
    } else {
        let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
    }
}

pub(super) enum Taken {
    Frame(Frame),
    Nothing,
    End,
}

pub(super) async fn next(stream: &mut SplitStream<Stream>) -> Taken {
    match stream.next().await {
        Some(Ok(Message::Text(text))) => Taken::Frame(Frame::Text(text.as_str().to_owned())),
        Some(Ok(Message::Binary(bytes))) => Taken::Frame(Frame::Binary(bytes)),
        Some(Ok(Message::Close(frame))) => {
            let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                (u16::from(frame.code), frame.reason.as_str().to_owned())
            });
            Taken::Frame(Frame::Close { code, reason })
        }
        Some(Ok(_)) => Taken::Nothing,
        Some(Err(_)) | None => Taken::End,
    }
}

/// Sends what the program says; how the socket ends, if that was its last word.
async fn send(
    sink: &mut SplitSink<Stream, Message>,
    frame: Option<Frame>,
) -> Result<(), Option<(u16, String)>> {
    let message = match frame {
        Some(Frame::Text(text)) => Message::text(text),
        Some(Frame::Binary(bytes)) => Message::Binary(bytes),
        Some(Frame::Close { code, reason }) => return Err(Some((code, reason))),
        None => return Err(Some((1000, String::new()))),
    };
    sink.send(message).await.map_err(|_| None)
}
