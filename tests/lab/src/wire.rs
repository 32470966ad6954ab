//! What goes over the wire: requests, and the bytes of responses.

use std::sync::OnceLock;
use std::time::Instant;

use crate::response::Conversation;

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

/// Returns the final responses that bytes begin with, and the bytes behind the last whole one. None
/// of them may answer a HEAD, nor end with the connection.
pub fn answers(bytes: &[u8]) -> (Vec<Answer>, &[u8]) {
    let mut conversation = Conversation::default();
    let whole = conversation.advance(bytes, None, Instant::now());
    assert_eq!(conversation.broken, None, "{}", bytes.escape_ascii());
    let finals = conversation.finals().map(|response| {
        let close = response.says_close();
        if close {
            response.assert_last();
        }
        let kept = ["Connection", "Keep-Alive"]
            .iter()
            .any(|name| response.field(name).next().is_some());
        assert!(close || !kept, "not a field of ours: {response}");
        Answer {
            status: response.status,
            body: response.body.clone(),
            close,
        }
    });
    (finals.collect(), &bytes[whole..])
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
