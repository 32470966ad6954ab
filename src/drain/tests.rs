use super::*;

const POLICY: Policy = Policy {
    delay: 0,
    quiet: None,
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
    handler: None,
    reply: 30_000,
    linger: 2_000,
};
const SIGNAL: Tick = Tick::from_millis(u32::MAX - 100); // the drain crosses the wrap

/// A drain that was told to stop at the signal.
fn stopped(policy: Policy, idle: u32) -> Drain {
    let mut drain = Drain::new(policy);
    assert!(drain.stop(false, idle, Baseline::default(), SIGNAL));
    drain
}

/// A drain whose draining began `after` the signal, with its last call.
fn draining(policy: Policy, idle: u32, after: u32) -> Drain {
    let delay = after;
    let mut drain = stopped(Policy { delay, ..policy }, idle);
    assert!(drain.advance(false, idle, SIGNAL.after(after)));
    drain.begin_last_call(SIGNAL.after(after));
    drain
}

fn due_in(policy: Policy, phase: Phase, since: Tick) -> Option<u32> {
    let due = draining(policy, 1, 0).due(&TIMEOUTS, phase, since, 1);
    due.map(|at| at.since(SIGNAL))
}

fn again_in(drain: &Drain, now: Tick) -> Option<u32> {
    drain.next_change(true, now).map(|at| at.since(now))
}

#[test]
fn the_first_reason_begins_the_delay_and_the_third_cuts() {
    let policy = Policy {
        delay: 5_000,
        ..POLICY
    };
    let mut drain = stopped(policy, 1);
    assert_eq!(drain.stage(), Stage::Delaying { since: SIGNAL });
    let now = SIGNAL.after(1);
    assert!(!drain.stop(false, 1, Baseline::default(), now));
    let expected = Stage::Draining {
        since: SIGNAL,
        began: now,
        idle: 1,
    };
    assert_eq!(drain.stage(), expected);
    for _ in 0..2 {
        assert!(!drain.stop(false, 0, Baseline::default(), now));
        assert_eq!(drain.stage(), Stage::Cutting);
        assert_eq!(drain.must_cut(now), Some(End::Cut));
    }
}

/// A turn that finds a signal, or looks in vain. Returns whether the signal is one more reason.
fn look(drain: &mut Drain, signal: bool, millis: u32) -> bool {
    let now = SIGNAL.after(millis);
    let counts = signal && drain.note_signal(now);
    if counts {
        drain.stop(false, 0, Baseline::default(), now);
        drain.advance(false, 0, now);
    }
    drain.note_signals_read(now);
    counts
}

#[test]
fn a_signal_after_a_shutdown_is_no_second_reason() {
    let mut drain = stopped(POLICY, 0);
    assert!(!look(&mut drain, true, 0));
    assert!(!look(&mut drain, true, 1), "the same action");
    assert!(!look(&mut drain, false, SAME_ACTION));
    assert!(look(&mut drain, true, SAME_ACTION + 1));
    assert!(look(&mut Drain::new(POLICY), true, 0));
}

#[test]
fn signals_of_one_action_are_one_reason_and_each_action_counts_from_its_first() {
    let mut drain = Drain::new(POLICY);
    assert!(look(&mut drain, true, 0));
    for millis in [0, 1, 20, SAME_ACTION] {
        assert!(!look(&mut drain, true, millis), "after {millis} ms");
    }
    assert_eq!(drain.must_cut(SIGNAL.after(SAME_ACTION)), None);
    assert!(look(&mut drain, true, SAME_ACTION + 1));
    assert_eq!(drain.stage(), Stage::Cutting);
}

#[test]
fn a_drain_looks_once_more_when_the_time_of_an_action_ends() {
    let mut drain = Drain::new(POLICY);
    assert!(look(&mut drain, true, 0));
    drain.begin_last_call(SIGNAL);
    let until = |drain: &Drain, millis| {
        let next = drain.next_change(false, SIGNAL.after(millis)).unwrap();
        next.since(SIGNAL)
    };
    assert_eq!(until(&drain, 0), SAME_ACTION);
    assert!(!look(&mut drain, false, SAME_ACTION));
    assert_eq!(until(&drain, SAME_ACTION), POLICY.timeout);
}

/// A loop that a handler holds, or a process that is frozen, finds a signal late.
#[test]
fn a_signal_that_no_look_separates_from_the_first_is_the_same_action() {
    let mut drain = Drain::new(POLICY);
    assert!(look(&mut drain, true, 0));
    assert!(!look(&mut drain, true, 700));
    assert!(look(&mut drain, true, 701), "a look came between");
}

#[test]
fn without_a_delay_the_draining_begins_with_the_signal() {
    let mut drain = stopped(POLICY, 1);
    assert!(drain.advance(false, 1, SIGNAL) && drain.has_begun());
    assert!(!drain.advance(false, 1, SIGNAL), "told once");
}

#[test]
fn a_hook_holds_the_delay_but_not_the_deadline() {
    let mut drain = stopped(POLICY, 0);
    let late = SIGNAL.after(10_000);
    assert!(!drain.advance(true, 0, late));
    assert_eq!(drain.listeners(late), ListenerState::Open);
    assert_eq!(again_in(&drain, late), Some(15_000));
    let over = SIGNAL.after(25_000);
    assert_eq!(drain.listeners(over), ListenerState::Closed);
    assert_eq!(drain.must_cut(over), Some(End::Deadline));
}

#[test]
fn serving_asks_nothing() {
    let drain = Drain::new(POLICY);
    assert!(drain.keep_alive() && drain.must_cut(SIGNAL).is_none());
    assert_eq!(drain.listeners(SIGNAL), ListenerState::Open);
    assert_eq!(drain.next_change(true, SIGNAL), None);
    assert_eq!(drain.time_left(SIGNAL), None);
}

#[test]
fn a_drain_second_by_second() {
    use ListenerState::{Closed, Closing, LastCall, Open};
    const CASES: &[(u32, ListenerState, bool, Option<u32>)] = &[
        (0, Open, false, Some(5_000)),
        (4_999, Open, false, Some(1)),
        (5_000, LastCall, false, Some(2)),
        (5_001, LastCall, false, Some(1)),
        (5_002, Closing, false, Some(998)),
        (6_000, Closed, false, Some(19_000)),
        (24_999, Closed, false, Some(1)),
        (25_000, Closed, true, None),
        (90_000, Closed, true, None),
    ];
    let delay = 5_000;
    let mut drain = stopped(Policy { delay, ..POLICY }, 0);
    for &(at, listeners, cut, next) in CASES {
        let now = SIGNAL.after(at);
        if drain.advance(false, 0, now) {
            drain.begin_last_call(now);
        }
        assert!(!drain.keep_alive(), "at {at}");
        assert_eq!(drain.listeners(now), listeners, "at {at}");
        assert_eq!(drain.must_cut(now), cut.then_some(End::Deadline), "at {at}");
        assert_eq!(again_in(&drain, now), next, "at {at}");
    }
}

#[test]
fn the_listeners_only_close_and_every_moment_leads_to_an_end() {
    for delay in [0, 1, 700, 30_000] {
        for timeout in [0, 1, 2, 500, 25_000] {
            let policy = Policy {
                delay,
                timeout,
                ..POLICY
            };
            let mut drain = stopped(policy, 0);
            let (mut now, mut before, mut steps) = (SIGNAL, ListenerState::Open, 0);
            loop {
                if drain.advance(false, 0, now) {
                    drain.begin_last_call(now);
                }
                assert!(drain.listeners(now) >= before, "a listener opened again");
                before = drain.listeners(now);
                match drain.next_change(true, now) {
                    Some(next) => now = next,
                    None => break assert_eq!(drain.must_cut(now), Some(End::Deadline)),
                }
                steps += 1;
                assert!(steps < 10, "a drain that changes for ever");
            }
            assert!(now.since(SIGNAL) <= timeout.max(1));
        }
    }
}

#[test]
fn a_quiet_delay_ends_early_and_a_busy_one_in_its_time() {
    let policy = Policy {
        delay: 5_000,
        quiet: Some(1_000),
        ..POLICY
    };
    const CASES: &[(u32, u32)] = &[(0, 1_000), (900, 1_900), (4_500, 5_000)];
    for &(accepted, ends) in CASES {
        let mut drain = stopped(policy, 0);
        drain.accepted(SIGNAL.after(accepted));
        assert_eq!(again_in(&drain, SIGNAL), Some(ends), "{accepted}");
    }
    let mut drain = Drain::new(policy);
    drain.accepted(Tick::from_millis(SIGNAL.as_millis() - 60_000));
    drain.stop(false, 0, Baseline::default(), SIGNAL);
    assert!(!drain.advance(false, 0, SIGNAL.after(999)));
    assert!(drain.advance(false, 0, SIGNAL.after(1_000)));
}

#[test]
fn requests_are_late_from_the_first_complete_turn_of_the_draining_on() {
    let mut drain = Drain::new(POLICY);
    drain.set_late_cutoff(true, SIGNAL);
    drain.stop(false, 0, Baseline::default(), SIGNAL);
    drain.advance(false, 0, SIGNAL);
    drain.set_late_cutoff(false, SIGNAL);
    assert!(drain.lacks_late_cutoff());
    let cutoff = SIGNAL.after(3);
    drain.set_late_cutoff(true, cutoff);
    drain.set_late_cutoff(true, SIGNAL.after(9));
    assert!(!drain.is_late(cutoff) && drain.is_late(cutoff.after(1)));
}

#[test]
fn the_short_grace_is_for_those_that_became_idle_while_stopping() {
    let (one, two) = (ConnId::from_bits(1), ConnId::from_bits(2));
    let mut drain = draining(POLICY, 0, 0);
    drain.became_idle(one, 4, SIGNAL);
    drain.became_idle(two, 1, SIGNAL.after(5));
    assert_eq!(drain.next_short_grace(SIGNAL.after(14)), None);
    assert_eq!(drain.next_short_grace(SIGNAL.after(15)), Some((one, 4)));
    assert_eq!(drain.short_grace_due(), Some(SIGNAL.after(20)));
    let mut delaying = stopped(
        Policy {
            delay: 99,
            ..POLICY
        },
        0,
    );
    delaying.became_idle(one, 1, SIGNAL);
    assert_eq!(delaying.next_short_grace(SIGNAL.after(50)), None);
    assert_eq!(delaying.short_grace_due(), None);
    let idle_grace = 26;
    let mut patient = draining(
        Policy {
            idle_grace,
            ..POLICY
        },
        0,
        0,
    );
    patient.became_idle(one, 1, SIGNAL);
    assert_eq!(patient.short_grace_due(), None, "the idle grace holds");
}

#[test]
fn idle_connections_leave_after_their_grace_in_full() {
    let long_ago = Tick::from_millis(SIGNAL.as_millis() - 40_000);
    let just_now = Tick::from_millis(SIGNAL.as_millis() - 5);
    assert_eq!(due_in(POLICY, Phase::Idle, long_ago), Some(0));
    assert_eq!(due_in(POLICY, Phase::Idle, just_now), Some(21));
    assert_eq!(due_in(POLICY, Phase::Idle, SIGNAL.after(100)), Some(126));
    let idle_grace = 0;
    let none = Policy {
        idle_grace,
        ..POLICY
    };
    assert_eq!(due_in(none, Phase::Idle, SIGNAL.after(100)), Some(100));
}

#[test]
fn fresh_connections_get_no_long_grace() {
    let idle_grace = 60_000;
    let policy = Policy {
        idle_grace,
        ..POLICY
    };
    assert_eq!(due_in(policy, Phase::Fresh, SIGNAL), Some(FRESH_GRACE));
    assert_eq!(due_in(policy, Phase::Idle, SIGNAL), Some(60_001));
}

#[test]
fn heads_that_began_before_count_from_the_signal() {
    let before = Tick::from_millis(SIGNAL.as_millis() - 1_000);
    assert_eq!(due_in(POLICY, Phase::Head, before), Some(2_000));
    let nearly = Tick::from_millis(SIGNAL.as_millis() - 9_500);
    assert_eq!(due_in(POLICY, Phase::Head, nearly), Some(500));
}

#[test]
fn a_delay_keeps_idle_connections() {
    let before = Tick::from_millis(SIGNAL.as_millis() - 1_000);
    let delaying = stopped(
        Policy {
            delay: 5_000,
            ..POLICY
        },
        1,
    );
    let due = delaying.due(&TIMEOUTS, Phase::Idle, before, 1);
    assert_eq!(due, Some(before.after(75_000)));
    let drain = draining(POLICY, 1, 5_000);
    for phase in [Phase::Idle, Phase::Fresh] {
        let due = drain.due(&TIMEOUTS, phase, before, 1);
        assert_eq!(due, Some(SIGNAL.after(5_000)));
    }
}

#[test]
fn the_other_phases_keep_their_limits_and_the_handler_has_none() {
    assert_eq!(due_in(POLICY, Phase::Body, SIGNAL), Some(30_000));
    assert_eq!(due_in(POLICY, Phase::Reply, SIGNAL), Some(30_000));
    assert_eq!(due_in(POLICY, Phase::Handler, SIGNAL), None);
    assert_eq!(due_in(POLICY, Phase::Tunnel, SIGNAL), None);
    assert_eq!(due_in(POLICY, Phase::Linger, SIGNAL), Some(250));
}

#[test]
fn a_spread_is_even() {
    let close_spread = 2_000;
    let drain = draining(
        Policy {
            close_spread,
            ..POLICY
        },
        1_000,
        0,
    );
    let long_ago = Tick::from_millis(SIGNAL.as_millis() - 40_000);
    for left in (1..=1_000).rev() {
        let at = drain.due(&TIMEOUTS, Phase::Idle, long_ago, left);
        let expected = (1_000 - left + 1) * 2;
        assert_eq!(at.map(|at| at.since(SIGNAL)), Some(expected));
    }
}

#[test]
fn within_a_phase_the_older_is_due_first() {
    let drain = draining(POLICY, 9, 0);
    for phase in Phase::ALL {
        let mut last = None;
        for since in (0..40_000).step_by(500) {
            let since = Tick::from_millis(SIGNAL.as_millis() - 30_000).after(since);
            let at = drain.due(&TIMEOUTS, phase, since, 5);
            if let (Some(last), Some(at)) = (last, at) {
                assert!(Tick::reached(at, last), "{phase:?}");
            }
            last = at;
        }
    }
}

#[test]
fn the_end_waits_until_the_deadline_and_a_cut_only_for_its_moment() {
    let mut drain = draining(POLICY, 0, 0);
    assert_eq!(drain.ending(), None);
    let now = SIGNAL.after(40);
    drain.begin_end(now);
    assert_eq!(drain.ending(), Some((End::Drained, SIGNAL.after(25_000))));
    assert!(!drain.was_cut());
    assert_eq!(
        (drain.note_all_closed(now), drain.note_all_closed(now)),
        (Some(40), None)
    );
    drain.begin_end_by_cut(End::Cut, now.after(20));
    assert_eq!(drain.ending(), Some((End::Cut, now.after(20))));
    assert!(drain.was_cut());
}
