//! Stopping: the reasons for it, and the drain's plan obeyed.
//!
//! The plan is a function of the stage, the counts and the moment; this does what it says. Knows
//! phases, not requests.

use std::mem;

use super::Engine;
use super::conn::Conn;
use super::hot::Doing;
use crate::app::{Handler, Job, Outcome, Station, Trigger};
use crate::drain::{self, Doors, End, LAST_CALL, Stage};
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

/// What is left to do once every connection is closed.
#[derive(Debug)]
pub(super) struct Ending {
    end: End,
    /// It came by a cut: nothing is waited for but the last hooks.
    cut: bool,
    /// The last moment for hooks and guards.
    until: Tick,
    /// The drain itself is over: how long it took is known.
    closed: bool,
    /// What was told to the last hook, once it was.
    outcome: Option<Outcome>,
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Hears the signals of a batch: from now on answers say close.
    pub(super) fn hear_signals(&mut self) {
        self.core.sys.signals(&mut self.signals);
        if !self.signals.is_empty() {
            self.announce();
        }
    }

    /// Signals that came in one batch are one reason to stop: a second signal is a later one. The
    /// first says no more than a [`Handle::shutdown`](crate::Handle::shutdown) before it did:
    /// whoever sent it may not know of that.
    pub(super) fn obey_signals(&mut self, now: Tick) {
        if let Some(&number) = self.signals.first() {
            self.signals.clear();
            let name = S::signal_name(number);
            let first = !mem::replace(&mut self.signalled, true);
            if first && self.stage.since().is_some() {
                return log::info!("{name}: stopping already");
            }
            self.stop(Trigger::Signal { number, name }, now);
        }
    }

    /// Makes it known that the server stops: to handlers, and by every answer to its client.
    fn announce(&mut self) {
        self.core.keep_alive = false;
        self.handle().set_draining();
    }

    /// One more reason to stop.
    pub(super) fn stop(&mut self, trigger: Trigger, now: Tick) {
        let first = self.stopped_at.is_none();
        let at_once = self.core.config.no_drain || trigger == Trigger::Cut;
        self.stage = if at_once {
            Stage::Cutting
        } else {
            drain::stop(self.stage, &self.tracker.counts(), now)
        };
        self.announce();
        if first {
            self.accepting.came = now; // it counts from here, and may be weeks old
            self.stopped_at = Some(now);
            self.aborted_before = self.core.report.aborted;
            self.closed_before = self.core.report.closed;
            self.core.report.trigger = trigger.to_string();
            if let Some(hook) = self.core.config.hooks.trigger.take() {
                let told = trigger.clone();
                self.run_hook(Station::Trigger, Box::new(move || hook(&told)));
            }
        }
        self.advance(now);
        self.log_trigger(&trigger, now);
        if first {
            self.tell_the_waiting(now);
        }
    }

    /// The notice is over, if it is.
    pub(super) fn advance(&mut self, now: Tick) {
        let holds = self.hooks.is_running(Station::Trigger);
        let (policy, counts) = (&self.core.config.drain.0, self.tracker.counts());
        self.stage = drain::advance(self.stage, policy, &counts, holds, self.accepting.came, now);
        if !self.core.draining && matches!(self.stage, Stage::Draining { .. }) {
            self.core.draining = true;
            self.accepting.room(); // for all who wait in a backlog
        }
    }

    /// From when on requests are late. A signal may interrupt the wait that would have told of them,
    /// and a batch of events may be too small for all: who had asked before the draining began is
    /// in the first batch after that which was `all` there was.
    pub(super) fn know_the_late(&mut self, all: bool, now: Tick) {
        if self.core.draining && self.core.late_from.is_none() && all {
            self.core.late_from = Some(now);
        }
    }

    /// Streams that wait for something are asked once more: they may want to end now. Those whose
    /// peer has not yet taken what came before are asked when it has.
    fn tell_the_waiting(&mut self, now: Tick) {
        let parked = |conn: &Conn<S::Io>| {
            let hot = self.pool.get(conn.hot);
            hot.is_some_and(|hot| matches!(hot.doing, Doing::Parked(_)))
        };
        let waiting: Vec<_> = [Phase::Handler, Phase::Reply]
            .into_iter()
            .flat_map(|phase| self.tracker.iter(phase))
            .filter_map(|(id, _, conn)| parked(conn).then_some((id, conn.served)))
            .collect();
        for (id, nth) in waiting {
            self.wake(id, nth, now);
        }
    }

    pub(super) fn plan(&self, now: Tick) -> drain::Plan {
        let counts = self.tracker.counts();
        let policy = &self.core.config.drain.0;
        drain::plan(self.stage, policy, &counts, self.accepting.came, now)
    }

    /// When the last hook or guard is given up, once nothing else is waited for.
    pub(super) fn ending_until(&self) -> Option<Tick> {
        self.ending.as_ref().map(|ending| ending.until)
    }

    /// Does what the drain's plan says, and ends the loop when it is over.
    pub(super) fn obey(&mut self, now: Tick) -> Option<Outcome> {
        if self.stage == Stage::Serving {
            return None;
        }
        let plan = self.plan(now);
        self.mind_doors(plan.doors, now);
        match plan.cut {
            Some(end) if self.ending.as_ref().is_none_or(|ending| !ending.cut) => {
                self.cut_all(end, now);
            }
            None if self.tracker.is_empty() && !self.accepting.open && self.ending.is_none() => {
                self.ending = Some(Ending {
                    end: End::Drained,
                    cut: false,
                    until: self.deadline(now),
                    closed: false,
                    outcome: None,
                });
            }
            _ => {}
        }
        self.end(now)
    }

    /// Closes the listeners by the plan: what is in the backlog is accepted first.
    fn mind_doors(&mut self, doors: Doors, now: Tick) {
        if !self.accepting.open || doors == Doors::Open {
            return;
        }
        let close = match self.last_call {
            Some(from) => doors >= Doors::Closing && now.since(from) >= LAST_CALL,
            None => {
                // Where new handshakes cannot be held off, a moment's wait only lets more of them
                // in. The moment counts from here: this turn may have been a long one.
                let held_off = self.core.sys.stop_handshakes();
                self.last_call = Some(self.core.sys.update_clock());
                !held_off
            }
        };
        self.accepting.look_again();
        self.accept(now);
        if doors == Doors::Shut || close && self.accepting.emptied() {
            if !self.accepting.emptied() {
                log::warn!("a listener closes with connections in its backlog, which are reset");
            }
            self.core.sys.stop_listening();
            self.accepting.open = false;
            log::debug!("the listeners are closed");
            if let Some(hook) = self.core.config.hooks.listener_closed.take() {
                self.run_hook(Station::ListenerClosed, hook);
            }
        }
    }

    /// Cuts whatever is left; hooks have a moment more.
    fn cut_all(&mut self, end: End, now: Tick) {
        if end == End::Deadline {
            self.log_deadline();
        }
        for phase in Phase::ALL {
            while let Some((id, _)) = self.tracker.oldest(phase) {
                self.cut(id, phase, now);
            }
        }
        self.core.report.held = self.core.inbox.handle().guards().names();
        // A deadline that found only idle connections destroyed nothing.
        let harmless = end == End::Deadline && self.core.report.held.is_empty();
        self.ending = Some(Ending {
            end: if harmless { End::Drained } else { end },
            cut: true,
            until: now.after(HOOK_GRACE),
            closed: self.ending.as_ref().is_some_and(|ending| ending.closed),
            outcome: None,
        });
    }

    /// The one deadline of the drain.
    fn deadline(&self, now: Tick) -> Tick {
        let since = self.stage.since().unwrap_or(now);
        since.after(self.core.config.drain.0.timeout)
    }

    /// Once every connection is closed: guards, the last two hooks, and then that was it.
    fn end(&mut self, now: Tick) -> Option<Outcome> {
        let mut ending = self.ending.take()?;
        let over = now.reached(ending.until);
        let held = !ending.cut && !self.handle().guards().is_empty();
        if !held || over {
            if !ending.closed {
                ending.closed = true;
                let took = self.stopped_at.map_or(0, |since| now.since(since));
                self.core.report.drain_millis = took;
                log::debug!("every connection is closed, after {took} ms");
            }
            if let Some(hook) = self.core.config.hooks.drained.take() {
                let report = self.core.report.clone();
                self.run_hook(Station::Drained, Box::new(move || hook(&report)));
            }
            if over {
                self.hooks.give_up();
            }
            if !self.hooks.is_busy() && ending.outcome.is_none() {
                let outcome = self.outcome(ending.end);
                if let Some(hook) = self.core.config.hooks.exit.take() {
                    let told = outcome.clone();
                    self.run_hook(Station::Exit, Box::new(move || hook(&told)));
                }
                ending.outcome = Some(outcome);
            }
            if !self.hooks.is_busy() {
                return Some(self.outcome(ending.end));
            }
        }
        self.ending = Some(ending);
        None
    }

    fn outcome(&self, end: End) -> Outcome {
        let mut report = self.core.report.clone();
        let aborted = report.aborted - self.aborted_before;
        report.cut = report.forced_503 + aborted + report.undelivered + report.dismissed;
        report.failed_hooks = self.hooks.failed();
        let end = match end {
            // Whatever cut them, and whenever within the drain: they are cut.
            End::Drained if report.cut > 0 => End::Deadline,
            End::Drained if !report.failed_hooks.is_empty() => End::HookFailed,
            end => end,
        };
        Outcome { end, report }
    }

    fn run_hook(&mut self, station: Station, hook: Job) {
        log::debug!("runs {}", station.hook());
        let handle = self.core.inbox.handle().clone();
        self.hooks.run(station, &handle, hook);
    }
}

/// How long hooks may still run once the deadline, or a second signal, has cut, in milliseconds.
pub const HOOK_GRACE: u32 = 20;
