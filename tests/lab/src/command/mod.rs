//! The command as a child process, and clients that read from it all the time.
//!
//! This module knows bytes, processes and the contract of the command, and nothing of the library.

pub mod beat;
pub mod child;
pub mod client;
#[cfg(target_os = "linux")]
pub mod cost;
#[cfg(feature = "tls")]
pub mod folder;
pub mod report;
pub mod served;
#[cfg(feature = "tls")]
pub mod tls;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Only a failure waits this long, so the time suits
/// machines that are busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request that every server answers at once.
pub const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\n\r\n";

/// The body of `/plaintext`.
pub const HELLO: &[u8] = b"Hello, World!";

/// Returns a GET of `path`.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: t.example\r\n\r\n").into_bytes()
}

/// Returns a POST of `body` to `path`.
pub fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = post_head(path, body.len());
    request.extend_from_slice(body);
    request
}

/// Returns the head of a POST whose body has `length` bytes.
pub fn post_head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// Tries until `find` finds something. Panics after [`PATIENCE`] with the name of what is awaited.
#[track_caller]
pub fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Waits until the next signal is an action of its own. Nothing shows from outside that 50 ms have
/// passed: signals within that time of the first are one reason to stop.
pub fn outlast_action() {
    spin_until(Instant::now() + Duration::from_millis(60));
}

/// Spins until `moment`, to send at moments of a race that are finer than a sleeping thread wakes.
/// The time is 60 ms at most.
pub fn spin_until(moment: Instant) {
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
