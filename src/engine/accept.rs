//! New connections: a bounded number a turn, and none while there is no room.
//!
//! Listeners are edge-triggered too, so the loop remembers that a backlog may hold more. Accepting
//! that stopped starts again with the next turn or with a connection that closes. A process without
//! descriptors tries again after a moment. Knows no requests.

use super::Engine;
use super::connection::{Connection, Step};
use crate::app::Handler;
use crate::sys::{AcceptError, Sys};
use crate::tick::Tick;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Accepts from the backlogs, up to the turn's share.
    pub(super) fn accept(&mut self, now: Tick) {
        self.accepting.retry(now);
        if !self.accepting.ready() {
            return;
        }
        // A drain accepts beyond the limit: a listener that closes resets its backlog, and it is
        // open for a moment only.
        let limit = match self.core.drain.has_begun() {
            true => usize::MAX,
            false => self.core.config.limits.connections,
        };
        let mut left = ACCEPTS;
        for listener in self.accepting.order() {
            while self.accepting.may_accept(listener) && left > 0 {
                left -= 1;
                if self.tracker.len() >= limit {
                    self.accepting.full(now);
                } else {
                    self.accept_one(listener, now);
                }
            }
        }
    }

    /// Accepts one connection, or notes why there is none.
    fn accept_one(&mut self, listener: usize, now: Tick) {
        match self.core.sys.accept(listener) {
            Ok((io, peer)) => self.open(io, peer, now),
            Err(AcceptError::Empty) => self.accepting.found_empty(listener),
            Err(AcceptError::Failed(error)) => log::debug!("accept: {error}"),
            Err(AcceptError::Exhausted(error)) => {
                if self.accepting.out_of_descriptors(now) {
                    log::warn!("accepting waits for room: {error}");
                }
            }
            Err(AcceptError::Closed(error)) => {
                log::error!("a listener is gone: {error}");
                self.accepting.gone(listener);
            }
        }
    }

    /// Adds an accepted connection.
    fn open(&mut self, io: S::Io, peer: crate::peer::Peer, now: Tick) {
        self.core.drain.accepted(now);
        self.core.report.opened += 1;
        let connection = Connection::new(io, peer);
        let id = self.tracker.insert(Phase::Fresh, now, connection);
        let Some(connection) = self.tracker.get_mut(id) else {
            return;
        };
        if let Err(error) = connection.register(&mut self.core.sys, id) {
            log::warn!("{peer}: cannot be watched: {error}");
            self.remove(id, Step::UNREGISTERED);
        }
    }
}

/// Connections accepted in a turn: enough for a herd, and few enough that the others are served.
const ACCEPTS: u32 = 256;
