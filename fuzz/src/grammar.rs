//! The characters and words of RFC 9110 and RFC 3986, spelled as in their rules.

use std::net::Ipv6Addr;

/// Matches `tchar` (RFC 9110 §5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Matches `1*tchar`.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_tchar)
}

/// Matches what a field value may hold: `field-vchar`, a space or a tab (RFC 9110 §5.5).
pub fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Returns the text without the blanks around it.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// A line, and the bytes behind its CRLF.
pub type Split<'t> = (&'t [u8], &'t [u8]);

/// A CR or an LF that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrayLineEnd;

/// Returns the line that `text` begins with; `None` if the line has no end.
pub fn line(text: &[u8]) -> Result<Option<Split<'_>>, StrayLineEnd> {
    let Some(at) = text.iter().position(|byte| b"\r\n".contains(byte)) else {
        return Ok(None);
    };
    match &text[at..] {
        [b'\r', b'\n', rest @ ..] => Ok(Some((&text[..at], rest))),
        [b'\r'] => Ok(None),
        _ => Err(StrayLineEnd),
    }
}

/// Matches `uri-host [ ":" port ]` (RFC 9110 §7.2) with a host that is not empty.
pub fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        return is_ip_literal(&rest[..end]) && is_port(&rest[end + 1..]);
    }
    let end = text.iter().position(|byte| *byte == b':');
    let (host, port) = text.split_at(end.unwrap_or(text.len()));
    !host.is_empty() && is_reg_name(host) && is_port(port)
}

fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Matches `IPv6address / IPvFuture` (RFC 3986 §3.2.2).
fn is_ip_literal(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else {
        return false;
    };
    match text.strip_prefix(['v', 'V']) {
        None => text.parse::<Ipv6Addr>().is_ok(),
        Some(future) => future.split_once('.').is_some_and(|(version, address)| {
            let good = |byte: u8| is_unreserved(byte) || is_sub_delim(byte) || byte == b':';
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(good)
        }),
    }
}

/// Matches `*( unreserved / pct-encoded / sub-delims )`.
fn is_reg_name(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
            is_reg_name(rest)
        }
        [byte, rest @ ..] => (is_unreserved(*byte) || is_sub_delim(*byte)) && is_reg_name(rest),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn is_sub_delim(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_hosts_with_ports() {
        for good in ["a", "a:", "a:80", "[::1]", "[::1]:8", "[v1.a:b]", "%41.b"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a:x", "[::1", "[::g]", "u@h", "a%4", "[v.a]", "a/b",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_line_ends_in_both() {
        assert_eq!(line(b"a\r\nb"), Ok(Some((&b"a"[..], &b"b"[..]))));
        assert_eq!(line(b"a\r"), Ok(None));
        assert_eq!(line(b"a"), Ok(None));
        assert_eq!(line(b"a\nb"), Err(StrayLineEnd));
        assert_eq!(line(b"a\rb"), Err(StrayLineEnd));
    }
}
