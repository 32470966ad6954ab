//! Reads responses as they come: their status, whether they announce a close, and where they end.
//!
//! The reader is as lenient as a client may be, because the probe does not test the coding. The
//! reader does not keep bodies.

use std::time::Instant;

use httparse::EMPTY_HEADER;

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The connection ends with this response: `Connection: close`, or HTTP/1.0 without keep-alive.
    pub(super) close: bool,
    /// The time of the first byte.
    pub(super) begun: Instant,
    /// The time of the last byte.
    pub(super) ended: Instant,
}

/// Turns bytes into responses.
#[derive(Debug)]
pub(super) struct Responses {
    /// A head that is not complete.
    head: Vec<u8>,
    current: Option<Current>,
    /// The time of the first byte of the incomplete response.
    begun: Option<Instant>,
}

/// The response whose body arrives.
#[derive(Debug)]
struct Current {
    status: u16,
    close: bool,
    body: Body,
}

/// The rest of a body.
#[derive(Clone, Copy, Debug)]
enum Body {
    Sized(u64),
    Chunked(Chunk),
    UntilFin,
}

/// The place in a chunked body.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size(u64),
    Extension(u64),
    Data(u64),
    DataEnd,
    /// A line of the trailer; an empty one ends it.
    Trailer {
        empty: bool,
    },
}

/// The bytes are no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHttp;

impl Responses {
    pub(super) const fn new() -> Self {
        Self {
            head: Vec::new(),
            current: None,
            begun: None,
        }
    }

    /// Takes bytes that have arrived and calls `found` for each response that they complete.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        mut found: impl FnMut(Response),
    ) -> Result<(), NotHttp> {
        while !bytes.is_empty() {
            let begun = *self.begun.get_or_insert(now);
            let done = match &mut self.current {
                None => {
                    let before = self.head.len();
                    self.head.extend_from_slice(bytes);
                    let Some((length, current)) = head(&self.head)? else {
                        return Ok(());
                    };
                    bytes = &bytes[length - before..];
                    self.head.clear();
                    if (100..200).contains(&current.status) {
                        self.begun = None;
                        continue;
                    }
                    let done = matches!(current.body, Body::Sized(0));
                    self.current = Some(current);
                    done
                }
                Some(current) => current.body.take(&mut bytes)?,
            };
            if done {
                found(self.complete(begun, now));
            }
        }
        Ok(())
    }

    /// Takes the peer's FIN, which ends a body without a length.
    pub(super) fn fin(&mut self, now: Instant) -> Option<Response> {
        match (&self.current, self.begun) {
            (Some(current), Some(begun)) if matches!(current.body, Body::UntilFin) => {
                Some(self.complete(begun, now))
            }
            _ => None,
        }
    }

    /// Returns whether a part of a response is here.
    pub(super) const fn partial(&self) -> bool {
        self.begun.is_some()
    }

    /// Returns whether a head is complete and its body is not.
    pub(super) const fn in_body(&self) -> bool {
        self.current.is_some()
    }

    fn complete(&mut self, begun: Instant, ended: Instant) -> Response {
        self.begun = None;
        let current = self.current.take();
        let (status, close) = current.map_or((0, true), |current| (current.status, current.close));
        Response {
            status,
            close,
            begun,
            ended,
        }
    }
}

/// Returns the head's length and what it says, once it is complete.
fn head(bytes: &[u8]) -> Result<Option<(usize, Current)>, NotHttp> {
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|_| NotHttp)?;
    let httparse::Status::Complete(length) = parsed else {
        return match bytes.len() > LONGEST_HEAD {
            true => Err(NotHttp),
            false => Ok(None),
        };
    };
    let status = response.code.ok_or(NotHttp)?;
    let values = |name: &str| {
        let name = name.to_owned();
        let named = response.headers.iter();
        let named = named.filter(move |field| field.name.eq_ignore_ascii_case(&name));
        named.filter_map(|field| str::from_utf8(field.value).ok())
    };
    let says = |name, word: &str| {
        let mut words = values(name).flat_map(|value| value.split(','));
        words.any(|found| found.trim().eq_ignore_ascii_case(word))
    };
    let body = if matches!(status, 100..200 | 204 | 304) {
        Body::Sized(0)
    } else if says("transfer-encoding", "chunked") {
        Body::Chunked(Chunk::Size(0))
    } else {
        match values("content-length").next() {
            Some(length) => Body::Sized(length.trim().parse().map_err(|_| NotHttp)?),
            None => Body::UntilFin,
        }
    };
    let close = match response.version {
        Some(0) => !says("connection", "keep-alive"),
        _ => says("connection", "close"),
    };
    let current = Current {
        status,
        close: close || matches!(body, Body::UntilFin),
        body,
    };
    Ok(Some((length, current)))
}

impl Body {
    /// Takes bytes off the front. Returns whether the body is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<bool, NotHttp> {
        match self {
            Self::UntilFin => {
                *bytes = &[];
                Ok(false)
            }
            Self::Sized(left) => {
                skip(left, bytes);
                Ok(*left == 0)
            }
            Self::Chunked(chunk) => chunk.take(bytes),
        }
    }
}

impl Chunk {
    /// Takes bytes off the front. Returns whether the body is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<bool, NotHttp> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Self::Data(left) = self {
                skip(left, bytes);
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            *bytes = rest;
            match self.frame(byte)? {
                Some(next) => *self = next,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Returns what comes after this byte of framing; `None` after the body's last.
    fn frame(self, byte: u8) -> Result<Option<Self>, NotHttp> {
        Ok(Some(match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { empty: true },
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Size(size), b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Size(size), digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit)
                    .to_digit(16)
                    .map(u64::from)
                    .ok_or(NotHttp)?;
                Self::Size(size.checked_mul(16).ok_or(NotHttp)? + digit)
            }
            (Self::DataEnd, b'\n') => Self::Size(0),
            (Self::Trailer { empty: true }, b'\n') => return Ok(None),
            (Self::Trailer { .. }, b'\n') => Self::Trailer { empty: true },
            (state, b'\r') => state,
            (Self::Trailer { .. }, _) => Self::Trailer { empty: false },
            (state @ Self::Extension(_), _) => state,
            _ => return Err(NotHttp),
        }))
    }
}

fn skip(left: &mut u64, bytes: &mut &[u8]) {
    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= n as u64;
    *bytes = &bytes[n..];
}

/// The longest head that the probe reads, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

const MOST_FIELDS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts status and close of each response, cut at every offset and byte by byte.
    #[track_caller]
    fn assert_read(bytes: &[u8], expected: &[(u16, bool)], partial: bool) {
        let now = Instant::now();
        let check = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut responses = Responses::new();
            let mut found = Vec::new();
            for piece in pieces {
                let add = |response: Response| found.push((response.status, response.close));
                responses.feed(piece, now, add).unwrap();
            }
            assert_eq!((&found[..], responses.partial()), (expected, partial));
        };
        for cut in 0..=bytes.len() {
            check(&mut [&bytes[..cut], &bytes[cut..]].into_iter());
        }
        check(&mut bytes.chunks(1));
    }

    #[test]
    fn a_length_ends_an_answer() {
        let two = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab\
                    HTTP/1.1 404 No\r\nconnection: x, Close\r\ncontent-length:0\r\n\r\n";
        assert_read(two, &[(200, false), (404, true)], false);
        assert_read(&two[..two.len() - 1], &[(200, false)], true);
    }

    #[test]
    fn a_last_chunk_ends_an_answer() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                        1A;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n1\r\n\n\r\n0\r\nT: v\r\n\r\n";
        assert_read(chunked, &[(200, false)], false);
        assert_read(&chunked[..chunked.len() - 2], &[], true);
    }

    #[test]
    fn an_interim_answer_is_none() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        assert_read(bytes, &[(204, false)], false);
    }

    #[test]
    fn a_fin_ends_what_has_no_length() {
        let now = Instant::now();
        let mut responses = Responses::new();
        let bytes = b"HTTP/1.0 200 OK\r\n\r\nabc";
        responses.feed(bytes, now, |_| panic!("too early")).unwrap();
        assert!(responses.in_body());
        assert!(responses.fin(now).is_some_and(|response| response.close));
        assert_eq!(responses.fin(now), None);
    }

    #[test]
    fn old_connections_close_unless_they_say_otherwise() {
        let bytes = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_read(bytes, &[(200, true)], false);
        let bytes = b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n";
        assert_read(bytes, &[(200, false)], false);
    }

    #[test]
    fn what_is_not_http_is_said_to_be_none() {
        let bad: [&[u8]; 3] = [
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
        ];
        for bytes in bad {
            let read = Responses::new().feed(bytes, Instant::now(), |_| panic!("a response"));
            assert_eq!(read, Err(NotHttp), "{}", bytes.escape_ascii());
        }
    }
}
