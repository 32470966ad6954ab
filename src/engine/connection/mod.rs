//! One connection, as one machine: its state, what can happen to it, and what follows.
//!
//! Every fact about a connection comes through one door, [`Connection::handle`]; no other module
//! sees a field. The table says what each input does in each state, and a test walks every cell:
//!
//! | state | `Ready` | `Respond` | `Wake` | `TimeUp` | `Timer` | `Drain` | `GraceOver` | `Cut` |
//! |---|---|---|---|---|---|---|---|---|
//! | `Fresh` | serves | – | – | FIN | – | – | – | FIN |
//! | `Idle` | serves | – | – | FIN | – | – | – | FIN |
//! | `Handshake` | serves | – | – | reset | – | – | – | reset |
//! | `Active`, receiving | serves | – | – | 408, FIN | – | – | – | 503, FIN |
//! | `Active`, sink paused | – | – | resumes | 503, FIN | – | – | – | 503, FIN |
//! | `Active`, awaiting a ticket | – | serves | – | 503, FIN | – | – | – | 503, FIN |
//! | `Active`, source idle | – | – | resumes | reset | – | resumes | – | reset |
//! | `Active`, responding | writes | – | – | reset | – | – | – | reset |
//! | `Tunnel` | receives | – | calls | reset | calls | bye, FIN | FIN | reset |
//! | `Linger` | closes | – | – | closes | – | – | – | closes |
//!
//! A dash leaves the connection as it is. Bytes that the last read before a FIN finds are a
//! request: `TimeUp` serves it, `Cut` answers 503. A deadline spares a responding connection, a
//! tunnel or a linger whose peer still takes bytes. `Ready` with a broken socket closes in every
//! state. `Linger` reads the error first; `Fresh` and `Idle` first serve the bytes that came along.
//!
//! Readiness is a value of its own ([`Readiness`]), apart from the state: no change of state loses
//! an edge. The state between requests owns no buffer; an [`Exchange`](exchange::Exchange) from the [`Pool`] holds the
//! rest.
//!
//! Knows no other connection.

mod buffer;
mod close;
mod exchange;
mod head_cache;
mod output;
mod pass;
mod readiness;
mod receive;
mod respond;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;

use std::io;
use std::mem;

use self::exchange::{Activity, Slot};
pub(super) use self::exchange::{Pool, discard};
pub(super) use self::head_cache::HeadCache;
use self::pass::Pass;
use self::readiness::Readiness;
use super::Core;
use super::tunnels::Tunnels;
use crate::app::{Handler, Response};
use crate::h1::Codec;
use crate::peer::Peer;
use crate::sys::{Midway, Ready, Sys, retry};
use crate::tick::Tick;
use crate::tracker::{ConnId, Phase};

/// A connection: all that an idle one costs, beside the tracker's links.
#[derive(Debug)]
pub(super) struct Connection<I> {
    io: I,
    /// Requests so far, and so the number of the current one.
    requests: u32,
    state: State,
    peer: Peer,
    readiness: Readiness,
    /// The loop's queue holds the connection, which has more to do than its share.
    queued: bool,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum State {
    /// No request came yet.
    Fresh { empty_lines: u8 },
    /// Between two requests.
    Idle { empty_lines: u8 },
    /// A TLS handshake has begun, or waits for its turn.
    Handshake,
    /// A head has begun, or its request is received or answered.
    Active(Slot),
    /// Upgraded: the tunnel has the connection, and an exchange while bytes move.
    Tunnel { entry: u32, exchange: Option<Slot> },
    /// Our FIN is sent: what arrives is discarded until the peer's FIN.
    Linger {
        /// Bytes read and discarded.
        discarded: u32,
        /// Bytes that the peer had not acknowledged at the last limit; 0 before the first.
        unacked: u32,
        /// A limit passed, and the peer had not acknowledged everything.
        overdue: bool,
    },
}

/// What can happen to a connection.
#[derive(Debug)]
pub(super) enum Input {
    /// The socket may be read or written, or is broken; or the connection's next share of a turn.
    Ready(Ready),
    /// A ticket's response to request `nth`; `None` where the ticket was dropped.
    Respond {
        nth: u32,
        response: Option<Box<Response>>,
    },
    /// The source, the sink or the tunnel of request `nth` can go on.
    Wake { nth: u32 },
    /// The time in the connection's phase is over.
    TimeUp,
    /// The tunnel's own timer is due.
    Timer,
    /// The server drains.
    Drain,
    /// The time is over that a drain gives a tunnel.
    GraceOver,
    /// The drain's deadline, or a second signal.
    Cut,
}

impl Input {
    /// Drops the input of a connection that is gone.
    #[cold]
    pub(super) fn discard(self) {
        discard(self);
    }
}

/// What follows from an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Waits for the next input.
    Wait,
    /// Has more to do, after the others.
    Again,
    /// Ends.
    Close(Close),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// FIN after the last byte (in [`Connection::close`]), then a linger until the peer's FIN.
    Graceful,
    /// Close: the peer has left, or has everything.
    Immediate,
    /// Reset, so that a truncated response cannot look complete.
    Reset,
    /// Reset, because the peer broke the connection.
    PeerFailed,
}

/// What the loop must do after an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    verdict: Verdict,
    /// The clock of the connection's phase starts anew.
    pub(super) restart: bool,
}

impl Step {
    const WAIT: Self = Self {
        verdict: Verdict::Wait,
        restart: false,
    };

    /// Closes a connection that the system cannot watch.
    pub(super) const UNREGISTERED: Self = Self::close(Close::Immediate);

    const fn close(close: Close) -> Self {
        Self {
            verdict: Verdict::Close(close),
            restart: false,
        }
    }

    /// Returns whether the connection is to be removed and ended.
    #[inline]
    pub(super) const fn closes(self) -> bool {
        matches!(self.verdict, Verdict::Close(_))
    }
}

/// What the loop lends a connection for one input.
pub(super) struct Scope<'e, S: Sys, H> {
    pub(super) core: &'e mut Core<S, H>,
    pub(super) pool: &'e mut Pool,
    /// The loop's read buffer.
    pub(super) scratch: &'e mut [u8],
    pub(super) id: ConnId,
    pub(super) now: Tick,
}

impl<I> Connection<I> {
    pub(super) const fn new(io: I, peer: Peer) -> Self {
        Self {
            io,
            requests: 0,
            state: State::Fresh { empty_lines: 0 },
            peer,
            readiness: Readiness::new(),
            queued: false,
        }
    }

    /// Asks the system for every event of the connection.
    pub(super) fn register<S: Sys<Io = I>>(&mut self, sys: &mut S, id: ConnId) -> io::Result<()> {
        sys.register(&mut self.io, id)
    }

    /// The one door: takes an input, and returns what the loop must do.
    #[inline(always)]
    pub(super) fn handle<S: Sys<Io = I>, H: Handler>(
        &mut self,
        input: Input,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        match input {
            Input::Ready(event) => {
                self.readiness.record(&event);
                self.ready(event.writable, scope)
            }
            Input::Respond { nth, response } => self.take_response(nth, response, scope),
            Input::Wake { nth } => self.wake(nth, scope),
            Input::TimeUp => self.time_up(scope),
            Input::Timer => self.call_tunnel(tunnel::Call::Timer, scope),
            Input::Drain => self.drain(scope),
            Input::GraceOver => self.end_tunnel(scope),
            Input::Cut => self.cut(scope),
        }
    }

    /// Returns the phase, derived from the state and from nothing else.
    #[inline]
    pub(super) fn phase(&self, pool: &Pool) -> Phase {
        match self.state {
            State::Fresh { .. } => Phase::Fresh,
            State::Idle { .. } => Phase::Idle,
            State::Handshake => Phase::Head,
            State::Active(slot) => pool.get(slot).phase(),
            State::Tunnel { exchange: None, .. } => Phase::Tunnel,
            State::Tunnel { .. } => Phase::Reply,
            State::Linger { .. } => Phase::Linger,
        }
    }

    /// Returns what the status lists: the request or the tunnel's name, and the bytes in and out.
    pub(super) fn describe(&self, pool: &Pool, tunnels: &Tunnels) -> (String, u64, u64) {
        match self.state {
            State::Active(slot) => pool.get(slot).describe(),
            State::Tunnel { entry, exchange } => {
                let (_, bytes_in, bytes_out) =
                    exchange.map_or((String::new(), 0, 0), |slot| pool.get(slot).describe());
                match tunnels.get(entry) {
                    Some(entry) => (
                        entry.name().to_owned(),
                        bytes_in + entry.bytes_in,
                        bytes_out + entry.bytes_out,
                    ),
                    None => (String::new(), bytes_in, bytes_out),
                }
            }
            State::Linger { discarded, .. } => (String::new(), discarded.into(), 0),
            State::Fresh { .. } | State::Idle { .. } | State::Handshake => (String::new(), 0, 0),
        }
    }

    /// Returns the peer's address.
    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns the number of the current request, or of the last.
    #[inline]
    pub(super) const fn requests(&self) -> u32 {
        self.requests
    }

    pub(super) const fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel { .. })
    }

    /// Returns whether the connection has an exchange.
    pub(super) const fn has_exchange(&self) -> bool {
        matches!(
            self.state,
            State::Active(_)
                | State::Tunnel {
                    exchange: Some(_),
                    ..
                }
        )
    }

    /// Returns whether the source of the response has nothing to send for now.
    pub(super) fn awaits_source(&self, pool: &Pool) -> bool {
        match self.state {
            State::Active(slot) => matches!(pool.get(slot).activity, Activity::SourceIdle(_)),
            _ => false,
        }
    }

    /// Enters the loop's queue if the step asks for it. Returns whether the connection is new there.
    #[inline]
    pub(super) fn enter_queue(&mut self, step: Step) -> bool {
        matches!(step.verdict, Verdict::Again) && !mem::replace(&mut self.queued, true)
    }

    pub(super) const fn leave_queue(&mut self) {
        self.queued = false;
    }

    /// Serves what the socket is ready for.
    #[inline(always)]
    fn ready<S: Sys<Io = I>, H: Handler>(
        &mut self,
        writable: bool,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        match self.state {
            State::Fresh { .. } | State::Idle { .. } | State::Tunnel { exchange: None, .. } => {
                if !self.readiness.may_read() {
                    return match self.readiness.is_broken() {
                        true => self.peer_left(scope),
                        false => Step::WAIT,
                    };
                }
            }
            State::Linger { .. } => return self.linger(scope),
            State::Handshake | State::Active(_) | State::Tunnel { .. }
                if self.readiness.is_broken() =>
            {
                return self.peer_left(scope);
            }
            State::Active(slot)
            | State::Tunnel {
                exchange: Some(slot),
                ..
            } if writable => {
                scope.pool.get_mut(slot).out.blocked = false;
            }
            State::Handshake | State::Active(_) | State::Tunnel { .. } => {}
        }
        // The same as `with_pass`, without a closure: the compiler would not inline it.
        let (slot, begun) = self.take_exchange(scope.pool);
        let exchange = scope.pool.get_mut(slot);
        let mut pass = Pass::new(scope.core, self, exchange, slot, scope.id, scope.now);
        let verdict = pass.run(scope.scratch);
        let (step, rest) = pass.conclude(verdict);
        let step = self.settle(slot, begun, step, rest, scope);
        if self.readiness.is_broken() && step.verdict == Verdict::Wait && !self.lingers() {
            return self.peer_left(scope); // no further edge would say so
        }
        step
    }

    /// Closes a connection whose peer is gone: no byte that we could still write would arrive.
    #[cold]
    fn peer_left<S: Sys<Io = I>, H>(&self, scope: &mut Scope<'_, S, H>) -> Step {
        scope.core.report.left += 1;
        Step::close(Close::Immediate)
    }

    /// Takes a ticket's response, if the request still waits for it.
    fn take_response<S: Sys<Io = I>, H: Handler>(
        &mut self,
        nth: u32,
        response: Option<Box<Response>>,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        let waits = matches!(self.state, State::Active(slot)
            if matches!(scope.pool.get(slot).activity, Activity::AwaitingTicket));
        if !waits || self.requests != nth {
            discard(response);
            return Step::WAIT;
        }
        let step = self.with_pass(scope, |pass, scratch| {
            pass.exchange.activity = Activity::Receiving;
            pass.respond_by_ticket(response);
            pass.run_outlined(scratch)
        });
        Step {
            restart: true,
            ..step
        }
    }

    /// Resumes the source, the sink or the tunnel of request `nth`.
    fn wake<S: Sys<Io = I>, H: Handler>(&mut self, nth: u32, scope: &mut Scope<'_, S, H>) -> Step {
        let waits = match self.state {
            State::Tunnel { .. } if self.requests == nth => {
                return self.call_tunnel(tunnel::Call::Wake, scope);
            }
            State::Active(slot) => matches!(
                scope.pool.get(slot).activity,
                Activity::SourceIdle(_) | Activity::Paused
            ),
            _ => false,
        };
        if !waits || self.requests != nth {
            return Step::WAIT;
        }
        self.with_pass(scope, |pass, scratch| {
            pass.resume();
            pass.run_outlined(scratch)
        })
    }

    /// Tells of the drain: an idle source may want to end, a tunnel says goodbye.
    fn drain<S: Sys<Io = I>, H: Handler>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        if self.is_tunnel() {
            return self.call_tunnel(tunnel::Call::Drain, scope);
        }
        if self.awaits_source(scope.pool) {
            return self.wake(self.requests, scope);
        }
        Step::WAIT
    }

    /// Lends an exchange to `work`, and afterwards keeps it, or gives it back to the pool.
    #[inline(always)]
    fn with_pass<S: Sys<Io = I>, H: Handler>(
        &mut self,
        scope: &mut Scope<'_, S, H>,
        work: impl FnOnce(&mut Pass<'_, S, H>, &mut [u8]) -> Verdict,
    ) -> Step {
        let (slot, begun) = self.take_exchange(scope.pool);
        let exchange = scope.pool.get_mut(slot);
        let mut pass = Pass::new(scope.core, self, exchange, slot, scope.id, scope.now);
        let verdict = work(&mut pass, scope.scratch);
        let (step, rest) = pass.conclude(verdict);
        self.settle(slot, begun, step, rest, scope)
    }

    /// Returns the connection's exchange, or makes the connection active with a blank one. The
    /// second value says what had begun to arrive.
    #[inline(always)]
    fn take_exchange(&mut self, pool: &mut Pool) -> (Slot, Begun) {
        match self.state {
            State::Active(slot) => (slot, Begun::Request),
            State::Tunnel {
                exchange: Some(slot),
                ..
            } => (slot, Begun::Nothing),
            State::Tunnel {
                entry,
                exchange: None,
            } => {
                let slot = pool.take();
                pool.get_mut(slot).activity = Activity::Tunnel { more: false };
                let exchange = Some(slot);
                self.state = State::Tunnel { entry, exchange };
                (slot, Begun::Nothing)
            }
            State::Fresh { empty_lines } | State::Idle { empty_lines } if empty_lines > 0 => {
                let slot = pool.take();
                pool.get_mut(slot).codec = Codec::after_empty_lines(empty_lines);
                self.state = State::Active(slot);
                (slot, Begun::Nothing)
            }
            State::Handshake => {
                let slot = pool.take();
                self.state = State::Active(slot);
                (slot, Begun::Handshake)
            }
            _ => {
                debug_assert!(!self.lingers(), "a lingering connection has no exchange");
                let slot = pool.take();
                self.state = State::Active(slot);
                (slot, Begun::Nothing)
            }
        }
    }

    /// Enters the state that a pass has led to.
    #[inline(always)]
    fn settle<S: Sys<Io = I>, H>(
        &mut self,
        slot: Slot,
        begun: Begun,
        step: Step,
        rest: Rest,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        if let Verdict::Close(close) = step.verdict {
            return self.close(close, scope);
        }
        if !rest.blank {
            self.keep(slot, scope);
            return step;
        }
        let stays = match (scope.core.sys.midway(&self.io), begun) {
            // A record without data may follow a handshake. The first byte is still to come.
            (Midway::Handshake, _) | (Midway::Record, Begun::Handshake) => {
                scope.pool.give_back(slot, rest.clean);
                self.state = State::Handshake;
                return step;
            }
            (Midway::Record, _) => true,
            // A head had begun, and no request came of it. The head's clock goes on, or the peer
            // would never be idle for long.
            (Midway::Nothing, begun) => begun == Begun::Request && !step.restart,
        };
        if !stays {
            let empty_lines = rest.empty_lines;
            self.state = match self.requests {
                0 => State::Fresh { empty_lines },
                _ => State::Idle { empty_lines },
            };
            scope.pool.give_back(slot, rest.clean);
        }
        step
    }

    /// Keeps an exchange that is in the middle of something, as small as it can be.
    #[inline]
    fn keep<S: Sys<Io = I>, H>(&mut self, slot: Slot, scope: &mut Scope<'_, S, H>) {
        let exchange = scope.pool.get_mut(slot);
        if let State::Tunnel { entry, .. } = self.state {
            if exchange.is_quiet_tunnel() {
                tunnel::fall_asleep(entry, exchange, &mut scope.core.tunnels);
                let clean = !exchange.is_dirty() && exchange.make_clean();
                scope.pool.give_back(slot, clean);
                let exchange = None;
                self.state = State::Tunnel { entry, exchange };
            }
        } else if exchange.phase() == Phase::Handler {
            exchange.release_buffers();
        }
    }

    /// Gives the exchange and the tunnel back.
    fn release(&mut self, pool: &mut Pool, tunnels: &mut Tunnels) {
        let blank = State::Fresh { empty_lines: 0 };
        let slot = match mem::replace(&mut self.state, blank) {
            State::Active(slot) => Some(slot),
            State::Tunnel { entry, exchange } => {
                tunnels.detach(entry);
                exchange
            }
            _ => None,
        };
        if let Some(slot) = slot {
            pool.give_back(slot, false);
        }
    }

    /// Reads once, and notes what the read says about the socket.
    #[inline(always)]
    fn read<S: Sys<Io = I>>(&mut self, sys: &mut S, scratch: &mut [u8]) -> Read {
        match retry(|| sys.read(&mut self.io, scratch)) {
            Ok(0) => {
                self.readiness.ended();
                Read::Ended
            }
            Ok(n) => {
                self.readiness.read(n, scratch.len(), S::SHORT_READ_DRAINS);
                Read::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.found_nothing();
                Read::Nothing
            }
            // Plain HTTP where TLS is spoken. Comes before any request, and so before any tunnel.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Read::Foreign(error),
            Err(_) => Read::Failed,
        }
    }

    const fn lingers(&self) -> bool {
        matches!(self.state, State::Linger { .. })
    }
}

/// What had begun to arrive before a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Nothing,
    Handshake,
    Request,
}

/// What a pass leaves of its exchange.
struct Rest {
    /// The connection is between requests, with nothing left to send.
    blank: bool,
    /// The exchange is fit for the next connection.
    clean: bool,
    /// Empty lines since the last request.
    empty_lines: u8,
}

/// What a read found.
enum Read {
    Bytes(usize),
    Nothing,
    /// The peer's FIN.
    Ended,
    /// Another protocol than is spoken here. The peer can be told so.
    Foreign(io::Error),
    /// The connection is broken.
    Failed,
}
