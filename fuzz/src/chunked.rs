//! The chunked coding (RFC 9112 §7.1), line by line.
//!
//! The decoder has all bytes before it. If they end too early, the decoder says whether some end
//! makes them good, because a decoder that waits for more must not wait for ever.

use crate::grammar::{is_tchar, is_text, is_token, line};

/// The verdict on bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A whole body, and its length on the wire.
    Good(Vec<u8>, usize),
    /// The body so far, for which some end makes the bytes good.
    Partial(Vec<u8>),
    /// No end makes the bytes good.
    Bad,
}

/// Judges bytes that may end anywhere.
pub fn decode(bytes: &[u8]) -> Verdict {
    let mut body = Vec::new();
    match read(bytes, &mut body) {
        Ok(rest) => Verdict::Good(body, bytes.len() - rest.len()),
        Err(Fault::Ends) => Verdict::Partial(body),
        Err(Fault::Bad) => Verdict::Bad,
    }
}

/// Why there is no whole body.
enum Fault {
    /// The bytes end within the body.
    Ends,
    Bad,
}

/// Returns the bytes behind the whole body, whose data goes to `body`.
fn read<'a>(bytes: &'a [u8], body: &mut Vec<u8>) -> Result<&'a [u8], Fault> {
    let mut rest = bytes;
    loop {
        let first = next_line(&mut rest, size_of_chunk, SIZE_ENDS)?;
        let Some(size) = size_of_chunk(first) else {
            return Err(Fault::Bad);
        };
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some((data, after)) = rest.split_at_checked(size) else {
            body.extend_from_slice(rest);
            return Err(Fault::Ends);
        };
        body.extend_from_slice(data);
        rest = match after {
            [b'\r', b'\n', after @ ..] => after,
            [] | [b'\r'] => return Err(Fault::Ends),
            _ => return Err(Fault::Bad),
        };
    }
    loop {
        match next_line(&mut rest, trailer, TRAILER_ENDS)? {
            [] => return Ok(rest),
            line if trailer(line).is_none() => return Err(Fault::Bad),
            _ => {}
        }
    }
}

/// Returns the next whole line. A line without an end is judged by its possible ends: one of `ends`
/// and CRLF must make a line that `parse` takes.
fn next_line<'a, T>(
    rest: &mut &'a [u8],
    parse: impl Fn(&[u8]) -> Option<T>,
    ends: &[&[u8]],
) -> Result<&'a [u8], Fault> {
    match line(rest) {
        Ok(Some((first, after))) => {
            *rest = after;
            Ok(first)
        }
        Ok(None) => {
            let can_end = match rest.strip_suffix(b"\r") {
                Some(whole) => parse(whole).is_some(),
                None => ends
                    .iter()
                    .any(|end| parse(&[*rest, *end].concat()).is_some()),
            };
            Err(if can_end { Fault::Ends } else { Fault::Bad })
        }
        Err(_) => Err(Fault::Bad),
    }
}

/// Ends that complete every good beginning of a chunk's first line: nothing; a digit; an extension
/// behind blanks; a name or a value; the end of a quoted string, also behind a backslash.
const SIZE_ENDS: &[&[u8]] = &[b"", b"0", b";a", b"a", b"\"", b"a\""];

/// Ends that complete every good beginning of a trailer: nothing, or the end of its name.
const TRAILER_ENDS: &[&[u8]] = &[b"", b":"];

/// `chunk-size [ chunk-ext ]`
fn size_of_chunk(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (size, extensions) = line.split_at(digits.count());
    if !is_extensions(extensions) {
        return None;
    }
    // `1*HEXDIG`: no digit is an error, and so is a value that overflows.
    u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()
}

/// Reads a line behind the last chunk: a field, or the empty line that ends the body.
fn trailer(line: &[u8]) -> Option<()> {
    if line.is_empty() {
        return Some(());
    }
    let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
    (is_token(name) && value.iter().copied().all(is_text)).then_some(())
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn is_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(after) = blanks(text).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = token(blanks(after)) else {
            return false;
        };
        text = after;
        if let Some(value) = blanks(after).strip_prefix(b"=") {
            let value = blanks(value);
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

fn blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t".contains(byte));
    &text[blanks.count()..]
}

fn token(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().take_while(|byte| is_tchar(**byte)).count();
    (len > 0).then(|| &text[len..])
}

fn quoted(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', after @ ..] => Some(after),
        [b'\\', byte, after @ ..] if is_text(*byte) => quoted(after),
        [byte, after @ ..] if *byte != b'\\' && is_text(*byte) => quoted(after),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_nonsense_is_bad() {
        let whole = b"3;a=\"b\\\"\"\r\nabc\r\n02 ; c\r\nde\r\n0\r\nX: y\r\n\r\nrest";
        let good = |body: &[u8], length| Verdict::Good(body.to_vec(), length);
        assert_eq!(decode(whole), good(b"abcde", whole.len() - 4));
        let zeros = b"00000000000000005\r\nhello\r\n00000000000000000\r\n\r\n";
        assert_eq!(decode(zeros), good(b"hello", zeros.len()));
        for bad in [
            "\r",
            "3\nabc",
            "1\r\nab",
            "1\r\na\rb",
            "g",
            "0;\r",
            "0 \r",
            "0 a",
            "0;a\"",
            "0;a=b c",
            "0;a=\"b\"c",
            "0;a=\"\x01",
            "0\r\nX\r",
            "0\r\n:",
            "0\r\nX :",
            "10000000000000000",
        ] {
            assert_eq!(decode(bad.as_bytes()), Verdict::Bad, "{bad:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_good_body_is_partial() {
        for whole in [
            "3;a=\"b\\\"\"\r\nabc\r\n02 ; c\r\nde\r\n0\r\nX: y\r\nZ:\r\n\r\n",
            "1 ;\ta = b ; c\t=\t\"d\" ;e\r\nx\r\n0\r\n\r\n",
            "0;a ;b\r\n\r\n",
        ] {
            for end in 0..whole.len() {
                let verdict = decode(&whole.as_bytes()[..end]);
                assert!(
                    matches!(verdict, Verdict::Partial(_)),
                    "{:?}",
                    &whole[..end]
                );
            }
        }
        assert_eq!(
            decode(b"ffffffffffffffff\r\nab"),
            Verdict::Partial(b"ab".to_vec())
        );
    }
}
