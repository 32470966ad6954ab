//! The drain: when a server stops, what closes when, and how it ended.
//!
//! A [`Drain`] is a value. The engine tells it what happened (`stop`, `accepted`, `became_idle`…),
//! and asks it what follows (`keep_alive`, `is_late`, `listeners`, `due`, `must_cut`). The engine
//! keeps no copy of an answer. A drain never scans the idle connections: it shortens the limit of
//! their list.
//!
//! No lists of connections, no sockets, no clock.

mod policy;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use self::policy::{
    BACKLOG_LIMIT, End, FRESH_GRACE, IDLE_GRACE, LAST_CALL, ListenerState, Policy, SAME_ACTION,
    SHORT_GRACE, Stage,
};
use crate::tick::{Tick, in_full};
use crate::timeouts::PhaseTimeouts;
use crate::tracker::{ConnId, Phase};

/// One server's way from serving to its end.
#[derive(Debug)]
pub struct Drain {
    policy: Policy,
    stage: Stage,
    /// A reason to stop is known, though the stage may still be `Serving` until the turn's end.
    announced: bool,
    /// The draining has begun.
    begun: bool,
    /// The last action that sent signals.
    action: Option<Action>,
    /// When the last connection was accepted, or the first reason to stop came.
    accepted_at: Tick,
    stopped: Option<Stopped>,
    /// Requests whose bytes are read later than this are late.
    late_cutoff: Option<Tick>,
    /// When half-done handshakes have had their time.
    last_call_ends: Option<Tick>,
    /// Connections that became idle after the first reason to stop, their request, and when they
    /// are closed.
    short_grace: VecDeque<(ConnId, u32, Tick)>,
    ending: Option<Ending>,
    /// Every connection is closed, and the report has the time that the drain took.
    all_closed: bool,
}

/// Signals that have one reason.
#[derive(Clone, Copy, Debug)]
struct Action {
    began: Tick,
    /// The loop has looked for signals once the time of the action was over.
    over: bool,
}

/// What was true when the first reason to stop came.
#[derive(Clone, Copy, Debug)]
struct Stopped {
    at: Tick,
    baseline: Baseline,
}

/// Counts of the report at the first reason to stop: only later changes belong to the drain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Baseline {
    /// Responses broken off by a reset.
    pub aborted: u64,
    /// Connections closed.
    pub closed: u64,
}

/// What is left once every connection is closed: guards and hooks.
#[derive(Clone, Copy, Debug)]
struct Ending {
    end: End,
    /// A cut began it: guards are no longer waited for.
    by_cut: bool,
    /// When hooks and guards are given up.
    until: Tick,
}

/// The events of a drain.
impl Drain {
    /// Returns a drain that has not begun.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            stage: Stage::Serving,
            announced: false,
            begun: false,
            action: None,
            accepted_at: Tick::from_millis(0),
            stopped: None,
            late_cutoff: None,
            last_call_ends: None,
            short_grace: VecDeque::new(),
            ending: None,
            all_closed: false,
        }
    }

    /// Makes every response say close from now on.
    pub const fn announce(&mut self) {
        self.announced = true;
    }

    /// Notes a signal, and returns whether it is one more reason to stop.
    ///
    /// A signal that follows within [`SAME_ACTION`] is the same action: `timeout` signals its child
    /// and then its group, a parent passes a Ctrl-C on that the child got too. The first signal says
    /// no more than a [`Handle::shutdown`](crate::Handle::shutdown) before it: its sender may not know
    /// of that.
    pub fn note_signal(&mut self, now: Tick) -> bool {
        let before = self.action;
        let same = |action: Action| !action.over || now.since(action.began) <= SAME_ACTION;
        if before.is_some_and(same) {
            return false;
        }
        self.action = Some(Action {
            began: now,
            over: false,
        });
        before.is_some() || self.stage.since().is_none()
    }

    /// Notes that the loop has looked for signals at `now`, and obeyed what it found. Only such a look
    /// ends an action: a loop that was held, or a process that was frozen, cannot know when a signal
    /// came that it finds late.
    pub fn note_signals_read(&mut self, now: Tick) {
        if let Some(action) = &mut self.action {
            action.over |= now.since(action.began) >= SAME_ACTION;
        }
    }

    /// Takes one more reason to stop: the first begins the delay, the next ends it, and one more
    /// cuts. `at_once` cuts in any stage. Returns whether it is the first reason.
    pub fn stop(&mut self, at_once: bool, idle: u32, baseline: Baseline, now: Tick) -> bool {
        self.announce();
        self.stage = match self.stage {
            _ if at_once => Stage::Cutting,
            Stage::Serving => Stage::Delaying { since: now },
            Stage::Delaying { since } => begin(since, idle, now),
            Stage::Draining { .. } | Stage::Cutting => Stage::Cutting,
        };
        let first = self.stopped.is_none();
        if first {
            self.stopped = Some(Stopped { at: now, baseline });
            self.accepted_at = now; // the last accept may be weeks old
        }
        first
    }

    /// Ends a delay whose time is over, unless a hook still runs. Returns whether the draining has
    /// begun since the last call.
    pub fn advance(&mut self, hook_runs: bool, idle: u32, now: Tick) -> bool {
        if let Stage::Delaying { since } = self.stage
            && !hook_runs
            && now.reached(self.delay_ends(since))
        {
            self.stage = begin(since, idle, now);
        }
        let began = !self.begun && matches!(self.stage, Stage::Draining { .. });
        self.begun |= began;
        began
    }

    /// Notes that a connection was accepted.
    #[inline]
    pub const fn accepted(&mut self, now: Tick) {
        self.accepted_at = now;
    }

    /// Sets the late cutoff, once. `complete` says that the turn served every event that had arrived.
    /// A signal may interrupt a wait, and a batch may be too small for all events.
    pub const fn set_late_cutoff(&mut self, complete: bool, now: Tick) {
        if complete && self.lacks_late_cutoff() {
            self.late_cutoff = Some(now);
        }
    }

    /// Begins the last call, once. The listener refuses new handshakes from now on, where the system
    /// can do that.
    pub const fn begin_last_call(&mut self, now: Tick) {
        self.last_call_ends = Some(now.after(in_full(LAST_CALL)));
    }

    /// Notes that a connection became idle after its request `nth`, by a response that began before
    /// the drain and did not say close. The connection gets the short grace. An idle grace above the
    /// default applies to all idle connections alike.
    pub fn became_idle(&mut self, id: ConnId, nth: u32, now: Tick) {
        if self.policy.idle_grace <= IDLE_GRACE {
            let grace = in_full(self.policy.idle_grace).min(SHORT_GRACE);
            self.short_grace.push_back((id, nth, now.after(grace)));
        }
    }

    /// Returns the next connection whose short grace is over and its request, and forgets it.
    pub fn next_short_grace(&mut self, now: Tick) -> Option<(ConnId, u32)> {
        if !self.has_begun() {
            self.short_grace.clear(); // during a delay the idle limit of serving holds
        }
        self.short_grace_due().filter(|due| now.reached(*due))?;
        let (id, nth, _) = self.short_grace.pop_front()?;
        Some((id, nth))
    }

    /// Begins the end: every connection is closed. Guards and hooks have until the deadline.
    pub fn begin_end(&mut self, now: Tick) {
        if self.ending.is_none() {
            let since = self.stage.since().unwrap_or(now);
            let until = since.after(self.policy.timeout);
            self.set_ending(End::Drained, false, until);
        }
    }

    /// Begins the end by a cut: hooks have until `until`.
    pub const fn begin_end_by_cut(&mut self, end: End, until: Tick) {
        self.set_ending(end, true, until);
    }

    /// Notes that every connection is closed and every guard released. Returns the milliseconds since
    /// the first reason to stop, once.
    pub fn note_all_closed(&mut self, now: Tick) -> Option<u32> {
        let first = !self.all_closed;
        self.all_closed = true;
        first.then(|| self.stopped_at().map_or(0, |at| now.since(at)))
    }

    const fn set_ending(&mut self, end: End, by_cut: bool, until: Tick) {
        self.ending = Some(Ending { end, by_cut, until });
    }
}

/// The answers of a drain.
impl Drain {
    /// Returns whether responses may leave the connection open.
    #[inline]
    pub const fn keep_alive(&self) -> bool {
        !self.announced
    }

    /// Returns the stage.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the settings.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns whether the draining has begun: the delay, if there was one, is over.
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Returns whether a request that was read at `read_at` is late: in a later millisecond than the
    /// cutoff.
    #[inline]
    pub fn is_late(&self, read_at: Tick) -> bool {
        self.late_cutoff
            .is_some_and(|cutoff| read_at.since(cutoff) > 0)
    }

    /// Returns whether the draining has begun and the late cutoff is still to be set.
    pub const fn lacks_late_cutoff(&self) -> bool {
        self.has_begun() && self.late_cutoff.is_none()
    }

    /// Returns what the listener does at `now`.
    pub fn listeners(&self, now: Tick) -> ListenerState {
        match self.stage {
            _ if self.must_cut(now).is_some() => ListenerState::Closed,
            Stage::Serving | Stage::Delaying { .. } => ListenerState::Open,
            Stage::Cutting => ListenerState::Closed,
            Stage::Draining { began, .. } => match self.last_call_ends {
                Some(ends) if !now.reached(ends) => ListenerState::LastCall,
                None => ListenerState::LastCall,
                Some(_) if now.since(began) < BACKLOG_LIMIT => ListenerState::Closing,
                Some(_) => ListenerState::Closed,
            },
        }
    }

    /// Returns whether the last call has not begun.
    pub const fn lacks_last_call(&self) -> bool {
        self.last_call_ends.is_none()
    }

    /// Returns why the rest must be cut at `now`, if it must: [`End::Deadline`] or [`End::Cut`].
    pub fn must_cut(&self, now: Tick) -> Option<End> {
        match self.stage.since() {
            Some(since) => (now.since(since) >= self.policy.timeout).then_some(End::Deadline),
            None => (self.stage == Stage::Cutting).then_some(End::Cut),
        }
    }

    /// Returns when an answer of the drain changes next by time alone. `listening` says that a
    /// listener is open.
    pub fn next_change(&self, listening: bool, now: Tick) -> Option<Tick> {
        let since = self
            .stage
            .since()
            .filter(|_| self.must_cut(now).is_none())?;
        let step = match self.stage {
            Stage::Delaying { since } => Some(self.delay_ends(since)),
            Stage::Draining { began, .. } if listening => match self.last_call_ends {
                Some(ends) if !now.reached(ends) => Some(ends),
                _ => Some(began.after(BACKLOG_LIMIT)),
            },
            _ => None,
        };
        let deadline = since.after(self.policy.timeout);
        let action = self.action.filter(|action| !action.over);
        let action = action.map(|action| action.began.after(SAME_ACTION));
        [step, action, Some(deadline)]
            .into_iter()
            .flatten()
            .filter(|at| !now.reached(*at))
            .reduce(Tick::min)
    }

    /// Returns when the oldest connection of a phase must leave that phase, which it entered at
    /// `since`; `None` for never. Answers keep the order of `since` within a phase, so asking for
    /// the oldest is enough. `idle` is the number of idle connections now.
    pub fn due(
        &self,
        timeouts: &PhaseTimeouts,
        phase: Phase,
        since: Tick,
        idle: u32,
    ) -> Option<Tick> {
        let serving = timeouts.limit(phase).map(|limit| since.after(limit));
        let Stage::Draining {
            began,
            idle: idle_then,
            ..
        } = self.stage
        else {
            return serving;
        };
        let policy = &self.policy;
        let idle_grace = in_full(policy.idle_grace);
        let draining = match phase {
            Phase::Fresh => since.after(idle_grace.min(FRESH_GRACE)).max(began),
            Phase::Idle => {
                let share = spread_share(policy.close_spread, idle_then, idle);
                since.after(idle_grace).max(began.after(share))
            }
            Phase::Head => since.max(began).after(policy.head_timeout),
            Phase::Linger => since.max(began).after(policy.linger),
            Phase::Body | Phase::Handler | Phase::Reply | Phase::Tunnel => return serving,
        };
        Some(serving.map_or(draining, |serving| serving.min(draining)))
    }

    /// Returns when the next short grace is over.
    pub fn short_grace_due(&self) -> Option<Tick> {
        self.short_grace.front().map(|(_, _, due)| *due)
    }

    /// Returns when the first reason to stop came.
    pub fn stopped_at(&self) -> Option<Tick> {
        self.stopped.map(|stopped| stopped.at)
    }

    /// Returns the report's counts at the first reason to stop.
    pub fn baseline(&self) -> Baseline {
        self.stopped
            .map(|stopped| stopped.baseline)
            .unwrap_or_default()
    }

    /// Returns the milliseconds until the deadline; `None` where no deadline runs.
    pub fn time_left(&self, now: Tick) -> Option<u32> {
        let since = self.stage.since()?;
        Some(self.policy.timeout.saturating_sub(now.since(since)))
    }

    /// Returns how the drain ended, and when hooks are given up, once the end has begun.
    pub fn ending(&self) -> Option<(End, Tick)> {
        self.ending.map(|ending| (ending.end, ending.until))
    }

    /// Returns whether a cut began the end.
    pub fn was_cut(&self) -> bool {
        self.ending.is_some_and(|ending| ending.by_cut)
    }

    /// Returns when a delay ends: after its time, or after the quiet time without a new connection.
    fn delay_ends(&self, since: Tick) -> Tick {
        let end = since.after(self.policy.delay);
        match self.policy.quiet {
            Some(quiet) => end.min(since.max(self.accepted_at).after(quiet)),
            None => end,
        }
    }
}

/// Returns the stage of a draining that begins now.
const fn begin(since: Tick, idle: u32, now: Tick) -> Stage {
    Stage::Draining {
        since,
        began: now,
        idle,
    }
}

/// Returns when within a spread the oldest of `now` connections leaves, if `then` were there at the
/// start, in milliseconds. The first leaves one step after the start, the last at the end.
pub fn spread_share(spread: u32, then: u32, now: u32) -> u32 {
    if spread == 0 || then == 0 {
        return 0;
    }
    let gone = u64::from(then.saturating_sub(now));
    let share = u64::from(spread) * (gone + 1).min(u64::from(then)) / u64::from(then);
    share as u32 // at most `spread`
}
