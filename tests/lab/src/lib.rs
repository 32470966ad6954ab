//! A laboratory: an engine in a simulated world, turned by hand, on virtual time.
//!
//! [`Lab`] drives the engine up to a moment. [`app`] is the application that runs in it, and
//! [`wire`] has the bytes that its peers must get. No test sleeps, and none turns for ever.
//!
//! The feature `command` adds the command as a child process, with clients on real sockets.

pub mod app;
#[cfg(all(feature = "command", target_os = "linux"))]
pub mod command;
pub mod frames;
pub mod laws;
pub mod pages;
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
use ebbtide::{DrainPolicy, End, Handler, Limits, Outcome, Report, Response, Timeouts};

use self::app::App;

/// A signal that stops the server.
pub const SIGTERM: i32 = 15;

/// An engine, the world it runs in, and how it ended.
pub struct Lab<H = App, S: Sys = Sim> {
    engine: Engine<S, H>,
    /// Finds the world below the system that the engine runs on.
    world: fn(&mut S) -> &mut Sim,
    /// The turns so far.
    pub turns: u64,
    /// When and how the engine ended.
    ended: Option<(u32, Outcome)>,
    /// The most turns of one call; a loop that needs more spins.
    pub patience: u64,
}

#[allow(clippy::new_without_default, reason = "only tests make one")]
impl Lab {
    /// Runs the default application in the default world.
    pub fn new() -> Self {
        Self::with(Setup::default(), Config::default())
    }

    pub fn with(setup: Setup, config: Config) -> Self {
        Self::run(setup, config, App::default())
    }

    pub fn configured(config: Config) -> Self {
        Self::with(Setup::default(), config)
    }

    pub fn draining_by(drain: DrainPolicy) -> Self {
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

    /// Returns how many connections are in a phase.
    pub fn count(&self, phase: Phase) -> u32 {
        self.engine.counts()[phase as usize]
    }

    /// Returns how many connections there are.
    pub fn open(&self) -> u32 {
        self.engine.counts().iter().sum()
    }

    /// Returns the milliseconds since the world began.
    pub fn millis(&mut self) -> u32 {
        self.sim().millis()
    }

    /// Turns until the engine has done everything up to that moment, or has ended.
    #[track_caller]
    pub fn until(&mut self, millis: u32) {
        self.sim().run_until(millis);
        let limit = self.turns + self.patience;
        while self.ended.is_none() && !self.sim().resting() {
            self.turn();
            assert!(self.turns < limit, "the loop spins at {}", self.millis());
        }
    }

    /// Turns once, and asserts what must hold after each turn.
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

    /// Connects a peer that is accepted and sends nothing.
    #[track_caller]
    pub fn connect(&mut self) -> PeerId {
        let peer = self.sim().connect(0);
        self.now();
        peer
    }

    /// Connects a peer of that manner.
    #[track_caller]
    pub fn connect_as(&mut self, manner: Manner) -> PeerId {
        let peer = self.sim().peer(0);
        self.sim().behave(peer, manner);
        self.sim().act(Act::Connect(peer));
        self.now();
        peer
    }

    /// Sends bytes of a peer, and lets the engine handle them in this moment.
    #[track_caller]
    pub fn send(&mut self, peer: PeerId, bytes: impl Into<Bytes>) {
        self.sim().send(peer, bytes);
        self.now();
    }

    /// Sends bytes of a peer in pieces of any size, some in one moment and some later. Returns the
    /// moment of the last piece.
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

    /// Connects a peer that sends these bytes, and lets the engine handle them.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl Into<Bytes>) -> PeerId {
        let peer = self.connect();
        self.send(peer, bytes);
        peer
    }

    /// Connects a peer that is answered once, and idle from then on.
    #[track_caller]
    pub fn idle(&mut self) -> PeerId {
        let peer = self.ask(wire::GET);
        assert_eq!(self.got(peer), wire::ok("hello\n"));
        peer
    }

    /// Sends the signal, and lets the engine handle it.
    #[track_caller]
    pub fn signal(&mut self) {
        self.sim().signal(SIGTERM);
        self.now();
    }

    /// Returns what a peer has taken, without the Date lines, which are checked.
    #[track_caller]
    pub fn got(&mut self, peer: PeerId) -> String {
        let now = self.millis();
        wire::undated(self.sim().got(peer), now)
    }

    /// Returns what a peer has taken since it was idle for the first time.
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

    /// Asserts that the server has neither finished nor reset.
    #[track_caller]
    pub fn still_open(&mut self, peer: PeerId) {
        assert!(self.seen(peer).open(), "{peer:?}: {:?}", self.seen(peer));
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Asserts that the engine ended at exactly that moment with every socket closed and accounted
    /// for. Returns the outcome.
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

    /// Asserts that the engine ended at exactly that moment with nothing lost.
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

    /// Returns when and how the engine ended, if it did, and checks the books.
    #[track_caller]
    pub fn outcome(&mut self) -> Option<(u32, Outcome)> {
        let (at, outcome) = self.ended.clone()?;
        self.accounts_agree(&outcome.report);
        Some((at, outcome))
    }

    /// Lets what is on its way to the peers arrive after the end.
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

/// A peer that takes nothing until the test says so, through a window of that many bytes.
pub const fn reluctant(window: u32) -> Manner {
    Manner {
        takes: Pace::Never,
        answers: Pace::AtOnce,
        window,
    }
}

/// A peer that takes what it is sent after this number of milliseconds.
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

/// Everything, including our FIN.
pub const EVERYTHING: u64 = ALL;

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
