//! A laboratory: an engine in a simulated world, turned by hand, with virtual time.
//!
//! [`Lab`] holds the engine and drives it up to a moment; [`app`] is the application that runs in
//! it, and [`wire`] says what its peers must have got. No test sleeps, and none turns for ever.

pub mod app;
#[cfg(all(feature = "command", target_os = "linux"))]
pub mod command;
pub mod laws;
pub mod response;
#[cfg(feature = "tls")]
pub mod tls;
pub mod tube;
pub mod wire;

use std::time::Duration;

use ebbtide::internals::engine::{Config, Engine, Inbox, Turn};
use ebbtide::internals::sys::Sys;
pub use ebbtide::internals::sys::sim::Dice;
use ebbtide::internals::sys::sim::{
    ALL, Act, Bytes, Faults, Manner, Pace, PeerId, Seen, Setup, Sim,
};
use ebbtide::internals::tracker::Phase;
use ebbtide::{Drain, End, Handler, Limits, Outcome, Report, Response, Timeouts};

use self::app::App;

/// A signal that stops the server.
pub const SIGTERM: i32 = 15;

/// An engine, the world it runs in, and how it ended.
pub struct Lab<H = App, S: Sys = Sim> {
    engine: Engine<S, H>,
    /// Finds the world below what the engine runs on.
    world: fn(&mut S) -> &mut Sim,
    /// Turns so far.
    pub turns: u64,
    /// How it ended, and when.
    ended: Option<(u32, Outcome)>,
    /// How many turns one call may take, before the loop is taken to spin.
    pub patience: u64,
}

#[allow(clippy::new_without_default, reason = "only tests make one")]
impl Lab {
    /// The default world, configuration and application.
    pub fn new() -> Self {
        Self::with(Setup::default(), Config::default())
    }

    pub fn with(setup: Setup, config: Config) -> Self {
        Self::run(setup, config, App::default())
    }

    pub fn configured(config: Config) -> Self {
        Self::with(Setup::default(), config)
    }

    pub fn draining_by(drain: Drain) -> Self {
        Self::configured(Config {
            drain,
            ..Config::default()
        })
    }

    pub fn timed_by(times: Timeouts) -> Self {
        Self::configured(Config {
            timeouts: times,
            ..Config::default()
        })
    }

    pub fn limited_by(limits: Limits) -> Self {
        Self::configured(Config {
            limits,
            ..Config::default()
        })
    }

    pub fn faulty(faults: Faults) -> Self {
        let setup = Setup {
            faults,
            ..Setup::default()
        };
        Self::with(setup, Config::default())
    }
}

impl<S: Sys> Lab<App, S> {
    pub fn app(&mut self) -> &mut App {
        self.engine.handler()
    }

    /// Sends a response by the ticket that the application kept for that target.
    #[track_caller]
    pub fn answer(&mut self, target: &str, response: Response) {
        let ticket = self.app().ticket(target);
        ticket.send(response);
    }
}

impl<H: Handler> Lab<H> {
    pub fn run(setup: Setup, config: Config, handler: H) -> Self {
        Self::over(Sim::new(setup), |sim| sim, config, handler)
    }
}

impl<H: Handler, S: Sys> Lab<H, S> {
    /// Runs an engine on what lies over a world, as TLS does.
    pub fn over(sys: S, world: fn(&mut S) -> &mut Sim, config: Config, handler: H) -> Self {
        let inbox = Inbox::new(sys.waker());
        Self {
            engine: Engine::new(sys, handler, config, inbox),
            world,
            turns: 0,
            ended: None,
            patience: 20_000,
        }
    }

    pub fn engine(&mut self) -> &mut Engine<S, H> {
        &mut self.engine
    }

    pub fn sim(&mut self) -> &mut Sim {
        (self.world)(self.engine.sys())
    }

    pub fn report(&self) -> &Report {
        self.engine.report()
    }

    /// How many connections are in a phase.
    pub fn count(&self, phase: Phase) -> u32 {
        self.engine.counts()[phase as usize]
    }

    /// How many connections there are.
    pub fn open(&self) -> u32 {
        self.engine.counts().iter().sum()
    }

    /// Milliseconds since the world began.
    pub fn millis(&mut self) -> u32 {
        self.sim().millis()
    }

    /// Turns until the engine has done all that it will do before that moment, and at it; or until
    /// it has ended.
    #[track_caller]
    pub fn until(&mut self, millis: u32) {
        self.sim().run_until(millis);
        let limit = self.turns + self.patience;
        while self.ended.is_none() && !self.sim().resting() {
            self.turn();
            assert!(self.turns < limit, "the loop spins at {}", self.millis());
        }
    }

    /// One turn, and what must hold after it.
    pub fn turn(&mut self) {
        assert!(self.ended.is_none(), "a turn after the end");
        self.turns += 1;
        let turn = self
            .engine
            .turn()
            .expect("the world's selector never fails");
        if cfg!(not(debug_assertions)) {
            self.engine.check(); // a debug build does in every turn
        }
        if let Turn::Done(outcome) = turn {
            self.ended = Some((self.millis(), outcome));
        }
    }

    /// Turns until nothing is left to do at this moment.
    #[track_caller]
    pub fn now(&mut self) {
        let now = self.millis();
        self.until(now);
    }

    /// Lets time pass.
    #[track_caller]
    pub fn pass(&mut self, millis: u32) {
        let now = self.millis();
        self.until(now + millis);
    }

    /// A peer that is connected, accepted and has sent nothing.
    #[track_caller]
    pub fn connect(&mut self) -> PeerId {
        let peer = self.sim().connect(0);
        self.now();
        peer
    }

    /// A peer of that manner, connected and accepted.
    #[track_caller]
    pub fn connect_as(&mut self, manner: Manner) -> PeerId {
        let peer = self.sim().peer(0);
        self.sim().behave(peer, manner);
        self.sim().act(Act::Connect(peer));
        self.now();
        peer
    }

    /// Bytes of a peer, and all that the engine does about them in this moment.
    #[track_caller]
    pub fn send(&mut self, peer: PeerId, bytes: impl Into<Bytes>) {
        self.sim().send(peer, bytes);
        self.now();
    }

    /// Bytes of a peer in pieces of any size, some in the same moment and some later, and all that
    /// comes of them. Returns when the last piece was there, at the latest.
    #[track_caller]
    pub fn send_in_pieces(&mut self, peer: PeerId, bytes: &str, dice: &mut Dice) -> u32 {
        let (mut at, mut rest) = (self.millis(), bytes);
        while !rest.is_empty() {
            let most = rest.len().min(40) as u32;
            let (piece, behind) = rest.split_at(1 + dice.below(most) as usize);
            self.sim().at(at, Act::Send(peer, piece.to_owned().into()));
            rest = behind;
            at += dice.below(3);
        }
        self.until(at);
        at
    }

    /// A peer that is connected, has sent these bytes, and whatever came of it.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl Into<Bytes>) -> PeerId {
        let peer = self.connect();
        self.send(peer, bytes);
        peer
    }

    /// A peer that was answered once and is idle since.
    #[track_caller]
    pub fn idle(&mut self) -> PeerId {
        let peer = self.ask(wire::GET);
        assert_eq!(self.got(peer), wire::ok("hello\n"));
        peer
    }

    /// The signal, and what the engine does in that moment.
    #[track_caller]
    pub fn signal(&mut self) {
        self.sim().signal(SIGTERM);
        self.now();
    }

    /// What a peer has taken, without the Date lines, which are checked.
    #[track_caller]
    pub fn got(&mut self, peer: PeerId) -> String {
        let now = self.millis();
        wire::undated(self.sim().got(peer), now)
    }

    /// What a peer has taken since it was idle for the first time.
    #[track_caller]
    pub fn got_then(&mut self, peer: PeerId) -> String {
        let all = self.got(peer);
        let first = wire::ok("hello\n");
        all.strip_prefix(&first).expect("it was idle").to_owned()
    }

    pub fn seen(&mut self, peer: PeerId) -> Seen {
        self.sim().seen(peer)
    }

    /// Asserts that a peer got our FIN at that moment, and no reset.
    #[track_caller]
    pub fn finished_at(&mut self, peer: PeerId, millis: u32) {
        let seen = self.seen(peer);
        assert_eq!((seen.fin, seen.reset), (Some(millis), None), "{peer:?}");
    }

    /// Asserts that a peer got our FIN, and no reset.
    #[track_caller]
    pub fn finished(&mut self, peer: PeerId) {
        let seen = self.seen(peer);
        assert!(seen.fin.is_some() && seen.reset.is_none(), "{seen:?}");
    }

    /// Asserts that a peer got a reset, and no FIN.
    #[track_caller]
    pub fn reset(&mut self, peer: PeerId) {
        let seen = self.seen(peer);
        assert!(seen.fin.is_none() && seen.reset.is_some(), "{seen:?}");
    }

    /// Asserts that a peer got a reset at that moment, and no FIN before it.
    #[track_caller]
    pub fn reset_at(&mut self, peer: PeerId, millis: u32) {
        let seen = self.seen(peer);
        assert_eq!((seen.fin, seen.reset), (None, Some(millis)), "{peer:?}");
    }

    /// Asserts that we have neither finished nor reset.
    #[track_caller]
    pub fn still_open(&mut self, peer: PeerId) {
        assert!(self.seen(peer).open(), "{peer:?}: {:?}", self.seen(peer));
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Asserts that the engine ended at exactly that moment, with everything closed and accounted
    /// for, and says how.
    #[track_caller]
    pub fn ends_at(&mut self, millis: u32) -> Outcome {
        self.until(millis);
        let counts = self.engine.counts();
        let (at, outcome) = self.ended.clone().unwrap_or_else(|| {
            panic!("it goes on at {millis}: {counts:?}");
        });
        assert_eq!(at, millis, "it ended too early: {outcome}");
        self.accounts_agree(&outcome.report);
        outcome
    }

    /// Asserts that it ended at exactly that moment with nothing lost.
    #[track_caller]
    pub fn drains_at(&mut self, millis: u32) -> Report {
        let outcome = self.ends_at(millis);
        assert_eq!(
            (outcome.end, outcome.code()),
            (End::Drained, 0),
            "{outcome}"
        );
        assert_eq!(outcome.report.cut, 0);
        outcome.report
    }

    /// How it ended, if it did, with the books checked.
    #[track_caller]
    pub fn outcome(&mut self) -> Option<(u32, Outcome)> {
        let (at, outcome) = self.ended.clone()?;
        self.accounts_agree(&outcome.report);
        Some((at, outcome))
    }

    /// What becomes of the peers after the end: what is on its way to them arrives.
    #[track_caller]
    pub fn aftermath(&mut self, millis: u32) {
        assert!(self.is_over());
        let until = self.millis() + millis;
        self.sim().run_until(until);
        let mut events = Vec::new();
        for _ in 0..self.patience {
            if self.sim().resting() {
                return;
            }
            let waited = self.sim().wait(None, &mut events);
            waited.expect("the world's selector never fails");
        }
        panic!("the world does not come to rest");
    }

    #[track_caller]
    fn accounts_agree(&mut self, report: &Report) {
        let totals = self.sim().totals();
        assert_eq!(totals.open(), 0, "sockets are left open");
        assert_eq!(report.opened, totals.accepted);
        assert_eq!(report.closed, totals.closed);
        assert_eq!(self.open(), 0);
    }
}

/// A peer that takes nothing until it is told to, through a window of that many bytes.
pub const fn reluctant(window: u32) -> Manner {
    Manner {
        takes: Pace::Never,
        answers: Pace::AtOnce,
        window,
    }
}

/// A peer that takes what it is sent so many milliseconds later.
pub const fn slow(millis: u32) -> Manner {
    Manner {
        takes: Pace::After(millis),
        answers: Pace::AtOnce,
        window: 256 << 10,
    }
}

/// A peer that never answers our FIN with its own.
pub const fn silent() -> Manner {
    Manner {
        takes: Pace::AtOnce,
        answers: Pace::Never,
        window: 256 << 10,
    }
}

/// Everything, our FIN included.
pub const EVERYTHING: u64 = ALL;

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
