//! The ways out: after a timeout, at a cut, and the linger between our FIN and the peer's.
//!
//! A connection that leaves politely is read out until the peer's FIN: a close with unread bytes
//! would make the kernel send a reset and destroy the answer. When the linger is over but the peer
//! has not acknowledged everything, the connection stays, as long as that goes on, and in a drain
//! until the deadline. Knows phases, not requests.

use std::io;
use std::mem;

use super::Engine;
use super::conn::{Conn, Flag};
use super::hot::{Doing, Hot, How, NIL};
use super::output::{Flushed, RETRIES};
use super::serve::Service;
use crate::app::{Handler, Response};
use crate::drain;
use crate::sys::{Midway, Sys};
use crate::tick::Tick;
use crate::tracker::{ConnId, Phase};

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Lets a connection go.
    pub(super) fn leave(&mut self, id: ConnId, how: How, now: Tick) {
        if let Some(seat) = self.tracker.get_mut(id).and_then(Conn::stand_up) {
            self.core.tunnels.detach(seat);
        }
        if let How::Polite = how {
            let Some(conn) = self.tracker.get_mut(id) else {
                return;
            };
            if conn.is(Flag::Finished) || self.core.sys.finish(&mut conn.io).is_ok() {
                conn.set(Flag::Finished);
                conn.clear(Flag::LastLook);
                conn.owed = 0;
                if conn.hot != NIL {
                    let hot = self.pool.take(mem::replace(&mut conn.hot, NIL));
                    self.pool.give_back(hot, false);
                }
                self.tracker.enter(id, Phase::Linger, now);
                return self.linger(id, now);
            }
        }
        let Some(conn) = self.tracker.remove(id) else {
            return;
        };
        if conn.hot != NIL {
            let hot = self.pool.take(conn.hot);
            self.pool.give_back(hot, false);
        }
        match how {
            How::Polite | How::Gone => self.core.sys.close(conn.io),
            How::Abort => {
                self.core.report.aborted += 1;
                self.core.sys.abort(conn.io);
            }
            How::Broken => self.core.sys.abort(conn.io),
        }
        self.core.report.closed += 1;
        self.accepting.room();
    }

    /// Reads a connection out after our FIN, and closes it at the peer's.
    pub(super) fn linger(&mut self, id: ConnId, now: Tick) {
        // Also in the turn of the signal, before it is obeyed.
        let stopping = !self.core.keep_alive;
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        // Both have closed and everything is acknowledged: what is unread is of no use, and a close
        // resets nobody any more. A drain that closes very many is spared a read for each.
        if stopping
            && conn.is(Flag::ReadClosed)
            && self.core.sys.unacknowledged(&conn.io) == Some(0)
        {
            return self.leave(id, How::Gone, now);
        }
        let limit = self.core.config.limits.linger_bytes;
        let mut reads = LINGER_READS;
        let mut over = false;
        while conn.is(Flag::Readable) {
            if reads == 0 {
                return self.queue(id);
            }
            reads -= 1;
            match self.core.sys.read(&mut conn.io, &mut self.scratch) {
                Ok(0) => {
                    conn.clear(Flag::Readable);
                    conn.set(Flag::Eof);
                    over = true; // the peer has closed after we did: as a rule it has everything
                }
                Ok(n) => {
                    self.core.report.bytes_in += n as u64;
                    conn.lingered = conn.lingered.saturating_add(n as u32);
                    if conn.lingered > limit {
                        return self.leave(id, How::Gone, now);
                    }
                    let short = S::SHORT_READ_DRAINS && n < self.scratch.len();
                    if short && !conn.is(Flag::ReadClosed) {
                        conn.clear(Flag::Readable);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.clear(Flag::Readable);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.leave(id, How::Gone, now),
            }
        }
        // A FIN that was sent before ours arrived is no receipt; the acknowledgement of ours is,
        // and it brings an event. Before an exit nothing less will do.
        let asked = conn.is(Flag::Overdue) || conn.is(Flag::Eof) && (!over || stopping);
        let owed = asked && matches!(self.core.sys.unacknowledged(&conn.io), Some(ANSWER..));
        if (over || asked) && !owed {
            self.leave(id, How::Gone, now);
        }
    }

    /// The linger is over: is everything delivered?
    fn linger_over(&mut self, id: ConnId, now: Tick) {
        let draining = self.stage.since().is_some();
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        // Our FIN alone does not count: an idle peer that has vanished never acknowledges it.
        let owed = self.core.sys.unacknowledged(&conn.io);
        let owed = owed.filter(|owed| *owed >= ANSWER).unwrap_or(0);
        // While the server runs, the kernel goes on delivering for a peer that has stopped
        // taking, or all but; only an exit must not come before the last byte.
        let least = self.core.config.least_taken_in_a_linger();
        let going_on = conn.owed == 0 || owed.saturating_add(least) <= conn.owed || draining;
        if owed == 0 || !going_on {
            return self.leave(id, How::Gone, now);
        }
        conn.owed = owed;
        conn.set(Flag::Overdue);
        self.tracker.enter(id, Phase::Linger, now);
    }

    /// Ends those whose time is up, so many a turn, and notes when the next will be.
    pub(super) fn expire(&mut self, now: Tick) {
        let mut left = EXPIRED;
        self.next_due = self.expire_the_parting(&mut left, now);
        for phase in Phase::ALL {
            while let Some((id, since)) = self.tracker.oldest(phase) {
                let Some(due) = self.due(phase, since) else {
                    break;
                };
                if !now.reached(due) || left == 0 {
                    self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
                    break;
                }
                left -= 1;
                self.time_up(id, phase, now);
            }
        }
    }

    fn due(&self, phase: Phase, since: Tick) -> Option<Tick> {
        let config = &self.core.config;
        let idle = self.tracker.count(Phase::Idle);
        drain::due(
            self.stage,
            &config.drain.0,
            &config.timeouts.0,
            phase,
            since,
            idle,
        )
    }

    /// A connection became idle after the server was told to stop: its answer had begun before, and
    /// did not say close. In a drain its client may be about to ask again, but whoever waits for the
    /// end must see it soon: sooner than the idle leave, so it needs a queue of its own.
    #[cold]
    pub(super) fn part_from(&mut self, id: ConnId, served: u32, now: Tick) {
        if let Some(due) = drain::parting(&self.core.config.drain.0, now) {
            self.parting.push_back((id, served, due));
        }
    }

    /// Ends those of them whose time is up, but no more than are `left`, and says when the next will
    /// be.
    fn expire_the_parting(&mut self, left: &mut u32, now: Tick) -> Option<Tick> {
        if !self.core.draining {
            self.parting.clear(); // a notice leaves them as idle as others
        }
        while let Some(&(id, served, due)) = self.parting.front() {
            if !now.reached(due) || *left == 0 {
                return Some(due);
            }
            *left -= 1;
            self.parting.pop_front();
            let waits = self.tracker.phase(id) == Some(Phase::Idle);
            if waits
                && self
                    .tracker
                    .get_mut(id)
                    .is_some_and(|conn| conn.served == served)
            {
                self.time_up(id, Phase::Idle, now);
            }
        }
        None
    }

    /// A connection has been in its phase for as long as it may.
    fn time_up(&mut self, id: ConnId, phase: Phase, now: Tick) {
        let draining = self.stage.since().is_some();
        match phase {
            Phase::Fresh | Phase::Idle => {
                let Some(conn) = self.tracker.get_mut(id) else {
                    return;
                };
                conn.set(Flag::LastLook);
                conn.set(Flag::Readable);
                let before = self.core.report.heard();
                self.serve(id, now);
                let left = self
                    .tracker
                    .phase(id)
                    .is_none_or(|now| now == Phase::Linger);
                let report = &mut self.core.report;
                if left && report.heard() == before {
                    if draining {
                        report.closed_idle += 1;
                    } else {
                        report.timed_out += 1;
                    }
                }
            }
            Phase::Linger => self.linger_over(id, now),
            Phase::Head | Phase::Body => {
                self.core.report.timed_out += 1;
                self.force(id, TIMED_OUT, now);
            }
            Phase::Handler => {
                self.core.report.timed_out += 1;
                self.force(id, UNAVAILABLE, now);
            }
            Phase::Reply if self.is_paused(id) || self.goes_on_taking(id) => {
                self.tracker.enter(id, phase, now);
            }
            Phase::Reply | Phase::Tunnel => {
                self.core.report.timed_out += 1;
                self.leave(id, How::Abort, now);
            }
        }
    }

    /// Whether it is a tunnel that owes nothing: it has bytes of its peer, and will not have them yet.
    pub(super) fn is_paused(&self, id: ConnId) -> bool {
        let tunnel = self.tracker.get(id).filter(|conn| conn.is(Flag::Tunnel));
        let hot = tunnel.and_then(|conn| self.pool.get(conn.hot));
        hot.is_some_and(|hot| {
            hot.out.is_empty() && matches!(hot.doing, Doing::Tunnel { more: false })
        })
    }

    /// Whether a peer that we could write nothing to takes what the kernel holds for it. Linux says
    /// that there is room only once a third of the buffer is empty, which may be a megabyte: to a
    /// slow link, minutes. What it took before its clock last began counts too, once.
    fn goes_on_taking(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.tracker.get_mut(id) else {
            return false;
        };
        let Some(owed) = self.core.sys.unacknowledged(&conn.io) else {
            return false;
        };
        let taken = conn.owed.saturating_sub(owed);
        conn.owed = owed.max(1);
        taken > 0 && taken >= self.core.config.limits.progress
    }

    /// Answers a request that may not go on, if its answer has not begun; else resets.
    fn force(&mut self, id: ConnId, (status, why): (u16, &'static str), now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if self.core.sys.midway(&conn.io) == Midway::Handshake {
            return self.leave(id, How::Broken, now); // nothing can be said to it yet
        }
        let mut hot = self.pool.take(conn.hot);
        conn.hot = NIL;
        let verdict = if unanswered(&hot) {
            hot.doing = Doing::Receiving;
            let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
            let response = Response::text(status, why).close();
            service.answer(if status == UNAVAILABLE.0 {
                response.field("Retry-After", "1")
            } else {
                response
            });
            service.pass(&mut [])
        } else {
            super::serve::Verdict::Leave(How::Abort)
        };
        self.settle(id, hot, verdict, true, now);
    }

    /// The deadline, or a second signal: ends one connection, honestly.
    pub(super) fn cut(&mut self, id: ConnId, phase: Phase, now: Tick) {
        match phase {
            Phase::Fresh | Phase::Idle => {
                // Bytes that came in the last moment are a request that is cut.
                if self.last_read(id) == 0 {
                    self.core.report.closed_idle += 1;
                    return self.end_at_once(id, now);
                }
            }
            Phase::Linger => {
                let Some(conn) = self.tracker.get_mut(id) else {
                    return;
                };
                if matches!(self.core.sys.unacknowledged(&conn.io), Some(ANSWER..)) {
                    self.core.report.undelivered += 1;
                }
                return self.leave(id, How::Gone, now);
            }
            Phase::Head | Phase::Body | Phase::Handler => {}
            Phase::Reply | Phase::Tunnel => return self.leave(id, How::Abort, now),
        }
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        let mut hot = self.pool.take(conn.hot);
        conn.hot = NIL;
        let mut sent = false;
        if unanswered(&hot) {
            hot.doing = Doing::Receiving;
            let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
            let (status, why) = UNAVAILABLE;
            let response = Response::text(status, why).field("Retry-After", "1");
            service.answer(response.close());
            service.hot.unsent_answers = 0; // what says that there is no answer is none
            sent = matches!(service.flush(), Flushed::All);
        }
        self.pool.give_back(hot, false);
        if sent {
            self.core.report.forced_503 += 1;
            self.end_at_once(id, now);
        } else {
            self.leave(id, How::Abort, now);
        }
    }

    /// One read of a connection that is cut, also where it is interrupted: how many bytes it gave.
    fn last_read(&mut self, id: ConnId) -> usize {
        let Some(conn) = self.tracker.get_mut(id) else {
            return 0;
        };
        for _ in 0..RETRIES {
            match self.core.sys.read(&mut conn.io, &mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.unwrap_or(0),
            }
        }
        0
    }

    /// FIN, and what has arrived is read out so that the close does not reset; no waiting.
    fn end_at_once(&mut self, id: ConnId, now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        // A peer that is gone cannot be told.
        let _ = self.core.sys.finish(&mut conn.io);
        for _ in 0..RETRIES {
            if self.last_read(id) == 0 {
                break;
            }
        }
        self.leave(id, How::Gone, now);
    }
}

/// Whether nothing was sent yet for the request on it, and nothing is owed from before.
fn unanswered(hot: &Hot) -> bool {
    !hot.codec.response_begun() && hot.out.is_empty() && hot.leaving.is_none()
}

const TIMED_OUT: (u16, &str) = (408, "the request did not come in time\n");
const UNAVAILABLE: (u16, &str) = (503, "the server could not answer in time\n");

/// From so many unacknowledged bytes on, after our FIN, some are of an answer; the one is the FIN.
const ANSWER: u32 = 2;

/// Reads of a full scratch that a lingering connection may make in a turn.
const LINGER_READS: u32 = 4;

/// Connections ended in a turn because their time is up: the rest follow in the next, after the
/// sockets that became ready meanwhile. So few, because their peers' FINs then come while what the
/// kernel and we know of them is still in the cache: a drain of very many costs a twentieth less
/// than by the thousand.
const EXPIRED: u32 = 64;
