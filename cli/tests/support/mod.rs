//! What the black-box tests share: the command as a child process, a client that reads all the
//! time, and a strict reader of what the server says.
//!
//! Knows nothing of the library: only bytes, processes and the contract of the command.

#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses its part of this"
)]

pub(crate) mod client;
#[cfg(target_os = "linux")]
pub(crate) mod cost;
pub(crate) mod report;
pub(crate) mod response;
pub(crate) mod served;

use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Only a failure ever waits this long, so it is
/// generous: the machines that run this are busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A request that every server answers at once.
pub(crate) const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\n\r\n";

/// What `/plaintext` says.
pub(crate) const HELLO: &[u8] = b"Hello, World!";

/// A GET of `path`.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t.example\r\n\r\n").into_bytes()
}

/// A POST of `body` to `path`.
pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = post_head(path, body.len());
    request.extend_from_slice(body);
    request
}

/// The head of a POST whose body has `length` bytes.
pub(crate) fn post_head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// Spins until `moment`: for tests in which the time itself is what is tried, a few milliseconds
/// at most and finer than a sleeping thread wakes.
pub(crate) fn spin_until(moment: Instant) {
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

/// A small generator of numbers that look random and are the same every time (xorshift64*).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Begins at `seed`, which may be any number.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
