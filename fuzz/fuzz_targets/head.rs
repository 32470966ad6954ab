//! A head never panics; whole or byte by byte it is the same; httparse agrees with what was made
//! of it; and parsing it again gives it again.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::h1::{Bad, Codec, Event, Head, Limits};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 512,
    fields: 8,
    chunk_extras: 0,
};

fuzz_target!(|bytes: &[u8]| {
    // Whole, httparse is first at it; byte by byte, the scan is.
    let whole = receive(bytes, bytes.len());
    assert_eq!(whole, receive(bytes, 1));

    if let Ok((end, Some(text))) = whole {
        let bytes = &bytes[..end];
        let mut room = [const { MaybeUninit::uninit() }; 8];
        let head = Head::parse(bytes, &mut room).expect("it was good before");
        assert_eq!(format!("{head:?}"), text);
        let _ = (head.path(), head.query(), head.authority());

        let mut room = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut room);
        let len = request.parse(bytes).expect("httparse takes it");
        assert_eq!(len, httparse::Status::Complete(bytes.len()));
        assert_eq!(request.headers, head.fields);
        // httparse skips empty lines and takes other line ends; we have none but CRLF.
        let lf = (0..bytes.len()).filter(|at| bytes[*at] == b'\n');
        assert!(lf.into_iter().all(|at| bytes[at - 1] == b'\r'));
    }
});

/// What comes out of bytes that come so many at a time: how many were consumed, and the head.
fn receive(bytes: &[u8], step: usize) -> Result<(usize, Option<String>), Bad> {
    let mut codec = Codec::default();
    let (mut begin, mut end) = (0, 0);
    while end < bytes.len() {
        end += step;
        let mut room = [const { MaybeUninit::uninit() }; 8];
        let (n, event) = codec.receive(&bytes[begin..end], &mut room, &LIMITS)?;
        begin += n;
        if let Event::Head(head) = event {
            return Ok((begin, Some(format!("{head:?}"))));
        }
    }
    Ok((begin, None))
}
