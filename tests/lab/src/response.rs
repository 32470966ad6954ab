//! A strict reader of responses: RFC 9112 as a client that forgives nothing.
//!
//! The reader turns bytes into responses, without sockets and without waiting. Lines end in CRLF
//! only, and chunks are exact. Content-Length never stands beside Transfer-Encoding, and 1xx and
//! 204 have neither. HEAD, 1xx, 204 and 304 have no body.

use std::fmt;
use std::io::{self, Read};
use std::time::Instant;

/// The longest head. Without this limit, a missing empty line would show as a timeout.
const HEAD_MAX: usize = 64 * 1024;

/// Everything that came on one connection.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The whole responses in order, including interim ones.
    pub responses: Vec<Response>,
    /// The part of the next response that has arrived.
    pub partial: Option<Partial>,
    /// The rule that was broken; the reader stops there.
    pub broken: Option<Broken>,
    /// The methods of the requests; GET after the last one.
    methods: Vec<String>,
    /// The length of the bytes in `responses`.
    taken: usize,
}

/// One whole response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Whether the version was HTTP/1.1, not HTTP/1.0.
    pub version_1_1: bool,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// When the last byte was read.
    pub done: Instant,
}

/// A field line: the name as it came, and the value without the space around it.
pub type Field = (String, Vec<u8>);

/// What ended a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: HEAD, 1xx, 204 and 304 have no body.
    None,
    Length,
    Chunked,
    UntilClose,
}

/// The beginning of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The status, once the status line is complete.
    pub status: Option<u16>,
}

/// Why bytes are no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whether the bytes do not even begin like HTTP/1.
    pub not_http: bool,
    pub why: String,
}

/// How the server ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its FIN.
    Fin,
    /// With a reset, or with another error of the socket.
    Reset,
}

impl Conversation {
    /// Sets the methods of the requests to come, in order.
    pub fn expect_methods(&mut self, methods: &[String]) {
        self.methods = methods.to_vec();
    }

    /// Reads on, from all bytes of the connection since its beginning. Returns how many of them are
    /// whole responses.
    pub fn advance(&mut self, bytes: &[u8], end: Option<End>, now: Instant) -> usize {
        self.partial = None;
        while self.broken.is_none() && self.partial.is_none() && !self.switched() {
            let rest = &bytes[self.taken..];
            if rest.is_empty() {
                break;
            }
            let method = self.methods.get(self.finals().count());
            match read(rest, method.map_or("GET", String::as_str), end, now) {
                Ok(Progress::Whole(response, length)) => {
                    self.taken += length;
                    self.responses.push(response);
                }
                Ok(Progress::Partial(partial)) => self.partial = Some(partial),
                Err(broken) => self.broken = Some(broken),
            }
        }
        self.taken
    }

    /// Returns the final responses. A 101 is final, because no more HTTP follows.
    pub fn finals(&self) -> impl Iterator<Item = &Response> {
        self.responses.iter().filter(|response| response.is_final())
    }

    fn switched(&self) -> bool {
        self.responses
            .last()
            .is_some_and(|response| response.status == 101)
    }
}

/// Reads one final response from a stream. `ahead` holds what was read behind the last response.
pub fn receive(stream: &mut impl Read, ahead: &mut Vec<u8>) -> io::Result<Response> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let progress = match ahead.is_empty() {
            true => Progress::Partial(Partial { status: None }),
            false => read(ahead, "GET", None, Instant::now())
                .map_err(|broken| io::Error::other(broken.why))?,
        };
        if let Progress::Whole(response, length) = progress {
            ahead.drain(..length);
            if response.is_final() {
                return Ok(response);
            }
            continue;
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => ahead.extend_from_slice(&buffer[..n]),
        }
    }
}

impl Response {
    pub fn is_final(&self) -> bool {
        self.status >= 200 || self.status == 101
    }

    /// Returns the values of a field, one for each line.
    pub fn field<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |(n, _): &&Field| n.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(same)
            .map(|(_, value)| value.as_slice())
    }

    /// Returns whether a list field has this element in one of its lines, in any case.
    pub fn field_has(&self, name: &str, element: &str) -> bool {
        self.field(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(element.as_bytes()))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the bodies are text")
    }

    /// Returns whether the response says that the connection ends.
    pub fn says_close(&self) -> bool {
        self.field_has("Connection", "close")
    }

    /// Checks r30: a response of a drain says close once, and has no Keep-Alive.
    pub fn check_last(&self) -> Result<(), String> {
        let connection: Vec<_> = self.field("Connection").collect();
        let once = connection.len() == 1 && connection[0].eq_ignore_ascii_case(b"close");
        let keeps = self.field("Keep-Alive").next().is_some();
        match (once, keeps) {
            (true, false) => Ok(()),
            (false, _) => Err(format!("not exactly one `Connection: close`: {self}")),
            (true, true) => Err(format!("a Keep-Alive field: {self}")),
        }
    }

    #[track_caller]
    pub fn assert_last(&self) {
        self.check_last().unwrap_or_else(|why| panic!("{why}"));
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.fields {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        write!(f, " | {} bytes: {}", self.body.len(), brief(&self.body))
    }
}

/// Returns the beginning of some bytes, readable.
pub fn brief(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    match bytes.get(..SHOWN) {
        Some(begin) if bytes.len() > SHOWN => format!("{}…", begin.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

enum Progress {
    Whole(Response, usize),
    Partial(Partial),
}

/// Reads the response at the beginning of `bytes`, which are not empty.
fn read(bytes: &[u8], method: &str, end: Option<End>, now: Instant) -> Result<Progress, Broken> {
    let begins = b"HTTP/1."
        .iter()
        .zip(bytes)
        .all(|(want, have)| want == have);
    if !begins {
        return Err(Broken {
            not_http: true,
            why: format!("this is not HTTP/1: {}", brief(bytes)),
        });
    }
    let mut lines = Lines { bytes, at: 0 };
    let Some(line) = lines.next()? else {
        return Ok(Progress::Partial(Partial { status: None }));
    };
    let (version_1_1, status) = status_line(line)?;
    let partial = Progress::Partial(Partial {
        status: Some(status),
    });
    let Some(fields) = field_lines(&mut lines)? else {
        return Ok(partial);
    };

    let mut response = Response {
        status,
        version_1_1,
        fields,
        body: Vec::new(),
        framing: Framing::None,
        done: now,
    };
    let length = content_length(&response)?;
    let chunked = transfer_encoding(&response)?;
    if chunked && length.is_some() {
        return broken(format!(
            "Content-Length beside Transfer-Encoding: {response}"
        ));
    }
    if (status < 200 || status == 204) && (chunked || length.is_some()) {
        return broken(format!("a {status} with framing: {response}"));
    }

    let bodiless = method == "HEAD"
        || status < 200
        || matches!(status, 204 | 304)
        || (method == "CONNECT" && status < 300);
    let rest = &bytes[lines.at..];
    let (framing, found) = if bodiless {
        (Framing::None, Some((Vec::new(), 0)))
    } else if chunked {
        (Framing::Chunked, chunks(rest)?)
    } else if let Some(length) = length {
        let whole = rest.get(..length).map(|body| (body.to_vec(), length));
        (Framing::Length, whole)
    } else {
        // A reset is no end: bytes may be missing.
        let whole = (end == Some(End::Fin)).then(|| (rest.to_vec(), rest.len()));
        (Framing::UntilClose, whole)
    };
    let Some((body, length)) = found else {
        return Ok(partial);
    };
    response.body = body;
    response.framing = framing;
    Ok(Progress::Whole(response, lines.at + length))
}

/// Reads `HTTP/1.1 200 OK`: whether the version is 1.1, and the status.
fn status_line(line: &[u8]) -> Result<(bool, u16), Broken> {
    let parts = (|| {
        let rest = line.strip_prefix(b"HTTP/1.")?;
        let version_1_1 = match rest.first()? {
            b'0' => false,
            b'1' => true,
            _ => return None,
        };
        let rest = rest[1..].strip_prefix(b" ")?;
        let (digits, rest) = rest.split_at_checked(3)?;
        // The space stays before an empty reason (RFC 9112 §4).
        let reason = rest.strip_prefix(b" ")?;
        let digits = digits.iter().all(u8::is_ascii_digit).then_some(digits)?;
        let status = std::str::from_utf8(digits).ok()?.parse::<u16>().ok()?;
        let plain = reason.iter().copied().all(is_field_byte);
        (plain && (100..600).contains(&status)).then_some((version_1_1, status))
    })();
    parts.map_or_else(|| broken(format!("status line: {}", brief(line))), Ok)
}

/// Reads field lines up to the empty line; returns `None` while that is missing.
fn field_lines(lines: &mut Lines<'_>) -> Result<Option<Vec<Field>>, Broken> {
    let mut fields = Vec::new();
    loop {
        match lines.next()? {
            None => return Ok(None),
            Some([]) => return Ok(Some(fields)),
            Some(line) => fields.push(field_line(line)?),
        }
    }
}

fn field_line(line: &[u8]) -> Result<Field, Broken> {
    let field = (|| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let right = !name.is_empty()
            && name.iter().copied().all(is_token_byte)
            && value.iter().copied().all(is_field_byte);
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let begin = value.iter().position(|byte| !blank(byte));
        let end = value.iter().rposition(|byte| !blank(byte));
        let value = begin
            .zip(end)
            .map_or(&[][..], |(begin, end)| &value[begin..=end]);
        right.then(|| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
    })();
    field.map_or_else(|| broken(format!("field line: {}", brief(line))), Ok)
}

fn content_length(response: &Response) -> Result<Option<usize>, Broken> {
    let values: Vec<_> = response.field("Content-Length").collect();
    match values[..] {
        [] => Ok(None),
        [value] if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            number.map_or_else(|| broken(format!("length: {response}")), |n| Ok(Some(n)))
        }
        _ => broken(format!("Content-Length is not one number: {response}")),
    }
}

/// Returns whether the response is chunked, the only coding that this reader knows.
fn transfer_encoding(response: &Response) -> Result<bool, Broken> {
    let values: Vec<_> = response.field("Transfer-Encoding").collect();
    match values[..] {
        [] => Ok(false),
        [value] if value.eq_ignore_ascii_case(b"chunked") && response.version_1_1 => Ok(true),
        _ => broken(format!(
            "Transfer-Encoding is not `chunked` in 1.1: {response}"
        )),
    }
}

/// Returns a chunked body and its length on the wire; `None` while a part is missing.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Broken> {
    let mut lines = Lines { bytes, at: 0 };
    let mut body = Vec::new();
    loop {
        let Some(line) = lines.next()? else {
            return Ok(None);
        };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| hex);
        let Some(size) = size.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            return broken(format!("chunk size: {}", brief(line)));
        };
        if size == 0 {
            let trailers = field_lines(&mut lines)?;
            return Ok(trailers.map(|_| (body, lines.at)));
        }
        let Some(data) = bytes.get(lines.at..lines.at.saturating_add(size)) else {
            return Ok(None);
        };
        let after = &bytes[lines.at + size..];
        if !b"\r\n".iter().zip(after).all(|(want, have)| want == have) {
            return broken(format!("no CRLF after a chunk of {size}: {}", brief(after)));
        }
        if after.len() < 2 {
            return Ok(None);
        }
        body.extend_from_slice(data);
        lines.at += size + 2;
    }
}

/// Lines that end in CRLF and hold no other CR or LF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// Returns the next line without its end; `None` while the end is missing.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Broken> {
        let rest = &self.bytes[self.at..];
        let Some(lf) = rest.iter().position(|byte| *byte == b'\n') else {
            let stray = rest.iter().position(|byte| *byte == b'\r');
            return match stray {
                Some(at) if at + 1 < rest.len() => broken(format!("bare CR: {}", brief(rest))),
                _ if rest.len() > HEAD_MAX => broken("a line without an end".to_owned()),
                _ => Ok(None),
            };
        };
        let line = &rest[..lf];
        let Some(line) = line.strip_suffix(b"\r") else {
            return broken(format!("bare LF: {}", brief(rest)));
        };
        if line.contains(&b'\r') {
            return broken(format!("bare CR: {}", brief(line)));
        }
        self.at += lf + 1;
        Ok(Some(line))
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a byte is HTAB, SP, VCHAR or obs-text (RFC 9110 §5.5).
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn broken<T>(why: String) -> Result<T, Broken> {
    Err(Broken {
        not_http: false,
        why,
    })
}
