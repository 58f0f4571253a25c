//! Binary messages of a socket: any bytes are a piece of a body or an error, and what is one is written as it was read.
#![no_main]

use bytes::Bytes;
use jsfs_http::live::frame::{Frame, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok((number, frame)) = Frame::decode(Bytes::copy_from_slice(input)) else { return };
    assert!(input.len() <= MESSAGE_BYTES_MAX);
    if let Frame::Data(bytes) | Frame::End(bytes) | Frame::Error(bytes) = &frame {
        assert!(bytes.len() <= PAYLOAD_BYTES_MAX);
    }
    assert_eq!(frame.encode(number), input, "one form for one frame");
});
