//! The chunked coding against a naive decoder that has all bytes before it.
//!
//! There are three verdicts, and both decoders must agree at every byte. The crate must refuse at
//! the first byte behind which no end is good, neither earlier nor later, and must wait before it.
//! The data of a beginning must be the same too.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::internals::h1::{Codec, Event, Limits, RequestError};
use ebbtide_fuzz::chunked::{self, Verdict};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(decode(bytes), chunked::decode(bytes));
});

/// Returns the crate's verdict.
fn decode(bytes: &[u8]) -> Verdict {
    let limits = Limits {
        chunk_extras: u32::MAX,
        ..Limits::default()
    };
    let mut codec = Codec::default();
    let mut room = [const { MaybeUninit::uninit() }; 2];
    let head = codec.receive(HEAD, &mut room, &limits);
    assert!(matches!(head, Ok((_, Event::Head(_)))));
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let mut room = [];
        let (n, event) = match codec.receive(&bytes[at..], &mut room, &limits) {
            Ok(received) => received,
            Err(bad) => {
                assert_eq!(bad, RequestError::Chunk);
                return Verdict::Bad;
            }
        };
        at += n;
        match event {
            Event::Body(data) => body.extend_from_slice(data),
            Event::End => return Verdict::Good(body, at),
            Event::NeedMore => {
                assert_eq!(at, bytes.len(), "bytes are left");
                return Verdict::Partial(body);
            }
            other => panic!("{other:?} within a body"),
        }
    }
}
