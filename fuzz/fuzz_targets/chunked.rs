//! The chunked coding against a naive decoder that has the whole body before it.

#![no_main]

use std::mem::MaybeUninit;

use ebbtide::h1::{Bad, Codec, Event, Limits};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let ours = decode(bytes);
    match (naive(bytes), ours) {
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

/// RFC 9112, section 7.1, read off line by line; `None` if it is not that or does not end.
fn naive(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let line = line(&mut rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (size, extensions) = line.split_at(digits.count());
        if size.len() > 16 || !is_extensions(extensions) {
            return None;
        }
        let size = u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let (data, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n")?;
    }
    loop {
        let line = line(&mut rest)?;
        if line.is_empty() {
            return Some((body, bytes.len() - rest.len()));
        }
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        if name.is_empty() || !name.iter().all(is_tchar) || !value.iter().all(is_text) {
            return None;
        }
    }
}

/// The next line, which ends in CRLF and has no other CR or LF.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (line, after) = rest.split_at(rest.iter().position(|byte| b"\r\n".contains(byte))?);
    *rest = after.strip_prefix(b"\r\n")?;
    Some(line)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn is_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(after) = trim(text).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = token(trim(after)) else {
            return false;
        };
        text = after;
        if let Some(value) = trim(after).strip_prefix(b"=") {
            let value = trim(value);
            let Some(after) = value
                .strip_prefix(b"\"")
                .map_or_else(|| token(value), quoted)
            else {
                return false;
            };
            text = after;
        }
    }
    true
}

fn trim(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t".contains(byte));
    &text[blanks.count()..]
}

fn token(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().take_while(|byte| is_tchar(byte)).count();
    (len > 0).then(|| &text[len..])
}

fn quoted(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', after @ ..] => Some(after),
        [b'\\', byte, after @ ..] if is_text(byte) => quoted(after),
        [byte, after @ ..] if *byte != b'\\' && is_text(byte) => quoted(after),
        _ => None,
    }
}

fn is_tchar(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}
