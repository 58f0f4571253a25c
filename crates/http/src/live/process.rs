//! A WebSocket to a process: what it writes comes out, what is sent goes in.
//!
//! A piece of output that is text is a text message, any other a binary one. The socket closes with 1000 when the process has ended. Input waits while
//! the process has no room, and so does the client; the process does not hear of sockets, and goes on without them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use jsfs_exec::process::{Input, ProcessError, ProcessId};
use jsfs_exec::{Exec, Frame};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, coding::CloseCode};

use super::handshake::accept;
use super::parting::short;
use super::program::{Taken, missing, next};
use super::socket::{GONE_AFTER, PARTING_TIME_MAX, PING_AFTER, opened};
use crate::body::Body;
use crate::front::Front;
use crate::problem::Problem;
use crate::process::{self, Resource, as_text};
use crate::request::{Asked, Target};
use crate::server::{Continuing, Ending};

/// How long input waits before it is tried again, and at most.
const AGAIN_TIME: Duration = Duration::from_millis(50);
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);

/// Opens a socket to the process that the path names, if it names one.
pub(crate) async fn open(front: &Arc<Front>, parts: &Parts) -> Option<Result<Response<Body>, Problem>> {
    let Ok((asked, Target::Interface(path))) = Asked::parse(parts) else { return None };
    let Some(Resource::One(id)) = Resource::of(path) else { return None };
    Some(attach(front, parts, &asked, id).await)
}

async fn attach(
    front: &Arc<Front>,
    parts: &Parts,
    asked: &Asked<'_>,
    id: &str,
) -> Result<Response<Body>, Problem> {
    let after = process::after(asked)?;
    let (exec, status) = process::find(front, asked, id).await?;
    let mut response = accept(parts)?;
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned().ok_or_else(missing)?;
    let continuing = parts.extensions.get::<Continuing>().cloned().ok_or_else(missing)?;
    let (exec, id) = (exec.clone(), status.id);
    continuing.with(Box::new(move |ending| Box::pin(run(upgrade, ending, exec, id, after))));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    Ok(response)
}

/// Serves the socket to its end.
async fn run(upgrade: OnUpgrade, ending: Ending, exec: Exec, id: ProcessId, after: u64) {
    let Some(stream) = opened(upgrade, &ending).await else { return };
    let (mut sink, mut stream) = stream.split();
    let mut output = exec.process_output(id, after, true);
    let mut heard = Instant::now();
    let mut look = tokio::time::interval(PING_AFTER);
    let (code, reason) = loop {
        tokio::select! {
            piece = output.next() => match piece {
                Some(Ok(bytes)) => {
                    let message = match as_text(&bytes) {
                        Some(text) => Message::text(text.to_owned()),
                        None => Message::Binary(bytes),
                    };
                    if sink.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => break (1001, error.0),
                None => {
                    let state = exec.process(id).map_or("done", |status| status.state.name());
                    break (1000, state.to_owned());
                }
            },
            taken = next(&mut stream) => {
                heard = Instant::now();
                let input = match taken {
                    Taken::Frame(Frame::Text(text)) => Input { is_text: true, bytes: text.into() },
                    Taken::Frame(Frame::Binary(bytes)) => Input { is_text: false, bytes },
                    Taken::Frame(Frame::Close { .. }) | Taken::End => break (1000, String::new()),
                    // The library may have answered. More is read when that was written.
                    Taken::Nothing => match sink.flush().await {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                };
                if let Err(close) = send(&exec, id, input, &ending).await {
                    break close;
                }
            }
            _ = look.tick() => {
                if heard.elapsed() >= GONE_AFTER {
                    return;
                }
                if heard.elapsed() >= PING_AFTER && sink.send(Message::Ping(Default::default())).await.is_err() {
                    return;
                }
            }
            () = ending.shutdown.cancelled() => break (1001, "the node stops".to_owned()),
            () = ending.cut.cancelled() => return,
        }
    };
    let frame = CloseFrame { code: CloseCode::from(code), reason: short(&reason) };
    let goodbye = async {
        let _ = sink.send(Message::Close(Some(frame))).await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    // Whatever happens to the goodbye, the connection ends here.
    let _ = tokio::time::timeout(PARTING_TIME_MAX, goodbye).await;
}

/// Hands an input over, as soon as there is room for it.
async fn send(exec: &Exec, id: ProcessId, input: Input, ending: &Ending) -> Result<(), (u16, String)> {
    let until = Instant::now() + INPUT_TIME_MAX;
    loop {
        match exec.send_input(id, input.clone()).await {
            Ok(()) => return Ok(()),
            Err(ProcessError::Busy(_)) if Instant::now() < until => {}
            // Its last output is still to come.
            Err(ProcessError::Ended) => return Ok(()),
            Err(error @ ProcessError::Input(_)) => return Err((1009, error.to_string())),
            Err(error) => return Err((1013, error.to_string())),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN_TIME) => {}
            () = ending.shutdown.cancelled() => return Err((1001, "the node stops".to_owned())),
        }
    }
}
