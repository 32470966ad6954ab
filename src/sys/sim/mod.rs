//! A simulated world in a table: peers, backlogs, signals, and a clock that jumps.
//!
//! [`Sim`] is a [`Sys`] without a kernel. A connection is a row, and a handle the row's number.
//! Time stands still while the engine works. [`Sys::wait`] plays what is due, then jumps to the
//! next entry of the script, the timeout, or the horizon. No threads, no files, no sleeps: the same
//! script gives the same [`digest`](Sim::digest) each time.
//!
//! A test acts between the engine's turns ([`connect`](Sim::connect), [`send`](Sim::send),
//! [`fin`](Sim::fin), …), or by script ([`at`](Sim::at)). The clock never passes the horizon, which
//! [`run_until`](Sim::run_until) moves: without it time stands still.
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
//! The simulation follows Linux, checked on loopback with an edge-triggered epoll:
//!
//! * An event comes once, with all that is possible at that moment: a connection woken by bytes is
//!   writable too if there is room. Unread bytes bring no further event.
//! * The first event after registration reports what happened before. So does a listener's;
//!   accepting one of two connections leaves the other without an event.
//! * Room brings an event only after a write met a full window. Our FIN brings one at once, and one
//!   more when the peer has acknowledged it.
//! * Bytes from before a reset can still be read; then one error, then 0.
//! * A close with unread bytes resets the peer, and so do bytes that come after a close.
//! * Without descriptors, `accept` fails, also with an empty backlog.
//!
//! Simplifications: the network takes no time; a peer acknowledges bytes when its application takes
//! them; a reset loses bytes not taken; a connection without room in the backlog tries again after
//! 1, 2, 4, … seconds.

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

/// The [`Sys::unix_time`] at the beginning: RFC 9110 §5.6.7's example, Sun, 06 Nov 1994 08:49:37
/// GMT.
pub const UNIX_START: u64 = 784_111_777;

/// An act in the world.
#[derive(Clone, Debug)]
pub enum Act {
    /// A peer connects.
    Connect(PeerId),
    /// A peer sends bytes. Bytes sent before its connect succeeds wait for it.
    Send(PeerId, Bytes),
    /// A peer sends its FIN and goes on reading.
    Fin(PeerId),
    /// A peer's application goes away: a FIN, or a reset if bytes are not taken. Further writes to
    /// the peer cause a reset.
    Leave(PeerId),
    /// A peer resets.
    Reset(PeerId),
    /// A peer takes that many written bytes, which acknowledges them. Our FIN counts as one byte;
    /// [`ALL`] takes everything.
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
    /// The clock as the engine last read it.
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

/// An entry of the script: an act of the test, or a consequence of one.
#[derive(Debug)]
enum Step {
    Act(Act),
    /// A held connect tries again; if in vain, once more after `pause`.
    Knock {
        peer: PeerId,
        pause: u32,
    },
    /// A slow peer takes bytes, up to `up_to` since the beginning.
    Take {
        peer: PeerId,
        up_to: u64,
    },
}

/// The source of an event. Their queue is epoll's ready list.
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
    /// Returns a world without peers.
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

    /// Adds a peer of that listener, which connects by [`Act::Connect`].
    ///
    /// # Panics
    ///
    /// If there is no such listener, or at 2³² peers, which exceed any memory.
    pub fn peer(&mut self, listener: usize) -> PeerId {
        assert!(listener < self.listeners.len(), "no listener {listener}");
        let peer = PeerId(u32::try_from(self.rows.len()).expect("fewer than 2³² peers"));
        self.rows.push(Row::new(listener, self.setup.manner));
        peer
    }

    /// Adds a peer that connects to that listener now.
    ///
    /// # Panics
    ///
    /// If there is no such listener.
    pub fn connect(&mut self, listener: usize) -> PeerId {
        let peer = self.peer(listener);
        self.act(Act::Connect(peer));
        peer
    }

    /// Does [`Act::Send`] now.
    pub fn send(&mut self, peer: PeerId, bytes: impl Into<Bytes>) {
        self.act(Act::Send(peer, bytes.into()));
    }

    /// Does [`Act::Fin`] now.
    pub fn fin(&mut self, peer: PeerId) {
        self.act(Act::Fin(peer));
    }

    /// Does [`Act::Leave`] now.
    pub fn leave(&mut self, peer: PeerId) {
        self.act(Act::Leave(peer));
    }

    /// Does [`Act::Reset`] now.
    pub fn reset(&mut self, peer: PeerId) {
        self.act(Act::Reset(peer));
    }

    /// Does [`Act::Take`] now.
    pub fn take(&mut self, peer: PeerId, bytes: u64) {
        self.act(Act::Take(peer, bytes));
    }

    /// Does [`Act::Signal`] now.
    pub fn signal(&mut self, number: i32) {
        self.act(Act::Signal(number));
    }

    /// Does an act now. Impossible acts, such as sending after a FIN or anything after a reset, do
    /// nothing.
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

    /// Adds an act to the script, `millis` milliseconds after the world began. Acts of the same
    /// time keep their order. The next wait plays an act whose time is past.
    pub fn at(&mut self, millis: u32, act: Act) {
        self.plan(millis, Step::Act(act));
        self.resting = false;
    }

    /// Changes how a peer behaves. A peer takes waiting bytes at its new pace.
    pub fn behave(&mut self, peer: PeerId, manner: Manner) {
        self.resting = false;
        self.row_mut(peer).manner = manner;
        if self.row(peer).unacknowledged() > 0 {
            self.offer(peer);
        }
        self.peer_takes(peer, 0); // its window may have opened
    }

    /// Moves the horizon to `millis` milliseconds after the world began, never back. A test then
    /// turns its engine until [`Sim::resting`].
    pub fn run_until(&mut self, millis: u32) {
        self.horizon = self.horizon.max(millis);
        self.resting = false;
    }

    /// Returns whether the last wait ended at the horizon without an event or a timeout, and no act
    /// followed: the engine has nothing left to do.
    pub const fn resting(&self) -> bool {
        self.resting
    }

    /// Returns the milliseconds since the world began.
    pub const fn millis(&self) -> u32 {
        self.now
    }

    /// Returns the bytes that a peer has taken.
    ///
    /// # Panics
    ///
    /// If the world does not record bytes.
    pub fn got(&self, peer: PeerId) -> &[u8] {
        assert!(self.setup.record, "only the digest is kept");
        let row = self.row(peer);
        &row.wire[..row.taken as usize]
    }

    /// Returns the number of bytes that a peer has taken.
    pub fn taken(&self, peer: PeerId) -> u64 {
        self.row(peer).taken
    }

    /// Returns the number of a peer's bytes that we have not read.
    pub fn unread(&self, peer: PeerId) -> u64 {
        self.row(peer).inbox.len()
    }

    /// Returns what a peer has seen of us.
    pub fn seen(&self, peer: PeerId) -> Seen {
        self.row(peer).seen()
    }

    /// Returns the counts of connections.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns the FNV-1a of every written byte with its peer, in order, and of every finish, close
    /// and abort with its time, whatever the cuts between writes. A changed digest of a script
    /// shows a changed behaviour of the engine.
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

    /// Plays the entries that are due.
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
