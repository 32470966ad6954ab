//! Bytes on their way to the socket.
//!
//! Heads and small bodies are gathered in one buffer, so that a pass writes once for all its
//! answers. A large body is not copied: it is the tail, and nothing is added behind it until it is
//! gone. Knows no HTTP.

use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use super::hot::{KEEP_BYTES, trim};
use crate::app::{Content, SharedBytes};
use crate::sys::Sys;

/// What a connection owes.
#[derive(Default)]
pub(super) struct Output {
    pub(super) buffer: Vec<u8>,
    tail: Tail,
    /// Bytes written so far, of the buffer and then of the tail.
    sent: usize,
    /// The socket is full; an event will say when it is not.
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

/// The bytes of a body that is copied behind its head, being small.
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
    /// Everything is with the kernel.
    All,
    /// The socket is full.
    Blocked,
    /// It had its share of writes, and there is more.
    Share,
    /// The connection is broken.
    Broken,
}

impl Output {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && matches!(self.tail, Tail::None)
    }

    /// Whether it should be written before more is added.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= FULL && self.buffer.len() - self.sent.min(self.buffer.len()) >= FULL
            || !matches!(self.tail, Tail::None)
    }

    /// How many bytes may be added before it is full.
    pub(super) const fn room(&self) -> usize {
        FULL.saturating_sub(self.buffer.len().saturating_sub(self.sent))
    }

    pub(super) fn is_large(&self) -> bool {
        self.buffer.capacity() > KEEP_BYTES
    }

    /// How many of the buffer's bytes up to there are still to be written.
    pub(super) const fn owed_of(&self, end: usize) -> usize {
        end.saturating_sub(self.sent)
    }

    /// Forgets all but the first `owed` bytes of those that are still to be written, which are in
    /// the buffer.
    pub(super) fn take_back(&mut self, owed: usize) {
        self.buffer.truncate(self.sent + owed);
        self.tail = Tail::None;
    }

    /// Adds a whole body: copies a small one, takes a large one as it is.
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

    /// Adds a piece of a stream, as a chunk or as it is.
    pub(super) fn share(&mut self, bytes: SharedBytes, chunked: bool) {
        debug_assert!(matches!(self.tail, Tail::None), "a piece behind a tail");
        self.tail = if chunked {
            Tail::Chunk(bytes)
        } else {
            Tail::Bare(bytes)
        };
    }

    /// Writes until all is written, the socket is full, or it was asked often enough: a peer on a
    /// fast line takes as quickly as we write. Returns how many bytes were written, too.
    #[inline(always)]
    pub(super) fn flush<S: Sys>(&mut self, sys: &mut S, io: &mut S::Io) -> (Flushed, u64) {
        // As a rule it is one buffer, and goes out at once.
        if self.sent > 0 || !matches!(self.tail, Tail::None) {
            return self.flush_rest(sys, io, None);
        }
        match sys.write(io, &[IoSlice::new(&self.buffer)]) {
            Ok(n) if n > 0 && n == self.buffer.len() => {
                self.reset();
                (Flushed::All, n as u64)
            }
            written => self.flush_rest(sys, io, Some(written)),
        }
    }

    /// What is left after a first try, if there was one.
    #[inline(never)]
    fn flush_rest<S: Sys>(
        &mut self,
        sys: &mut S,
        io: &mut S::Io,
        mut tried: Option<io::Result<usize>>,
    ) -> (Flushed, u64) {
        let (mut interrupted, mut writes, mut count) = (0, WRITES, 0);
        loop {
            if writes == 0 {
                return (Flushed::Share, count);
            }
            let head = self.buffer.get(self.sent..).unwrap_or_default();
            let tail = self.tail.bytes();
            let tail = &tail[self.sent.saturating_sub(self.buffer.len())..];
            let written = match tried.take() {
                Some(written) => written,
                None if tail.is_empty() && head.is_empty() => {
                    self.reset();
                    return (Flushed::All, count);
                }
                None if tail.is_empty() => sys.write(io, &[IoSlice::new(head)]),
                None if head.is_empty() => sys.write(io, &[IoSlice::new(tail)]),
                None => sys.write(io, &[IoSlice::new(head), IoSlice::new(tail)]),
            };
            let owed = head.len() + tail.len();
            match written {
                Ok(0) => return (Flushed::Broken, count),
                Ok(n) => {
                    count += n as u64;
                    if n >= owed {
                        self.reset();
                        return (Flushed::All, count);
                    }
                    // Not all was taken: ask again, for the socket's own word that it is full.
                    self.sent += n;
                    interrupted = 0;
                    writes -= 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return (Flushed::Blocked, count);
                }
                Err(error)
                    if error.kind() == io::ErrorKind::Interrupted && interrupted < RETRIES =>
                {
                    interrupted += 1;
                }
                Err(_) => return (Flushed::Broken, count),
            }
        }
    }

    /// Forgets what is owed.
    #[inline]
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

/// From this many unwritten bytes on, no further answer is begun and no source asked: one or two
/// round trips of a fast connection, and little enough for very many slow ones.
const FULL: usize = 64 * 1024;

/// Bodies up to this many bytes are copied behind their head: cheaper than a second slice.
const COPIED: usize = 4 * 1024;

/// Writes of one flush: each takes what the socket has room for, which is megabytes.
const WRITES: u32 = 16;

/// How often in a row a write may be interrupted.
pub(super) const RETRIES: u32 = 16;
