//! The ends of connections: idle ones, those whose time is up, those that a drain cuts, and the
//! linger between our FIN and the peer's.
//!
//! A graceful close reads out until the peer's FIN. Closing with unread bytes would make the kernel
//! send a reset and destroy the response (RFC 9112 §9.6). A connection whose linger is over stays
//! while the peer takes bytes of a response; in a drain it stays until the deadline.

use super::exchange::Pool;
use super::output::Flushed;
use super::{Close, Connection, Read, Scope, State, Step, Verdict};
use crate::app::Handler;
use crate::engine::Core;
use crate::sys::Sys;
use crate::tracker::Phase;

impl<I> Connection<I> {
    /// Closes an idle connection: reads once, and sends FIN if nothing came. Bytes that came are a
    /// request, which is served.
    fn close_idle<S: Sys<Io = I>, H: Handler>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        let activity = scope.core.report.heard();
        self.readiness.read_again();
        let step = self.with_pass(scope, |pass, scratch| {
            if !pass.receive(scratch) && pass.is_at_rest() {
                return Verdict::Close(Close::Graceful);
            }
            pass.run_outlined(scratch)
        });
        let core = &mut *scope.core;
        if (step.closes() || self.lingers()) && core.report.heard() == activity {
            match core.drain.stage().since() {
                Some(_) => core.report.closed_idle += 1,
                None => core.report.timed_out += 1,
            }
        }
        step
    }

    /// Acts on the end of the time that a connection has in its phase.
    pub(super) fn time_up<S: Sys<Io = I>, H: Handler>(
        &mut self,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        let phase = self.phase(scope.pool);
        match phase {
            Phase::Fresh | Phase::Idle => return self.close_idle(scope),
            Phase::Linger => return self.linger_over(scope),
            Phase::Reply if self.is_paused_tunnel(scope.pool) || self.takes_bytes(scope) => {
                return Step {
                    restart: true,
                    ..Step::WAIT
                };
            }
            _ => {}
        }
        scope.core.report.timed_out += 1;
        match (self.state, phase) {
            (State::Handshake, _) => Step::close(Close::PeerFailed), // no response existed: not `aborted`
            (_, Phase::Head | Phase::Body) => self.refuse_timed_out(TIMED_OUT, scope),
            (_, Phase::Handler) => self.refuse_timed_out(UNAVAILABLE, scope),
            _ => Step::close(Close::Reset),
        }
    }

    /// Responds to a request that may not go on, or resets where a response has begun.
    fn refuse_timed_out<S: Sys<Io = I>, H: Handler>(
        &mut self,
        (status, text): (u16, &'static str),
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        let step = self.with_pass(scope, |pass, _| match pass.respond_instead(status, text) {
            true => pass.run_outlined(&mut []),
            false => Verdict::Close(Close::Reset),
        });
        Step {
            restart: true,
            ..step
        }
    }

    /// Returns whether a tunnel has nothing to send, and bytes of its peer that it does not take
    /// yet.
    fn is_paused_tunnel(&self, pool: &Pool) -> bool {
        match self.state {
            State::Tunnel {
                exchange: Some(slot),
                ..
            } => pool.get(slot).is_drained_tunnel(),
            _ => false,
        }
    }

    /// Returns whether the peer takes what the kernel holds for it, though the socket has no room.
    /// Linux reports room only once a third of the buffer is empty. A third may be a megabyte, which
    /// takes a slow link minutes. Bytes taken before the clock's last restart count once.
    fn takes_bytes<S: Sys<Io = I>, H>(&self, scope: &mut Scope<'_, S, H>) -> bool {
        let (State::Active(slot)
        | State::Tunnel {
            exchange: Some(slot),
            ..
        }) = self.state
        else {
            return false;
        };
        let Some(unacked) = scope.core.sys.unacknowledged(&self.io) else {
            return false;
        };
        let exchange = scope.pool.get_mut(slot);
        let taken = exchange.unacked.saturating_sub(unacked);
        exchange.unacked = unacked.max(1);
        taken > 0 && taken >= scope.core.config.limits.progress
    }

    /// Ends a tunnel whose time to say goodbye is over. Pending bytes make it a reset: the peer does
    /// not take them.
    pub(super) fn end_tunnel<S: Sys<Io = I>, H: Handler>(
        &mut self,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        match self.state {
            State::Tunnel { exchange, .. } => {
                if exchange.is_some() && !self.is_paused_tunnel(scope.pool) {
                    return Step::close(Close::Reset);
                }
                scope.core.report.dismissed += 1;
                self.close(Close::Graceful, scope)
            }
            _ => Step::WAIT,
        }
    }

    /// Ends a connection at the deadline, or at a second signal.
    pub(super) fn cut<S: Sys<Io = I>, H: Handler>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        let mut unread = 0;
        match self.phase(scope.pool) {
            Phase::Fresh | Phase::Idle => {
                // Bytes that came in the last moment are a request that is cut.
                unread = self.read_out(scope);
                if unread == 0 {
                    scope.core.report.closed_idle += 1;
                    return self.close_at_once(scope);
                }
            }
            Phase::Linger => {
                let unacked = scope.core.sys.unacknowledged(&self.io);
                if matches!(unacked, Some(RESPONSE_BYTES..)) {
                    scope.core.report.undelivered += 1;
                }
                return Step::close(Close::Immediate);
            }
            Phase::Head if matches!(self.state, State::Handshake) => {
                return Step::close(Close::Reset); // it could not read a response
            }
            Phase::Head | Phase::Body | Phase::Handler => {}
            Phase::Reply | Phase::Tunnel => return Step::close(Close::Reset),
        }
        let mut sent = false;
        // The verdict only keeps the pass from settling: what follows depends on `sent`.
        self.with_pass(scope, |pass, scratch| {
            pass.exchange.input.extend_from_slice(&scratch[..unread]);
            if pass.respond_instead(UNAVAILABLE.0, UNAVAILABLE.1) {
                pass.exchange.unsent_responses = 0; // a 503 by force is not counted as a response
                sent = matches!(pass.flush(), Flushed::All);
            }
            Verdict::Close(Close::Immediate)
        });
        if !sent {
            return Step::close(Close::Reset);
        }
        scope.core.report.forced_503 += 1;
        self.close_at_once(scope)
    }

    /// Reads once and discards the bytes. Returns how many came.
    fn read_out<S: Sys<Io = I>, H>(&mut self, scope: &mut Scope<'_, S, H>) -> usize {
        match self.read(&mut scope.core.sys, scope.scratch) {
            Read::Bytes(n) => n,
            _ => 0,
        }
    }

    /// Sends FIN and closes without a linger. Bytes that have arrived are read out first, so that
    /// the close does not reset.
    fn close_at_once<S: Sys<Io = I>, H>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        let _ = scope.core.sys.finish(&mut self.io); // a peer that is gone cannot be told
        for _ in 0..LAST_READS {
            if self.read_out(scope) == 0 {
                break;
            }
        }
        Step::close(Close::Immediate)
    }

    /// Begins the end that a verdict asks for. A graceful close sends FIN and lingers.
    pub(super) fn close<S: Sys<Io = I>, H>(
        &mut self,
        close: Close,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        // FIN at once: a request that arrives before it is lost.
        if close != Close::Graceful || scope.core.sys.finish(&mut self.io).is_err() {
            return Step::close(close);
        }
        self.release(scope.pool, &mut scope.core.tunnels);
        self.state = State::Linger {
            discarded: 0,
            unacked: 0,
            overdue: false,
        };
        Step {
            restart: true,
            ..self.linger(scope)
        }
    }

    /// Closes or resets the socket of a removed connection as its last step says, and counts it.
    pub(in crate::engine) fn dispose<S: Sys<Io = I>, H>(
        mut self,
        step: Step,
        pool: &mut Pool,
        core: &mut Core<S, H>,
    ) {
        self.release(pool, &mut core.tunnels);
        match step.verdict {
            Verdict::Close(Close::Reset) => {
                core.report.aborted += 1;
                core.sys.abort(self.io);
            }
            Verdict::Close(Close::PeerFailed) => core.sys.abort(self.io),
            _ => core.sys.close(self.io),
        }
        core.report.closed += 1;
    }

    /// Reads a connection out after our FIN, and closes it at the peer's.
    pub(super) fn linger<S: Sys<Io = I>, H>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        const CLOSE: Step = Step::close(Close::Immediate);
        let stopping = !scope.core.drain.keep_alive();
        // A close resets nobody once both sides have closed and everything is acknowledged. A drain of
        // very many connections saves a read for each.
        if stopping
            && self.readiness.is_read_closed()
            && scope.core.sys.unacknowledged(&self.io) == Some(0)
        {
            return CLOSE;
        }
        let mut reads = LINGER_READS;
        let mut over = false;
        while self.readiness.may_read() {
            if reads == 0 {
                return Step {
                    verdict: Verdict::Again,
                    restart: false,
                };
            }
            reads -= 1;
            match self.read(&mut scope.core.sys, scope.scratch) {
                Read::Ended => over = true, // the peer closed after us: it usually has everything
                Read::Bytes(n) => {
                    scope.core.report.bytes_in += n as u64;
                    if self.discard(n) > scope.core.config.limits.linger_bytes {
                        return CLOSE;
                    }
                }
                Read::Nothing => {}
                Read::Foreign(_) | Read::Failed => return CLOSE,
            }
        }
        // A FIN that the peer sent before ours arrived is no receipt. The acknowledgement of ours is,
        // and brings an event. An exit waits for that acknowledgement.
        let overdue = matches!(self.state, State::Linger { overdue: true, .. });
        let ask = overdue || self.readiness.has_ended() && (!over || stopping);
        let pending = ask
            && matches!(
                scope.core.sys.unacknowledged(&self.io),
                Some(RESPONSE_BYTES..)
            );
        if (over || ask) && !pending {
            return CLOSE;
        }
        Step::WAIT
    }

    /// Adds to the discarded bytes, and returns their number.
    const fn discard(&mut self, n: usize) -> u32 {
        match &mut self.state {
            State::Linger { discarded, .. } => {
                *discarded = discarded.saturating_add(n as u32);
                *discarded
            }
            _ => 0,
        }
    }

    /// Closes after the time of a linger, unless the peer still takes bytes of a response.
    fn linger_over<S: Sys<Io = I>, H>(&mut self, scope: &mut Scope<'_, S, H>) -> Step {
        let core = &mut *scope.core;
        let draining = core.drain.stage().since().is_some();
        let State::Linger {
            unacked, overdue, ..
        } = &mut self.state
        else {
            return Step::WAIT;
        };
        // Our FIN alone does not count: an idle peer that has vanished never acknowledges it.
        let now = core.sys.unacknowledged(&self.io);
        let now = now.filter(|bytes| *bytes >= RESPONSE_BYTES).unwrap_or(0);
        // The kernel goes on delivering without the connection while the server runs. An exit must
        // not come before the last byte.
        let least = core.config.least_taken_in_a_linger();
        let goes_on = *unacked == 0 || now.saturating_add(least) <= *unacked || draining;
        if now == 0 || !goes_on {
            return Step::close(Close::Immediate);
        }
        (*unacked, *overdue) = (now, true);
        Step {
            restart: true,
            ..Step::WAIT
        }
    }
}

const TIMED_OUT: (u16, &str) = (408, "the request did not come in time\n");
const UNAVAILABLE: (u16, &str) = (503, "the server could not answer in time\n");

/// The least number of unacknowledged bytes after our FIN of which some belong to a response. One
/// byte alone is the FIN.
const RESPONSE_BYTES: u32 = 2;

/// Reads of a full scratch before a close without a linger.
const LAST_READS: u32 = 16;

/// Reads of a full scratch that a lingering connection may make in a turn.
const LINGER_READS: u32 = 4;
