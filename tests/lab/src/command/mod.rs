//! What the black-box tests share: the command as a child process, a client that reads all the
//! time, and a strict reader of what the server says.
//!
//! Knows nothing of the library: only bytes, processes and the contract of the command.

pub mod client;
#[cfg(target_os = "linux")]
pub mod cost;
pub mod report;
pub mod served;

use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Only a failure ever waits this long, so it is
/// generous: the machines that run this are busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request that every server answers at once.
pub const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\n\r\n";

/// What `/plaintext` says.
pub const HELLO: &[u8] = b"Hello, World!";

/// A GET of `path`.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t.example\r\n\r\n").into_bytes()
}

/// A POST of `body` to `path`.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = post_head(path, body.len());
    request.extend_from_slice(body);
    request
}

/// The head of a POST whose body has `length` bytes.
pub fn post_head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// Spins until `moment`: for tests in which the time itself is what is tried, a few milliseconds
/// at most and finer than a sleeping thread wakes.
pub fn spin_until(moment: Instant) {
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
