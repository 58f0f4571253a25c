//! What a process is asked to be done for, and what of it must be put away with its image.
//!
//! Every call is known from its beginning until an image shows that the program has heard of its end: a call that the image still waits for is made
//! again when the process is taken up. What only reads is made again as it was. What changes something (an **effect**) is held until an image that
//! waits for it is kept, and is carried out under its number, so that making it again finds what it came to.

use crate::{
    BodyStream, Exec,
    calls::{Call, GuestError, Of, Settled, of},
    interior::{Authority, Interior},
    outside::Outside,
    process::{
        bodies::{self, Open},
        keep::{Once, ProcessId},
        record::{Saved, SavedCall, SavedUpload},
    },
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::task::{AbortHandle, JoinSet};

/// Output that waits for a checkpoint before the program is asked to wait.
pub(crate) const OUTPUT_ROOM: usize = 256 << 10;
/// Changes that are remembered of a process which begins again from its beginning.
const CHANGES_MAX: u32 = 4_096;
/// The number of all calls that are known by what they ask for.
const UNNUMBERED: u32 = u32::MAX;
/// Bytes of one body that a process sends piece by piece.
const UPLOAD_MAX: usize = 16 << 20;
/// Bodies that are open at once, and bytes of those held whole: beyond, the oldest are given up.
const BODIES_MAX: usize = 512;
const BODY_BYTES_MAX: usize = 2 << 20;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its body is being sent.
    Collecting,
    /// It changes something, and waits for a checkpoint.
    Held,
    /// It is carried out.
    Running,
    /// It wrote, and waits for a checkpoint because there is no room for more.
    Full,
    /// The program was told of its end, and may not have heard of it.
    Told,
}

struct Asked {
    operation: String,
    params: String,
    bytes: Option<Bytes>,
    phase: Phase,
}

/// A call has ended.
pub(crate) enum Ended {
    /// A request was answered.
    Fetched(Settled, Option<Open>),
    /// A piece of a body is there.
    Piece { id: u32, body: u32, piece: Result<Option<Bytes>, String> },
}

/// What the program is to be told.
pub(crate) struct Told {
    pub(crate) id: u32,
    pub(crate) result: Result<(Option<String>, Option<Bytes>), GuestError>,
}

/// Everything under way for one process.
pub(crate) struct Work {
    process: ProcessId,
    interior: Arc<dyn Interior>,
    outside: Arc<Outside>,
    authority: Authority,
    /// Host and port of the program's own URL.
    home: String,
    /// Whether images of it can be taken: else nothing waits for one.
    pub(crate) can_be_kept: bool,
    calls: BTreeMap<u32, Asked>,
    open: BTreeMap<u32, Open>,
    uploads: HashMap<u32, SavedUpload>,
    running: JoinSet<Ended>,
    /// Effects, which are never called off: what was sent to the store takes place.
    effects: JoinSet<Ended>,
    aborts: HashMap<u32, AbortHandle>,
    /// Effects that may have left a marker.
    marked: BTreeMap<u32, bool>,
    /// How often each change was asked for, of a process that begins again from its beginning: the same change for the same time takes place once.
    changes: HashMap<[u8; 32], u32>,
    changes_made: u32,
    /// What was written since the last checkpoint.
    pub(crate) output: Vec<u8>,
}

/// Whether a method changes nothing.
fn is_safe(method: &str) -> bool {
    http::Method::try_from(method).is_ok_and(|method| method.is_safe())
}

#[derive(serde::Deserialize)]
struct Head {
    method: String,
    #[serde(default)]
    body: String,
}

#[derive(serde::Deserialize)]
struct Written {
    #[serde(default)]
    text: Option<String>,
}

impl Work {
    pub(crate) fn new(
        process: ProcessId,
        exec: &Exec,
        authority: Authority,
        home: String,
        can_be_kept: bool,
    ) -> Self {
        Self {
            process,
            interior: exec.interior(),
            outside: Arc::clone(&exec.0.outside),
            authority,
            home,
            can_be_kept,
            calls: BTreeMap::new(),
            open: BTreeMap::new(),
            uploads: HashMap::new(),
            running: JoinSet::new(),
            effects: JoinSet::new(),
            aborts: HashMap::new(),
            marked: BTreeMap::new(),
            changes: HashMap::new(),
            changes_made: 0,
            output: Vec::new(),
        }
    }

    /// Takes up what was put away. What the program then waits for is begun again; what is over at once is answered.
    pub(crate) fn take_up(&mut self, saved: Saved) -> Vec<Told> {
        for body in &saved.bodies {
            self.open.insert(body.id, Open::of(body));
        }
        self.uploads = saved.uploads.into_iter().map(|upload| (upload.id, upload)).collect();
        let mut told = Vec::new();
        for SavedCall { id, operation, params, bytes } in saved.calls {
            let bytes = bytes.map(Bytes::from);
            match operation.as_str() {
                // What it wrote was kept with the image that waits for the word.
                "output" | "write" | "close" => {
                    self.know(id, operation, params, None, Phase::Told);
                    told.push(nothing(id));
                }
                "fetch" if self.uploads.get(&id).is_some_and(|upload| !upload.is_closed) => {
                    self.know(id, operation, params, bytes, Phase::Collecting);
                }
                "fetch" => {
                    self.know(id, operation, params, bytes, Phase::Held);
                    self.carry_out(id);
                }
                _ => told.extend(self.start(id, operation, params, bytes)),
            }
        }
        told
    }

    fn know(&mut self, id: u32, operation: String, params: String, bytes: Option<Bytes>, phase: Phase) {
        self.calls.insert(id, Asked { operation, params, bytes, phase });
    }

    /// Begins something that the program asked for.
    pub(crate) fn start(
        &mut self,
        id: u32,
        operation: String,
        params: String,
        bytes: Option<Bytes>,
    ) -> Option<Told> {
        match operation.as_str() {
            "fetch" => {
                let head = serde_json::from_str::<Head>(&params);
                let (is_safe, is_streamed) =
                    head.map_or((false, false), |head| (is_safe(&head.method), head.body == "stream"));
                if is_streamed {
                    self.uploads.insert(id, SavedUpload { id, bytes: Vec::new(), is_closed: false });
                    self.know(id, operation, params, None, Phase::Collecting);
                    return None;
                }
                self.know(id, operation, params, bytes, Phase::Held);
                if is_safe || !self.can_be_kept {
                    self.carry_out(id);
                }
                None
            }
            "output" => {
                let text = serde_json::from_str::<Written>(&params).ok().and_then(|written| written.text);
                match text {
                    Some(text) => self.output.extend_from_slice(text.as_bytes()),
                    None => self.output.extend_from_slice(&bytes.unwrap_or_default()),
                }
                self.wrote(id, operation)
            }
            "read" => self.read(id, operation, params),
            "write" | "close" => self.send(id, operation, &params, bytes),
            _ => {
                let message = format!("a process has no {operation}");
                Some(Told { id, result: Err(GuestError::network(message)) })
            }
        }
    }

    /// Output has room, or the program waits for a checkpoint.
    fn wrote(&mut self, id: u32, operation: String) -> Option<Told> {
        let is_full = self.output.len() >= OUTPUT_ROOM;
        let phase = if is_full { Phase::Full } else { Phase::Told };
        self.know(id, operation, String::new(), None, phase);
        (!is_full).then(|| nothing(id))
    }

    /// Bytes of a body that the program sends, or its end.
    fn send(&mut self, id: u32, operation: String, params: &str, bytes: Option<Bytes>) -> Option<Told> {
        let Of { body, error } = match of(params) {
            Ok(of) => of,
            Err(error) => return Some(Told { id, result: Err(error) }),
        };
        if body == 0 && operation == "write" {
            self.output.extend_from_slice(&bytes.unwrap_or_default());
            return self.wrote(id, operation);
        }
        let is_end = operation == "close";
        self.know(id, operation, String::new(), None, Phase::Told);
        if body == 0 {
            return Some(nothing(id));
        }
        let Some(upload) = self.uploads.get_mut(&body) else {
            let error = GuestError::network("nobody reads this body any longer");
            return Some(if is_end { nothing(id) } else { Told { id, result: Err(error) } });
        };
        if !is_end {
            upload.bytes.extend_from_slice(&bytes.unwrap_or_default());
            if upload.bytes.len() <= UPLOAD_MAX {
                return Some(nothing(id));
            }
            let what = format!(
                "a process sends at most {UPLOAD_MAX} bytes in a stream; send it in parts, with append=true"
            );
            self.uploads.remove(&body);
            self.calls.remove(&body);
            return Some(Told { id, result: Err(GuestError::network(what)) });
        }
        upload.is_closed = true;
        if error.is_some() {
            // The program has given the request up itself.
            self.forget(body);
        } else if let Some(call) = self.calls.get_mut(&body) {
            call.phase = Phase::Held;
            if !self.can_be_kept {
                self.carry_out(body);
            }
        }
        Some(nothing(id))
    }

    fn read(&mut self, id: u32, operation: String, params: String) -> Option<Told> {
        let body = match of(&params) {
            Ok(Of { body, .. }) => body,
            Err(error) => return Some(Told { id, result: Err(error) }),
        };
        let Some(open) = self.open.get_mut(&body) else {
            let error = GuestError::network(
                "this body is not kept any longer: too many are open, or it was read to its end",
            );
            return Some(Told { id, result: Err(error) });
        };
        self.calls.insert(id, Asked { operation, params, bytes: None, phase: Phase::Running });
        if let Some(piece) = open.held() {
            return Some(self.piece(id, body, Ok(piece)));
        }
        let (stream, rest, taken) = (Arc::clone(&open.stream), open.rest.clone(), open.taken);
        let call = self.call(None);
        let abort = self.running.spawn(async move {
            let piece = bodies::read(stream, call, rest, taken).await;
            Ended::Piece { id, body, piece }
        });
        self.aborts.insert(id, abort);
        None
    }

    fn piece(&mut self, id: u32, body: u32, piece: Result<Option<Bytes>, String>) -> Told {
        if let Some(call) = self.calls.get_mut(&id) {
            call.phase = Phase::Told;
        }
        let result = match piece {
            Ok(piece) => {
                if let Some(open) = self.open.get_mut(&body) {
                    open.took(id, piece.as_ref());
                }
                Ok(match piece {
                    Some(bytes) => (None, Some(bytes)),
                    None => (Some(r#"{"done":true}"#.to_owned()), None),
                })
            }
            Err(why) => Err(GuestError::network(why)),
        };
        Told { id, result }
    }

    /// What a change is known by that this request asks for.
    fn once(&mut self, id: u32, params: &str, bytes: Option<&Bytes>) -> Option<Once> {
        let once = Once { process: self.process, call: id, hop: 0, request: None };
        if self.can_be_kept {
            return Some(once);
        }
        if self.changes_made >= CHANGES_MAX {
            return None;
        }
        self.changes_made += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(params.len() as u64).to_le_bytes());
        hasher.update(params.as_bytes());
        hasher.update(bytes.map_or(&[], |bytes| &bytes[..]));
        let before = self.changes.entry(*hasher.finalize().as_bytes()).or_default();
        hasher.update(&before.to_le_bytes());
        *before += 1;
        let mut request = [0; 16];
        hasher.finalize_xof().fill(&mut request);
        Some(Once { call: UNNUMBERED, request: Some(request), ..once })
    }

    fn call(&self, once: Option<Once>) -> Call {
        Call {
            interior: Arc::clone(&self.interior),
            authority: self.authority.clone(),
            home: self.home.clone(),
            outside: Arc::clone(&self.outside),
            once,
        }
    }

    /// Makes a request.
    fn carry_out(&mut self, id: u32) {
        let Some(asked) = self.calls.get_mut(&id) else { return };
        asked.phase = Phase::Running;
        let params = asked.params.clone();
        let is_safe = serde_json::from_str::<Head>(&params).is_ok_and(|head| is_safe(&head.method));
        let sent = self.uploads.get(&id).map(|upload| Bytes::copy_from_slice(&upload.bytes));
        let bytes = sent.or_else(|| asked.bytes.clone());
        let once = if is_safe { None } else { self.once(id, &params, bytes.as_ref()) };
        let call = self.call(once);
        let work = async move {
            // A body that came piece by piece is here whole now.
            let streamed =
                bytes.clone().map(|bytes| Box::pin(futures_util::stream::iter([Ok(bytes)])) as BodyStream);
            let mut settled = call.fetch(id, &params, bytes, streamed).await;
            let body = settled.readable.take();
            let open = match (&settled.result, body) {
                (Ok((Some(head), _)), Some(body)) => Some(Open::answered(head, is_safe, body).await),
                _ => None,
            };
            Ended::Fetched(settled, open)
        };
        if once.is_some() {
            if self.can_be_kept {
                self.marked.insert(id, true);
            }
            self.effects.spawn(work);
        } else {
            let abort = self.running.spawn(work);
            self.aborts.insert(id, abort);
        }
    }

    /// The program does not wait for it any longer.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(abort) = self.aborts.remove(&id) {
            abort.abort();
        }
        self.calls.remove(&id);
        self.open.remove(&id);
        self.uploads.remove(&id);
    }

    /// What ended next. Waits for ever where nothing is under way.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let ended = tokio::select! {
            Some(ended) = self.running.join_next(), if !self.running.is_empty() => ended,
            Some(ended) = self.effects.join_next(), if !self.effects.is_empty() => ended,
            else => std::future::pending().await,
        };
        match ended.ok()? {
            Ended::Piece { id, body, piece } => {
                self.aborts.remove(&id);
                self.calls.contains_key(&id).then(|| self.piece(id, body, piece))
            }
            Ended::Fetched(Settled { id, result, .. }, open) => {
                self.aborts.remove(&id);
                if let Some(under_way) = self.marked.get_mut(&id) {
                    *under_way = false;
                }
                let asked = self.calls.get_mut(&id)?;
                asked.phase = Phase::Told;
                if let Some(open) = open {
                    self.open.insert(id, open);
                    self.give_up_old_bodies();
                }
                Some(Told { id, result })
            }
        }
    }

    /// A program need not read what it is answered: what nobody reads goes in the end.
    fn give_up_old_bodies(&mut self) {
        while self.open.len() > BODIES_MAX
            || self.open.values().map(Open::weight).sum::<usize>() > BODY_BYTES_MAX
        {
            let oldest = self.open.keys().find(|id| **id != 0).copied();
            let Some(oldest) = oldest.filter(|_| self.open.len() > 1) else { return };
            self.open.remove(&oldest);
        }
    }

    /// Waits for the effects under way: what they came to must be known before anybody asks again.
    pub(crate) async fn finish_effects(&mut self) {
        self.running.shutdown().await;
        while self.effects.join_next().await.is_some() {}
    }

    /// Whether something waits for a checkpoint and nothing else.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.calls.values().any(|asked| matches!(asked.phase, Phase::Held | Phase::Full))
    }

    /// Calls of whose end the program may not have heard.
    pub(crate) fn told(&self) -> usize {
        self.calls.len()
    }

    /// What is put away with an image that waits for these calls.
    pub(crate) fn saved(&self, pending: &[u32]) -> Saved {
        let calls = pending.iter().filter_map(|id| {
            let asked = self.calls.get(id)?;
            Some(SavedCall {
                id: *id,
                operation: asked.operation.clone(),
                params: asked.params.clone(),
                bytes: asked.bytes.as_ref().map(|bytes| bytes.to_vec()),
            })
        });
        let uploads = self.uploads.values().filter(|upload| pending.contains(&upload.id)).cloned();
        Saved {
            calls: calls.collect(),
            bodies: self.open.iter().map(|(id, open)| open.saved(*id, pending)).collect(),
            uploads: uploads.collect(),
        }
    }

    /// The effects of which an image with these calls has heard.
    pub(crate) fn heard_of(&self, pending: &[u32]) -> Vec<u32> {
        let over = self.marked.iter().filter(|(id, under_way)| !**under_way && !pending.contains(id));
        over.map(|(id, _)| *id).collect()
    }

    /// An image that waits for these calls is kept: what waited for it goes on.
    pub(crate) fn kept(&mut self, pending: &[u32], heard_of: &[u32]) -> Vec<Told> {
        self.marked.retain(|id, _| !heard_of.contains(id));
        self.calls.retain(|id, asked| asked.phase != Phase::Told || pending.contains(id));
        self.uploads.retain(|id, _| self.calls.contains_key(id));
        self.open.retain(|id, open| {
            !open.is_ended || open.last.is_some_and(|(read, _)| pending.contains(&read)) || *id == 0
        });
        let mut told = Vec::new();
        for id in pending {
            match self.calls.get_mut(id).map(|asked| (asked.phase, asked)) {
                Some((Phase::Held, _)) => self.carry_out(*id),
                Some((Phase::Full, asked)) => {
                    asked.phase = Phase::Told;
                    told.push(nothing(*id));
                }
                _ => {}
            }
        }
        told
    }
}

fn nothing(id: u32) -> Told {
    Told { id, result: Ok((None, None)) }
}
