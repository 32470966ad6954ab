//! The chunked coding against a naive decoder that has all the bytes before it.
//!
//! There are three verdicts, and both must come to the same one, at every byte: the one that reads
//! on must refuse at the first byte behind which no end is good, neither earlier nor later, and must
//! wait before it. Of a beginning the data must be the same as well.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::internals::h1::{RequestError, Codec, Event, Limits};
use ebbtide_fuzz::chunked::{self, Verdict};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(decode(bytes), chunked::decode(bytes));
});

/// What the crate makes of bytes.
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
