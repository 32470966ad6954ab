//! The chunked coding against a naive decoder that has the whole body before it.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::h1::{Bad, Codec, Event, Limits};
use ebbtide_fuzz::chunked;
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let ours = decode(bytes);
    match (chunked::decode(bytes), ours) {
        (Some((body, len)), ours) => assert_eq!(ours, Ok(Some((body, len)))),
        (None, Err(bad)) => assert_eq!(bad, Bad::Chunk),
        (None, Ok(ended)) => assert_eq!(ended, None, "the naive decoder refused it"),
    }
});

/// The body and how many bytes it took, if it ended.
fn decode(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Bad> {
    let limits = Limits {
        chunk_extras: u32::MAX,
        ..Limits::default()
    };
    let mut codec = Codec::default();
    let mut room = [const { MaybeUninit::uninit() }; 2];
    codec.receive(HEAD, &mut room, &limits)?;
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let mut room = [];
        let (n, event) = codec.receive(&bytes[at..], &mut room, &limits)?;
        at += n;
        match event {
            Event::Body(data) => body.extend_from_slice(data),
            Event::End => return Ok(Some((body, at))),
            _ => return Ok(None),
        }
    }
}
