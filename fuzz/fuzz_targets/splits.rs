//! A stream of requests gives the same events however it is cut.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::internals::h1::{Codec, EMPTY_HEADER, Event, Limits, ResponseHead};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 256,
    fields: 6,
    chunk_extras: 32,
};

// The first four bytes are the lengths of pieces, over and over; the other bytes come in these
// pieces.
fuzz_target!(|input: &[u8]| {
    let Some((cuts, bytes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let mut ends = Vec::new();
    let mut at = 0;
    for cut in cuts.iter().cycle().take(bytes.len()) {
        at += usize::from(*cut);
        ends.push(at.min(bytes.len()));
    }
    ends.push(bytes.len());
    assert_eq!(log(bytes, &[bytes.len()]), log(bytes, &ends));
});

/// Returns what happens on a connection whose bytes arrive up to each of these ends.
fn log(bytes: &[u8], ends: &[usize]) -> Vec<String> {
    let mut codec = Codec::default();
    let (mut log, mut body, mut begin) = (Vec::new(), Vec::new(), 0);
    for end in ends {
        loop {
            let mut room = [const { MaybeUninit::uninit() }; 6];
            let unread = &bytes[begin..*end];
            // The copy is for the comparison with httparse that the crate makes when it is built
            // for fuzzing.
            { codec }.receive_fast(unread, &mut [EMPTY_HEADER; 6], &LIMITS);
            let (n, event) = match codec.receive(unread, &mut room, &LIMITS) {
                Ok(received) => received,
                Err(bad) => {
                    log.push(format!("{body:?} {bad:?}"));
                    return log;
                }
            };
            begin += n;
            match event {
                Event::Head(head) => log.push(format!("{head:?}")),
                Event::Body(data) => body.extend_from_slice(data),
                Event::End => log.push(format!("{:?}", std::mem::take(&mut body))),
                Event::NeedMore => {
                    assert!(n == unread.len() || !(codec.is_blank() || codec.request_open()));
                    break;
                }
                Event::Paused => {
                    answer(&mut codec);
                    if !codec.next() {
                        return log;
                    }
                }
            }
        }
    }
    log.push(format!("{body:?} {codec:?}"));
    log
}

fn answer(codec: &mut Codec) {
    let response = ResponseHead {
        status: 204,
        content_type: None,
        fields: b"",
        length: None,
        date: b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    };
    codec.begin(&mut Vec::new(), &response);
}
