//! The way to the node: one socket, one message at a time.
//!
//! A thread that has made way for others (`way`) may be kept from the processors for long, so it must not hold what the others need: it hands its
//! messages to a thread that is as quick as they are. All others write themselves, which is cheaper, and come first. Messages of one thread stay in
//! order, because a thread that has made way never writes itself again.

use super::{hold, way};
use jsfs_exec::wire::{self, ToNode};
use std::{
    borrow::Cow,
    io::{self, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

/// Writes that may wait for the thread that makes them; whoever has another waits.
const HANDED_MAX: usize = 16;

/// Where messages to the node go. Whoever sends waits until the node has taken it, or the thread that writes for it has.
pub(crate) struct Out {
    socket: Mutex<UnixStream>,
    /// Those who write themselves and wait for the socket.
    waiting: AtomicUsize,
    handed: OnceLock<SyncSender<Vec<u8>>>,
}

impl Out {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket: Mutex::new(socket), waiting: AtomicUsize::default(), handed: OnceLock::new() }
    }

    /// From now on there is a thread that writes for those that have made way.
    pub(crate) fn begin(self: &Arc<Self>) -> io::Result<()> {
        let (handed, frames) = sync_channel::<Vec<u8>>(HANDED_MAX);
        let out = Arc::clone(self);
        let write = move || {
            for frame in frames {
                while out.waiting.load(Ordering::Relaxed) > 0 {
                    thread::yield_now();
                }
                written(hold(&out.socket).write_all(&frame));
            }
        };
        thread::Builder::new().name("out".to_owned()).stack_size(64 << 10).spawn(write)?;
        // Begun once.
        let _ = self.handed.set(handed);
        Ok(())
    }

    pub(crate) fn send(&self, message: &ToNode, bytes: &[u8]) {
        self.send_all([(message, bytes)]);
    }

    /// Several messages, with one write.
    pub(crate) fn send_all<'a>(&self, messages: impl IntoIterator<Item = (&'a ToNode, &'a [u8])>) {
        let frames = messages.into_iter().map(|(message, bytes)| wire::encode(message, bytes));
        let frames = written(frames.collect::<io::Result<Vec<_>>>());
        let all = if let [frame] = &*frames { Cow::Borrowed(&**frame) } else { Cow::Owned(frames.concat()) };
        match self.handed.get() {
            Some(handed) if way::is_made() => {
                // Its receiver lives as long as the process.
                let _ = handed.send(all.into_owned());
            }
            _ => self.write(&all),
        }
    }

    fn write(&self, frame: &[u8]) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut socket = hold(&self.socket);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        written(socket.write_all(frame));
    }
}

/// What came of a write. Where it fails the node is gone, or a frame would be larger than it takes; either way this process has no further use.
fn written<T>(result: io::Result<T>) -> T {
    result.unwrap_or_else(|_| std::process::exit(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn messages_of_a_thread_stay_in_order_when_it_makes_way() {
        let (ours, mut node) = UnixStream::pair().unwrap();
        let out = Arc::new(Out::new(ours));
        out.begin().unwrap();
        let sender = Arc::clone(&out);
        let sending = thread::spawn(move || {
            for run in 0..2_000 {
                if run == 1_000 {
                    way::mark();
                }
                sender.send(&ToNode::Taken { run }, &[0; 100]);
            }
        });
        for expected in 0..2_000 {
            let mut four = [0; 4];
            node.read_exact(&mut four).unwrap();
            let mut frame = vec![0; wire::length(four).unwrap()];
            node.read_exact(&mut frame).unwrap();
            let (message, _) = wire::decode::<ToNode>(frame.into()).unwrap();
            assert_eq!(message.run(), expected);
        }
        sending.join().unwrap();
    }
}
