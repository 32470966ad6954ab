//! Stopping: the reasons for it, and what the drain asks of the loop.
//!
//! The drain is a value that says what follows; this does it. Knows phases, not requests.

use super::{Engine, Input};
use crate::app::{Handler, Job, Outcome, Station, Trigger};
use crate::drain::{Baseline, End, ListenerState, Stage};
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Reads the signals of a batch: from now on responses say close.
    pub(super) fn read_signals(&mut self) {
        self.core.sys.signals(&mut self.signals);
        if !self.signals.is_empty() {
            self.announce();
        }
    }

    /// Obeys the signals that were read. Signals of one batch are one reason to stop, and so are
    /// signals of one action.
    pub(super) fn obey_signals(&mut self, now: Tick) {
        if let Some(&number) = self.signals.first() {
            self.signals.clear();
            let name = S::signal_name(number);
            if !self.core.drain.note_signal(now) {
                return log::info!("{name}: stopping already");
            }
            self.stop(Trigger::Signal { number, name }, now);
        }
    }

    /// Tells handlers, and by every response the clients, that the server stops.
    fn announce(&mut self) {
        self.core.drain.announce();
        self.handle().set_draining();
    }

    /// Takes one more reason to stop.
    pub(super) fn stop(&mut self, trigger: Trigger, now: Tick) {
        let at_once = self.core.config.no_drain || trigger == Trigger::Cut;
        let idle = self.tracker.count(Phase::Idle);
        let report = &mut self.core.report;
        let baseline = Baseline {
            aborted: report.aborted,
            closed: report.closed,
        };
        let first = self.core.drain.stop(at_once, idle, baseline, now);
        self.announce();
        if first {
            self.core.report.trigger = trigger.to_string();
            if let Some(hook) = self.core.config.hooks.trigger.take() {
                let told = trigger.clone();
                self.run_hook(Station::Trigger, Box::new(move || hook(&told)));
            }
        }
        self.advance(now); // the log line names the stage that this reason leads to
        self.log_trigger(&trigger, now);
        if first {
            self.wake_idle_sources(now);
        }
    }

    /// Ends the drain delay, if its time is over.
    pub(super) fn advance(&mut self, now: Tick) {
        let hook_runs = self.hooks.is_running(Station::Trigger);
        let idle = self.tracker.count(Phase::Idle);
        if self.core.drain.advance(hook_runs, idle, now) {
            self.accepting.make_room(); // the backlogs are accepted beyond the limit
        }
    }

    /// Asks the idle sources once more: they may want to end now. A source whose peer has not taken
    /// the earlier bytes is asked when it has.
    fn wake_idle_sources(&mut self, now: Tick) {
        let waiting: Vec<_> = [Phase::Handler, Phase::Reply]
            .into_iter()
            .flat_map(|phase| self.tracker.iter(phase))
            .filter_map(|(id, _, connection)| connection.awaits_source(&self.pool).then_some(id))
            .collect();
        for id in waiting {
            self.input(id, Input::Drain, now);
        }
    }

    /// Does what the drain asks for, and returns the outcome once the drain is over.
    pub(super) fn obey_drain(&mut self, now: Tick) -> Option<Outcome> {
        if self.core.drain.stage() == Stage::Serving {
            return None;
        }
        self.core.drain.note_signals_read(now);
        self.update_listeners(now);
        match self.core.drain.must_cut(now) {
            Some(end) if !self.core.drain.was_cut() => self.cut_all(end, now),
            None if self.tracker.is_empty() && !self.accepting.is_open() => {
                self.core.drain.begin_end(now);
            }
            _ => {}
        }
        self.end_drain(now)
    }

    /// Closes the listeners when the drain says so. Connections in a backlog are accepted first.
    fn update_listeners(&mut self, now: Tick) {
        let state = self.core.drain.listeners(now);
        if !self.accepting.is_open() || state == ListenerState::Open {
            return;
        }
        let mut closing = state == ListenerState::Closing;
        if self.core.drain.lacks_last_call() {
            // Waiting would only let more handshakes in, if the system cannot refuse them.
            closing = !self.core.sys.stop_handshakes();
            let now = self.core.sys.update_clock(); // this turn may have been long
            self.core.drain.begin_last_call(now);
        }
        self.accepting.look_again();
        self.accept(now);
        let emptied = self.accepting.all_empty();
        if state != ListenerState::Closed && !(closing && emptied) {
            return;
        }
        if !emptied {
            log::warn!("a listener closes with connections in its backlog, which are reset");
        }
        self.core.sys.stop_listening();
        self.accepting.close();
        log::debug!("the listeners are closed");
        if let Some(hook) = self.core.config.hooks.listener_closed.take() {
            self.run_hook(Station::ListenerClosed, hook);
        }
    }

    /// Cuts every connection that is left. Hooks have [`HOOK_GRACE`] more.
    fn cut_all(&mut self, end: End, now: Tick) {
        if end == End::Deadline {
            self.log_deadline();
        }
        for phase in Phase::ALL {
            while let Some((id, _)) = self.tracker.oldest(phase) {
                self.input(id, Input::Cut, now);
            }
        }
        let held = self.core.inbox.handle().guards().names();
        // `outcome` decides whether a deadline without guards cut anything.
        let undecided = end == End::Deadline && held.is_empty();
        self.core.report.held = held;
        let end = if undecided { End::Drained } else { end };
        self.core.drain.begin_end_by_cut(end, now.after(HOOK_GRACE));
    }

    /// Finishes once every connection is closed: guards, the last two hooks, the outcome.
    fn end_drain(&mut self, now: Tick) -> Option<Outcome> {
        let (end, until) = self.core.drain.ending()?;
        let over = now.reached(until);
        let held = !self.core.drain.was_cut() && !self.handle().guards().is_empty();
        if held && !over {
            return None;
        }
        if let Some(took) = self.core.drain.note_all_closed(now) {
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
        if self.hooks.is_busy() {
            return None;
        }
        let outcome = self.outcome(end);
        if let Some(hook) = self.core.config.hooks.exit.take() {
            let told = outcome.clone();
            self.run_hook(Station::Exit, Box::new(move || hook(&told)));
        }
        (!self.hooks.is_busy()).then_some(outcome)
    }

    fn outcome(&self, end: End) -> Outcome {
        let mut report = self.core.report.clone();
        let aborted = report.aborted - self.core.drain.baseline().aborted;
        report.cut = report.forced_503 + aborted + report.undelivered + report.dismissed;
        report.failed_hooks = self.hooks.failed();
        let end = match end {
            // Whatever cut a connection within the drain, and whenever.
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

/// How long hooks may still run after a cut, in milliseconds.
pub const HOOK_GRACE: u32 = 20;
