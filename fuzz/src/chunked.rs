//! The chunked coding (RFC 9112, section 7.1), read off line by line.
//!
//! Needs the whole body before it.

use crate::grammar::{is_tchar, is_text, is_token, line};

/// The body and how many bytes it took; `None` if it is not that or does not end.
pub fn decode(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let first = next_line(&mut rest)?;
        let digits = first.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let (size, extensions) = first.split_at(digits.count());
        if !is_extensions(extensions) {
            return None;
        }
        // `1*HEXDIG`: an error if there is none or the value overflows, however many they are.
        let size = u64::from_str_radix(str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let (data, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n")?;
    }
    loop {
        let trailer = next_line(&mut rest)?;
        if trailer.is_empty() {
            return Some((body, bytes.len() - rest.len()));
        }
        let (name, value) = trailer.split_at(trailer.iter().position(|byte| *byte == b':')?);
        if !is_token(name) || !value.iter().copied().all(is_text) {
            return None;
        }
    }
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, after) = line(rest).ok()??;
    *rest = after;
    Some(first)
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
    fn chunks_are_joined_and_nonsense_is_none() {
        let whole = b"3;a=\"b\\\"\"\r\nabc\r\n02 ; c\r\nde\r\n0\r\nX: y\r\n\r\nrest";
        assert_eq!(decode(whole), Some((b"abcde".to_vec(), whole.len() - 4)));
        let zeros = b"00000000000000005\r\nhello\r\n00000000000000000\r\n\r\n";
        assert_eq!(decode(zeros), Some((b"hello".to_vec(), zeros.len())));
        for bad in [
            "",
            "0\r\n",
            "\r\n\r\n",
            "3\nabc",
            "1\r\nab\r\n",
            "g\r\n",
            "0;\r\n\r\n",
            "10000000000000000\r\n",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
