//! Envelopes: any bytes give one or an error; what verifies was signed, so nothing that mutation makes of one does.
#![no_main]

use jsfs_objects::record::Envelope;
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = 1_790_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(envelope) = Envelope::decode(input) else { return };
    assert_eq!(envelope.encode(), input, "an envelope has one encoding");
    let _ = envelope.record();
    let _ = envelope.verify(NOW_MS);
});
