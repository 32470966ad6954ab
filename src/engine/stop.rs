//! Stopping: the reasons for it, and the drain's plan obeyed.
//!
//! The plan is a function of the stage, the counts and the moment; this does what it says. Knows
//! phases, not requests.

use super::Engine;
use super::conn::Conn;
use super::hot::Doing;
use crate::drain::{self, Doors, End, Stage};
use crate::handler::Handler;
use crate::report::Outcome;
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Hears the signals of a batch: from now on answers say close.
    pub(super) fn hear_signals(&mut self) {
        self.core.sys.signals(&mut self.signals);
        if !self.signals.is_empty() {
            self.announce();
        }
    }

    /// Signals that came in one batch are one reason to stop: a second signal is a later one.
    pub(super) fn obey_signals(&mut self, now: Tick) {
        if let Some(number) = self.signals.first() {
            let name = S::signal_name(*number);
            self.signals.clear();
            self.stop(&name, now);
        }
    }

    /// Makes it known that the server stops: to handlers, and by every answer to its client.
    fn announce(&mut self) {
        self.core.keep_alive = false;
        self.handle().set_draining();
    }

    /// One more reason to stop.
    pub(super) fn stop(&mut self, why: &str, now: Tick) {
        self.stage = if self.core.config.no_drain {
            Stage::Cutting
        } else {
            drain::stop(self.stage, &self.tracker.counts(), now)
        };
        self.stopped_at.get_or_insert(now);
        self.log_trigger(why, now);
        if let Stage::Draining { .. } = self.stage {
            self.announce();
            self.tell_the_waiting(now);
        }
    }

    /// Streams that wait for something are asked once more: they may want to end now.
    fn tell_the_waiting(&mut self, now: Tick) {
        let parked = |conn: &Conn<S::Io>| {
            let hot = self.pool.get(conn.hot);
            hot.is_some_and(|hot| matches!(hot.doing, Doing::Parked(_)))
        };
        let waiting: Vec<_> = self
            .tracker
            .iter(Phase::Handler)
            .filter_map(|(id, _, conn)| parked(conn).then_some(id))
            .collect();
        for id in waiting {
            self.wake(id, now);
        }
    }

    pub(super) fn plan(&self, now: Tick) -> drain::Plan {
        let counts = self.tracker.counts();
        drain::plan(self.stage, &self.core.config.drain.0, &counts, now)
    }

    /// Does what the drain's plan says, and ends the loop when it is over.
    pub(super) fn obey(&mut self, now: Tick) -> Option<Outcome> {
        if self.stage == Stage::Serving {
            return None;
        }
        let plan = self.plan(now);
        self.mind_doors(plan.doors, now);
        if let Some(end) = plan.cut {
            return Some(self.cut_all(end, now));
        }
        let done = self.tracker.is_empty() && !self.accepting.open;
        done.then(|| self.outcome(End::Drained, now))
    }

    /// Closes the listeners by the plan: what is in the backlog is accepted first.
    fn mind_doors(&mut self, doors: Doors, now: Tick) {
        if !self.accepting.open || doors == Doors::Open {
            return;
        }
        let mut close = doors >= Doors::Closing;
        if self.core.late_from.is_none() {
            self.core.late_from = Some(now);
            // Where new handshakes cannot be held off, a moment's wait only lets more of them in.
            close = !self.core.sys.stop_handshakes();
        }
        self.accepting.look_again();
        self.accept(now);
        if doors == Doors::Shut || close && self.accepting.emptied() {
            self.core.sys.stop_listening();
            self.accepting.open = false;
        }
    }

    /// Cuts whatever is left.
    fn cut_all(&mut self, end: End, now: Tick) -> Outcome {
        for phase in Phase::ALL {
            while let Some((id, _)) = self.tracker.oldest(phase) {
                self.cut(id, phase, now);
            }
        }
        // A deadline that found only idle connections destroyed nothing.
        let end = match end {
            End::Deadline if self.core.report.cut() == 0 => End::Drained,
            end => end,
        };
        self.outcome(end, now)
    }

    fn outcome(&self, end: End, now: Tick) -> Outcome {
        let mut report = self.core.report.clone();
        report.drain_millis = self.stopped_at.map_or(0, |since| now.since(since));
        Outcome { end, report }
    }
}
