//! The head of a request, read by the rules of RFC 9112 one after the other.
//!
//! Where a rule leaves a choice, the reader chooses as the crate does: see README.md. The reader
//! has no limits, and judges whole heads only.

use crate::grammar::{is_authority, is_text, is_token, line, trim};

/// A good head.
#[derive(Debug, PartialEq)]
pub struct Head<'a> {
    /// The bytes of the head alone.
    pub len: usize,
    /// The bytes of the empty lines before the head.
    pub skipped: usize,
    pub method: &'a [u8],
    pub target: &'a [u8],
    pub minor: u8,
    pub fields: Vec<(&'a [u8], &'a [u8])>,
    pub body: Body,
    pub keep_alive: bool,
    pub expects_continue: bool,
}

/// How a body ends.
#[derive(Debug, PartialEq)]
pub enum Body {
    None,
    Length(u64),
    Chunked,
}

/// What bytes begin with.
#[derive(Debug, PartialEq)]
pub enum Verdict<'a> {
    Good(Head<'a>),
    /// A head that is wrong, or bytes that no end makes a head.
    Bad,
    /// The beginning of a head.
    Partial,
}

/// Reads a head.
pub fn read(bytes: &[u8]) -> Verdict<'_> {
    let mut lines = Vec::new();
    let (mut rest, mut skipped) = (bytes, 0);
    loop {
        match line(rest) {
            Err(_) => return Verdict::Bad,
            Ok(None) => return Verdict::Partial,
            Ok(Some(([], after))) if lines.is_empty() => {
                // RFC 9112 §2.2: at least one is ignored; the crate stops at two.
                skipped += 2;
                if skipped > 4 {
                    return Verdict::Bad;
                }
                rest = after;
            }
            Ok(Some(([], after))) => {
                let len = bytes.len() - after.len() - skipped;
                return match good(&lines) {
                    Some(head) => Verdict::Good(Head {
                        len,
                        skipped,
                        ..head
                    }),
                    None => Verdict::Bad,
                };
            }
            Ok(Some((text, after))) => {
                lines.push(text);
                rest = after;
            }
        }
    }
}

fn good<'a>(lines: &[&'a [u8]]) -> Option<Head<'a>> {
    let (first, others) = lines.split_first()?;
    // RFC 9112 §3: method SP request-target SP HTTP-version.
    let mut words = first.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let minor = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    if words.next().is_some() || !is_token(method) || !is_target(method, target) {
        return None;
    }
    let fields = others.iter().map(|line| field(line));
    let fields: Vec<_> = fields.collect::<Option<_>>()?;
    let named = |name: &str| -> Vec<&[u8]> {
        let of = |(n, _): &&(&[u8], _)| n.eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(of).map(|(_, value)| *value).collect()
    };
    // RFC 9112 §3.2: exactly one Host in HTTP/1.1, never two, and a good one.
    match named("host")[..] {
        [] if minor == 0 => {}
        [host] if is_authority(host) => {}
        _ => return None,
    }
    let list = |name: &str| -> Vec<Vec<u8>> {
        let values = named(name).into_iter();
        let elements = values.flat_map(|value| value.split(|byte| *byte == b','));
        let elements = elements.map(|element| trim(element).to_ascii_lowercase());
        // RFC 9110 §5.6.1.2.
        elements.filter(|element| !element.is_empty()).collect()
    };
    // RFC 9110 §10.1.1. No quoted string looks like this element, cut at its commas or not.
    let expects = list("expect");
    if minor == 1 && !expects.iter().all(|element| element == b"100-continue") {
        return None;
    }
    let body = body(minor, &named("content-length"), &named("transfer-encoding"))?;
    let options = list("connection");
    let says = |option: &[u8]| options.iter().any(|said| said == option);
    Some(Head {
        len: 0,
        skipped: 0,
        method,
        target,
        minor,
        // RFC 9112 §9.3, in its order.
        keep_alive: !says(b"close") && (minor == 1 || says(b"keep-alive")),
        expects_continue: minor == 1 && !expects.is_empty() && body != Body::None,
        body,
        fields,
    })
}

/// RFC 9112 §5: field-name ":" OWS field-value OWS, on one line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let good = is_token(name) && value.iter().copied().all(is_text);
    good.then(|| (name, trim(value)))
}

/// RFC 9112 §6.3, where every doubt is an error.
fn body(minor: u8, lengths: &[&[u8]], codings: &[&[u8]]) -> Option<Body> {
    match (lengths, codings) {
        ([], []) => Some(Body::None),
        ([digits], []) if digits.iter().all(u8::is_ascii_digit) => {
            match str::from_utf8(digits).ok()?.parse().ok()? {
                0 => Some(Body::None),
                length => Some(Body::Length(length)),
            }
        }
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(Body::Chunked)
        }
        _ => None,
    }
}

/// RFC 9112 §3.2: visible ASCII without a fragment. The router decides which of it belongs into a
/// path.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    if method == b"CONNECT" || !target.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return false;
    }
    let absolute = |target: &[u8]| {
        let lower = target.to_ascii_lowercase();
        let skip = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| lower.starts_with(scheme))?
            .len();
        let end = target[skip..].iter().position(|byte| b"/?".contains(byte));
        let end = end.map_or(target.len(), |end| skip + end);
        Some(is_authority(&target[skip..end]))
    };
    let form = match target {
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ => absolute(target) == Some(true),
    };
    form && !target.contains(&b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_head_is_read() {
        let bytes = b"\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length:  5 \r\n\r\nhello";
        let Verdict::Good(head) = read(bytes) else {
            panic!("it is good");
        };
        assert_eq!((head.skipped, head.len), (2, bytes.len() - 7));
        assert_eq!((head.method, head.target), (&b"POST"[..], &b"/a?b"[..]));
        assert_eq!(head.fields[1], (&b"Content-Length"[..], &b"5"[..]));
        assert_eq!((head.body, head.keep_alive), (Body::Length(5), true));
    }

    #[test]
    fn an_expectation_is_a_list_without_its_empty_elements() {
        let expects = |value: &str| {
            let head =
                format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect:{value}\r\n\r\n");
            match read(head.as_bytes()) {
                Verdict::Good(head) => Some(head.expects_continue),
                _ => None,
            }
        };
        for good in [
            "100-continue",
            "100-Continue, 100-continue",
            ",100-continue,",
        ] {
            assert_eq!(expects(good), Some(true), "{good}");
        }
        for empty in ["", ","] {
            assert_eq!(expects(empty), Some(false), "{empty}");
        }
        for bad in [
            "x",
            "100-continue, x",
            "x=\",100-continue\"",
            "100-continue;",
        ] {
            assert_eq!(expects(bad), None, "{bad}");
        }
    }

    #[test]
    fn halves_are_not_judged_and_smugglers_are() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\n"), Verdict::Partial);
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        ] {
            assert_eq!(read(bad.as_bytes()), Verdict::Bad, "{bad:?}");
        }
    }
}
