//! When a connection's time is up, and what stopping asks of the engine at a moment.
//!
//! Both are functions: of the [`Stage`], the settings, the counts and the moment. There is no
//! other memory, so a drain can be asserted second by second without a socket, and the engine only
//! obeys. During a drain the idle are not hunted: the Idle list just has a shorter limit.
//!
//! No lists, no sockets, no clock.

use crate::tick::Tick;
use crate::tracker::{Counts, Phase};

/// No limit.
pub const NEVER: u32 = u32::MAX;

/// How long a connection may be in each phase, in milliseconds; [`NEVER`] for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTimeouts {
    /// Until the first byte arrives.
    pub fresh: u32,
    /// Between requests.
    pub idle: u32,
    /// For a head, from its first byte; never restarts, so that dripping does not help.
    pub head: u32,
    /// For each 8 KiB of a body.
    pub body: u32,
    /// For the application to answer.
    pub handler: u32,
    /// For the peer to take anything of what it is owed.
    pub reply: u32,
    /// For the peer's FIN after ours.
    pub linger: u32,
}

impl PhaseTimeouts {
    const fn of(&self, phase: Phase) -> u32 {
        match phase {
            Phase::Fresh => self.fresh,
            Phase::Idle => self.idle,
            Phase::Head => self.head,
            Phase::Body => self.body,
            Phase::Handler => self.handler,
            Phase::Reply => self.reply,
            Phase::Linger => self.linger,
            Phase::Tunnel => NEVER,
        }
    }
}

/// How to stop, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From the signal on, how long to go on accepting while every answer says close.
    pub delay: u32,
    /// The notice is over early when no connection came for this long; [`NEVER`] for not.
    pub quiet: u32,
    /// How long a connection must have been idle to be closed: a client that was answered a moment
    /// ago is writing its next request.
    pub idle_grace: u32,
    /// For a head that has begun.
    pub head_timeout: u32,
    /// For the peer's FIN after ours, so that a request that crosses it is not answered by a reset.
    pub linger: u32,
    /// Over how long to spread the closes of the idle, so that they do not come back in one herd.
    pub close_spread: u32,
    /// For an upgraded connection, from when it was told that the server drains until it has ended.
    pub tunnel_grace: u32,
    /// The one deadline, from the signal, over everything.
    pub timeout: u32,
}

/// Fresh connections have sent nothing, so no grace in seconds is for them: at most this, in
/// milliseconds, which lets a client that has just connected send what it connected for.
pub const FRESH_GRACE: u32 = 25;

/// The idle grace unless one is chosen: 25 milliseconds in full, with moments that are cut to one.
pub const IDLE_GRACE: u32 = 26;

/// How long a connection stays whose answer ended while the server drains and had begun before, so
/// that it did not say close, in milliseconds: long enough for a client that asks again at once,
/// and short enough for one that waits for the end to see it within 20.
pub const PARTING_GRACE: u32 = 15;

/// How long half-done handshakes may complete once new ones are turned away: a millisecond in full,
/// with moments that are cut to one.
pub const LAST_CALL: u32 = 2;

/// How long the backlog may keep the listener open after that, in milliseconds: only when it can
/// not be emptied, for want of descriptors or because more arrive than a turn accepts.
pub const BACKLOG_LIMIT: u32 = 1_000;

/// Where the server is in its life. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Serving.
    Serving,
    /// Told to stop, and saying so, but still accepting: the notice, or a hook that was asked
    /// first.
    Delaying {
        /// When it was told.
        since: Tick,
    },
    /// Draining.
    Draining {
        /// When it was told to stop: the deadline counts from here.
        since: Tick,
        /// When the draining began.
        closing: Tick,
        /// How many connections were idle then: what a spread is spread over.
        idle: u32,
    },
    /// Told to stop now.
    Cutting,
}

impl Stage {
    /// When it was told to stop, while that counts.
    pub const fn since(self) -> Option<Tick> {
        match self {
            Self::Delaying { since } | Self::Draining { since, .. } => Some(since),
            Self::Serving | Self::Cutting => None,
        }
    }

    /// The draining begins now, if it has not.
    #[must_use]
    pub const fn close(self, counts: &Counts, now: Tick) -> Self {
        match self {
            Self::Delaying { since } => Self::Draining {
                since,
                closing: now,
                idle: counts[Phase::Idle as usize],
            },
            other => other,
        }
    }
}

/// What the listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doors {
    /// Accepts.
    Open,
    /// Accepts what is in the backlog and what is half way through its handshake.
    LastCall,
    /// Closes as soon as the backlog is empty.
    Closing,
    /// Closes, whatever is in the backlog.
    Shut,
}

/// How a drain ended, or must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Every connection was finished: exit code 0.
    Drained,
    /// The deadline, or another limit during the drain, cut at least one connection; or the
    /// deadline came before a guard was released: exit code 1.
    Deadline,
    /// A second signal cut what was left: exit code 3.
    Cut,
    /// Every connection was finished, but a hook panicked or did not return: exit code 4.
    HookFailed,
}

impl End {
    /// The exit code that tells the truth about it. (2 is for a server that could not start.)
    pub const fn code(self) -> i32 {
        match self {
            Self::Drained => 0,
            Self::Deadline => 1,
            Self::Cut => 3,
            Self::HookFailed => 4,
        }
    }

    /// It in a word: `drained`, `deadline`, `cut` or `hook-failed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Deadline => "deadline",
            Self::Cut => "cut",
            Self::HookFailed => "hook-failed",
        }
    }
}

/// What stopping asks of the engine at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The listener.
    pub doors: Doors,
    /// Whether answers may leave the connection open.
    pub keep_alive: bool,
    /// Cut whatever is left, for this reason.
    pub cut: Option<End>,
    /// Nobody is left: `run` may return, once the listener is closed.
    pub empty: bool,
    /// Milliseconds until the plan itself changes: when the doors move, or at the deadline.
    pub again_in: Option<u32>,
}

/// The stage after one more reason to stop: the first gives notice, the next ends the notice, or
/// cuts where there is none any more.
#[must_use]
pub const fn stop(stage: Stage, counts: &Counts, now: Tick) -> Stage {
    match stage {
        Stage::Serving => Stage::Delaying { since: now },
        Stage::Delaying { .. } => stage.close(counts, now),
        Stage::Draining { .. } | Stage::Cutting => Stage::Cutting,
    }
}

/// The stage at a moment: a notice that is over becomes the drain, unless a hook still `holds` it.
/// `came` is when the last connection was accepted.
#[must_use]
pub fn advance(
    stage: Stage,
    policy: &Policy,
    counts: &Counts,
    holds: bool,
    came: Tick,
    now: Tick,
) -> Stage {
    match stage {
        Stage::Delaying { since } if !holds && now.reached(notice_end(policy, since, came)) => {
            stage.close(counts, now)
        }
        _ => stage,
    }
}

/// When a notice ends: after its time, or once it has been quiet for long enough.
fn notice_end(policy: &Policy, since: Tick, came: Tick) -> Tick {
    let end = since.after(policy.delay);
    match policy.quiet {
        NEVER => end,
        quiet => end.min(since.max(came).after(quiet)),
    }
}

/// What to do now. `came` is when the last connection was accepted.
pub fn plan(stage: Stage, policy: &Policy, counts: &Counts, came: Tick, now: Tick) -> Plan {
    let empty = counts.iter().all(|count| *count == 0);
    let plan = Plan {
        doors: Doors::Open,
        keep_alive: false,
        cut: None,
        empty,
        again_in: None,
    };
    let (doors, step) = match stage {
        Stage::Serving => {
            return Plan {
                keep_alive: true,
                empty: false,
                ..plan
            };
        }
        Stage::Cutting => (Doors::Shut, None),
        Stage::Delaying { since } => {
            let left = notice_end(policy, since, came).since(now);
            // Nothing left: a hook holds it, and its end is an event.
            (Doors::Open, (left > 0).then_some(left))
        }
        Stage::Draining { closing, .. } => {
            let elapsed = now.since(closing);
            let steps = [
                (LAST_CALL, Doors::LastCall),
                (BACKLOG_LIMIT, Doors::Closing),
            ];
            match steps.iter().find(|(until, _)| elapsed < *until) {
                Some((until, doors)) => (*doors, Some(until - elapsed)),
                None => (Doors::Shut, None),
            }
        }
    };
    let Some(since) = stage.since() else {
        return Plan {
            doors,
            cut: Some(End::Cut),
            ..plan
        };
    };
    let left = policy.timeout.saturating_sub(now.since(since));
    if left == 0 {
        return Plan {
            doors: Doors::Shut,
            cut: Some(End::Deadline),
            ..plan
        };
    }
    Plan {
        doors,
        again_in: Some(step.map_or(left, |step| step.min(left))),
        ..plan
    }
}

/// When the oldest connection of a phase must leave that phase, given since when it is there.
/// `None`: never. Within a phase the answer is in the order of `since`, so only the oldest needs
/// asking. `idle` is how many connections are idle now.
pub fn due(
    stage: Stage,
    policy: &Policy,
    timeouts: &PhaseTimeouts,
    phase: Phase,
    since: Tick,
    idle: u32,
) -> Option<Tick> {
    let limit = timeouts.of(phase);
    let normal = (limit != NEVER).then(|| since.after(limit));
    let Stage::Draining {
        closing,
        idle: idle_then,
        ..
    } = stage
    else {
        return normal;
    };
    let sooner = match phase {
        Phase::Fresh => since.after(policy.idle_grace.min(FRESH_GRACE)).max(closing),
        Phase::Idle => {
            let grace = since.after(policy.idle_grace).max(closing);
            grace.max(closing.after(spread_share(policy.close_spread, idle_then, idle)))
        }
        Phase::Head => since.max(closing).after(policy.head_timeout),
        Phase::Linger => since.max(closing).after(policy.linger),
        Phase::Body | Phase::Handler | Phase::Reply | Phase::Tunnel => return normal,
    };
    Some(normal.map_or(sooner, |normal| normal.min(sooner)))
}

/// When a connection leaves that becomes idle now, while the server drains. `None`: with the other
/// idle ones, which were given a longer grace than the usual.
pub fn parting(policy: &Policy, now: Tick) -> Option<Tick> {
    let usual = policy.idle_grace <= IDLE_GRACE;
    usual.then(|| now.after(policy.idle_grace.min(PARTING_GRACE)))
}

/// The moment within a spread at which the oldest of `now` connections leaves, when there were
/// `then` at its start, in milliseconds: the first a step after the start, the last at its end.
pub fn spread_share(spread: u32, then: u32, now: u32) -> u32 {
    if spread == 0 || then == 0 {
        return 0;
    }
    let gone = u64::from(then.saturating_sub(now));
    let share = u64::from(spread) * (gone + 1).min(u64::from(then)) / u64::from(then);
    share as u32 // at most `spread`
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        delay: 0,
        quiet: NEVER,
        idle_grace: 25,
        head_timeout: 2_000,
        linger: 250,
        close_spread: 0,
        tunnel_grace: 10_000,
        timeout: 25_000,
    };
    const TIMEOUTS: PhaseTimeouts = PhaseTimeouts {
        fresh: 10_000,
        idle: 75_000,
        head: 10_000,
        body: 30_000,
        handler: NEVER,
        reply: 30_000,
        linger: 2_000,
    };
    const SIGNAL: Tick = Tick::from_millis(u32::MAX - 100); // the drain crosses the wrap
    const NOBODY: Counts = [0; Phase::COUNT];

    fn draining(idle: u32) -> Stage {
        draining_from(SIGNAL, idle)
    }

    fn draining_from(closing: Tick, idle: u32) -> Stage {
        Stage::Draining {
            since: SIGNAL,
            closing,
            idle,
        }
    }

    fn one(phase: Phase) -> Counts {
        let mut counts = NOBODY;
        counts[phase as usize] = 1;
        counts
    }

    fn due_in(policy: &Policy, phase: Phase, since: Tick) -> Option<u32> {
        due(draining(1), policy, &TIMEOUTS, phase, since, 1).map(|at| at.since(SIGNAL))
    }

    #[test]
    fn the_first_signal_gives_notice_and_the_last_cuts() {
        let first = stop(Stage::Serving, &one(Phase::Idle), SIGNAL);
        assert_eq!(first, Stage::Delaying { since: SIGNAL });
        let now = SIGNAL.after(1);
        let second = stop(first, &one(Phase::Idle), now);
        assert_eq!(second, draining_from(now, 1));
        assert_eq!(stop(second, &NOBODY, now), Stage::Cutting);
        assert_eq!(stop(Stage::Cutting, &NOBODY, now), Stage::Cutting);
    }

    #[test]
    fn without_a_notice_the_drain_begins_with_the_signal() {
        let delaying = stop(Stage::Serving, &one(Phase::Idle), SIGNAL);
        let stage = advance(delaying, &POLICY, &one(Phase::Idle), false, SIGNAL, SIGNAL);
        assert_eq!(stage, draining(1));
    }

    #[test]
    fn a_hook_holds_the_notice_but_not_the_deadline() {
        let delaying = Stage::Delaying { since: SIGNAL };
        let late = SIGNAL.after(10_000);
        assert_eq!(
            advance(delaying, &POLICY, &NOBODY, true, SIGNAL, late),
            delaying
        );
        let held = plan(delaying, &POLICY, &NOBODY, SIGNAL, late);
        assert_eq!((held.doors, held.again_in), (Doors::Open, Some(15_000)));
        let over = plan(delaying, &POLICY, &NOBODY, SIGNAL, SIGNAL.after(25_000));
        assert_eq!((over.doors, over.cut), (Doors::Shut, Some(End::Deadline)));
    }

    #[test]
    fn serving_asks_nothing() {
        let plan = plan(Stage::Serving, &POLICY, &NOBODY, SIGNAL, SIGNAL);
        assert!(plan.keep_alive && !plan.empty && plan.cut.is_none());
        assert_eq!((plan.doors, plan.again_in), (Doors::Open, None));
    }

    #[test]
    fn a_drain_second_by_second() {
        let policy = Policy {
            delay: 5_000,
            ..POLICY
        };
        const CASES: &[(u32, Doors, bool, Option<u32>)] = &[
            (0, Doors::Open, false, Some(5_000)),
            (4_999, Doors::Open, false, Some(1)),
            (5_000, Doors::LastCall, false, Some(2)),
            (5_001, Doors::LastCall, false, Some(1)),
            (5_002, Doors::Closing, false, Some(998)),
            (6_000, Doors::Shut, false, Some(19_000)),
            (24_999, Doors::Shut, false, Some(1)),
            (25_000, Doors::Shut, true, None),
            (90_000, Doors::Shut, true, None),
        ];
        let mut stage = Stage::Delaying { since: SIGNAL };
        let counts = one(Phase::Handler);
        for &(at, doors, cut, again_in) in CASES {
            let now = SIGNAL.after(at);
            stage = advance(stage, &policy, &counts, false, SIGNAL, now);
            let plan = plan(stage, &policy, &counts, SIGNAL, now);
            assert!(!plan.keep_alive && !plan.empty, "at {at}");
            assert_eq!(plan.doors, doors, "at {at}");
            assert_eq!(plan.cut, cut.then_some(End::Deadline), "at {at}");
            assert_eq!(plan.again_in, again_in, "at {at}");
        }
    }

    #[test]
    fn the_doors_only_close_and_every_moment_leads_to_an_end() {
        for notice in [0, 1, 700, 30_000] {
            for limit in [0, 1, 2, 500, 25_000] {
                let policy = Policy {
                    delay: notice,
                    timeout: limit,
                    ..POLICY
                };
                let counts = one(Phase::Reply);
                let mut stage = Stage::Delaying { since: SIGNAL };
                let (mut now, mut doors, mut steps) = (SIGNAL, Doors::Open, 0);
                loop {
                    stage = advance(stage, &policy, &counts, false, SIGNAL, now);
                    let plan = plan(stage, &policy, &counts, SIGNAL, now);
                    assert!(plan.doors >= doors, "the doors opened again");
                    doors = plan.doors;
                    match plan.again_in {
                        Some(wait) => now = now.after(wait.max(1)),
                        None => break assert_eq!(plan.cut, Some(End::Deadline)),
                    }
                    steps += 1;
                    assert!(steps < 10, "a plan that changes for ever");
                }
                assert!(now.since(SIGNAL) <= limit.max(1));
            }
        }
    }

    #[test]
    fn a_quiet_notice_ends_early_and_a_busy_one_in_its_time() {
        let policy = Policy {
            delay: 5_000,
            quiet: 1_000,
            ..POLICY
        };
        let delaying = Stage::Delaying { since: SIGNAL };
        let long_ago = Tick::from_millis(SIGNAL.as_millis() - 60_000);
        const CASES: &[(u32, Option<u32>)] =
            &[(0, Some(1_000)), (900, Some(1_900)), (4_500, Some(5_000))];
        for &(came, ends) in CASES {
            let came = SIGNAL.after(came);
            let wait = plan(delaying, &policy, &NOBODY, came, SIGNAL).again_in;
            assert_eq!(wait, ends, "{came:?}");
        }
        let before = advance(
            delaying,
            &policy,
            &NOBODY,
            false,
            long_ago,
            SIGNAL.after(999),
        );
        assert_eq!(before, delaying);
        let after = SIGNAL.after(1_000);
        let stage = advance(delaying, &policy, &NOBODY, false, long_ago, after);
        assert_eq!(stage, draining_from(after, 0));
    }

    #[test]
    fn nobody_left_is_empty() {
        assert!(plan(draining(0), &POLICY, &NOBODY, SIGNAL, SIGNAL).empty);
        for phase in Phase::ALL {
            assert!(!plan(draining(0), &POLICY, &one(phase), SIGNAL, SIGNAL).empty);
        }
    }

    #[test]
    fn the_idle_leave_after_their_grace() {
        let long_ago = Tick::from_millis(SIGNAL.as_millis() - 40_000);
        let just_now = Tick::from_millis(SIGNAL.as_millis() - 5);
        assert_eq!(due_in(&POLICY, Phase::Idle, long_ago), Some(0));
        assert_eq!(due_in(&POLICY, Phase::Idle, just_now), Some(20));
        assert_eq!(due_in(&POLICY, Phase::Idle, SIGNAL.after(100)), Some(125));
    }

    #[test]
    fn fresh_ones_get_no_long_grace() {
        let policy = Policy {
            idle_grace: 60_000,
            ..POLICY
        };
        assert_eq!(due_in(&policy, Phase::Fresh, SIGNAL), Some(FRESH_GRACE));
        assert_eq!(due_in(&policy, Phase::Idle, SIGNAL), Some(60_000));
    }

    #[test]
    fn heads_that_began_before_count_from_the_signal() {
        let before = Tick::from_millis(SIGNAL.as_millis() - 1_000);
        assert_eq!(due_in(&POLICY, Phase::Head, before), Some(2_000));
        let nearly = Tick::from_millis(SIGNAL.as_millis() - 9_500);
        assert_eq!(due_in(&POLICY, Phase::Head, nearly), Some(500));
    }

    #[test]
    fn notice_keeps_the_idle() {
        let before = Tick::from_millis(SIGNAL.as_millis() - 1_000);
        let at = |stage, phase| due(stage, &POLICY, &TIMEOUTS, phase, before, 1);
        let delaying = Stage::Delaying { since: SIGNAL };
        assert_eq!(at(delaying, Phase::Idle), Some(before.after(75_000)));
        let closing = SIGNAL.after(5_000);
        for phase in [Phase::Idle, Phase::Fresh] {
            assert_eq!(at(draining_from(closing, 1), phase), Some(closing));
        }
    }

    #[test]
    fn the_rest_keep_their_limits_and_the_handler_has_none() {
        assert_eq!(due_in(&POLICY, Phase::Body, SIGNAL), Some(30_000));
        assert_eq!(due_in(&POLICY, Phase::Reply, SIGNAL), Some(30_000));
        assert_eq!(due_in(&POLICY, Phase::Handler, SIGNAL), None);
        assert_eq!(due_in(&POLICY, Phase::Linger, SIGNAL), Some(250));
    }

    #[test]
    fn a_spread_is_even() {
        let policy = Policy {
            close_spread: 2_000,
            ..POLICY
        };
        let long_ago = Tick::from_millis(SIGNAL.as_millis() - 40_000);
        for left in (1..=1_000).rev() {
            let at = due(
                draining(1_000),
                &policy,
                &TIMEOUTS,
                Phase::Idle,
                long_ago,
                left,
            );
            let expected = (1_000 - left + 1) * 2;
            assert_eq!(at.map(|at| at.since(SIGNAL)), Some(expected));
        }
    }

    #[test]
    fn within_a_phase_the_older_is_due_first() {
        for phase in Phase::ALL {
            let mut last = None;
            for since in (0..40_000).step_by(500) {
                let since = Tick::from_millis(SIGNAL.as_millis() - 30_000).after(since);
                let at = due(draining(9), &POLICY, &TIMEOUTS, phase, since, 5);
                if let (Some(last), Some(at)) = (last, at) {
                    assert!(Tick::reached(at, last), "{phase:?}");
                }
                last = at;
            }
        }
    }
}
