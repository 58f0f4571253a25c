//! Messages of the metastore: any bytes give one or an error, each has one encoding, and a member answers whatever it is asked.
#![no_main]

use jsfs_federation::membership::PeerId;
use jsfs_federation::metastore::{Limits, Member, Members, MemoryShelf, Quorum, Request, Response, Server};
use jsfs_objects::cbor::Cbor;
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_790_000_000_000;

fuzz_target!(|input: &[u8]| {
    if let Ok(answer) = Response::from_bytes(input) {
        assert_eq!(answer.to_bytes(), input, "an answer has one encoding");
    }
    let Ok(request) = Request::from_bytes(input) else { return };
    assert_eq!(request.to_bytes(), input, "a request has one encoding");
    let me = PeerId::from_bytes([1; 32]);
    let members = Members::new([Member { peer: me, keeps: true, reachable: true }], [], []);
    let mut server =
        Server::new(me, MemoryShelf::default(), Quorum::DEFAULT, Limits::default()).expect("a shelf");
    let answer = server.handle(&me, &request, &members, NOW_MS).expect("memory does not fail").to_bytes();
    assert!(Response::from_bytes(&answer).is_ok(), "an answer can be read");
});
