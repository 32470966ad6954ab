//! Bytes on their way to the socket.
//!
//! Heads and small bodies are gathered in one buffer, so that a pass writes once for all its
//! responses. A large body is not copied: it is the tail, and nothing is added behind it until it
//! is written. Knows no HTTP.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use super::buffer::{KEEP_BYTES, trim};
use crate::app::{Content, SharedBytes};
use crate::sys::{Sys, retry};

/// What a connection has still to write.
#[derive(Default)]
pub(super) struct Output {
    pub(super) buffer: Vec<u8>,
    tail: Tail,
    /// Bytes written so far, first of the buffer and then of the tail.
    sent: usize,
    /// The socket is full. An event will say when it has room.
    pub(super) blocked: bool,
}

#[derive(Default)]
enum Tail {
    #[default]
    None,
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
    /// A piece of a stream, with its framing and without.
    Chunk(SharedBytes),
    Bare(SharedBytes),
}

impl Tail {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Chunk(shared) => shared.chunk(),
            Self::Bare(shared) => shared.bytes(),
        }
    }
}

/// Returns the bytes of a body that is small enough to be copied behind its head.
#[inline]
pub(super) fn small(body: &Content) -> Option<&[u8]> {
    let bytes: &[u8] = match body {
        Content::Empty => &[],
        Content::Static(bytes) => bytes,
        Content::Bytes(bytes) => bytes,
        Content::Shared(bytes) => bytes,
        Content::Source(..) | Content::Tunnel(_) => return None,
    };
    (bytes.len() <= COPIED).then_some(bytes)
}

/// How a flush ended.
pub(super) enum Flushed {
    /// The kernel has everything.
    All,
    /// The socket is full.
    Blocked,
    /// The share of writes is used up, and bytes are left.
    Share,
    /// The connection is broken.
    Broken,
}

impl Output {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && matches!(self.tail, Tail::None)
    }

    /// Returns whether to write before more is added.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL && self.buffer.len() - self.sent.min(self.buffer.len()) >= FULL
            || !matches!(self.tail, Tail::None)
    }

    /// Returns how many bytes may be added before the output is full.
    pub(super) const fn room(&self) -> usize {
        FULL.saturating_sub(self.buffer.len().saturating_sub(self.sent))
    }

    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > KEEP_BYTES
    }

    /// Returns how many of the buffer's first `end` bytes are still to be written.
    pub(super) const fn pending_of(&self, end: usize) -> usize {
        end.saturating_sub(self.sent)
    }

    /// Keeps the first `pending` of the bytes still to be written, and forgets the others.
    pub(super) fn take_back(&mut self, pending: usize) {
        self.buffer.truncate(self.sent + pending);
        self.tail = Tail::None;
    }

    /// Adds a whole body: copies a small one, takes a large one uncopied.
    #[inline]
    pub(super) fn body(&mut self, body: &mut Content) {
        if let Some(bytes) = small(body) {
            return self.buffer.extend_from_slice(bytes);
        }
        debug_assert!(matches!(self.tail, Tail::None), "a body behind a tail");
        self.tail = match mem::take(body) {
            Content::Static(bytes) => Tail::Static(bytes),
            Content::Bytes(bytes) => Tail::Owned(bytes),
            Content::Shared(bytes) => Tail::Shared(bytes),
            Content::Empty | Content::Source(..) | Content::Tunnel(_) => Tail::None,
        };
    }

    /// Adds a piece of a stream, as a chunk or bare.
    pub(super) fn share(&mut self, bytes: SharedBytes, chunked: bool) {
        debug_assert!(matches!(self.tail, Tail::None), "a piece behind a tail");
        self.tail = if chunked {
            Tail::Chunk(bytes)
        } else {
            Tail::Bare(bytes)
        };
    }

    /// Writes until all is written, the socket is full, or the share of writes is used up. A peer on a
    /// fast line takes bytes as quickly as we write. The second value is the number of bytes written.
    #[inline(always)]
    pub(super) fn flush<S: Sys>(&mut self, sys: &mut S, io: &mut S::Io) -> (Flushed, u64) {
        // The usual case: one buffer, of which the socket takes all.
        if self.sent > 0 || !matches!(self.tail, Tail::None) {
            return self.flush_rest(sys, io, None);
        }
        match retry(|| sys.write(io, &[IoSlice::new(&self.buffer)])) {
            Ok(n) if n > 0 && n == self.buffer.len() => {
                self.reset();
                (Flushed::All, n as u64)
            }
            written => self.flush_rest(sys, io, Some(written)),
        }
    }

    /// Writes what is left after a first try, if there was one.
    #[inline(never)]
    fn flush_rest<S: Sys>(
        &mut self,
        sys: &mut S,
        io: &mut S::Io,
        mut tried: Option<io::Result<usize>>,
    ) -> (Flushed, u64) {
        let (mut writes, mut count) = (WRITES, 0);
        loop {
            if writes == 0 {
                return (Flushed::Share, count);
            }
            let head = self.buffer.get(self.sent..).unwrap_or_default();
            let tail = self.tail.bytes();
            let tail = &tail[self.sent.saturating_sub(self.buffer.len())..];
            let pending = head.len() + tail.len();
            if pending == 0 {
                self.reset();
                return (Flushed::All, count);
            }
            let both = [IoSlice::new(head), IoSlice::new(tail)];
            let slices = &both[usize::from(head.is_empty())..2 - usize::from(tail.is_empty())];
            let written = tried
                .take()
                .unwrap_or_else(|| retry(|| sys.write(io, slices)));
            match written {
                Ok(0) => return (Flushed::Broken, count),
                Ok(n) => {
                    count += n as u64;
                    if n >= pending {
                        self.reset();
                        return (Flushed::All, count);
                    }
                    // The socket took a part. A full socket says so itself.
                    self.sent += n;
                    writes -= 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return (Flushed::Blocked, count);
                }
                Err(_) => return (Flushed::Broken, count),
            }
        }
    }

    /// Forgets everything.
    #[inline(always)]
    pub(super) fn reset(&mut self) {
        if self.is_large() {
            trim(&mut self.buffer);
        } else {
            self.buffer.clear();
        }
        if !matches!(self.tail, Tail::None) {
            self.tail = Tail::None; // dropping none is a call
        }
        self.sent = 0;
        self.blocked = false;
    }
}

/// Unwritten bytes at which no further response begins and no source is asked. The number is one or
/// two round trips of a fast connection, and affordable for very many slow ones.
const FULL: usize = 64 * 1024;

/// Bodies up to this many bytes are copied behind their head, which is cheaper than a second slice.
const COPIED: usize = 4 * 1024;

/// Writes of one flush. Each takes what the socket has room for, which may be megabytes.
const WRITES: u32 = 16;
