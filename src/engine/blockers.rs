//! Blockers: the connections that a drain waits for, the oldest first.
//!
//! The oldest of a phase is the head of its list, so naming a few costs a few steps.

use std::cmp::Reverse;

use super::Engine;
use crate::app::{Connection, Handler, Progress, Status, StatusQuery};
use crate::sys::Sys;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Returns at most `count` connections that have been in the middle of something for longest.
    pub fn blockers(&self, count: usize) -> Vec<Connection> {
        self.oldest(&BUSY, 0, count)
    }

    /// Returns at most `count` connections of these phases after the first `skip`, the longest in its
    /// phase first. Looks at `skip + count` connections of each phase.
    fn oldest(&self, phases: &[Phase], skip: usize, count: usize) -> Vec<Connection> {
        let now = self.core.sys.now();
        let mut oldest: Vec<_> = phases
            .iter()
            .flat_map(|phase| {
                let list = self.tracker.iter(*phase).take(skip.saturating_add(count));
                list.map(move |(id, since, connection)| (now.since(since), id, *phase, connection))
            })
            .collect();
        oldest.sort_by_key(|(age, id, ..)| (Reverse(*age), id.serial()));
        let page = oldest.into_iter().skip(skip).take(count);
        page.map(|(age, id, phase, connection)| {
            let (request, bytes_in, bytes_out) =
                connection.describe(&self.pool, &self.core.tunnels);
            Connection {
                number: id.serial(),
                peer: connection.peer(),
                phase: phase.name(),
                age_millis: age,
                requests: connection.requests(),
                request,
                bytes_in,
                bytes_out,
            }
        })
        .collect()
    }

    /// Returns the status, with a page of the connections.
    pub(super) fn status(&self, query: &StatusQuery) -> Status {
        let now = self.core.sys.now();
        let phases = if query.all { &Phase::ALL[..] } else { &BUSY };
        let drain = &self.core.drain;
        let closed_before = drain.baseline().closed;
        Status {
            stage: match drain.ending() {
                Some(_) => "ending",
                None => drain.stage().name(),
            },
            left_millis: drain.time_left(now),
            progress: drain.stopped_at().map(|since| Progress {
                connections: self.core.report.opened - closed_before,
                gone: self.core.report.closed - closed_before,
                elapsed_millis: now.since(since),
                limit_millis: drain.policy().timeout,
            }),
            phases: self.tracker.counts().into(),
            guards: self.handle().guards().names(),
            report: self.core.report.clone(),
            connections: self.oldest(phases, query.skip, query.take),
        }
    }

    /// Logs the oldest blockers, a line each, and how many more there are.
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

/// The phases in which a connection is in the middle of something.
const BUSY: [Phase; 6] = [
    Phase::Head,
    Phase::Body,
    Phase::Handler,
    Phase::Reply,
    Phase::Linger,
    Phase::Tunnel,
];
