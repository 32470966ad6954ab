//! One connection served once: written to, read from, parsed, answered.
//!
//! A pass is bounded: so many reads, so many requests, so many rounds of output. What is left goes
//! to the back of a queue, so that nobody starves behind a pipeline. Knows the request on the
//! connection, not the other connections.

use std::io;
use std::mem::{self, MaybeUninit};

use super::Core;
use super::conn::{Conn, Flag};
use super::hot::{Doing, Hot, How};
use super::output::{Flushed, RETRIES};
use crate::app::Handler;
use crate::h1::{EMPTY_HEADER, Event, Header, MAX_FIELDS};
use crate::sys::{Midway, Sys};
use crate::tick::Tick;
use crate::tracker::ConnId;

/// One connection, out of the tracker's and the pool's hands for one pass.
pub(super) struct Service<'e, S: Sys, H> {
    pub(super) core: &'e mut Core<S, H>,
    pub(super) conn: &'e mut Conn<S::Io>,
    pub(super) hot: &'e mut Hot,
    pub(super) id: ConnId,
    pub(super) now: Tick,
    /// Requests that this pass may still begin.
    pub(super) requests_left: u32,
    /// The clock of the connection's phase starts anew.
    pub(super) restart: bool,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for an event.
    Wait,
    /// It has more to give, after the others.
    Again,
    /// It leaves.
    Leave(How),
}

/// What became of bytes.
enum Fed {
    /// Something happened.
    Event,
    /// Nothing does, without more of them or before an answer.
    Dry,
}

/// Why the work on a connection stopped.
pub(super) enum Stopped {
    /// It waits for an event.
    Dry,
    /// Its output is full.
    Full,
    /// It had its share.
    Share,
}

impl<'e, S: Sys, H: Handler> Service<'e, S, H> {
    pub(super) fn new(
        core: &'e mut Core<S, H>,
        conn: &'e mut Conn<S::Io>,
        hot: &'e mut Hot,
        id: ConnId,
        now: Tick,
    ) -> Self {
        Self {
            core,
            conn,
            hot,
            id,
            now,
            requests_left: REQUESTS,
            restart: false,
        }
    }

    /// Serves.
    #[inline(never)]
    pub(super) fn pass(&mut self, scratch: &mut [u8]) -> Verdict {
        self.pass_inline(scratch)
    }

    /// The same, for the one caller that is on every request's way.
    #[inline(always)]
    pub(super) fn pass_inline(&mut self, scratch: &mut [u8]) -> Verdict {
        if !self.hot.out.is_empty()
            && let Some(verdict) = self.flush_first()
        {
            return verdict;
        }
        let mut reads = READS;
        for _ in 0..ROUNDS {
            let stopped = self.work(scratch, &mut reads);
            if self.hot.leaving == Some(How::Abort) {
                if self.hot.unsent_answers > 0 {
                    // Those before it on a pipeline are whole. What the peer does not take at once
                    // is lost with the reset.
                    self.flush();
                }
                return Verdict::Leave(How::Abort);
            }
            match self.flush() {
                Flushed::All => {}
                Flushed::Blocked => return Verdict::Wait,
                Flushed::Share => return Verdict::Again,
                Flushed::Broken => return self.broken(),
            }
            if let Some(how) = self.hot.leaving {
                return Verdict::Leave(how);
            }
            match stopped {
                Stopped::Dry => return Verdict::Wait,
                Stopped::Share => return Verdict::Again,
                Stopped::Full => {}
            }
        }
        Verdict::Again
    }

    /// Writes what an earlier pass has left; the verdict, if this one goes no further.
    #[cold]
    fn flush_first(&mut self) -> Option<Verdict> {
        if self.hot.out.blocked {
            return Some(Verdict::Wait);
        }
        match self.flush() {
            Flushed::All => None,
            Flushed::Blocked => Some(Verdict::Wait),
            Flushed::Share => Some(Verdict::Again),
            Flushed::Broken => Some(self.broken()),
        }
    }

    /// Goes on with a source or a sink that had asked to be left alone.
    pub(super) fn resume(&mut self) {
        match mem::take(&mut self.hot.doing) {
            Doing::Parked(source) => self.hot.doing = Doing::Streaming(source),
            Doing::Paused => {
                self.restart = true;
                self.feed_input(); // also when nothing was set aside: the body may be complete
            }
            other => self.hot.doing = other,
        }
    }

    /// Reads, answers and fills until something stops it.
    #[inline(always)]
    fn work(&mut self, scratch: &mut [u8], reads: &mut u32) -> Stopped {
        loop {
            if self.hot.leaving.is_some() {
                return Stopped::Dry;
            }
            if self.hot.out.is_full() {
                return Stopped::Full;
            }
            if !matches!(self.hot.doing, Doing::Receiving) {
                if let Some(stopped) = self.go_on(scratch, reads) {
                    return stopped;
                }
                continue;
            }
            if !self.hot.input.is_empty() && !self.hot.starved {
                if self.requests_left == 0 {
                    return Stopped::Share;
                }
                self.feed_input();
                continue;
            }
            if !self.conn.is(Flag::Readable) {
                if self.conn.is(Flag::Eof) || self.conn.is(Flag::LastLook) {
                    self.at_rest();
                }
                return Stopped::Dry;
            }
            if *reads == 0 {
                return Stopped::Share;
            }
            *reads -= 1;
            self.read(scratch);
        }
    }

    /// What there is to do while no request is received.
    #[inline(never)]
    fn go_on(&mut self, scratch: &mut [u8], reads: &mut u32) -> Option<Stopped> {
        match self.hot.doing {
            Doing::Asked | Doing::Parked(_) | Doing::Paused => Some(Stopped::Dry),
            Doing::Streaming(_) => (!self.fill()).then_some(Stopped::Share),
            Doing::Tunnel { more } => self.work_tunnel(more, scratch, reads),
            Doing::Receiving => None,
        }
    }

    /// Nothing is left to read: may the connection leave, or did the peer?
    #[inline(never)]
    fn at_rest(&mut self) {
        if self.conn.is(Flag::Eof) {
            self.ended();
        } else if self.conn.is(Flag::LastLook) && self.hot.input.is_empty() {
            let begun = self.core.sys.midway(&self.conn.io) != Midway::Nothing;
            if self.hot.codec.is_blank() && !begun {
                // At once: a request that arrives between this look and the FIN is lost.
                if self.hot.out.is_empty() && self.core.sys.finish(&mut self.conn.io).is_ok() {
                    self.conn.set(Flag::Finished);
                }
                self.hot.leaving = Some(How::Polite);
            } else {
                self.conn.clear(Flag::LastLook);
            }
        }
    }

    /// One read, into the loop's scratch, and what it gives is parsed where it lies.
    #[inline(always)]
    fn read(&mut self, scratch: &mut [u8]) {
        let Some(n) = self.pull(scratch) else {
            return;
        };
        self.conn.clear(Flag::LastLook);
        if self.hot.input.is_empty() {
            let used = self.feed(&scratch[..n]);
            if used < n {
                self.hot.begun = self.now;
                self.hot.input.extend_from_slice(&scratch[used..n]);
            }
        } else {
            self.hot.input.extend_from_slice(&scratch[..n]);
            self.hot.starved = false;
        }
    }

    /// One read: how many bytes it gave, or `None` if it gave none, and then what that means is
    /// noted.
    #[inline(always)]
    pub(super) fn pull(&mut self, scratch: &mut [u8]) -> Option<usize> {
        let mut interrupted = 0;
        let read = loop {
            match self.core.sys.read(&mut self.conn.io, scratch) {
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted && interrupted < RETRIES =>
                {
                    interrupted += 1;
                }
                read => break read,
            }
        };
        match read {
            Ok(0) => {
                self.conn.clear(Flag::Readable);
                self.conn.set(Flag::Eof);
            }
            Ok(n) => {
                // After a short read there is nothing more, and the next byte brings an edge;
                // but behind a FIN that came with the bytes no edge follows: read on to the 0.
                if S::SHORT_READ_DRAINS && n < scratch.len() && !self.conn.is(Flag::ReadClosed) {
                    self.conn.clear(Flag::Readable);
                }
                self.core.report.bytes_in += n as u64;
                self.hot.heard = self.now;
                return Some(n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.conn.clear(Flag::Readable);
            }
            // Plain HTTP where TLS is spoken: before any request, and so before any tunnel.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.refuse(400, error),
            Err(_) => {
                self.core.report.left += 1;
                self.hot.leaving = Some(How::Gone);
                self.hot.out.reset();
            }
        }
        None
    }

    /// Parses what was set aside.
    #[inline(never)]
    fn feed_input(&mut self) {
        let mut input = mem::take(&mut self.hot.input);
        self.hot.heard = self.hot.begun;
        let used = self.feed(&input);
        if used == input.len() {
            input.clear();
        } else {
            input.drain(..used);
        }
        self.hot.input = input;
    }

    /// Parses and answers, as far as the bytes and this pass go; returns how many were used.
    #[inline(always)]
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            match self.feed_plain(&bytes[at..]) {
                Some(used) => at += used,
                None => match self.feed_event(&bytes[at..]) {
                    (used, Fed::Event) => at += used,
                    (used, Fed::Dry) => return at + used,
                },
            }
            if at == bytes.len() && !self.hot.codec.request_open() {
                return at;
            }
            let go_on = matches!(self.hot.doing, Doing::Receiving)
                && self.hot.leaving.is_none()
                && !self.hot.out.is_full();
            // A request that has begun is received to its end, whatever this pass's share: what is
            // left of it may bring no further event.
            if !go_on || self.requests_left == 0 && !self.hot.codec.request_open() {
                return at;
            }
        }
    }

    /// The usual head, whole; returns how many bytes it has.
    #[inline(always)]
    fn feed_plain(&mut self, bytes: &[u8]) -> Option<usize> {
        let limits = &self.core.config.limits.h1;
        let (mut few, mut many);
        let fields: &mut [_] = if bytes.len() < SMALL {
            few = [EMPTY_HEADER; 8];
            &mut few
        } else {
            many = [EMPTY_HEADER; 16]; // browsers send up to fifteen
            &mut many
        };
        let received = self.hot.codec.receive_fast(bytes, fields, limits);
        let Some((used, head)) = &received else {
            return None;
        };
        self.head(head, &bytes[..*used], *used < bytes.len());
        Some(*used)
    }

    /// Whatever the bytes bring next; how many were used, and whether there may be more in them.
    #[cold] // and it has room for a thousand fields on its stack, page by page
    fn feed_event(&mut self, bytes: &[u8]) -> (usize, Fed) {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let limits = &self.core.config.limits.h1;
        let fields = &mut fields[..usize::from(limits.fields).min(MAX_FIELDS)];
        match self.hot.codec.receive(bytes, fields, limits) {
            Ok((used, event)) => {
                match event {
                    Event::Head(head) => self.head(&head, &bytes[..used], used < bytes.len()),
                    Event::Body(data) => self.body(data),
                    Event::End => self.end(),
                    Event::NeedMore => {
                        self.hot.starved = used < bytes.len();
                        return (used, Fed::Dry);
                    }
                    Event::Paused => return (used, Fed::Dry),
                }
                (used, Fed::Event)
            }
            Err(bad) => {
                self.refuse(bad.status(), bad);
                (bytes.len(), Fed::Dry)
            }
        }
    }

    /// The peer will send nothing more.
    fn ended(&mut self) {
        if self.hot.codec.is_blank() && self.hot.input.is_empty() {
            // It may have closed its side alone, and still be reading what it asked for.
            let owed = !self.hot.out.is_empty()
                || !self.core.keep_alive
                    && matches!(self.core.sys.unacknowledged(&self.conn.io), Some(1..));
            self.hot.leaving = Some(if owed { How::Polite } else { How::Gone });
            return;
        }
        self.core.report.left += 1;
        self.hot.drop_sink();
        self.refuse(400, "the request was not complete");
    }

    /// Writes what is owed.
    #[inline(always)]
    pub(super) fn flush(&mut self) -> Flushed {
        if self.hot.out.is_empty() {
            return Flushed::All;
        }
        let sys = &mut self.core.sys;
        let (flushed, written) = self.hot.out.flush(sys, &mut self.conn.io);
        self.core.report.bytes_out += written;
        self.hot.bytes_out += written;
        if matches!(flushed, Flushed::All) {
            self.restart |= written > 0;
            (self.hot.taken, self.conn.owed) = (0, 0);
            self.core.report.answered += u64::from(self.hot.unsent_answers);
            self.hot.unsent_answers = 0;
        } else {
            self.note_progress(written as u32);
        }
        flushed
    }

    /// The peer has room for so much and no more: is that progress? A byte now and then is none, or
    /// it would stay for ever.
    #[cold]
    fn note_progress(&mut self, written: u32) {
        if self.conn.owed == 0 {
            // From here on it counts what it acknowledges, see `time_up`. Asked once an answer, for
            // the question is four system calls.
            let owed = self.core.sys.unacknowledged(&self.conn.io);
            self.conn.owed = owed.unwrap_or_default().max(1);
            self.restart |= written > 0;
            return;
        }
        self.conn.owed = self.conn.owed.saturating_add(written);
        self.hot.taken = self.hot.taken.saturating_add(written);
        if self.hot.taken >= self.core.config.limits.progress {
            self.restart |= written > 0;
            self.hot.taken = 0;
        }
    }

    /// The peer takes nothing more: what it has may be half an answer, and must not look whole.
    #[inline(never)]
    const fn broken(&mut self) -> Verdict {
        self.core.report.left += 1;
        Verdict::Leave(How::Broken)
    }
}

/// Reads of a full scratch that one pass may make: four times 64 KiB.
const READS: u32 = 4;

/// A head of fewer bytes has eight fields at most, as a rule, and room costs time.
const SMALL: usize = 160;

/// Requests that one pass may begin.
const REQUESTS: u32 = 64;

/// Times that one pass may fill its output and write it.
const ROUNDS: u32 = 4;
