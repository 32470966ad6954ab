//! What is blocking: the connections that a drain waits for, the oldest first.
//!
//! The oldest of a phase is the head of its list, so to name a few costs a few. Knows no sockets.

use std::fmt;

use super::Engine;
use crate::handler::Handler;
use crate::peer::Peer;
use crate::sys::Sys;
use crate::tracker::Phase;

/// A connection in the middle of something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// Who is on the other side.
    pub peer: Peer,
    /// What it waits for.
    pub phase: Phase,
    /// For how long, in milliseconds.
    pub age: u32,
    /// Method and target of its request, as far as they are known.
    pub request: String,
    /// Bytes of the request received so far.
    pub bytes_in: u64,
    /// Bytes of the answer sent so far.
    pub bytes_out: u64,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = match self.request.as_str() {
            "" => "(no head yet)",
            request => request,
        };
        write!(
            f,
            "{} {request}: {} for {:.1} s, {} bytes in, {} out",
            self.peer,
            self.phase.name(),
            f64::from(self.age) / 1_000.0,
            self.bytes_in,
            self.bytes_out
        )
    }
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// The connections that are in the middle of something for longest, at most `count`.
    pub fn blockers(&self, count: usize) -> Vec<Blocker> {
        let now = self.core.sys.now();
        let mut oldest: Vec<_> = BUSY
            .iter()
            .flat_map(|phase| {
                let list = self.tracker.iter(*phase).take(count);
                list.map(move |(_, since, conn)| (now.since(since), *phase, conn))
            })
            .collect();
        oldest.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
        oldest.truncate(count);
        let blocker = |(age, phase, conn): (u32, Phase, &super::Conn<S::Io>)| {
            let hot = self.pool.get(conn.hot);
            Blocker {
                peer: conn.peer,
                phase,
                age,
                request: hot.map(|hot| request_line(&hot.head)).unwrap_or_default(),
                bytes_in: hot.map_or_else(|| conn.lingered.into(), |hot| hot.bytes_in),
                bytes_out: hot.map_or(0, |hot| hot.bytes_out),
            }
        };
        oldest.into_iter().map(blocker).collect()
    }

    /// Logs the oldest, a line each.
    pub(super) fn log_blockers(&self, count: usize) {
        for blocker in self.blockers(count) {
            log::info!("  {blocker}");
        }
    }
}

/// Method and target, of the first line of a head.
fn request_line(head: &[u8]) -> String {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let target = &target[..target.len().min(SHOWN)];
    let text = [method, b" ", target].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// How much of a target is shown, in bytes.
const SHOWN: usize = 100;

/// The phases in which a connection is in the middle of something.
const BUSY: [Phase; 6] = [
    Phase::Head,
    Phase::Body,
    Phase::Handler,
    Phase::Reply,
    Phase::Linger,
    Phase::Tunnel,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_by_its_method_and_target() {
        const CASES: &[(&[u8], &str)] = &[
            (b"GET /delay/9 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /delay/9"),
            (b"\r\nPOST /echo HTTP/1.1\r\n", "POST /echo"),
            (b"", ""),
        ];
        for (head, expected) in CASES {
            assert_eq!(request_line(head), *expected);
        }
        let long = [b"GET /", &[b'a'; 5_000][..], b" HTTP/1.1\r\n"].concat();
        assert_eq!(request_line(&long).len(), 4 + SHOWN);
    }
}
