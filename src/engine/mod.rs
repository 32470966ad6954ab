//! The loop: a turn waits, serves what is ready, reads messages and signals, accepts, and closes
//! connections whose deadline has passed.
//!
//! The order within a turn is part of the contract. A turn knows of a signal before it serves the
//! sockets of the same batch, so their responses say close. It obeys the signal after them, so that
//! a request that is readable when the signal comes is served as a request. The drain is asked at
//! the turn's end, so that it acts in the turn that changed it. The engine is generic over [`Sys`]:
//! a turn is a function of what the system answers.
//!
//! A small GET takes some 1,440 instructions (`benches/instructions.rs`, 64 ready connections a
//! turn). Its head takes 610, its event 110, the tracker's lists 70, and [`Connection::handle`] 550.
//! That function is inlined on the usual request's way. Rare ways are out of line, and marked so.
//!
//! Knows no mio, no rustls, no clock.

mod accept;
mod accepting;
mod blockers;
mod check;
mod connection;
mod expire;
mod inbox;
mod progress;
mod stop;
#[cfg(test)]
mod tests;
mod tunnel_calls;
mod tunnels;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;

use self::accepting::Accepting;
use self::connection::{Connection, HeadCache, Input, Pool, Scope, Step};
pub use self::progress::PROGRESS_LINE;
pub use self::stop::HOOK_GRACE;
use self::tunnels::Tunnels;
use crate::app::{Config, Handle, Handler, Inbox, Outcome, Report, Runner, Turning};
use crate::date::Date;
use crate::drain::Drain;
use crate::sys::{Ready, Sys, Who};
use crate::tick::Tick;
use crate::tracker::{ConnId, Counts, Phase, Tracker};

/// The engine: the connections of one loop, and what happens to them.
pub struct Engine<S: Sys, H> {
    core: Core<S, H>,
    tracker: Tracker<Connection<S::Io>>,
    pool: Pool,
    /// One read buffer for the whole loop: bytes are parsed where they lie.
    scratch: Box<[u8]>,
    events: Vec<Ready>,
    /// Connections that have more to do than their share, in order.
    again: VecDeque<ConnId>,
    accepting: Accepting,
    hooks: Runner,
    signals: Vec<i32>,
    /// When the next line of a drain's progress is due.
    next_line: Option<Tick>,
    /// When the first connection or tunnel is due; `None` if none waits for time.
    next_due: Option<Tick>,
    /// When the last turn began.
    turned: Tick,
}

/// What a connection needs of the loop.
struct Core<S, H> {
    sys: S,
    handler: H,
    config: Config,
    inbox: Inbox,
    date: Date,
    head_cache: HeadCache,
    report: Report,
    drain: Drain,
    /// A source's piece, before it is framed.
    piece: Vec<u8>,
    tunnels: Tunnels,
}

/// How a turn ended.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made in the life of a server"
)]
pub enum Turn {
    /// There is more to do, now or later.
    Continue,
    /// The drain is over.
    Done(Outcome),
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Returns an engine that has not begun. `inbox` was made with the system's own waker.
    pub fn new(sys: S, handler: H, config: Config, inbox: Inbox) -> Self {
        inbox.handle().set_secure(S::SECURE);
        Self {
            accepting: Accepting::new(sys.listeners()),
            core: Core {
                sys,
                handler,
                drain: Drain::new(config.drain.0),
                config,
                inbox,
                date: Date::default(),
                head_cache: HeadCache::default(),
                report: Report::default(),
                piece: Vec::new(),
                tunnels: Tunnels::default(),
            },
            tracker: Tracker::new(),
            pool: Pool::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            events: Vec::new(),
            again: VecDeque::new(),
            hooks: Runner::default(),
            signals: Vec::new(),
            next_line: None,
            next_due: None,
            turned: Tick::default(),
        }
    }

    /// Returns the handle by which other threads reach this loop.
    pub const fn handle(&self) -> &Handle {
        self.core.inbox.handle()
    }

    /// Returns the system, for tests that drive it between turns.
    pub const fn sys(&mut self) -> &mut S {
        &mut self.core.sys
    }

    /// Returns the handler.
    pub const fn handler(&mut self) -> &mut H {
        &mut self.core.handler
    }

    /// Returns how many connections are in each phase.
    pub fn counts(&self) -> Counts {
        self.tracker.counts()
    }

    /// Returns what was done so far.
    pub const fn report(&self) -> &Report {
        &self.core.report
    }

    /// Turns until the drain is over.
    ///
    /// # Errors
    ///
    /// The system's selector failed: no event of any connection can come any more.
    pub fn run(&mut self) -> io::Result<Outcome> {
        loop {
            if let Turn::Done(outcome) = self.turn()? {
                return Ok(outcome);
            }
        }
    }

    /// Turns once.
    ///
    /// # Errors
    ///
    /// The system's selector failed: no event of any connection can come any more.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let _turning = Turning::begin(self.handle().number());
        let before = self.core.sys.update_clock();
        self.start_idle_clocks(before);
        let timeout = self.timeout(before);
        let mut events = mem::take(&mut self.events);
        let complete = self.core.sys.wait(timeout, &mut events)?;
        let now = self.core.sys.now();
        self.turned = now;
        if events.iter().any(|event| event.who == Who::Signal) {
            self.read_signals();
        }
        for event in events.drain(..) {
            match event.who {
                Who::Conn(id) => self.socket_ready(id, event, now),
                Who::Listener(listener) => self.accepting.arrived(listener),
                Who::Signal | Who::Inbox => {} // signals are read, the inbox follows below
            }
        }
        self.events = events;
        self.serve_again(now);
        self.read_inbox(now);
        self.obey_signals(now);
        self.accept(now);
        self.tracker.cap_ages(now);
        self.advance(now);
        self.core.drain.set_late_cutoff(complete, now);
        self.next_due = earliest([self.call_tunnels(now), self.expire(now)]);
        let done = self.obey_drain(now);
        self.log_progress(now);
        #[cfg(any(test, debug_assertions))]
        self.check();
        Ok(done.map_or(Turn::Continue, Turn::Done))
    }

    /// Starts the idle clocks of the last turn's connections. They start when a turn ends, not when
    /// it begins: the turn may have been long, and a drain's idle grace counts from the response.
    fn start_idle_clocks(&mut self, now: Tick) {
        if now != self.turned {
            for phase in [Phase::Idle, Phase::Fresh] {
                self.tracker.restart(phase, self.turned, now);
            }
        }
    }

    /// Returns how long this turn may wait, in milliseconds.
    fn timeout(&self, now: Tick) -> Option<u32> {
        let drain = &self.core.drain;
        if drain.lacks_late_cutoff() || !self.again.is_empty() || self.accepting.ready() {
            return Some(0);
        }
        // Where the limit on connections stopped the accepting, only a close makes room.
        let full = self.tracker.len() >= self.core.config.limits.connections;
        let waits = self.accepting.is_open() && (!full || drain.has_begun());
        let retry = self.accepting.retry_at().filter(|_| waits);
        let next = earliest([
            self.next_due,
            retry,
            // Since the drain was last obeyed: a moment that passed meanwhile must not be slept over.
            drain.next_change(self.accepting.is_open(), self.turned),
            self.next_line,
            drain.ending().map(|(_, until)| until),
        ]);
        // Connections without a limit need their ages capped in time.
        next.map(|at| at.since(now))
            .or_else(|| (!self.tracker.is_empty()).then_some(DAY))
    }

    /// Gives a connection what its socket is ready for: on every request's way, and so with the
    /// whole of [`input_inlined`](Self::input_inlined) for this one input.
    #[inline(never)]
    fn socket_ready(&mut self, id: ConnId, event: Ready, now: Tick) {
        self.input_inlined(id, Input::Ready(event), now);
    }

    /// Gives a connection another input.
    #[inline(never)]
    fn input(&mut self, id: ConnId, input: Input, now: Tick) {
        self.input_inlined(id, input, now);
    }

    /// Gives a connection an input, if the connection is still there, and files it in the list of
    /// its phase. Every input of every connection goes this way.
    #[inline(always)]
    fn input_inlined(&mut self, id: ConnId, input: Input, now: Tick) {
        let Some((was, connection)) = self.tracker.get_with_phase(id) else {
            return input.discard();
        };
        let step = connection.handle(
            input,
            &mut Scope {
                core: &mut self.core,
                pool: &mut self.pool,
                scratch: &mut self.scratch,
                id,
                now,
            },
        );
        if step.closes() {
            return self.remove(id, step);
        }
        if connection.enter_queue(step) {
            self.again.push_back(id);
        }
        let phase = connection.phase(&self.pool);
        if step.restart || was != phase {
            let nth = connection.requests();
            self.tracker.enter(id, phase, now);
            if phase == Phase::Idle && !self.core.drain.keep_alive() {
                self.core.drain.became_idle(id, nth, now);
            }
        }
    }

    /// Removes a connection, and ends it as its step says.
    fn remove(&mut self, id: ConnId, step: Step) {
        if let Some(connection) = self.tracker.remove(id) {
            connection.dispose(step, &mut self.pool, &mut self.core);
            self.accepting.make_room();
        }
    }

    /// Serves the connections that had more to do than their share, once each.
    fn serve_again(&mut self, now: Tick) {
        for _ in 0..self.again.len() {
            let Some(id) = self.again.pop_front() else {
                return;
            };
            if let Some(connection) = self.tracker.get_mut(id) {
                connection.leave_queue();
                self.socket_ready(id, Ready::nothing_new(Who::Conn(id)), now);
            }
        }
    }
}

/// Returns the earliest of the moments that there are.
fn earliest<const N: usize>(moments: [Option<Tick>; N]) -> Option<Tick> {
    moments.into_iter().flatten().reduce(Tick::min)
}

impl<S: Sys, H> fmt::Debug for Engine<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("stage", &self.core.drain.stage())
            .field("counts", &self.tracker.counts())
            .field("report", &self.core.report)
            .finish_non_exhaustive()
    }
}

/// The read buffer of the loop, in bytes: the most that one read takes.
const SCRATCH: usize = 64 * 1024;

/// The longest wait while there are connections, in milliseconds.
const DAY: u32 = 24 * 60 * 60 * 1_000;

// What an idle connection costs. mio's stream is 4 bytes only in release: in debug it carries a
// selector's id.
#[cfg(not(debug_assertions))]
const _: () = assert!(Tracker::<Connection<std::os::fd::OwnedFd>>::ENTRY_SIZE <= 64);
