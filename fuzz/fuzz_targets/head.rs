//! A head never panics, and is the same whole or byte by byte. A second parser, written from the
//! grammar of the RFC, takes the same heads and reads the same from them; so does httparse.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::internals::h1::{Codec, EMPTY_HEADER, Event, Framing, Head, Limits, RequestError};
use ebbtide_fuzz::request::{self, Body, Verdict};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head: 512,
    fields: 8,
    chunk_extras: 0,
};

fuzz_target!(|bytes: &[u8]| {
    // The crate compares with httparse when it is built for fuzzing.
    Codec::default().receive_fast(bytes, &mut [EMPTY_HEADER; 8], &LIMITS);

    // httparse reads a whole head first; the scan reads single bytes first.
    let whole = receive(bytes, bytes.len());
    assert_eq!(whole, receive(bytes, 1));

    match (request::read(bytes), &whole) {
        (Verdict::Good(theirs), Ok((end, Some(text)))) => {
            let bytes = &bytes[..*end];
            assert_eq!(theirs.skipped + theirs.len, *end, "another end");
            let mut room = [const { MaybeUninit::uninit() }; 8];
            let head = Head::parse(bytes, &mut room).expect("it was good before");
            assert_eq!(format!("{head:?}"), *text);
            same(&head, &theirs);
            httparse_agrees(bytes, &head);
        }
        // A head that is only too large is good.
        (Verdict::Good(theirs), Err(RequestError::TargetTooLong | RequestError::HeadTooLarge)) => {
            assert!(theirs.len > LIMITS.head as usize);
        }
        (Verdict::Good(theirs), Err(RequestError::TooManyFields)) => {
            assert!(theirs.fields.len() > usize::from(LIMITS.fields));
        }
        (Verdict::Good(theirs), ours) => panic!("{ours:?} of {theirs:?}"),
        (theirs, Ok((_, Some(text)))) => panic!("{text} is {theirs:?}"),
        // A whole head is judged. No end may make a refused beginning good.
        (Verdict::Bad, Ok((at, None))) => {
            let ends = bytes[*at..].windows(4).any(|four| four == b"\r\n\r\n");
            assert!(!ends, "it waits for the end of what has ended");
        }
        (Verdict::Partial, Err(bad)) if !is_limit(*bad) => {
            for rest in ["\r\n\r\n", "\n\r\n", " / HTTP/1.1\r\nHost: a\r\n\r\n"] {
                let whole = [bytes, rest.as_bytes()].concat();
                let then = request::read(&whole);
                assert!(!matches!(then, Verdict::Good(_)), "{bad:?} too early");
            }
        }
        (Verdict::Bad, Err(_)) | (Verdict::Partial, _) => {}
    }
});

fn is_limit(bad: RequestError) -> bool {
    matches!(
        bad,
        RequestError::TargetTooLong | RequestError::HeadTooLarge | RequestError::TooManyFields
    )
}

/// Asserts that both read the same.
fn same(head: &Head<'_, '_>, theirs: &request::Head<'_>) {
    assert_eq!(head.method.as_bytes(), theirs.method);
    assert_eq!(head.target.as_bytes(), theirs.target);
    assert_eq!(head.minor, theirs.minor);
    let fields: Vec<_> = head
        .fields
        .iter()
        .map(|field| (field.name.as_bytes(), field.value))
        .collect();
    assert_eq!(fields, theirs.fields);
    let body = match head.framing {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        Framing::Chunked => Body::Chunked,
    };
    assert_eq!(body, theirs.body);
    assert_eq!(head.keep_alive, theirs.keep_alive);
    assert_eq!(head.expects_continue, theirs.expects_continue);
    // The parts of a target make it up.
    let path = head.path();
    assert!(path == "/" || head.target.contains(path));
    if let Some(query) = head.query() {
        assert!(head.target.ends_with(&format!("?{query}")));
    }
    assert!(head.authority().is_some() || head.minor == 0);
}

fn httparse_agrees(bytes: &[u8], head: &Head<'_, '_>) {
    let mut room = [httparse::EMPTY_HEADER; 8];
    let mut request = httparse::Request::new(&mut room);
    let len = request.parse(bytes).expect("httparse takes it");
    assert_eq!(len, httparse::Status::Complete(bytes.len()));
    assert_eq!(request.headers, head.fields);
}

/// Feeds bytes in pieces of this size. Returns how many were consumed, and the head.
fn receive(bytes: &[u8], step: usize) -> Result<(usize, Option<String>), RequestError> {
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
