//! The bytes on the wire: requests, and the responses to them.

use std::sync::OnceLock;
use std::time::Instant;

use crate::response::{Conversation, Response};

/// A request for the greeting.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Returns a GET of that target.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Returns a POST of a body to that target.
pub fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Returns the head of a POST whose body has this length.
pub fn post_head(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// Returns a request for the laboratory's tunnel.
pub fn upgrade(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tube\r\n\r\n")
}

/// The response to such a request, without its Date.
pub const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tube\r\n\r\n";

/// Returns a response in plain text, without its Date.
pub fn text(status: &str, body: &str) -> String {
    head(status, "", body.len(), "") + body
}

/// Returns the same response with `Connection: close`.
pub fn text_close(status: &str, body: &str) -> String {
    head(status, "", body.len(), "Connection: close\r\n") + body
}

pub fn ok(body: &str) -> String {
    text("200 OK", body)
}

pub fn ok_close(body: &str) -> String {
    text_close("200 OK", body)
}

/// Returns the response that ends a request whose time is over before its response began.
pub fn unavailable() -> String {
    let body = "the server could not answer in time\n";
    let fields = "Retry-After: 1\r\n";
    head("503 Service Unavailable", fields, body.len(), CLOSE) + body
}

/// Returns the response to a request that did not arrive in time.
pub fn timed_out() -> String {
    text_close("408 Request Timeout", "the request did not come in time\n")
}

/// Returns the response to a mistake of the application.
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

/// The head of a response of unknown length, without its Date.
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
pub const CHUNKED_CLOSE: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// Returns one chunk.
pub fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// The end of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// Returns requests of every framing, and the responses to them.
pub fn exchange() -> (String, String) {
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let requests = [
        GET.to_owned(),
        post("/echo", "body"),
        chunked.to_owned() + &chunk("body") + LAST_CHUNK,
        get("/flood/300"),
        post("/sink", "body"),
    ];
    let responses = [
        ok("hello\n"),
        ok("body"),
        ok("body"),
        CHUNKED.to_owned() + &chunk(&pattern(300)) + LAST_CHUNK,
        ok("4\n"),
    ];
    (requests.concat(), responses.concat())
}

/// Returns bytes without their Date lines. Asserts that no date is later than `now`, in
/// milliseconds since the world began.
#[track_caller]
pub fn undated(bytes: &[u8], now: u32) -> String {
    let mut text = String::from_utf8(bytes.to_vec()).expect("the responses are text");
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

/// Returns the final responses that bytes begin with, and the bytes behind the last whole one. None
/// of the responses may answer a HEAD, nor end with the connection. Asserts that a response says
/// `Connection: close` exactly once, or nothing of it.
pub fn responses(bytes: &[u8]) -> (Vec<Response>, &[u8]) {
    let mut conversation = Conversation::default();
    let whole = conversation.advance(bytes, None, Instant::now());
    assert_eq!(conversation.broken, None, "{}", bytes.escape_ascii());
    let finals: Vec<_> = conversation.finals().cloned().collect();
    for response in &finals {
        if response.says_close() {
            response.assert_last();
        } else {
            let kept = ["Connection", "Keep-Alive"].map(|name| response.field(name).count());
            assert_eq!(kept, [0, 0], "not a field of ours: {response}");
        }
    }
    (finals, &bytes[whole..])
}

/// Returns a body of that length in which every place looks different, up to a mebibyte. Then the
/// text begins again.
pub fn pattern(length: usize) -> String {
    static LINES: OnceLock<String> = OnceLock::new();
    let lines = LINES.get_or_init(|| (0..131_072).map(|n| format!("{n:07}\n")).collect());
    let mut text = lines.repeat(length / lines.len());
    text.push_str(&lines[..length % lines.len()]);
    text
}
