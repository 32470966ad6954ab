//! The loop: a turn waits, serves what is ready, hears messages and signals, accepts, and ends
//! whose time is up.
//!
//! The order within a turn is part of the contract. That a signal came is known before the sockets
//! of the same batch are served, so their answers say close; but it is acted on after them, so that
//! a request which is readable when the signal comes is served as what it is. The drain's plan is
//! obeyed at the end, so that it acts in the turn that changed it. Generic over [`Sys`]: a turn
//! is a function of what the system answers.
//!
//! Where the instructions of a small GET go (`benches/instructions.rs`, 64 ready connections a
//! turn): 610 of 1,430 into its head, 110 into its event, 70 into the tracker's lists, and 550 into
//! `serve`, which is one function as far as the usual request goes: the read, the handler, the kept
//! head, the write, the phase. What is rare is out of line, marked so.
//!
//! Knows no mio, no rustls, no clock.

mod accept;
mod ask;
mod blockers;
mod check;
mod conn;
mod hot;
mod kept;
mod leave;
mod mail;
mod output;
mod progress;
mod serve;
mod stop;
mod tunnel;
mod tunnels;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;

use self::accept::{Accepting, RETRY};
use self::conn::{Conn, Flag};
use self::hot::{Doing, Hot, How, NIL, Pool};
use self::kept::Kept;
pub use self::progress::PROGRESS_LINE;
use self::progress::Progress;
use self::serve::{Service, Verdict};
use self::stop::Ending;
pub use self::stop::HOOK_GRACE;
use self::tunnels::Tunnels;
use crate::app::{Config, Handle, Handler, Inbox, Outcome, Report, Runner, Turning};
use crate::date::Date;
use crate::drain::{LAST_CALL, Stage};
use crate::h1::Codec;
use crate::sys::{Midway, Ready, Sys, Who};
use crate::tick::Tick;
use crate::tracker::{ConnId, Counts, Phase, Tracker};

/// The engine: the connections of one loop, and what happens to them.
pub struct Engine<S: Sys, H> {
    core: Core<S, H>,
    tracker: Tracker<Conn<S::Io>>,
    pool: Pool,
    /// One read buffer for the whole loop: what is read is parsed where it lies.
    scratch: Box<[u8]>,
    ready: Vec<Ready>,
    /// Connections that had more to give than their share, in order.
    again: VecDeque<ConnId>,
    accepting: Accepting,
    stage: Stage,
    /// When the first reason to stop came.
    stopped_at: Option<Tick>,
    /// Answers that had been broken off before.
    aborted_before: u64,
    /// Connections that had been closed before.
    closed_before: u64,
    /// A signal was obeyed.
    signalled: bool,
    /// When new handshakes were turned away.
    last_call: Option<Tick>,
    hooks: Runner,
    ending: Option<Ending>,
    signals: Vec<i32>,
    progress: Progress,
    /// Who became idle since the server was told to stop, after which request, and when they leave.
    parting: VecDeque<(ConnId, u32, Tick)>,
    /// When the oldest of some phase, or a tunnel, is due; none when nobody waits for time.
    next_due: Option<Tick>,
    /// When the last turn began.
    turned: Tick,
}

/// What every connection's service needs of the loop.
struct Core<S, H> {
    sys: S,
    handler: H,
    config: Config,
    inbox: Inbox,
    date: Date,
    kept: Kept,
    report: Report,
    /// Answers may leave the connection open.
    keep_alive: bool,
    /// The draining has begun.
    draining: bool,
    /// And whatever had arrived by then was served by this moment: later requests are late.
    late_from: Option<Tick>,
    /// What a source makes, before it is framed.
    piece: Vec<u8>,
    /// The connections that were upgraded.
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
    /// An engine that has not begun. `inbox` was made with the system's own waker.
    pub fn new(sys: S, handler: H, config: Config, inbox: Inbox) -> Self {
        Self {
            accepting: Accepting::new(sys.listeners()),
            core: Core {
                sys,
                handler,
                config,
                inbox,
                date: Date::default(),
                kept: Kept::default(),
                report: Report::default(),
                keep_alive: true,
                draining: false,
                late_from: None,
                piece: Vec::new(),
                tunnels: Tunnels::default(),
            },
            tracker: Tracker::new(),
            pool: Pool::default(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            ready: Vec::new(),
            again: VecDeque::new(),
            stage: Stage::Serving,
            stopped_at: None,
            aborted_before: 0,
            closed_before: 0,
            signalled: false,
            last_call: None,
            hooks: Runner::default(),
            ending: None,
            signals: Vec::new(),
            progress: Progress::default(),
            parting: VecDeque::new(),
            next_due: None,
            turned: Tick::default(),
        }
    }

    /// What reaches this loop from other threads.
    pub const fn handle(&self) -> &Handle {
        self.core.inbox.handle()
    }

    /// The system, for tests that drive it between turns.
    pub const fn sys(&mut self) -> &mut S {
        &mut self.core.sys
    }

    /// The handler.
    pub const fn handler(&mut self) -> &mut H {
        &mut self.core.handler
    }

    /// How many connections are in each phase.
    pub fn counts(&self) -> Counts {
        self.tracker.counts()
    }

    /// What was done so far.
    pub const fn report(&self) -> &Report {
        &self.core.report
    }

    /// Turns until the drain is over.
    ///
    /// # Errors
    ///
    /// The system's selector failed: nothing more can be heard of any connection.
    pub fn run(&mut self) -> io::Result<Outcome> {
        loop {
            if let Turn::Done(outcome) = self.turn()? {
                return Ok(outcome);
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    ///
    /// The system's selector failed: nothing more can be heard of any connection.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let _turning = Turning::begin();
        let before = self.core.sys.update_clock();
        self.count_from_the_end(before);
        let timeout = self.timeout(before);
        let mut ready = mem::take(&mut self.ready);
        let all = self.core.sys.wait(timeout, &mut ready)?;
        let now = self.core.sys.now();
        self.turned = now;
        if ready.iter().any(|event| event.who == Who::Signal) {
            self.hear_signals();
        }
        for event in ready.drain(..) {
            match event.who {
                Who::Conn(id) => self.event(id, event, now),
                Who::Listener(listener) => self.accepting.arrived(listener),
                Who::Signal | Who::Inbox => {} // the one is heard, the other looked at below
            }
        }
        self.ready = ready;
        self.serve_again(now);
        self.read_inbox(now);
        self.obey_signals(now);
        self.accept(now);
        self.tracker.cap_ages(now);
        self.advance(now);
        self.know_the_late(all, now);
        let next_call = self.mind_tunnels(now);
        self.expire(now);
        self.next_due = [self.next_due, next_call]
            .into_iter()
            .flatten()
            .reduce(Tick::min);
        let done = self.obey(now);
        self.log_progress(now);
        #[cfg(any(test, debug_assertions))]
        self.check();
        Ok(done.map_or(Turn::Continue, Turn::Done))
    }

    /// Whoever was answered or let in by the last turn has been idle since its end, not since its
    /// beginning, if it was long or held up: the idle grace of a drain counts from the answer.
    fn count_from_the_end(&mut self, now: Tick) {
        if now != self.turned {
            for phase in [Phase::Idle, Phase::Fresh] {
                self.tracker.restart(phase, self.turned, now);
            }
        }
    }

    /// How long this turn may wait.
    fn timeout(&self, now: Tick) -> Option<u32> {
        let undecided = self.core.draining && self.core.late_from.is_none();
        if undecided || !self.again.is_empty() || self.accepting.ready() {
            return Some(0);
        }
        let plan = self.plan(now);
        // Where it is the limit on connections, room comes by a close alone.
        let full = self.tracker.len() >= self.core.config.limits.connections;
        let waits = self.accepting.open && (!full || self.core.draining);
        let retry = self.accepting.full.filter(|_| waits);
        // The plan may have asked for the last call late: it lasts its moment all the same.
        let last_call = self.last_call.map(|from| from.after(LAST_CALL));
        let moments = [
            self.next_due,
            last_call.filter(|end| self.accepting.open && !now.reached(*end)),
            retry.map(|since| since.after(RETRY)),
            plan.again_in.map(|wait| now.after(wait)),
            self.next_line(),
            self.ending_until(),
        ];
        let wait = moments.iter().flatten().map(|at| at.since(now)).min();
        // Where somebody waits without a limit, ages are capped in time.
        wait.or_else(|| (!self.tracker.is_empty()).then_some(DAY))
    }

    /// An event of a connection, if it is still the one it is about.
    fn event(&mut self, id: ConnId, event: Ready, now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if event.readable || event.gone {
            conn.set(Flag::Readable); // what broke it is for the next read to say
        }
        if event.read_closed {
            conn.set(Flag::Readable);
            conn.set(Flag::ReadClosed);
        }
        if conn.is(Flag::Finished) {
            return self.linger(id, now);
        }
        if conn.hot == NIL {
            if conn.is(Flag::Readable) {
                self.serve(id, now);
            }
            if event.gone {
                self.tunnel_gone(id, now);
            }
            return;
        }
        if event.gone {
            // Nothing that we could still say would arrive.
            self.core.report.left += 1;
            return self.leave(id, How::Gone, now);
        }
        if event.writable
            && let Some(hot) = self.pool.get_mut(conn.hot)
        {
            hot.out.blocked = false;
        }
        self.serve(id, now);
    }

    /// Serves a connection once, and files it.
    fn serve(&mut self, id: ConnId, now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if conn.is(Flag::Finished) {
            return self.linger(id, now);
        }
        let mut hot = self.pool.take(mem::replace(&mut conn.hot, NIL));
        if conn.brings_something() {
            wake(conn, &mut hot);
        }
        let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
        let verdict = service.pass_inline(&mut self.scratch);
        let restart = service.restart;
        self.settle(id, hot, verdict, restart, now);
    }

    /// Files a connection after its service: in the phase that its state says.
    #[inline(always)]
    fn settle(
        &mut self,
        id: ConnId,
        mut hot: Box<Hot>,
        verdict: Verdict,
        restart: bool,
        now: Tick,
    ) {
        if let Verdict::Leave(how) = verdict {
            self.pool.give_back(hot, false);
            return self.leave(id, how, now);
        }
        let Some((was, conn)) = self.tracker.get_with_phase(id) else {
            return;
        };
        let served = conn.served;
        let mut phase = phase(&hot, served);
        if matches!(phase, Phase::Fresh | Phase::Idle) {
            let begun = match self.core.sys.midway(&conn.io) {
                Midway::Handshake => {
                    conn.set(Flag::Handshake);
                    true
                }
                Midway::Record => true,
                // Something had begun to arrive, and no request came of it. It keeps the time it
                // has, or its peer would never be idle for long.
                Midway::Nothing => !restart && was == Phase::Head && !conn.is(Flag::Handshake),
            };
            if begun {
                phase = Phase::Head;
            }
        }
        if matches!(phase, Phase::Fresh | Phase::Idle) {
            conn.clear(Flag::Handshake);
            if hot.codec.empty_lines() > 0 {
                remember(conn, &mut hot);
            }
            self.pool.give_back(hot, true);
        } else if phase == Phase::Tunnel {
            self.fall_asleep(id, hot);
        } else {
            if phase == Phase::Handler {
                hot.rest();
            }
            conn.hot = self.pool.keep(hot);
        }
        if restart || was != phase {
            self.tracker.enter(id, phase, now);
            if !self.core.keep_alive && phase == Phase::Idle {
                self.part_from(id, served, now);
            }
        }
        if verdict == Verdict::Again {
            self.queue(id);
        }
    }

    /// Puts a connection at the end of those that had more to give than their share.
    fn queue(&mut self, id: ConnId) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if !conn.is(Flag::Queued) {
            conn.set(Flag::Queued);
            self.again.push_back(id);
        }
    }

    /// Serves those who had more to give, once each.
    fn serve_again(&mut self, now: Tick) {
        for _ in 0..self.again.len() {
            let Some(id) = self.again.pop_front() else {
                return;
            };
            if let Some(conn) = self.tracker.get_mut(id) {
                conn.clear(Flag::Queued);
                self.serve(id, now);
            }
        }
    }
}

/// What a connection remembers beside a blank state.
#[cold]
fn wake<I>(conn: &mut Conn<I>, hot: &mut Hot) {
    if conn.is(Flag::Tunnel) {
        return hot.wake_tunnel();
    }
    hot.codec = Codec::after_empty_lines(conn.empty_lines());
    conn.set_empty_lines(0);
}

/// The inverse: what is given back is blank.
#[cold]
fn remember<I>(conn: &mut Conn<I>, hot: &mut Hot) {
    conn.set_empty_lines(hot.codec.empty_lines());
    hot.codec = Codec::default();
}

/// The phase of a connection, from its state.
#[inline]
fn phase(hot: &Hot, served: u32) -> Phase {
    if hot.is_blank() {
        return if served == 0 {
            Phase::Fresh
        } else {
            Phase::Idle
        };
    }
    if !hot.out.is_empty() {
        return Phase::Reply;
    }
    match hot.doing {
        Doing::Asked | Doing::Parked(_) | Doing::Paused => Phase::Handler,
        Doing::Streaming(_) => Phase::Reply,
        Doing::Tunnel { more: false } if hot.input.is_empty() => Phase::Tunnel,
        Doing::Tunnel { .. } => Phase::Reply,
        Doing::Receiving if hot.codec.request_open() => Phase::Body,
        Doing::Receiving => Phase::Head,
    }
}

impl<S: Sys, H> fmt::Debug for Engine<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("stage", &self.stage)
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
const _: () = assert!(Tracker::<Conn<std::os::fd::OwnedFd>>::ENTRY_SIZE <= 60);
