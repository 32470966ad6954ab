//! The laws of a drain: the stage, the doors and the answers only go one way, a plan holds until
//! the moment that it names, an end comes whatever happens, and nobody is let stay longer for it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::drain::{FRESH_GRACE, NEVER, Plan, Policy, Stage, PhaseTimeouts, advance, due, plan, stop};
use ebbtide::tick::{MAX_LIMIT, Tick};
use ebbtide::tracker::{Counts, Phase};

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
    /// Time passes, up to the moment that the plan names, or to so much before it.
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
    /// The hook that holds the notice begins or ends.
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
        let before = (world.stage, world.plan());
        world.happen(event);
        world.turn();
        let after = world.plan();
        one_way(before, (world.stage, after));
        sane(&world, after);
        if world.age > LONGEST {
            break;
        }
    }
    world.ends();
});

struct World {
    stage: Stage,
    policy: Policy,
    timeouts: PhaseTimeouts,
    counts: Counts,
    came: Tick,
    now: Tick,
    holds: bool,
    /// How long all this has been going on: below what ticks can compare.
    age: u32,
}

impl World {
    fn new(life: &Life) -> Self {
        // Settings are at most five days; two of them may be off.
        let [notice, quiet, idle_grace, head, linger, spread, limit] =
            life.policy.map(|millis| millis % (MAX_LIMIT + 1));
        let off = |millis: u32| if millis > MAX_LIMIT { NEVER } else { millis };
        let [fresh, idle, first, body, handler, reply, last] =
            life.timeouts.map(|millis| millis % (MAX_LIMIT + 1));
        let now = Tick::from_millis(life.start);
        Self {
            stage: Stage::Serving,
            policy: Policy {
                delay: notice,
                quiet: if life.policy[1].is_multiple_of(2) {
                    NEVER
                } else {
                    quiet
                },
                idle_grace,
                head_timeout: head,
                linger,
                close_spread: spread,
                tunnel_grace: 10_000, // no rule of the plan's: the engine keeps it for tunnels
                timeout: limit,
            },
            timeouts: PhaseTimeouts {
                fresh,
                idle,
                head: first,
                body,
                handler: off(life.timeouts[4] % (2 * MAX_LIMIT)).max(handler),
                reply,
                linger: last,
            },
            counts: [0; Phase::COUNT],
            came: now,
            now,
            holds: false,
            age: 0,
        }
    }

    fn plan(&self) -> Plan {
        plan(self.stage, &self.policy, &self.counts, self.came, self.now)
    }

    fn pass(&mut self, millis: u32) {
        let millis = millis.min(LONGEST - self.age.min(LONGEST));
        self.age += millis;
        self.now = self.now.after(millis);
    }

    /// What the engine does at the end of a turn.
    fn turn(&mut self) {
        self.stage = advance(
            self.stage,
            &self.policy,
            &self.counts,
            self.holds,
            self.came,
            self.now,
        );
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass { millis } => self.pass(millis),
            Event::Follow { short } => self.follow(short),
            Event::Stop => self.stage = stop(self.stage, &self.counts, self.now),
            Event::Come => {
                self.came = self.now;
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
            Event::Hook => self.holds = !self.holds,
            Event::Due { phase, ages } => self.due(Phase::ALL[phase as usize % Phase::COUNT], ages),
        }
    }

    /// A plan holds until the moment that it names.
    fn follow(&mut self, short: u8) {
        let then = self.plan();
        let Some(wait) = then.again_in else {
            return;
        };
        assert!(wait > 0, "a plan that changes now");
        let early = wait.saturating_sub(1 + u32::from(short));
        let from = self.now;
        self.pass(early);
        if self.now.since(from) == early {
            self.turn();
            let now = self.plan();
            let same = |plan: Plan| (plan.doors, plan.keep_alive, plan.cut);
            assert_eq!(same(now), same(then), "it changed too early");
            if short == 0 {
                self.pass(1);
            }
        }
    }

    /// Nobody is let stay longer for a drain, and in a phase it is first come, first go.
    fn due(&self, phase: Phase, ages: [u32; 2]) {
        let [one, two] =
            ages.map(|age| Tick::from_millis(self.now.as_millis().wrapping_sub(age % (4 * DAY))));
        let (older, newer) = if two.reached(one) {
            (one, two)
        } else {
            (two, one)
        };
        let idle = self.counts[Phase::Idle as usize];
        let at = |stage, since| due(stage, &self.policy, &self.timeouts, phase, since, idle);
        match (at(self.stage, older), at(self.stage, newer)) {
            (Some(first), Some(then)) => assert!(then.reached(first), "out of order"),
            (None, None) => {}
            (first, then) => panic!("{first:?} and {then:?} of one phase"),
        }
        let draining = at(self.stage, older);
        if let Some(serving) = at(Stage::Serving, older) {
            let now = draining.expect("a drain takes no limit away");
            assert!(serving.reached(now), "a drain gives nobody more time");
        }
        if let Stage::Draining { closing, .. } = self.stage {
            let bound = match phase {
                Phase::Fresh => FRESH_GRACE.min(self.policy.idle_grace),
                Phase::Idle => self.policy.idle_grace.max(self.policy.close_spread),
                Phase::Head => self.policy.head_timeout,
                Phase::Linger => self.policy.linger,
                _ => return,
            };
            let last = older.max(closing).after(bound);
            assert!(draining.is_some_and(|due| last.reached(due)), "{phase:?}");
        }
    }

    /// Told to stop, and obeyed, it ends: in a few steps, at the deadline at the latest.
    fn ends(&mut self) {
        self.holds = false;
        if self.stage == Stage::Serving {
            self.stage = stop(self.stage, &self.counts, self.now);
        }
        self.turn();
        let mut steps = 0;
        while self.plan().cut.is_none() {
            let wait = self.plan().again_in.expect("somebody must end it");
            assert!(wait > 0 && wait <= self.policy.timeout.max(1));
            let before = (self.stage, self.plan());
            self.now = self.now.after(wait); // past the longest, but within the 24 days
            self.turn();
            one_way(before, (self.stage, self.plan()));
            steps += 1;
            assert!(steps <= 4, "notice, last call, backlog, deadline");
        }
        assert_eq!(self.plan().again_in, None, "after a cut nothing changes");
    }
}

/// Nothing is opened again, and nothing taken back.
fn one_way((stage, plan): (Stage, Plan), (stage_then, then): (Stage, Plan)) {
    assert!(rank(stage) <= rank(stage_then), "{stage:?}, {stage_then:?}");
    assert!(plan.doors <= then.doors, "{plan:?}, {then:?}");
    assert!(plan.keep_alive || !then.keep_alive);
    assert!(plan.cut.is_none() || then.cut.is_some());
    if let (Some(since), Some(later)) = (stage.since(), stage_then.since()) {
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

/// What a plan says fits together.
fn sane(world: &World, plan: Plan) {
    let serving = world.stage == Stage::Serving;
    assert_eq!(plan.keep_alive, serving);
    let nobody = world.counts.iter().all(|count| *count == 0);
    assert_eq!(plan.empty, nobody && !serving);
    if let Some(since) = world.stage.since() {
        let over = world.now.since(since) >= world.policy.timeout;
        assert_eq!(plan.cut.is_some(), over, "the deadline is the deadline");
    }
    assert!(!(serving && (plan.cut.is_some() || plan.again_in.is_some())));
}

/// How long a life may be: with a limit of five days behind it, within the 24.8 that ticks compare
/// over.
const LONGEST: u32 = 19 * DAY;

const DAY: u32 = 24 * 60 * 60 * 1000;
