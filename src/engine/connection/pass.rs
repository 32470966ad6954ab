//! One pass over a connection: writes, reads, parses, responds, until something stops it.
//!
//! A pass has a bounded number of reads, requests and rounds of output. The rest goes to the back
//! of the loop's queue, so that no connection starves behind a pipeline.

use std::mem;

use super::exchange::{Activity, Exchange, Slot};
use super::output::Flushed;
use super::{Close, Connection, Rest, Step, Verdict};
use crate::app::Handler;
use crate::engine::Core;
use crate::sys::{Midway, Sys};
use crate::tick::Tick;
use crate::tracker::ConnId;

/// A connection and its exchange for the time of one pass.
pub(super) struct Pass<'e, S: Sys, H> {
    pub(super) core: &'e mut Core<S, H>,
    pub(super) connection: &'e mut Connection<S::Io>,
    pub(super) exchange: &'e mut Exchange,
    pub(super) slot: Slot,
    pub(super) id: ConnId,
    pub(super) now: Tick,
    /// Requests that this pass may still begin.
    pub(super) requests_left: u32,
    /// The clock of the connection's phase starts anew.
    pub(super) restart: bool,
}

/// Why the work of a pass stopped.
pub(super) enum Halt {
    /// No event and no byte is left to work on.
    Dry,
    /// The output is full.
    Full,
    /// The share of the turn is used up.
    Share,
}

impl<'e, S: Sys, H: Handler> Pass<'e, S, H> {
    #[inline(always)]
    pub(super) fn new(
        core: &'e mut Core<S, H>,
        connection: &'e mut Connection<S::Io>,
        exchange: &'e mut Exchange,
        slot: Slot,
        id: ConnId,
        now: Tick,
    ) -> Self {
        Self {
            core,
            connection,
            exchange,
            slot,
            id,
            now,
            requests_left: REQUESTS,
            restart: false,
        }
    }

    /// Runs the pass, for callers that are not on every request's way.
    #[inline(never)]
    pub(super) fn run_outlined(&mut self, scratch: &mut [u8]) -> Verdict {
        self.run(scratch)
    }

    /// Runs the pass.
    #[inline(always)]
    pub(super) fn run(&mut self, scratch: &mut [u8]) -> Verdict {
        if !self.exchange.out.is_empty()
            && let Some(verdict) = self.flush_first()
        {
            return verdict;
        }
        let mut reads = READS;
        for _ in 0..ROUNDS {
            let halt = self.work(scratch, &mut reads);
            if self.exchange.closing == Some(Close::Reset) {
                if self.exchange.unsent_responses > 0 {
                    // Earlier responses of a pipeline are whole. Bytes that the peer does not take
                    // at once are lost with the reset.
                    self.flush();
                }
                return Verdict::Close(Close::Reset);
            }
            match self.flush() {
                Flushed::All => {}
                Flushed::Blocked => return Verdict::Wait,
                Flushed::Share => return Verdict::Again,
                Flushed::Broken => return self.broken(),
            }
            if let Some(close) = self.exchange.closing {
                return Verdict::Close(close);
            }
            match halt {
                Halt::Dry => return Verdict::Wait,
                Halt::Share => return Verdict::Again,
                Halt::Full => {}
            }
        }
        Verdict::Again
    }

    /// Ends the pass, and returns what it leaves.
    #[inline(always)]
    pub(super) fn conclude(self, verdict: Verdict) -> (Step, Rest) {
        let blank = self.exchange.is_blank();
        let empty_lines = self.exchange.codec.empty_lines();
        let rest = Rest {
            blank,
            clean: blank && empty_lines == 0 && self.exchange.make_clean(),
            empty_lines,
        };
        let restart = self.restart;
        (Step { verdict, restart }, rest)
    }

    /// Writes what an earlier pass left. Returns the verdict, if this pass goes no further.
    #[cold]
    fn flush_first(&mut self) -> Option<Verdict> {
        if self.exchange.out.blocked {
            return Some(Verdict::Wait);
        }
        match self.flush() {
            Flushed::All => None,
            Flushed::Blocked => Some(Verdict::Wait),
            Flushed::Share => Some(Verdict::Again),
            Flushed::Broken => Some(self.broken()),
        }
    }

    /// Resumes a source or a sink that had asked to wait.
    pub(super) fn resume(&mut self) {
        match mem::take(&mut self.exchange.activity) {
            Activity::SourceIdle(source) => self.exchange.activity = Activity::Streaming(source),
            Activity::Paused => {
                self.restart = true;
                self.feed_input(); // also where no byte was set aside: the body may be complete
            }
            other => self.exchange.activity = other,
        }
    }

    /// Reads, responds and fills until something stops it.
    #[inline(always)]
    fn work(&mut self, scratch: &mut [u8], reads: &mut u32) -> Halt {
        loop {
            if self.exchange.closing.is_some() {
                return Halt::Dry;
            }
            if self.exchange.out.is_full() {
                return Halt::Full;
            }
            if !matches!(self.exchange.activity, Activity::Receiving) {
                if let Some(halt) = self.go_on(scratch, reads) {
                    return halt;
                }
                continue;
            }
            if !self.exchange.input.is_empty() && !self.exchange.starved {
                if self.requests_left == 0 {
                    return Halt::Share;
                }
                self.feed_input();
                continue;
            }
            if !self.connection.readiness.may_read() {
                if self.connection.readiness.has_ended() {
                    self.peer_finished();
                }
                return Halt::Dry;
            }
            if *reads == 0 {
                return Halt::Share;
            }
            *reads -= 1;
            self.receive(scratch);
        }
    }

    /// Works on something else than receiving a request. Returns `None` to go on.
    #[inline(never)]
    fn go_on(&mut self, scratch: &mut [u8], reads: &mut u32) -> Option<Halt> {
        match self.exchange.activity {
            Activity::AwaitingTicket | Activity::SourceIdle(_) | Activity::Paused => {
                Some(Halt::Dry)
            }
            Activity::Streaming(_) => (!self.fill()).then_some(Halt::Share),
            Activity::Tunnel { more } => self.work_tunnel(more, scratch, reads),
            Activity::Receiving => None,
        }
    }

    /// Returns whether the socket is read empty, and nothing has begun to arrive.
    pub(super) fn is_at_rest(&self) -> bool {
        let readiness = self.connection.readiness;
        !readiness.may_read()
            && !readiness.has_ended()
            && self.exchange.closing.is_none()
            && self.exchange.is_blank()
            && self.core.sys.midway(&self.connection.io) == Midway::Nothing
    }

    /// Closes after the peer's FIN. The peer may have closed its side alone, and still be reading
    /// what it asked for.
    #[inline(never)]
    fn peer_finished(&mut self) {
        if !self.exchange.codec.is_blank() || !self.exchange.input.is_empty() {
            self.core.report.left += 1;
            self.exchange.drop_sink();
            return self.refuse(400, "the request was not complete");
        }
        let pending = !self.exchange.out.is_empty()
            || !self.core.drain.keep_alive()
                && matches!(self.core.sys.unacknowledged(&self.connection.io), Some(1..));
        self.exchange.closing = Some(match pending {
            true => Close::Graceful,
            false => Close::Immediate,
        });
    }

    /// Writes what is pending.
    #[inline(always)]
    pub(super) fn flush(&mut self) -> Flushed {
        if self.exchange.out.is_empty() {
            return Flushed::All;
        }
        let sys = &mut self.core.sys;
        let (flushed, written) = self.exchange.out.flush(sys, &mut self.connection.io);
        self.core.report.bytes_out += written;
        self.exchange.bytes_out += written;
        if matches!(flushed, Flushed::All) {
            self.restart |= written > 0;
            (self.exchange.written_since, self.exchange.unacked) = (0, 0);
            self.core.report.answered += u64::from(self.exchange.unsent_responses);
            self.exchange.unsent_responses = 0;
        } else {
            self.note_progress(written as u32);
        }
        flushed
    }

    /// Restarts the clock for bytes that the peer made room for, if they are progress. A byte now
    /// and then is none, or the peer could stay for ever.
    #[cold]
    fn note_progress(&mut self, written: u32) {
        let exchange = &mut *self.exchange;
        if exchange.unacked == 0 {
            // Acknowledgements count from here on, see `takes_bytes`. The question is four system
            // calls, so it is asked once a response.
            let unacked = self.core.sys.unacknowledged(&self.connection.io);
            exchange.unacked = unacked.unwrap_or_default().max(1);
            self.restart |= written > 0;
            return;
        }
        exchange.unacked = exchange.unacked.saturating_add(written);
        exchange.written_since = exchange.written_since.saturating_add(written);
        if exchange.written_since >= self.core.config.limits.progress {
            self.restart |= written > 0;
            exchange.written_since = 0;
        }
    }

    /// Closes after a failed write. The peer may have half a response, which must not look whole.
    #[inline(never)]
    const fn broken(&mut self) -> Verdict {
        self.core.report.left += 1;
        Verdict::Close(Close::PeerFailed)
    }
}

/// Reads of a full scratch in a pass: four times 64 KiB.
const READS: u32 = 4;

/// Requests that one pass may begin.
const REQUESTS: u32 = 64;

/// How often one pass may fill its output and write it.
const ROUNDS: u32 = 4;
