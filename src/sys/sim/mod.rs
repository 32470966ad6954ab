//! The world as a table: peers, backlogs, signals, and a clock that jumps.
//!
//! [`Sim`] is a [`Sys`] without a kernel. A connection is a row, a handle is the row's number, and
//! time stands still while the engine works: [`Sys::wait`] plays what is due, and when nothing is,
//! jumps to the next entry of the script, the timeout, or the horizon. No threads, no files, no
//! sleeps, so that the same script gives the same [`digest`](Sim::digest) each time.
//!
//! A test drives it in two ways: by hand between the engine's turns ([`connect`](Sim::connect),
//! [`send`](Sim::send), [`fin`](Sim::fin), …), and by script ([`at`](Sim::at)). The clock never
//! passes the horizon, which is where the clock is until [`run_until`](Sim::run_until) moves it: by
//! hand, time stands still.
//!
//! ```
//! use ebbtide::internals::engine::{Config, Engine, Inbox, Turn};
//! use ebbtide::internals::sys::Sys;
//! use ebbtide::internals::sys::sim::{Act, Sim};
//! use ebbtide::{Request, Response};
//!
//! let mut sim = Sim::default();
//! let peer = sim.connect(0);
//! sim.send(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! sim.at(1_000, Act::Signal(15));
//! sim.run_until(2_000);
//!
//! let inbox = Inbox::new(sim.waker());
//! let hello = |_: &Request<'_>| Response::text(200, "hello\n");
//! let mut engine = Engine::new(sim, hello, Config::default(), inbox);
//! let outcome = loop {
//!     if let Turn::Done(outcome) = engine.turn()? {
//!         break outcome;
//!     }
//! };
//! assert_eq!((outcome.code(), outcome.report.answered), (0, 1));
//! assert!(engine.sys().got(peer).ends_with(b"\r\n\r\nhello\n"));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What it copies from Linux, each checked there on loopback with an edge-triggered epoll:
//!
//! * An event is told once, and says all that is possible when it is told: a connection that is
//!   woken by bytes is writable too if there is room. Leaving bytes unread brings nothing more.
//! * The first event after registration says what is already there. So does a listener's, and
//!   accepting one of two leaves the other without an event.
//! * Room makes an event only after a write met a full window. A FIN from us makes one at once, and
//!   one more when the peer has acknowledged it.
//! * Bytes that came before a reset can still be read; then one error, then 0.
//! * Closing with bytes unread resets the peer, and so do bytes that come after a close.
//! * Out of descriptors, `accept` fails whether anyone is in the backlog or not.
//!
//! Where it is simpler: nothing takes time on the way; a peer acknowledges what its application
//! takes, no sooner; bytes that it has not taken are lost with a reset; a connection that does not
//! fit into the backlog knocks again after 1, 2, 4, … seconds.
//!
//! No HTTP and no kernel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(doc)]
use crate::sys::Sys;

mod bytes;
mod digest;
mod faults;
mod host;
mod peers;
mod row;
mod setup;

pub use bytes::Bytes;
pub use faults::{Dice, Faults, ResetAt};
pub use row::{Manner, Pace, PeerId, Seen};
pub use setup::{Setup, Totals};

use digest::Digest;
use row::{Ours, Row, Theirs};

/// The size of an argument to [`Sim::take`] that takes everything, our FIN included.
pub const ALL: u64 = u64::MAX;

/// What [`Sys::unix_time`] says when the world begins: the date that RFC 9110 §5.6.7 gives as an
/// example, Sun, 06 Nov 1994 08:49:37 GMT.
pub const UNIX_START: u64 = 784_111_777;

/// Something that happens in the world.
#[derive(Clone, Debug)]
pub enum Act {
    /// A peer connects.
    Connect(PeerId),
    /// A peer sends bytes. While its connect is held back they wait for it.
    Send(PeerId, Bytes),
    /// A peer says that it has sent its last byte; it goes on reading.
    Fin(PeerId),
    /// A peer's application goes away: a FIN, or a reset if it left bytes untaken. What is written
    /// to it from then on is answered with a reset.
    Leave(PeerId),
    /// A peer resets.
    Reset(PeerId),
    /// A peer takes that many bytes of what was written, and so acknowledges them. Our FIN counts
    /// as one more byte; [`ALL`] takes everything.
    Take(PeerId, u64),
    /// A signal arrives.
    Signal(i32),
    /// Another thread wakes the loop.
    Wake,
}

/// A world for an engine to run in.
#[derive(Debug)]
pub struct Sim {
    setup: Setup,
    now: u32,
    /// When the engine last looked at the clock.
    looked: u32,
    horizon: u32,
    resting: bool,
    script: BTreeMap<(u32, u64), Step>,
    seq: u64,
    rows: Vec<Row>,
    listening: Listening,
    listeners: Vec<Listener>,
    held: Vec<PeerId>,
    ready: VecDeque<Source>,
    signals: Vec<i32>,
    signalled: bool,
    inbox: Arc<AtomicBool>,
    dice: Dice,
    digest: Digest,
    totals: Totals,
}

/// An entry of the script: an act of the test's, or something that follows from one.
#[derive(Debug)]
enum Step {
    Act(Act),
    /// A held connect knocks again, and if in vain, `pause` later once more.
    Knock {
        peer: PeerId,
        pause: u32,
    },
    /// A slow peer takes what it was sent, up to that many bytes since the beginning.
    Take {
        peer: PeerId,
        up_to: u64,
    },
}

/// Who has something to tell. The queue of these is epoll's ready list.
#[derive(Clone, Copy, Debug)]
enum Source {
    Peer(PeerId),
    Listener(usize),
    Signal,
}

#[derive(Debug, Default)]
struct Listener {
    backlog: VecDeque<PeerId>,
    queued: bool,
}

/// How the listeners answer a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Open,
    /// Handshakes are stopped: the peer tries again later.
    Filtered,
    /// Connects are refused.
    Closed,
}

impl Default for Sim {
    fn default() -> Self {
        Self::new(Setup::default())
    }
}

impl Sim {
    /// A world with nobody in it.
    pub fn new(setup: Setup) -> Self {
        Self {
            now: 0,
            looked: 0,
            horizon: 0,
            resting: false,
            script: BTreeMap::new(),
            seq: 0,
            rows: Vec::new(),
            listening: Listening::Open,
            listeners: (0..setup.listeners).map(|_| Listener::default()).collect(),
            held: Vec::new(),
            ready: VecDeque::new(),
            signals: Vec::new(),
            signalled: false,
            inbox: Arc::default(),
            dice: Dice::new(setup.faults.seed),
            digest: Digest::default(),
            totals: Totals::default(),
            setup,
        }
    }

    /// A peer that will connect to that listener when it is told to ([`Act::Connect`]).
    ///
    /// # Panics
    ///
    /// If there is no such listener, or at 2³² peers, which no memory holds.
    pub fn peer(&mut self, listener: usize) -> PeerId {
        assert!(listener < self.listeners.len(), "no listener {listener}");
        let peer = PeerId(u32::try_from(self.rows.len()).expect("fewer than 2³² peers"));
        self.rows.push(Row::new(listener, self.setup.manner));
        peer
    }

    /// A peer that connects to that listener now.
    ///
    /// # Panics
    ///
    /// If there is no such listener.
    pub fn connect(&mut self, listener: usize) -> PeerId {
        let peer = self.peer(listener);
        self.act(Act::Connect(peer));
        peer
    }

    /// [`Act::Send`], now.
    pub fn send(&mut self, peer: PeerId, bytes: impl Into<Bytes>) {
        self.act(Act::Send(peer, bytes.into()));
    }

    /// [`Act::Fin`], now.
    pub fn fin(&mut self, peer: PeerId) {
        self.act(Act::Fin(peer));
    }

    /// [`Act::Leave`], now.
    pub fn leave(&mut self, peer: PeerId) {
        self.act(Act::Leave(peer));
    }

    /// [`Act::Reset`], now.
    pub fn reset(&mut self, peer: PeerId) {
        self.act(Act::Reset(peer));
    }

    /// [`Act::Take`], now.
    pub fn take(&mut self, peer: PeerId, bytes: u64) {
        self.act(Act::Take(peer, bytes));
    }

    /// [`Act::Signal`], now.
    pub fn signal(&mut self, number: i32) {
        self.act(Act::Signal(number));
    }

    /// Does something now. An act that a peer can no longer do, or not yet, does nothing: sending
    /// after its FIN, anything after a reset.
    pub fn act(&mut self, act: Act) {
        self.resting = false;
        match act {
            Act::Connect(peer) => self.peer_connects(peer),
            Act::Send(peer, bytes) => self.peer_sends(peer, bytes),
            Act::Fin(peer) => self.peer_finishes(peer),
            Act::Leave(peer) => self.peer_leaves(peer),
            Act::Reset(peer) => self.peer_resets(peer),
            Act::Take(peer, bytes) => {
                let up_to = self.row(peer).taken.saturating_add(bytes);
                self.peer_takes(peer, up_to);
            }
            Act::Signal(number) => {
                if !self.signals.contains(&number) {
                    self.signals.push(number);
                }
                if !self.signalled {
                    self.signalled = true;
                    self.ready.push_back(Source::Signal);
                }
            }
            Act::Wake => self.inbox.store(true, Ordering::Release),
        }
    }

    /// Writes an act into the script, that many milliseconds after the world began. Acts of the
    /// same time are played in the order in which they were written; one whose time is past is
    /// played at the next wait.
    pub fn at(&mut self, millis: u32, act: Act) {
        self.plan(millis, Step::Act(act));
        self.resting = false;
    }

    /// Changes how a peer behaves from now on. A peer that begins to read takes what waits for it
    /// at its new pace.
    pub fn behave(&mut self, peer: PeerId, manner: Manner) {
        self.resting = false;
        self.row_mut(peer).manner = manner;
        if self.row(peer).unacknowledged() > 0 {
            self.offer(peer);
        }
        self.peer_takes(peer, 0); // its window may have opened
    }

    /// Moves the horizon, to that many milliseconds after the world began; never back. See
    /// [`Sim::resting`] for how far a test then turns its engine.
    pub fn run_until(&mut self, millis: u32) {
        self.horizon = self.horizon.max(millis);
        self.resting = false;
    }

    /// Whether the last wait ended at the horizon with nothing to tell and no timeout reached, and
    /// nothing was done to the world since: the engine has done all it will do.
    pub const fn resting(&self) -> bool {
        self.resting
    }

    /// Milliseconds since the world began.
    pub const fn millis(&self) -> u32 {
        self.now
    }

    /// The bytes that a peer has taken.
    ///
    /// # Panics
    ///
    /// If the world was set up not to record them.
    pub fn got(&self, peer: PeerId) -> &[u8] {
        assert!(self.setup.record, "only the digest is kept");
        let row = self.row(peer);
        &row.wire[..row.taken as usize]
    }

    /// How many bytes a peer has taken.
    pub fn taken(&self, peer: PeerId) -> u64 {
        self.row(peer).taken
    }

    /// How many bytes that a peer has sent we have not read.
    pub fn unread(&self, peer: PeerId) -> u64 {
        self.row(peer).inbox.len()
    }

    /// What a peer has seen of us.
    pub fn seen(&self, peer: PeerId) -> Seen {
        self.row(peer).seen()
    }

    /// How many connections we have had.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// FNV-1a of every byte we wrote with its peer, in order, and of every finish, close and abort
    /// with its time. Does not depend on how bytes are cut into writes. A change of the engine that
    /// changes the digest of a script has changed what the engine does.
    pub const fn digest(&self) -> u64 {
        self.digest.value()
    }

    fn row(&self, peer: PeerId) -> &Row {
        &self.rows[peer.0 as usize]
    }

    fn row_mut(&mut self, peer: PeerId) -> &mut Row {
        &mut self.rows[peer.0 as usize]
    }

    fn plan(&mut self, millis: u32, step: Step) {
        self.script.insert((millis, self.seq), step);
        self.seq += 1;
    }

    fn plan_in(&mut self, pause: u32, step: Step) {
        self.plan(self.now.saturating_add(pause), step);
    }

    /// Plays what is due.
    fn play(&mut self) {
        while let Some(entry) = self.script.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Step::Act(act) => self.act(act),
                Step::Knock { peer, pause } => self.knock(peer, pause),
                Step::Take { peer, up_to } => self.peer_takes(peer, up_to),
            }
        }
    }

    /// Puts a connection on the ready list, once.
    fn wake(&mut self, peer: PeerId) {
        let row = self.row_mut(peer);
        if row.ours == Ours::Registered && !row.queued {
            row.queued = true;
            self.ready.push_back(Source::Peer(peer));
        }
    }
}
