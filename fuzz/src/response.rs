//! Reads the bytes of a server as the strictest client would, so that nothing passes which some
//! client might read otherwise.
//!
//! The reader knows the method of each request, and nothing else of the server.

use crate::chunked::{self, Verdict};
use crate::grammar::{is_text, is_token, line};

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<'a> {
    pub status: u16,
    pub reason: &'a str,
    /// In order, without the fields of [`Framing`] and of the connection.
    pub fields: Vec<(&'a str, &'a [u8])>,
    pub framing: Framing,
    pub body: Vec<u8>,
    /// Whether the response says `Connection: close`.
    pub close: bool,
    /// Whether the response says `Connection: keep-alive`.
    pub keep_alive: bool,
}

/// What the head says about the end of the body.
#[derive(Clone, Debug, PartialEq)]
pub enum Framing {
    /// Nothing: there is no body, or it ends with the connection.
    Unsaid,
    Length(u64),
    Chunked,
}

/// Why bytes are no response.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// The bytes end too early.
    Short,
    /// The bytes are wrong.
    Wrong(&'static str),
}

/// Reads the response that `bytes` begin with, and returns it with the bytes behind it. `head`
/// marks the response to a HEAD, `closed` the end of the connection behind these bytes.
pub fn read(bytes: &[u8], head: bool, closed: bool) -> Result<(Response<'_>, &[u8]), Fault> {
    let (first, mut rest) = text_line(bytes)?;
    let (status, reason) = status_line(first).ok_or(Fault::Wrong("status line"))?;
    let mut response = Response {
        status,
        reason,
        fields: Vec::new(),
        framing: Framing::Unsaid,
        body: Vec::new(),
        close: false,
        keep_alive: false,
    };
    let mut connections = 0;
    loop {
        let (text, after) = text_line(rest)?;
        rest = after;
        if text.is_empty() {
            break;
        }
        let (name, value) = field(text).ok_or(Fault::Wrong("a field"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" | "transfer-encoding" if response.framing != Framing::Unsaid => {
                return Err(Fault::Wrong("framed twice"));
            }
            "content-length" => {
                let length = str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
                response.framing = Framing::Length(length.ok_or(Fault::Wrong("a length"))?);
            }
            "transfer-encoding" if value == b"chunked" => response.framing = Framing::Chunked,
            "transfer-encoding" => return Err(Fault::Wrong("a coding")),
            "connection" => {
                connections += 1;
                match value {
                    b"close" => response.close = true,
                    b"keep-alive" => response.keep_alive = true,
                    _ => return Err(Fault::Wrong("a connection option")),
                }
            }
            _ => response.fields.push((name, value)),
        }
    }
    if connections > 1 {
        return Err(Fault::Wrong("Connection twice"));
    }
    // RFC 9112 §6.3, in its order.
    if head || status < 200 || matches!(status, 204 | 304) {
        return Ok((response, rest));
    }
    let rest = match response.framing {
        Framing::Chunked => {
            let Verdict::Good(body, len) = chunked::decode(rest) else {
                return Err(Fault::Short);
            };
            response.body = body;
            &rest[len..]
        }
        Framing::Length(length) => {
            let length = usize::try_from(length).map_err(|_| Fault::Short)?;
            let (body, after) = rest.split_at_checked(length).ok_or(Fault::Short)?;
            response.body = body.to_vec();
            after
        }
        Framing::Unsaid if closed => {
            response.body = rest.to_vec();
            &[]
        }
        Framing::Unsaid => return Err(Fault::Short),
    };
    Ok((response, rest))
}

fn text_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    match line(bytes) {
        Ok(Some(line)) => Ok(line),
        Ok(None) => Err(Fault::Short),
        Err(_) => Err(Fault::Wrong("a line end")),
    }
}

/// RFC 9112 §4: the space before the reason is there also without a reason.
fn status_line(line: &[u8]) -> Option<(u16, &str)> {
    let line = str::from_utf8(line).ok()?.strip_prefix("HTTP/1.1 ")?;
    let (status, reason) = line.split_at_checked(3)?;
    let reason = reason.strip_prefix(' ')?;
    let digits = status.bytes().all(|byte| byte.is_ascii_digit());
    (digits && reason.bytes().all(is_text)).then_some((status.parse().ok()?, reason))
}

/// Reads a field as this crate writes it: a token, a colon, a space, a value without blanks around
/// it.
fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].strip_prefix(b" ")?;
    let bare = !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    let good = is_token(&line[..colon]) && bare && value.iter().copied().all(is_text);
    good.then_some((str::from_utf8(&line[..colon]).ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_ends_where_it_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 \r\n\r\n";
        let (first, rest) = read(bytes, false, false).expect("it is good");
        assert_eq!((first.status, first.body.as_slice()), (200, &b"ok"[..]));
        let (second, rest) = read(rest, false, false).expect("it is good");
        assert_eq!((second.status, second.reason, rest), (204, "", &b""[..]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_wrong() {
        for bad in [
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA:b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: close\r\n\r\n",
        ] {
            let read = read(bad.as_bytes(), false, true);
            assert!(matches!(read, Err(Fault::Wrong(_))), "{bad:?}: {read:?}");
        }
    }
}
