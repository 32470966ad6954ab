//! What goes over the wire: requests, the bytes of answers, and a strict reader of answers.

use std::sync::OnceLock;

/// A request for the greeting.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A GET of that target.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A POST of that target with a body.
pub fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The head of a POST whose body is so long.
pub fn post_head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// A request that asks for the laboratory's tunnel.
pub fn upgrade(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tube\r\n\r\n")
}

/// The answer to it, without its Date.
pub const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tube\r\n\r\n";

/// The answer in plain text, without its Date.
pub fn text(status: &str, body: &str) -> String {
    head(status, "", body.len(), "") + body
}

/// The same, saying close.
pub fn text_close(status: &str, body: &str) -> String {
    head(status, "", body.len(), "Connection: close\r\n") + body
}

pub fn ok(body: &str) -> String {
    text("200 OK", body)
}

pub fn ok_close(body: &str) -> String {
    text_close("200 OK", body)
}

/// The answer to what a limit of time ended before its answer had begun.
pub fn unavailable() -> String {
    let body = "the server could not answer in time\n";
    let fields = "Retry-After: 1\r\n";
    head("503 Service Unavailable", fields, body.len(), CLOSE) + body
}

/// The answer to a request that did not come in time.
pub fn timed_out() -> String {
    text_close("408 Request Timeout", "the request did not come in time\n")
}

/// The answer to what the application did wrong.
pub fn mistake() -> String {
    text("500 Internal Server Error", "the server made a mistake\n")
}

pub fn mistake_close() -> String {
    text_close("500 Internal Server Error", "the server made a mistake\n")
}

fn head(status: &str, fields: &str, length: usize, connection: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n{fields}\
         Content-Length: {length}\r\n{connection}\r\n"
    )
}

const CLOSE: &str = "Connection: close\r\n";

/// The head of an answer whose length is not known, without its Date.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
pub const CHUNKED_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// One chunk.
pub fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// What ends a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// Bytes without their Date lines. Each of these must be no later than `now`, in milliseconds since
/// the world began.
#[track_caller]
pub fn undated(bytes: &[u8], now: u32) -> String {
    let mut text = String::from_utf8(bytes.to_vec()).expect("the answers are text");
    while let Some(at) = text.find("\r\nDate: ") {
        let line = &text[at + 8..at + 37];
        let day = line.strip_prefix("Sun, 06 Nov 1994 ");
        if let Some(time) = day.and_then(|time| time.strip_suffix(" GMT")) {
            let parts: Vec<u32> = time.split(':').map(|part| part.parse().unwrap()).collect();
            let second = parts[0] * 3600 + parts[1] * 60 + parts[2];
            let begin = 8 * 3600 + 49 * 60 + 37;
            assert!((begin..=begin + now / 1000).contains(&second), "{time}");
        } else {
            assert!(now > 15 * 3_600_000, "a day too far: {line}");
        }
        assert_eq!(&text[at + 37..at + 39], "\r\n");
        text.replace_range(at..at + 37, "");
    }
    text
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// It says `Connection: close`, exactly once.
    pub close: bool,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the bodies are text")
    }
}

/// The answers that bytes begin with, interim ones left out, and the bytes behind the last whole
/// one. None of them may be to a HEAD, nor be delimited by the end of the connection.
pub fn answers(mut bytes: &[u8]) -> (Vec<Answer>, &[u8]) {
    let mut answers = Vec::new();
    while let Some((answer, length)) = answer(bytes) {
        if answer.status >= 200 {
            answers.push(answer);
        }
        bytes = &bytes[length..];
    }
    (answers, bytes)
}

fn answer(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let mut lines = head.split("\r\n");
    let line = lines.next().expect("there is a first line");
    let status = line.strip_prefix("HTTP/1.1 ").expect("a status line");
    let status: u16 = status[..3].parse().expect("a status");
    let (mut length, mut chunked, mut closes) = (None, false, 0);
    for field in lines.filter(|line| !line.is_empty()) {
        let (name, value) = field.split_once(": ").expect("a field");
        match name {
            "Content-Length" => length = Some(value.parse::<usize>().expect("a length")),
            "Transfer-Encoding" => chunked = value == "chunked",
            "Connection" if value == "close" => closes += 1,
            "Connection" | "Keep-Alive" => panic!("not a field of ours: {field}"),
            _ => {}
        }
    }
    assert!(closes <= 1, "close is said once: {head}");
    let (body, length) = match length {
        Some(length) => (bytes.get(end..end + length)?.to_vec(), length),
        None if chunked => dechunked(&bytes[end..])?,
        None => (Vec::new(), 0),
    };
    let close = closes == 1;
    let answer = Answer {
        status,
        body,
        close,
    };
    Some((answer, end + length))
}

/// A whole chunked body, and how many bytes it took.
fn dechunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2;
        let data = bytes.get(at..at + size + 2)?;
        assert_eq!(&data[size..], b"\r\n", "a chunk ends with its line");
        body.extend_from_slice(&data[..size]);
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// A body of that length in which every place looks different, up to a mebibyte; then it begins
/// again.
pub fn pattern(length: usize) -> String {
    static LINES: OnceLock<String> = OnceLock::new();
    let lines = LINES.get_or_init(|| (0..131_072).map(|n| format!("{n:07}\n")).collect());
    let mut text = lines.repeat(length / lines.len());
    text.push_str(&lines[..length % lines.len()]);
    text
}
