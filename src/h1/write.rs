//! The bytes of a response: status line, fields, chunks.
//!
//! A head costs one reservation and a few copies, without `fmt`. The [`Codec`](super::Codec)
//! decides the framing.

/// The interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Returns the reason phrase of a status in the IANA registry; empty for others.
pub fn reason(status: u16) -> &'static str {
    let line = status_line(status);
    line.get(START.len()..line.len().saturating_sub(2))
        .unwrap_or_default()
}

/// The parts of a response's head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status, of three digits.
    pub status: u16,
    /// The value of `Content-Type`, if any.
    pub content_type: Option<&'a str>,
    /// Further fields, as lines of `Name: value\r\n` checked with
    /// [`is_field_name`](super::is_field_name) and [`is_field_value`](super::is_field_value).
    /// `Content-Length`, `Transfer-Encoding` and `Date` are not allowed, and `Connection` only with
    /// the status 101.
    pub fields: &'a [u8],
    /// The length of the body in bytes (for HEAD, of the omitted body), or `None` if unknown.
    pub length: Option<u64>,
    /// The line of the date: `Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`.
    pub date: &'a [u8; 37],
}

/// The line that frames a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingLine {
    None,
    Length(u64),
    Chunked,
}

/// The line about the future of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionLine {
    None,
    Close,
    KeepAlive,
}

/// Writes a whole head.
#[inline]
pub(super) fn head(
    out: &mut Vec<u8>,
    response: &ResponseHead<'_>,
    framing: FramingLine,
    connection: ConnectionLine,
) {
    let content_type = response.content_type.unwrap_or_default();
    // Type and fields aside, a head has less than 200 bytes.
    out.reserve(200 + content_type.len() + response.fields.len());
    if response.status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"); // a constant length takes a few moves
    } else {
        put_status_line(out, response.status);
    }
    out.extend_from_slice(response.date);
    if !content_type.is_empty() {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !response.fields.is_empty() {
        out.extend_from_slice(response.fields);
    }
    match (framing, connection) {
        (FramingLine::None, _) => {}
        (FramingLine::Length(length), ConnectionLine::None) => {
            return length_and_end(out, length);
        }
        (FramingLine::Length(length), _) => {
            out.extend_from_slice(b"Content-Length: ");
            number_line::<10>(out, length, b"\r\n");
        }
        (FramingLine::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(match connection {
        ConnectionLine::None => b"\r\n",
        ConnectionLine::Close => b"Connection: close\r\n\r\n",
        ConnectionLine::KeepAlive => b"Connection: keep-alive\r\n\r\n",
    });
}

#[inline(never)]
fn put_status_line(out: &mut Vec<u8>, status: u16) {
    let line = status_line(status);
    if line.is_empty() {
        out.extend_from_slice(&START.as_bytes()[..9]);
        out.extend_from_slice(&three_digits(status));
        out.extend_from_slice(b" \r\n"); // the space is required also without a reason
    } else {
        out.extend_from_slice(line.as_bytes());
    }
}

/// Writes one chunk of the chunked coding. `data` must not be empty: an empty chunk is the last.
pub(crate) fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    out.reserve(20 + data.len());
    number_line::<16>(out, data.len() as u64, b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The end of the chunked coding, without trailers.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes a number and the end of its line.
fn number_line<const RADIX: u64>(out: &mut Vec<u8>, mut number: u64, end: &[u8]) {
    let mut digits = *b"00000000000000000000"; // the most decimal digits of 64 bits
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number % RADIX) as usize];
        number /= RADIX;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(end);
}

/// Writes the length of a body and the end of the head, the most common end.
#[inline]
fn length_and_end(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    let digit = |place: u64| b'0' + (length / place % 10) as u8;
    match length {
        10..100 => out.extend_from_slice(&[digit(10), digit(1), b'\r', b'\n', b'\r', b'\n']),
        100..1000 => {
            let (a, b, c) = (digit(100), digit(10), digit(1));
            out.extend_from_slice(&[a, b, c, b'\r', b'\n', b'\r', b'\n']);
        }
        _ => number_line::<10>(out, length, b"\r\n\r\n"),
    }
}

fn three_digits(status: u16) -> [u8; 3] {
    [status / 100, status / 10, status].map(|digits| b'0' + (digits % 10) as u8)
}

/// The beginning of a status line, before its reason: `HTTP/1.1 NNN `.
const START: &str = "HTTP/1.1 200 ";

/// Returns the whole line of a registered status, for one copy; empty for others.
const fn status_line(status: u16) -> &'static str {
    match status {
        200 => "HTTP/1.1 200 OK\r\n",
        100 => "HTTP/1.1 100 Continue\r\n",
        101 => "HTTP/1.1 101 Switching Protocols\r\n",
        102 => "HTTP/1.1 102 Processing\r\n",
        103 => "HTTP/1.1 103 Early Hints\r\n",
        201 => "HTTP/1.1 201 Created\r\n",
        202 => "HTTP/1.1 202 Accepted\r\n",
        203 => "HTTP/1.1 203 Non-Authoritative Information\r\n",
        204 => "HTTP/1.1 204 No Content\r\n",
        205 => "HTTP/1.1 205 Reset Content\r\n",
        206 => "HTTP/1.1 206 Partial Content\r\n",
        207 => "HTTP/1.1 207 Multi-Status\r\n",
        208 => "HTTP/1.1 208 Already Reported\r\n",
        226 => "HTTP/1.1 226 IM Used\r\n",
        300 => "HTTP/1.1 300 Multiple Choices\r\n",
        301 => "HTTP/1.1 301 Moved Permanently\r\n",
        302 => "HTTP/1.1 302 Found\r\n",
        303 => "HTTP/1.1 303 See Other\r\n",
        304 => "HTTP/1.1 304 Not Modified\r\n",
        305 => "HTTP/1.1 305 Use Proxy\r\n",
        307 => "HTTP/1.1 307 Temporary Redirect\r\n",
        308 => "HTTP/1.1 308 Permanent Redirect\r\n",
        400 => "HTTP/1.1 400 Bad Request\r\n",
        401 => "HTTP/1.1 401 Unauthorized\r\n",
        402 => "HTTP/1.1 402 Payment Required\r\n",
        403 => "HTTP/1.1 403 Forbidden\r\n",
        404 => "HTTP/1.1 404 Not Found\r\n",
        405 => "HTTP/1.1 405 Method Not Allowed\r\n",
        406 => "HTTP/1.1 406 Not Acceptable\r\n",
        407 => "HTTP/1.1 407 Proxy Authentication Required\r\n",
        408 => "HTTP/1.1 408 Request Timeout\r\n",
        409 => "HTTP/1.1 409 Conflict\r\n",
        410 => "HTTP/1.1 410 Gone\r\n",
        411 => "HTTP/1.1 411 Length Required\r\n",
        412 => "HTTP/1.1 412 Precondition Failed\r\n",
        413 => "HTTP/1.1 413 Content Too Large\r\n",
        414 => "HTTP/1.1 414 URI Too Long\r\n",
        415 => "HTTP/1.1 415 Unsupported Media Type\r\n",
        416 => "HTTP/1.1 416 Range Not Satisfiable\r\n",
        417 => "HTTP/1.1 417 Expectation Failed\r\n",
        421 => "HTTP/1.1 421 Misdirected Request\r\n",
        422 => "HTTP/1.1 422 Unprocessable Content\r\n",
        423 => "HTTP/1.1 423 Locked\r\n",
        424 => "HTTP/1.1 424 Failed Dependency\r\n",
        425 => "HTTP/1.1 425 Too Early\r\n",
        426 => "HTTP/1.1 426 Upgrade Required\r\n",
        428 => "HTTP/1.1 428 Precondition Required\r\n",
        429 => "HTTP/1.1 429 Too Many Requests\r\n",
        431 => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
        451 => "HTTP/1.1 451 Unavailable For Legal Reasons\r\n",
        500 => "HTTP/1.1 500 Internal Server Error\r\n",
        501 => "HTTP/1.1 501 Not Implemented\r\n",
        502 => "HTTP/1.1 502 RequestError Gateway\r\n",
        503 => "HTTP/1.1 503 Service Unavailable\r\n",
        504 => "HTTP/1.1 504 Gateway Timeout\r\n",
        505 => "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        506 => "HTTP/1.1 506 Variant Also Negotiates\r\n",
        507 => "HTTP/1.1 507 Insufficient Storage\r\n",
        508 => "HTTP/1.1 508 Loop Detected\r\n",
        510 => "HTTP/1.1 510 Not Extended\r\n",
        511 => "HTTP/1.1 511 Network Authentication Required\r\n",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_says_its_status() {
        let mut known = 0;
        for status in 0..1000 {
            let line = status_line(status);
            if !line.is_empty() {
                known += 1;
                let reason = reason(status);
                assert_eq!(line, format!("HTTP/1.1 {status} {reason}\r\n"));
                assert!(!reason.is_empty() && !reason.ends_with(' '));
            }
        }
        assert_eq!(known, 61);
        assert_eq!(reason(404), "Not Found");
        assert_eq!(reason(299), "");
    }

    #[test]
    fn numbers_come_out_as_fmt_writes_them() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 65_536, 1 << 40, u64::MAX] {
            let mut out = Vec::new();
            number_line::<10>(&mut out, number, b"\r\n");
            number_line::<16>(&mut out, number, b"\r\n");
            let expected = format!("{number}\r\n{number:x}\r\n");
            assert_eq!(out, expected.as_bytes());
        }
        for length in (0..2000).chain([u64::MAX]) {
            let mut out = Vec::new();
            length_and_end(&mut out, length);
            let expected = format!("Content-Length: {length}\r\n\r\n");
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_head_fits_what_is_reserved() {
        let date = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        for status in 100..1000 {
            let response = ResponseHead {
                status,
                content_type: Some("t"),
                fields: b"",
                length: None,
                date,
            };
            let mut out = Vec::new();
            let framing = FramingLine::Length(u64::MAX);
            head(&mut out, &response, framing, ConnectionLine::KeepAlive);
            assert!(out.len() <= 200, "{status} needs {}", out.len());
        }
    }
}
