//! The laws of a drain: its stage, listeners and responses only go one way, an answer holds until
//! the moment that it names, an end always comes, and no connection gets more time for it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::internals::drain::{
    Baseline, Drain, End, FRESH_GRACE, ListenerState, PhaseTimeouts, Policy, Stage,
};
use ebbtide::internals::tick::{MAX_LIMIT, Tick, in_full};
use ebbtide::internals::tracker::{Counts, Phase};

#[derive(Arbitrary, Debug)]
struct Life {
    start: u32,
    policy: [u32; 7],
    timeouts: [u32; 7],
    events: Vec<Event>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    /// Time passes.
    Pass {
        millis: u32,
    },
    /// Time passes up to the moment that the drain names, or to `short` before it.
    Follow {
        short: u8,
    },
    /// One more reason to stop.
    Stop,
    /// A connection comes; one goes; one changes its phase.
    Come,
    Go {
        phase: u8,
    },
    Enter {
        from: u8,
        to: u8,
    },
    /// The hook that holds the delay begins or ends.
    Hook,
    /// The due moments of two connections of a phase.
    Due {
        phase: u8,
        ages: [u32; 2],
    },
}

fuzz_target!(|life: Life| {
    let mut world = World::new(&life);
    for event in &life.events {
        let before = world.answers();
        world.happen(event);
        world.turn();
        let after = world.answers();
        one_way(before, after);
        sane(&world, after);
        if world.age > LONGEST {
            break;
        }
    }
    world.ends();
});

struct World {
    drain: Drain,
    /// The same that only serves, to compare due moments with.
    serving: Drain,
    policy: Policy,
    timeouts: PhaseTimeouts,
    counts: Counts,
    now: Tick,
    hook_runs: bool,
    /// How long the life has lasted: below what ticks can compare.
    age: u32,
}

/// What the drain answers at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answers {
    stage: Stage,
    listeners: ListenerState,
    keep_alive: bool,
    cut: Option<End>,
    next: Option<Tick>,
}

impl World {
    fn new(life: &Life) -> Self {
        // Settings are at most five days; two of them may be off.
        let [
            delay,
            quiet,
            idle_grace,
            head_timeout,
            linger,
            close_spread,
            timeout,
        ] = life.policy.map(|millis| millis % (MAX_LIMIT + 1));
        let [fresh, idle, head, body, handler, reply, last] =
            life.timeouts.map(|millis| millis % (MAX_LIMIT + 1));
        let policy = Policy {
            delay,
            quiet: (!life.policy[1].is_multiple_of(2)).then_some(quiet),
            idle_grace,
            head_timeout,
            linger,
            close_spread,
            tunnel_grace: 10_000, // the engine keeps it
            timeout,
        };
        Self {
            drain: Drain::new(policy),
            serving: Drain::new(policy),
            policy,
            timeouts: PhaseTimeouts {
                fresh,
                idle,
                head,
                body,
                handler: (!life.timeouts[4].is_multiple_of(2)).then_some(handler),
                reply,
                linger: last,
            },
            counts: [0; Phase::COUNT],
            now: Tick::from_millis(life.start),
            hook_runs: false,
            age: 0,
        }
    }

    fn answers(&self) -> Answers {
        Answers {
            stage: self.drain.stage(),
            listeners: self.drain.listeners(self.now),
            keep_alive: self.drain.keep_alive(),
            cut: self.drain.must_cut(self.now),
            next: self.drain.next_change(true, self.now),
        }
    }

    fn idle(&self) -> u32 {
        self.counts[Phase::Idle as usize]
    }

    fn pass(&mut self, millis: u32) {
        let millis = millis.min(LONGEST - self.age.min(LONGEST));
        self.age += millis;
        self.now = self.now.after(millis);
    }

    fn stop(&mut self) {
        let idle = self.idle();
        self.drain.stop(false, idle, Baseline::default(), self.now);
    }

    /// Does what the engine does at the end of a turn.
    fn turn(&mut self) {
        let idle = self.idle();
        self.drain.advance(self.hook_runs, idle, self.now);
        let last_call = self.drain.listeners(self.now) == ListenerState::LastCall;
        if last_call && self.drain.lacks_last_call() {
            self.drain.begin_last_call(self.now);
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass { millis } => self.pass(millis),
            Event::Follow { short } => self.follow(short),
            Event::Stop => self.stop(),
            Event::Come => {
                self.drain.accepted(self.now);
                self.counts[Phase::Fresh as usize] += 1;
            }
            Event::Go { phase } => {
                let count = &mut self.counts[phase as usize % Phase::COUNT];
                *count = count.saturating_sub(1);
            }
            Event::Enter { from, to } => {
                let from = from as usize % Phase::COUNT;
                if self.counts[from] > 0 {
                    self.counts[from] -= 1;
                    self.counts[to as usize % Phase::COUNT] += 1;
                }
            }
            Event::Hook => self.hook_runs = !self.hook_runs,
            Event::Due { phase, ages } => self.due(Phase::ALL[phase as usize % Phase::COUNT], ages),
        }
    }

    /// An answer holds until the moment that the drain names.
    fn follow(&mut self, short: u8) {
        let then = self.answers();
        let Some(wait) = then.next.map(|next| next.since(self.now)) else {
            return;
        };
        assert!(wait > 0, "an answer that changes now");
        let early = wait.saturating_sub(1 + u32::from(short));
        let from = self.now;
        self.pass(early);
        if self.now.since(from) == early {
            self.turn();
            let now = self.answers();
            let same = |answers: Answers| (answers.listeners, answers.keep_alive, answers.cut);
            assert_eq!(same(now), same(then), "it changed too early");
            if short == 0 {
                self.pass(1);
            }
        }
    }

    /// A drain gives no connection more time, and the order within a phase stays.
    fn due(&self, phase: Phase, ages: [u32; 2]) {
        let [one, two] =
            ages.map(|age| Tick::from_millis(self.now.as_millis().wrapping_sub(age % (4 * DAY))));
        let (older, newer) = if two.reached(one) {
            (one, two)
        } else {
            (two, one)
        };
        let at = |drain: &Drain, since| drain.due(&self.timeouts, phase, since, self.idle());
        match (at(&self.drain, older), at(&self.drain, newer)) {
            (Some(first), Some(then)) => assert!(then.reached(first), "out of order"),
            (None, None) => {}
            (first, then) => panic!("{first:?} and {then:?} of one phase"),
        }
        let draining = at(&self.drain, older);
        if let Some(serving) = at(&self.serving, older) {
            let now = draining.expect("a drain takes no limit away");
            assert!(serving.reached(now), "a drain gives more time");
        }
        if let Stage::Draining { began, .. } = self.drain.stage() {
            let idle_grace = in_full(self.policy.idle_grace);
            let bound = match phase {
                Phase::Fresh => FRESH_GRACE.min(idle_grace),
                Phase::Idle => idle_grace.max(self.policy.close_spread),
                Phase::Head => self.policy.head_timeout,
                Phase::Linger => self.policy.linger,
                _ => return,
            };
            let last = older.max(began).after(bound);
            assert!(draining.is_some_and(|due| last.reached(due)), "{phase:?}");
        }
    }

    /// A drain that the engine obeys ends in a few steps, at the deadline at the latest.
    fn ends(&mut self) {
        self.hook_runs = false;
        if self.drain.stage() == Stage::Serving {
            self.stop();
        }
        self.turn();
        let mut steps = 0;
        while self.answers().cut.is_none() {
            let next = self.answers().next.expect("something must end it");
            let wait = next.since(self.now);
            assert!(wait > 0 && wait <= self.policy.timeout.max(1));
            let before = self.answers();
            self.now = next; // past the longest, but within the 24 days
            self.turn();
            one_way(before, self.answers());
            steps += 1;
            assert!(steps <= 4, "delay, last call, backlog, deadline");
        }
        assert_eq!(self.answers().next, None, "after a cut nothing changes");
    }
}

/// Nothing opens again, and nothing is taken back.
fn one_way(before: Answers, then: Answers) {
    assert!(
        rank(before.stage) <= rank(then.stage),
        "{before:?}, {then:?}"
    );
    assert!(before.listeners <= then.listeners, "{before:?}, {then:?}");
    assert!(before.keep_alive || !then.keep_alive);
    assert!(before.cut.is_none() || then.cut.is_some());
    if let (Some(since), Some(later)) = (before.stage.since(), then.stage.since()) {
        assert_eq!(since, later, "the deadline moved");
    }
}

fn rank(stage: Stage) -> u8 {
    match stage {
        Stage::Serving => 0,
        Stage::Delaying { .. } => 1,
        Stage::Draining { .. } => 2,
        Stage::Cutting => 3,
    }
}

/// The answers fit together.
fn sane(world: &World, answers: Answers) {
    let serving = answers.stage == Stage::Serving;
    assert_eq!(answers.keep_alive, serving);
    if let Some(since) = answers.stage.since() {
        let over = world.now.since(since) >= world.policy.timeout;
        assert_eq!(answers.cut.is_some(), over, "the deadline is the deadline");
        let left = world.policy.timeout.saturating_sub(world.now.since(since));
        assert_eq!(world.drain.time_left(world.now), Some(left));
    }
    assert!(!(serving && (answers.cut.is_some() || answers.next.is_some())));
}

/// How long a life may be: with a limit of five days behind it, within the 24.8 days that ticks
/// compare.
const LONGEST: u32 = 19 * DAY;

const DAY: u32 = 24 * 60 * 60 * 1000;
