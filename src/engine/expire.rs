//! Deadlines: each phase is a list in order of arrival, so only the oldest of each is looked at.

use super::{Engine, Input, earliest};
use crate::app::Handler;
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Tells connections that their time is up, at most [`EXPIRED`] a turn. Returns when the next is
    /// due.
    pub(super) fn expire(&mut self, now: Tick) -> Option<Tick> {
        let mut left = EXPIRED;
        self.expire_short_graces(&mut left, now);
        let mut next = self.core.drain.short_grace_due();
        for phase in Phase::ALL {
            while let Some((id, since)) = self.tracker.oldest(phase) {
                let timeouts = &self.core.config.timeouts.0;
                let idle = self.tracker.count(Phase::Idle);
                let Some(due) = self.core.drain.due(timeouts, phase, since, idle) else {
                    break;
                };
                if !now.reached(due) || left == 0 {
                    next = earliest([next, Some(due)]);
                    break;
                }
                left -= 1;
                self.input(id, Input::TimeUp, now);
            }
        }
        next
    }

    /// Tells those whose short grace is over and that sent no further request.
    fn expire_short_graces(&mut self, left: &mut u32, now: Tick) {
        while *left > 0
            && let Some((id, nth)) = self.core.drain.next_short_grace(now)
        {
            *left -= 1;
            let idle = self.tracker.phase(id) == Some(Phase::Idle);
            let connection = self.tracker.get(id).filter(|_| idle);
            if connection.is_some_and(|connection| connection.requests() == nth) {
                self.input(id, Input::TimeUp, now);
            }
        }
    }
}

/// Connections told in a turn; the others follow in the next, after the sockets that became ready
/// meanwhile. The peers of so few send their FINs while the cache still holds their connections. A
/// drain of very many connections then costs a twentieth less.
const EXPIRED: u32 = 64;
