//! Which connections there are, and who makes room when there are too many of them or of their requests.
//!
//! Invariants: a connection is counted from its acceptance until its last byte, or until it had to make room; one task looks at all of them every
//! tick, so a request sets no timer; a crowd costs one look at all of them now and then, and not one look each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gate::Gate;
use crate::limits::Limits;
use crate::room::{Spare, Spared};
use crate::watch::{Doom, Watch};

/// All connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    inner: Mutex<Inner>,
}

/// What has become of connections and requests since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Connections that got a place.
    pub(crate) accepted: u64,
    /// Those that got none, because of their address.
    pub(crate) refused_of_address: u64,
    /// Those that got none, because of all.
    pub(crate) refused: u64,
    /// The same of requests.
    pub(crate) requests_refused_of_address: u64,
    pub(crate) requests_refused: u64,
    /// What the node has ended: connections that rested too long,
    pub(crate) idle: u64,
    /// connections that had to make room,
    pub(crate) room: u64,
    /// and requests whose head, body or answer was too slow, or which took too long in all.
    pub(crate) head: u64,
    pub(crate) body: u64,
    pub(crate) answer: u64,
    pub(crate) request: u64,
}

impl Tally {
    fn count(&mut self, why: Doom) {
        let one = match why {
            Doom::Idle => &mut self.idle,
            Doom::Room => &mut self.room,
            Doom::Head => &mut self.head,
            Doom::Body => &mut self.body,
            Doom::Answer => &mut self.answer,
            Doom::Request => &mut self.request,
            // Those leave by themselves.
            Doom::Gone | Doom::None => return,
        };
        *one += 1;
    }
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    watches: HashMap<u64, Arc<Watch>>,
    /// Requests that share a connection with others.
    streams: HashMap<u64, Arc<Watch>>,
    /// Calls of sockets.
    calls: HashMap<u64, Arc<Watch>>,
    tally: Tally,
    per_address: HashMap<IpAddr, Origin>,
    /// Connections that can make room, and requests, and those of them that store a body.
    resting: Spare,
    slow: [Spare; 2],
}

/// What there is from one address.
#[derive(Debug, Default)]
struct Origin {
    connections: usize,
    requests: Arc<Gate>,
}

/// One request of a connection that carries several, or one call of a socket. A connection rests when the last of its requests is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    connections: Arc<Connections>,
    id: u64,
    /// Where it is not a socket, which looks after itself.
    connection: Option<Arc<Watch>>,
    watch: Arc<Watch>,
}

impl StreamPlace {
    pub(crate) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        // Under the lock, so that a request that begins meanwhile does not find its connection at rest.
        let mut inner = self.connections.lock();
        match &self.connection {
            None => drop(inner.calls.remove(&self.id)),
            Some(connection) => {
                inner.streams.remove(&self.id);
                connection.end_stream();
            }
        }
    }
}

/// Why a connection or a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This address has too many.
    Address,
    /// There are too many in all and each is at work.
    All,
}

/// One place among the connections; given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: u64,
    address: Option<IpAddr>,
    pub(crate) watch: Arc<Watch>,
}

impl Connections {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing in here can be left half done by a panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a connection from `address`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Place, Full> {
        let address = counted(address);
        let mut inner = self.lock();
        let origin = address.and_then(|address| inner.per_address.get(&address));
        if origin.is_some_and(|origin| origin.connections >= limits.connections_per_address_max) {
            inner.tally.refused_of_address += 1;
            return Err(Full::Address);
        }
        if inner.watches.len() >= limits.connections_max && !inner.make_room() {
            inner.tally.refused += 1;
            return Err(Full::All);
        }
        inner.tally.accepted += 1;
        let origin = address.map(|address| {
            let origin = inner.per_address.entry(address).or_default();
            origin.connections += 1;
            Arc::clone(&origin.requests)
        });
        let id = inner.next_id();
        let watch = Arc::new(Watch::of(origin));
        inner.watches.insert(id, Arc::clone(&watch));
        Ok(Place { connections: Arc::clone(self), id, address, watch })
    }

    /// Dooms every connection that has waited too long.
    pub(crate) fn judge(&self, limits: &Limits) {
        let inner = &mut *self.lock();
        for watch in inner.watches.values().chain(inner.streams.values()) {
            if let Some(why) = watch.judge(limits) {
                inner.tally.count(why);
            }
        }
        for watch in inner.calls.values() {
            watch.note_progress(limits);
        }
    }

    /// Has the slowest client make room for another request: its own ends, a moment later. Says whether there is one.
    pub(crate) fn make_room_for_request(&self, stores: bool, limits: &Limits) -> bool {
        self.lock().make_room_for_request(stores, limits)
    }

    /// Takes a place for a request that shares its connection.
    pub(crate) fn begin_stream(self: &Arc<Self>, connection: &Arc<Watch>) -> StreamPlace {
        let watch = Arc::new(Watch::of(connection.origin().cloned()));
        watch.begin_work();
        let mut inner = self.lock();
        let id = inner.next_id();
        inner.streams.insert(id, Arc::clone(&watch));
        connection.begin_stream();
        let connection = Some(Arc::clone(connection));
        StreamPlace { connections: Arc::clone(self), id, connection, watch }
    }

    /// Takes a place for a call of a socket.
    pub(crate) fn begin_call(self: &Arc<Self>, origin: Option<&Arc<Gate>>) -> StreamPlace {
        let watch = Arc::new(Watch::of(origin.cloned()));
        watch.begin_work();
        let mut inner = self.lock();
        let id = inner.next_id();
        inner.calls.insert(id, Arc::clone(&watch));
        StreamPlace { connections: Arc::clone(self), id, connection: None, watch }
    }

    /// Counts a request that got no place, because of those of its address or of all.
    pub(crate) fn refused_request(&self, full: Full) {
        let tally = &mut self.lock().tally;
        match full {
            Full::Address => tally.requests_refused_of_address += 1,
            Full::All => tally.requests_refused += 1,
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.lock().tally
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().watches.len()
    }
}

impl Inner {
    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Makes room by ending the connection that has rested longest. Its place is free for the new one at once; the task
    /// that ends takes a moment longer.
    fn make_room(&mut self) -> bool {
        let Self { watches, resting, tally, .. } = self;
        let spared = |id: u64, watch: &Watch| {
            let (since_ms, time) = watch.spared()?;
            Some(Spared { id, since_ms, time })
        };
        let holds = |one: &Spared| {
            let now = watches.get(&one.id).and_then(|watch| spared(one.id, watch));
            now.is_some_and(|now| now.since_ms == one.since_ms)
        };
        let look = || watches.iter().filter_map(|(id, watch)| spared(*id, watch)).collect();
        let Some(watch) = resting.next(holds, look).and_then(|id| watches.remove(&id)) else { return false };
        watch.end(Doom::Room);
        tally.count(Doom::Room);
        true
    }

    /// Makes room by ending the request whose client keeps it waiting longest; with `stores`, one that stores a body.
    fn make_room_for_request(&mut self, stores: bool, limits: &Limits) -> bool {
        let Self { watches, streams, calls, slow, tally, .. } = self;
        let find = |id: &u64| watches.get(id).or_else(|| streams.get(id)).or_else(|| calls.get(id));
        let spared = |id: u64, watch: &Watch| {
            let (since_ms, time) = watch.slow(stores, limits)?;
            Some(Spared { id, since_ms, time })
        };
        let holds = |one: &Spared| {
            let now = find(&one.id).and_then(|watch| spared(one.id, watch));
            now.is_some_and(|now| now.since_ms == one.since_ms)
        };
        let all = || watches.iter().chain(streams.iter()).chain(calls.iter());
        let look = || all().filter_map(|(id, watch)| spared(*id, watch)).collect();
        let Some(watch) = slow[usize::from(stores)].next(holds, look).and_then(|id| find(&id)) else {
            return false;
        };
        let why = watch.what_is_slow();
        watch.end(why);
        tally.count(why);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.connections.lock();
        inner.watches.remove(&self.id);
        let Some(address) = self.address else { return };
        if let Some(origin) = inner.per_address.get_mut(&address) {
            origin.connections -= 1;
            if origin.connections == 0 {
                inner.per_address.remove(&address);
            }
        }
    }
}

/// What connections are counted by: nothing for loopback, one /64 for IPv6.
fn counted(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            Some(IpAddr::V6(segments.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Connections, Doom, Full};
    use crate::limits::Limits;
    use std::sync::Arc;
    use std::time::Duration;

    fn limits() -> Limits {
        Limits { connections_max: 5, connections_per_address_max: 2, ..Limits::default() }
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let connections = Arc::new(Connections::default());
        let enter = |address: &str| connections.enter(address.parse().expect("an address"), &limits());
        let first = enter("192.0.2.1").expect("a place");
        let _second = enter("::ffff:192.0.2.1").expect("a place");
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        let _other = enter("2001:db8::1").expect("a place");
        let _same_64 = enter("2001:db8::ffff:2").expect("a place");
        assert_eq!(enter("2001:db8::3").err(), Some(Full::Address));
        drop(first);
        assert!(enter("192.0.2.1").is_ok());
    }

    #[test]
    fn loopback_is_bounded_by_the_whole_only() {
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits());
        let places: Vec<_> = (0..5).map(|_| enter().expect("a place")).collect();
        assert_eq!(enter().err(), Some(Full::All));
        drop(places);
        assert_eq!(connections.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_node_gives_up_its_most_idle_connection_and_never_a_busy_one() {
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits());
        let places: Vec<_> = (0..5).map(|_| enter().expect("a place")).collect();
        for place in &places {
            place.watch.begin_work();
        }
        for at in [3, 1] {
            places[at].watch.answered();
            places[at].watch.flushed();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _sixth = enter().expect("a place");
        assert_eq!(places[3].watch.doom(), Doom::Room);
        assert_eq!(places[1].watch.doom(), Doom::None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_nothing_for_a_moment_makes_room() {
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits());
        let mut places = Vec::new();
        for _ in 0..5 {
            places.push(enter().expect("a place"));
            tokio::time::advance(Duration::from_millis(20)).await;
        }
        assert_eq!(enter().err(), Some(Full::All), "their heads may be on their way");
        tokio::time::advance(Duration::from_millis(200)).await;
        places[0].watch.begin_work();
        let _sixth = enter().expect("a place");
        let dooms: Vec<_> = places.iter().map(|place| place.watch.doom()).collect();
        assert_eq!(dooms, [Doom::None, Doom::Room, Doom::None, Doom::None, Doom::None]);
        assert_eq!(connections.len(), 5, "its place is free at once");
        drop(places.remove(1));
        assert_eq!(connections.len(), 5);
        let tally = connections.tally();
        assert_eq!((tally.accepted, tally.refused, tally.room), (6, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_has_too_many_costs_nobody_else_a_connection() {
        let connections = Arc::new(Connections::default());
        let enter = |address: &str| connections.enter(address.parse().expect("an address"), &limits());
        let _two: Vec<_> = (0..2).map(|_| enter("192.0.2.1").expect("a place")).collect();
        let others: Vec<_> = (0..3).map(|_| enter("127.0.0.1").expect("a place")).collect();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Address));
        assert!(others.iter().all(|place| place.watch.doom() == Doom::None));
        assert_eq!(connections.tally().refused_of_address, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_of_the_slowest_client_makes_room() {
        let limits = Limits::default();
        let connections = Arc::new(Connections::default());
        let enter = || connections.enter("127.0.0.1".parse().expect("an address"), &limits).expect("a place");
        let [reading, storing, working] = std::array::from_fn(|_| enter());
        for place in [&reading, &storing, &working] {
            place.watch.begin_work();
        }
        let call = connections.begin_call(None);
        let pass = async |seconds: u64| {
            for _ in 0..seconds {
                tokio::time::advance(Duration::from_secs(1)).await;
                // A steady client is none of the slow ones.
                storing.watch.received(20_000);
                connections.judge(&limits);
            }
        };
        storing.watch.keeps_upload(true);
        storing.watch.wait_for_body(true);
        call.watch().wait_for_body(true);
        pass(2).await;
        reading.watch.sent(0);
        let make_room = |stores| connections.make_room_for_request(stores, &limits);
        assert!(!make_room(false), "nobody is slow yet");
        pass(1).await;
        assert!(!make_room(true), "the call stores nothing");
        assert!(make_room(false));
        assert_eq!((call.watch().doom(), reading.watch.doom()), (Doom::Body, Doom::None), "the slowest");
        pass(2).await;
        assert!(make_room(false));
        assert_eq!(reading.watch.doom(), Doom::Answer);
        assert!(!make_room(false) && !make_room(true));
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            connections.judge(&limits);
        }
        assert!(make_room(true));
        assert_eq!((storing.watch.doom(), working.watch.doom()), (Doom::Body, Doom::None));
        let tally = connections.tally();
        assert_eq!((tally.body, tally.answer), (2, 1));
    }
}
