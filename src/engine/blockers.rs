//! What is blocking: the connections that a drain waits for, the oldest first.
//!
//! The oldest of a phase is the head of its list, so to name a few costs a few. Knows no sockets.

use std::cmp::Reverse;

use super::Engine;
use crate::app::{Connection, Handler, Progress, Status, StatusQuery};
use crate::drain::Stage;
use crate::sys::Sys;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// The connections that are in the middle of something for longest, at most `count`.
    pub fn blockers(&self, count: usize) -> Vec<Connection> {
        self.oldest(&BUSY, 0, count)
    }

    /// The connections of these phases, those first that are in theirs for longest, without the
    /// first `skip` and at most `count`. Costs as many steps as it looks at: `skip` and `count` in
    /// each phase.
    fn oldest(&self, phases: &[Phase], skip: usize, count: usize) -> Vec<Connection> {
        let now = self.core.sys.now();
        let mut oldest: Vec<_> = phases
            .iter()
            .flat_map(|phase| {
                let list = self.tracker.iter(*phase).take(skip.saturating_add(count));
                list.map(move |(id, since, conn)| (now.since(since), id, *phase, conn))
            })
            .collect();
        oldest.sort_by_key(|(age, id, ..)| (Reverse(*age), id.serial()));
        let page = oldest.into_iter().skip(skip).take(count);
        page.map(|(age, id, phase, conn)| {
            let hot = self.pool.get(conn.hot);
            let (mut request, mut bytes_in, mut bytes_out) = match hot {
                Some(hot) => (request_line(&hot.head), hot.bytes_in, hot.bytes_out),
                None => (String::new(), conn.lingered.into(), 0),
            };
            if let Some(seat) = conn.seat().and_then(|seat| self.core.tunnels.get(seat)) {
                request = seat.name().to_owned();
                bytes_in = hot.map_or(0, |hot| hot.bytes_in) + seat.bytes_in;
                bytes_out += seat.bytes_out;
            }
            Connection {
                number: id.serial(),
                peer: conn.peer,
                phase: phase.name(),
                age_millis: age,
                requests: conn.served,
                request,
                bytes_in,
                bytes_out,
            }
        })
        .collect()
    }

    /// Where the server stands, with a page of its connections.
    pub(super) fn status(&self, query: &StatusQuery) -> Status {
        let now = self.core.sys.now();
        let phases = if query.all { &Phase::ALL[..] } else { &BUSY };
        let limit = self.core.config.drain.0.timeout;
        let stage = match self.stage {
            _ if self.ending.is_some() => "ending",
            Stage::Serving => "serving",
            Stage::Delaying { .. } => "delaying",
            Stage::Draining { .. } => "draining",
            Stage::Cutting => "cutting",
        };
        let since = self.stage.since();
        Status {
            stage,
            left_millis: since.map(|since| limit.saturating_sub(now.since(since))),
            progress: self.stopped_at.map(|since| Progress {
                connections: self.core.report.opened - self.closed_before,
                gone: self.core.report.closed - self.closed_before,
                elapsed_millis: now.since(since),
                limit_millis: limit,
            }),
            phases: self.tracker.counts().into(),
            guards: self.handle().guards().names(),
            report: self.core.report.clone(),
            connections: self.oldest(phases, query.skip, query.take),
        }
    }

    /// Logs the oldest, a line each, and how many more there are.
    pub(super) fn log_blockers(&self, count: usize) {
        for blocker in self.blockers(count) {
            log::info!("  {blocker}");
        }
        let counts = self.tracker.counts();
        let all: u32 = BUSY.iter().map(|phase| counts[*phase as usize]).sum();
        if let more @ 1.. = (all as usize).saturating_sub(count) {
            log::info!("  and {more} more");
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
