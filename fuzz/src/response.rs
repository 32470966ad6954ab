//! What a client makes of the bytes that a server sends: the strictest there could be, so that
//! nothing passes that some client might read in another way.
//!
//! Knows the method of each request, and nothing else of the server.

use crate::chunked::{self, Verdict};
use crate::grammar::{is_text, is_token, line};

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<'a> {
    pub status: u16,
    pub reason: &'a str,
    /// In order, as `name: value`, without those of [`Framing`] and of the connection.
    pub fields: Vec<(&'a str, &'a [u8])>,
    pub framing: Framing,
    pub body: Vec<u8>,
    /// It says `Connection: close`.
    pub close: bool,
    /// It says `Connection: keep-alive`.
    pub keep_alive: bool,
}

/// How the head says that the body ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Framing {
    /// It does not say: there is none, or it ends with the connection.
    Unsaid,
    Length(u64),
    Chunked,
}

/// Why bytes are no response.
#[derive(Debug, PartialEq)]
pub enum Fault {
    /// They end too early.
    Short,
    /// They are wrong.
    Wrong(&'static str),
}

/// Reads the response that `bytes` begin with, and returns it with what follows it. `head` says
/// that it answers a HEAD, `closed` that the connection ended behind these bytes.
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
    // RFC 9112, section 6.3, in its order.
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

/// RFC 9112, section 4: the space before the reason is there also without one.
fn status_line(line: &[u8]) -> Option<(u16, &str)> {
    let line = str::from_utf8(line).ok()?.strip_prefix("HTTP/1.1 ")?;
    let (status, reason) = line.split_at_checked(3)?;
    let reason = reason.strip_prefix(' ')?;
    let digits = status.bytes().all(|byte| byte.is_ascii_digit());
    (digits && reason.bytes().all(is_text)).then_some((status.parse().ok()?, reason))
}

/// As we write them: a token, a colon, a space, a value without blanks around it.
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
