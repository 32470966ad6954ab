//! What the system said about a socket.
//!
//! Edges come once. [`Readiness`] therefore keeps each fact until a read or a write disproves it,
//! whatever state the connection enters meanwhile.

use crate::sys::Ready;

/// The facts about one socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readiness(u8);

/// Bytes may wait to be read.
const READABLE: u8 = 1;
/// A read returned the peer's FIN.
const ENDED: u8 = 1 << 1;
/// The peer's FIN has arrived, maybe behind bytes, and brings no further edge.
const READ_CLOSED: u8 = 1 << 2;
/// The connection is broken: no byte that we write will arrive.
const BROKEN: u8 = 1 << 3;

impl Readiness {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Adds what an event says. A broken connection is read once more, for the error.
    #[inline]
    pub(super) const fn record(&mut self, event: &Ready) {
        if event.readable || event.read_closed || event.gone {
            self.0 |= READABLE;
        }
        if event.read_closed {
            self.0 |= READ_CLOSED;
        }
        if event.gone {
            self.0 |= BROKEN;
        }
    }

    /// Adds what a read of `n` bytes into room for `room` says. A short read leaves nothing, and the
    /// next byte brings an edge. A FIN that came with the bytes brings none, so reads go on to it.
    #[inline]
    pub(super) const fn read(&mut self, n: usize, room: usize, short_read_drains: bool) {
        if short_read_drains && n < room && self.0 & READ_CLOSED == 0 {
            self.found_nothing();
        }
    }

    /// Notes that a read found nothing.
    #[inline]
    pub(super) const fn found_nothing(&mut self) {
        self.0 &= !READABLE;
    }

    /// Notes that a read returned the peer's FIN.
    pub(super) const fn ended(&mut self) {
        self.0 = self.0 & !READABLE | ENDED;
    }

    /// Asks for one more read, whatever the last one found.
    pub(super) const fn read_again(&mut self) {
        self.0 |= READABLE;
    }

    #[inline]
    pub(super) const fn may_read(self) -> bool {
        self.0 & READABLE != 0
    }

    #[inline]
    pub(super) const fn has_ended(self) -> bool {
        self.0 & ENDED != 0
    }

    pub(super) const fn is_read_closed(self) -> bool {
        self.0 & READ_CLOSED != 0
    }

    #[inline]
    pub(super) const fn is_broken(self) -> bool {
        self.0 & BROKEN != 0
    }
}
