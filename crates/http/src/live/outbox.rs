//! What waits to be written to a socket, and the writing.
//!
//! Invariants: a few messages wait and no more; whoever has another waits with it, so a client that takes nothing is not read from either. What is long goes out in
//! fragments, so what is being written stays short whatever its length; nothing comes between the fragments of one message. Who asks to be told when a
//! message was written is told when the system has it, or when it never will be.

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::socket::Stream;

/// Answers and events that wait for the client.
const MESSAGES_QUEUED: usize = 16;

/// Pieces of bodies that wait for the client.
const PIECES_QUEUED: usize = 4;

/// Longer messages go out in fragments of so many bytes.
const FRAGMENT_BYTES: usize = 64 * 1024;

type Sink = SplitSink<Stream, Message>;

/// A place to leave what is to be written.
#[derive(Clone)]
pub(super) struct Outbox(mpsc::Sender<Box<Item>>);

/// Boxed, because a queue has room for many messages from the beginning and most sockets have none.
struct Item {
    what: What,
    written: Option<oneshot::Sender<()>>,
}

enum What {
    Message(Message),
    /// One text message: these parts, one after the other.
    Text([Bytes; 3]),
    /// What the library has to say by itself.
    Nothing,
}

/// Both queues. Neither waits for the other.
pub(super) struct Queues {
    messages: mpsc::Receiver<Box<Item>>,
    pieces: mpsc::Receiver<Box<Item>>,
}

/// Where answers and events go, where bodies go, and where both come out.
pub(super) fn outboxes() -> (Outbox, Outbox, Queues) {
    let (messages, queued_messages) = mpsc::channel(MESSAGES_QUEUED);
    let (pieces, queued_pieces) = mpsc::channel(PIECES_QUEUED);
    (Outbox(messages), Outbox(pieces), Queues { messages: queued_messages, pieces: queued_pieces })
}

/// The connection is over.
#[derive(Debug)]
pub(super) struct Over;

impl Outbox {
    async fn leave(&self, what: What, written: Option<oneshot::Sender<()>>) -> Result<(), Over> {
        self.0.send(Box::new(Item { what, written })).await.map_err(|_| Over)
    }

    /// Leaves a message.
    pub(super) async fn message(&self, message: Message) -> Result<(), Over> {
        self.leave(What::Message(message), None).await
    }

    /// Leaves a message where there is room.
    pub(super) fn message_now(&self, message: Message) {
        let _ = self.0.try_send(Box::new(Item { what: What::Message(message), written: None }));
    }

    /// Leaves a message and waits until it was written.
    pub(super) async fn message_to_the_end(&self, message: Message) -> Result<(), Over> {
        self.to_the_end(What::Message(message)).await
    }

    /// The same with the parts of a text.
    pub(super) async fn text_to_the_end(&self, parts: [Bytes; 3]) -> Result<(), Over> {
        self.to_the_end(What::Text(parts)).await
    }

    async fn to_the_end(&self, what: What) -> Result<(), Over> {
        let (written, told) = oneshot::channel();
        self.leave(what, Some(written)).await?;
        told.await.map_err(|_| Over)
    }

    /// Waits for room, so that what the library answers by itself does not gather.
    pub(super) async fn room(&self) -> Result<(), Over> {
        self.leave(What::Nothing, None).await
    }
}

impl Queues {
    /// Writes until the connection breaks.
    pub(super) async fn write(&mut self, sink: &mut Sink) {
        loop {
            let item = tokio::select! {
                item = self.messages.recv() => item,
                piece = self.pieces.recv() => piece,
            };
            // The session holds both senders as long as this runs.
            let Some(item) = item else { return std::future::pending().await };
            if self.write_with_others(*item, sink).await.is_err() {
                return;
            }
        }
    }

    /// Writes an item, and with it some of those that wait.
    async fn write_with_others(&mut self, item: Item, sink: &mut Sink) -> Result<(), Error> {
        let mut written = vec![feed(item, sink).await?];
        while written.len() < MESSAGES_QUEUED
            && let Ok(item) = self.messages.try_recv()
        {
            written.push(feed(*item, sink).await?);
        }
        sink.flush().await?;
        for one in written.into_iter().flatten() {
            let _ = one.send(());
        }
        Ok(())
    }

    /// Writes the messages that wait and no body any more.
    pub(super) async fn write_the_last(&mut self, sink: &mut Sink) -> Result<(), Error> {
        while let Ok(item) = self.messages.try_recv() {
            self.write_with_others(*item, sink).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Queues {
    /// The next message, as if it was written.
    pub(super) fn take_message(&mut self) -> Option<Message> {
        match self.messages.try_recv().ok()?.what {
            What::Message(message) => Some(message),
            What::Text(_) | What::Nothing => None,
        }
    }
}

/// Hands over an item. Gives whom to tell when it was written.
async fn feed(item: Item, sink: &mut Sink) -> Result<Option<oneshot::Sender<()>>, Error> {
    match item.what {
        What::Message(message) => sink.feed(message).await?,
        What::Text(parts) => feed_text(parts, sink).await?,
        What::Nothing => {}
    }
    Ok(item.written)
}

async fn feed_text(parts: [Bytes; 3], sink: &mut Sink) -> Result<(), Error> {
    if parts.iter().map(Bytes::len).sum::<usize>() <= FRAGMENT_BYTES {
        return sink
            .feed(Message::Frame(Frame::message(parts.concat(), OpCode::Data(Data::Text), true)))
            .await;
    }
    let mut kind = Data::Text;
    for mut part in parts {
        while !part.is_empty() {
            let fragment = part.split_to(part.len().min(FRAGMENT_BYTES));
            sink.feed(Message::Frame(Frame::message(fragment, OpCode::Data(kind), false))).await?;
            kind = Data::Continue;
        }
    }
    sink.feed(Message::Frame(Frame::message(Bytes::new(), OpCode::Data(kind), true))).await
}
