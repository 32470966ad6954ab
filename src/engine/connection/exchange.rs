//! What a connection needs only while a request is on it, and the pool it comes from.
//!
//! An idle connection owns no exchange: between requests the blank [`Exchange`] goes back to the
//! pool, buffers and all, for the next connection. Knows no sockets.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use slab::Slab;

use super::Close;
use super::buffer::{KEEP_BYTES, trim};
use super::output::Output;
use crate::app::{Sink, Source};
use crate::h1::Codec;
use crate::tick::Tick;
use crate::tracker::Phase;

/// A request and its response, as far as they are.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) codec: Codec,
    /// Bytes that made no event yet.
    pub(super) input: Vec<u8>,
    /// `input` makes no event without more bytes.
    pub(super) starved: bool,
    /// The raw head of the request whose body arrives, or whose response is awaited.
    pub(super) head: Vec<u8>,
    /// The body as far as it arrived.
    pub(super) body: Vec<u8>,
    /// The longest body, in bytes.
    pub(super) body_limit: u64,
    /// Takes the body in place of `body`.
    pub(super) sink: Option<Box<dyn Sink>>,
    pub(super) activity: Activity,
    pub(super) out: Output,
    /// How the connection ends after the last byte.
    pub(super) closing: Option<Close>,
    /// When the first byte of `input` was read.
    pub(super) buffered_at: Tick,
    /// When the bytes were read that are parsed now.
    pub(super) read_at: Tick,
    /// How often in a row the source said that it has more, and added nothing.
    pub(super) empty_fills: u32,
    /// Bytes of this request received, from its head's end on, and of its response sent.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Where a source's response begins, counted as `bytes_out`.
    pub(super) response_from: u64,
    /// Bytes of a body since its clock last restarted.
    pub(super) received_since: u32,
    /// Bytes of the response that the socket took since its clock last restarted.
    pub(super) written_since: u32,
    /// Bytes that the peer had not acknowledged when the kernel was last asked, with those written
    /// since. 0 before the first question.
    pub(super) unacked: u32,
    /// Responses that are complete in `out` but not yet with the kernel.
    pub(super) unsent_responses: u32,
}

/// What the connection is doing about its request.
#[derive(Default)]
pub(super) enum Activity {
    /// Receiving it.
    #[default]
    Receiving,
    /// Receiving it, but its sink takes nothing for now.
    Paused,
    /// Waiting for its ticket.
    AwaitingTicket,
    /// Sending its response, as the source makes it.
    Streaming(Box<dyn Source>),
    /// Sending its response; the source has nothing for now.
    SourceIdle(Box<dyn Source>),
    /// A tunnel has the connection.
    Tunnel {
        /// The tunnel has more to send, and waits for room.
        more: bool,
    },
}

impl Exchange {
    /// Returns whether the connection is between requests, with nothing left to send.
    pub(super) fn is_blank(&self) -> bool {
        self.codec.is_blank()
            && self.input.is_empty()
            && self.out.is_empty()
            && matches!(self.activity, Activity::Receiving)
    }

    /// Returns the phase of a connection that has this exchange.
    #[inline]
    pub(super) fn phase(&self) -> Phase {
        if !self.out.is_empty() {
            return Phase::Reply;
        }
        match self.activity {
            Activity::AwaitingTicket | Activity::SourceIdle(_) | Activity::Paused => Phase::Handler,
            Activity::Streaming(_) | Activity::Tunnel { .. } => Phase::Reply,
            Activity::Receiving if self.codec.request_open() => Phase::Body,
            Activity::Receiving => Phase::Head,
        }
    }

    /// Returns whether nothing was sent for the request, and nothing is pending from before.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.codec.response_begun() && self.out.is_empty() && self.closing.is_none()
    }

    /// Returns whether a tunnel waits for its peer alone.
    pub(super) fn is_quiet_tunnel(&self) -> bool {
        self.input.is_empty() && self.is_drained_tunnel()
    }

    /// Returns whether a tunnel has nothing to send, though it may hold bytes of its peer.
    pub(super) fn is_drained_tunnel(&self) -> bool {
        self.out.is_empty() && matches!(self.activity, Activity::Tunnel { more: false })
    }

    /// Returns the request, and the bytes in and out.
    pub(super) fn describe(&self) -> (String, u64, u64) {
        (request_line(&self.head), self.bytes_in, self.bytes_out)
    }

    /// Forgets a request that is over. Bytes read behind it and bytes still to be written stay.
    #[inline(always)]
    pub(super) fn next_request(&mut self) {
        self.head.clear();
        self.body.clear();
        self.drop_work();
        self.empty_fills = 0;
        self.starved = false;
        self.received_since = 0;
        (self.bytes_in, self.bytes_out) = (0, 0);
    }

    /// Drops the sink. Most requests have none.
    #[inline]
    pub(super) fn drop_sink(&mut self) {
        if let Some(sink) = self.sink.take() {
            discard(sink);
        }
    }

    #[inline]
    fn drop_work(&mut self) {
        self.drop_sink();
        if !matches!(self.activity, Activity::Receiving) {
            discard(mem::take(&mut self.activity));
        }
    }

    /// Frees what is not needed while the application works on a response. The work may take hours,
    /// and very many connections may wait like this.
    pub(super) fn release_buffers(&mut self) {
        if let Activity::Paused = self.activity {
            return; // a paused upload still needs its head
        }
        for buffer in [&mut self.input, &mut self.body, &mut self.out.buffer] {
            if buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
        // The request line is enough to say what is waited for.
        let is_text = |byte: &u8| !byte.is_ascii_whitespace();
        let begin = self.head.iter().position(is_text).unwrap_or(0);
        let line = self.head[begin..].iter().position(|byte| *byte == b'\n');
        let end = line.map_or(self.head.len(), |length| begin + length);
        self.head.truncate(end.min(NOTED_HEAD));
        self.head.shrink_to_fit();
    }

    /// Returns whether something is left that is not the next request's.
    pub(super) fn is_dirty(&self) -> bool {
        self.codec != Codec::default()
            || self.closing.is_some()
            || self.starved
            || self.empty_fills != 0
            || self.received_since != 0
            || self.written_since != 0
            || self.unacked != 0
            || self.unsent_responses != 0
            || !self.head.is_empty()
            || !self.body.is_empty()
            || self.sink.is_some()
    }

    /// Clears the counts of a blank exchange, and returns whether its buffers are small enough for
    /// a spare.
    #[inline(always)]
    pub(super) fn make_clean(&mut self) -> bool {
        (self.bytes_in, self.bytes_out) = (0, 0);
        self.input.capacity() <= KEEP_BYTES
            && self.head.capacity() <= KEEP_BYTES
            && self.body.capacity() <= KEEP_BYTES
            && !self.out.is_large()
    }

    #[inline(never)]
    fn reset(&mut self) {
        for buffer in [&mut self.input, &mut self.head, &mut self.body] {
            trim(buffer);
        }
        self.out.reset();
        self.drop_work();
        *self = Self {
            input: mem::take(&mut self.input),
            head: mem::take(&mut self.head),
            body: mem::take(&mut self.body),
            out: mem::take(&mut self.out),
            ..Self::default()
        };
    }
}

/// Returns method and target of a head.
fn request_line(head: &[u8]) -> String {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines
        .find(|line| !line.trim_ascii().is_empty())
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let target = &target[..target.len().min(SHOWN)];
    let text = [method, b" ", target].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// How much of a target the status shows, in bytes.
const SHOWN: usize = 100;

/// Names an exchange in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Slot(u32);

impl Slot {
    #[inline(always)]
    const fn key(self) -> usize {
        self.0 as usize
    }
}

/// The exchanges in use, and some blank spares.
#[derive(Default)]
pub(in crate::engine) struct Pool {
    /// Boxes, because an exchange is too large to move as the slab grows.
    exchanges: Slab<Box<Exchange>>,
    spares: Vec<Slot>,
}

impl Pool {
    /// Takes a blank exchange.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Slot {
        match self.spares.pop() {
            Some(slot) => slot,
            None => self.grow(),
        }
    }

    #[inline(never)]
    fn grow(&mut self) -> Slot {
        let key = self.exchanges.insert(Box::default());
        Slot(key as u32) // exchanges are no more than connections, whose keys are u32
    }

    /// Takes an exchange back, and resets it unless it is `clean`.
    #[inline(always)]
    pub(super) fn give_back(&mut self, slot: Slot, clean: bool) {
        if !clean {
            self.get_mut(slot).reset();
        }
        debug_assert!(!self.get(slot).is_dirty(), "left for the next connection");
        if self.spares.len() < SPARES {
            self.spares.push(slot);
        } else {
            self.shrink(slot);
        }
    }

    #[cold]
    fn shrink(&mut self, slot: Slot) {
        self.exchanges.remove(slot.key());
    }

    /// Returns how many exchanges connections have.
    pub(in crate::engine) fn used(&self) -> usize {
        self.exchanges.len() - self.spares.len()
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Exchange {
        &mut self.exchanges[slot.key()]
    }

    #[inline(always)]
    pub(super) fn get(&self, slot: Slot) -> &Exchange {
        &self.exchanges[slot.key()]
    }
}

/// Drops what the application made. A panic of that does not end the loop.
pub(in crate::engine) fn discard<T>(value: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        log::error!("the application panicked while a source, a sink or a body was dropped");
    }
}

/// How much of a head is kept while its response takes time, in bytes.
pub(super) const NOTED_HEAD: usize = 200;

/// How many spares are kept. A pass over a full batch of events usually needs a few at a time.
const SPARES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_by_its_method_and_target() {
        const CASES: &[(&[u8], &str)] = &[
            (b"GET /delay/9 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /delay/9"),
            (b"\r\nPOST /echo HTTP/1.1\r\n", "POST /echo"),
            (b"", ""),
        ];
        for (head, expected) in CASES {
            assert_eq!(request_line(head), *expected);
        }
        let long = [b"GET /", &[b'a'; 5_000][..], b" HTTP/1.1\r\n"].concat();
        assert_eq!(request_line(&long).len(), 4 + SHOWN);
    }
}
