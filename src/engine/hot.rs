//! What a connection needs only while a request is on it, and the pool it comes from.
//!
//! An idle connection owns none of this: between requests a [`Hot`] is blank and goes back, buffers
//! and all, to whoever is next. Knows no sockets.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use slab::Slab;

use super::output::Output;
use crate::app::{Sink, Source};
use crate::h1::Codec;
use crate::tick::Tick;

/// The working state of one connection.
#[derive(Default)]
pub(super) struct Hot {
    pub(super) codec: Codec,
    /// Bytes that did not make an event yet.
    pub(super) input: Vec<u8>,
    /// What is in `input` makes no event without more.
    pub(super) starved: bool,
    /// The raw head of the request whose body arrives, or whose answer is awaited.
    pub(super) head: Vec<u8>,
    /// The body as far as it arrived.
    pub(super) body: Vec<u8>,
    /// The most bytes of it.
    pub(super) body_limit: u64,
    /// What takes the body instead.
    pub(super) sink: Option<Box<dyn Sink>>,
    pub(super) doing: Doing,
    pub(super) out: Output,
    /// What to do after the last byte.
    pub(super) leaving: Option<How>,
    /// When the first of `input` was read.
    pub(super) begun: Tick,
    /// When the bytes were read that are parsed now.
    pub(super) heard: Tick,
    /// How often in a row its source had nothing, and said that there is more.
    pub(super) empty_fills: u32,
    /// Bytes of this request received, from its head's end on, and of its answer sent.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Where the answer begins that a source makes, in the terms of `bytes_out`.
    pub(super) answer_from: u64,
    /// Bytes of a body since its clock was last restarted.
    pub(super) progress: u32,
    /// Bytes that there was room for since the clock of the answer was last restarted.
    pub(super) taken: u32,
    /// Answers that are complete in `out` but not yet with the kernel.
    pub(super) unsent_answers: u32,
}

/// What the connection is doing about the request on it.
#[derive(Default)]
pub(super) enum Doing {
    /// Receiving it.
    #[default]
    Receiving,
    /// Receiving it, but its sink takes nothing for now.
    Paused,
    /// Waiting for its ticket.
    Asked,
    /// Sending its answer, as the source makes it.
    Streaming(Box<dyn Source>),
    /// Sending its answer; the source has nothing for now.
    Parked(Box<dyn Source>),
    /// Nothing: its tunnel has the connection.
    Tunnel {
        /// The tunnel has more to send, and waits for room.
        more: bool,
    },
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// FIN after the last byte, then read out until the peer's.
    Polite,
    /// Closed: the peer has left, or there is nothing to be polite about.
    Gone,
    /// Reset, so that what the peer has cannot look complete.
    Abort,
    /// The same, but it was the peer that broke it.
    Broken,
}

impl Hot {
    /// Whether the connection is between requests and owes nothing.
    pub(super) fn is_blank(&self) -> bool {
        self.codec.is_blank()
            && self.input.is_empty()
            && self.out.is_empty()
            && matches!(self.doing, Doing::Receiving)
    }

    /// Forgets the request that was on it; what was read behind it and what is still to be
    /// written stays.
    #[inline(always)]
    pub(super) fn next_request(&mut self) {
        self.head.clear();
        self.body.clear();
        self.drop_work();
        self.empty_fills = 0;
        self.starved = false;
        self.progress = 0;
        (self.bytes_in, self.bytes_out) = (0, 0);
    }

    /// Drops the sink, if there is one: most requests have none.
    #[inline]
    pub(super) fn drop_sink(&mut self) {
        if let Some(sink) = self.sink.take() {
            discard(sink);
        }
    }

    #[inline]
    fn drop_work(&mut self) {
        self.drop_sink();
        if !matches!(self.doing, Doing::Receiving) {
            discard(mem::take(&mut self.doing));
        }
    }

    /// Gives up all that it does not need while the application works on the answer, or has no
    /// more of it yet: that may take hours, and there may be very many such.
    pub(super) fn rest(&mut self) {
        if !matches!(self.doing, Doing::Asked | Doing::Parked(_)) {
            return; // an upload that is paused still needs its head
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
        self.head.truncate(end.min(NOTED));
        self.head.shrink_to_fit();
    }

    /// A tunnel has the connection, and this is blank: to be put to use for it.
    pub(super) fn wake_tunnel(&mut self) {
        if let Doing::Receiving = self.doing {
            self.doing = Doing::Tunnel { more: false };
        }
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

/// Drops what the application made: a panic of its is not the end of the loop.
pub(super) fn discard<T>(value: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        log::error!("the application panicked while a source, a sink or a body was dropped");
    }
}

/// Empties a buffer, and gives one that grew large back.
pub(super) fn trim(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP_BYTES {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

/// No `Hot`: the connection is between requests.
pub(super) const NIL: u32 = u32::MAX;

/// The `Hot`s in use, by the index that their connection keeps, and some spares.
#[derive(Default)]
pub(super) struct Pool {
    used: Slab<Box<Hot>>,
    #[expect(clippy::vec_box, reason = "a box moves between here and `used`")]
    spare: Vec<Box<Hot>>,
}

impl Pool {
    /// A blank one, or the one a connection has, taken out of the pool.
    #[inline(always)]
    pub(super) fn take(&mut self, index: u32) -> Box<Hot> {
        if index != NIL {
            return self.used.remove(index as usize);
        }
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps one for its connection, which remembers the index.
    pub(super) fn keep(&mut self, hot: Box<Hot>) -> u32 {
        self.used.insert(hot) as u32 // fewer than there are connections, and their keys are u32
    }

    /// Takes back one that is no longer needed: `blank`, if all that was on it is over.
    #[inline(always)]
    pub(super) fn give_back(&mut self, mut hot: Box<Hot>, blank: bool) {
        if !blank || hot.is_swollen() {
            hot.reset();
        }
        debug_assert!(!hot.is_stained(), "left for the next to have it");
        (hot.bytes_in, hot.bytes_out) = (0, 0);
        if self.spare.len() < SPARES {
            self.spare.push(hot);
        } else {
            drop_spare(hot);
        }
    }

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        self.used.len()
    }

    /// The one a connection has.
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Hot> {
        self.used.get_mut(index as usize).map(|hot| &mut **hot)
    }

    /// The one a connection has.
    pub(super) fn get(&self, index: u32) -> Option<&Hot> {
        self.used.get(index as usize).map(|hot| &**hot)
    }
}

/// Out of the way of those that are kept.
#[cold]
fn drop_spare(hot: Box<Hot>) {
    drop(hot);
}

impl Hot {
    /// Whether it still has something that is not the next request's. Where a request is over, its
    /// end has cleared that.
    pub(super) fn is_stained(&self) -> bool {
        self.codec != Codec::default()
            || self.leaving.is_some()
            || self.starved
            || self.empty_fills != 0
            || self.progress != 0
            || self.taken != 0
            || self.unsent_answers != 0
            || !self.head.is_empty()
            || !self.body.is_empty()
            || self.sink.is_some()
    }

    /// Whether it has a buffer that grew, to be given back.
    #[inline]
    fn is_swollen(&self) -> bool {
        self.input.capacity() > KEEP_BYTES
            || self.head.capacity() > KEEP_BYTES
            || self.body.capacity() > KEEP_BYTES
            || self.out.is_large()
    }
}

/// A spare's buffers beyond this are given back, in bytes: it holds the usual requests, and 256 of
/// them four times over are 16 MiB at the very most.
pub(super) const KEEP_BYTES: usize = 16 * 1024;

/// How much of a head is kept while its answer takes time, in bytes.
pub(super) const NOTED: usize = 200;

/// How many blank ones are kept: those of one pass over a full batch of events, as a rule only a
/// few at a time.
const SPARES: usize = 256;
