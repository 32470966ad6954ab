//! What the tracker holds for each connection, asleep or awake.
//!
//! This and the tracker's links are all that an idle connection costs: see the assertion in
//! `engine`. Knows no HTTP.

use super::hot::NIL;
use crate::peer::Peer;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn<I> {
    pub(super) io: I,
    /// Its [`Hot`](super::hot::Hot) in the pool, or [`NIL`] between requests.
    pub(super) hot: u32,
    /// Requests so far: the number of the current one, too.
    pub(super) served: u32,
    /// Bytes read out and thrown away after our FIN. Before that, of a tunnel: its seat.
    pub(super) lingered: u32,
    /// Bytes that the peer had not acknowledged when that was last asked, after our FIN. Before it,
    /// with what was written since: what it would owe an acknowledgement for if it gave none. 0 if
    /// it was not asked.
    pub(super) owed: u32,
    pub(super) peer: Peer,
    /// What is said by [`Flag`], and above it how many empty lines came since the last request.
    flags: u16,
}

/// One thing that is remembered about a socket.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(super) enum Flag {
    /// There may be bytes to read: an edge said so, and no read has said otherwise.
    Readable = 1,
    /// A read gave the peer's FIN.
    Eof = 1 << 1,
    /// An event said that the peer's FIN is there, maybe behind bytes: no further edge will come.
    ReadClosed = 1 << 2,
    /// It is in the queue of those who had more to give than their share.
    Queued = 1 << 3,
    /// We have sent our FIN.
    Finished = 1 << 4,
    /// It leaves, if one more read gives nothing.
    LastLook = 1 << 5,
    /// Its linger is over, but the peer has not acknowledged everything.
    Overdue = 1 << 6,
    /// It was upgraded: a tunnel has it.
    Tunnel = 1 << 7,
    /// What has begun to arrive is a handshake: once that is over, the wait for the first byte
    /// begins anew.
    Handshake = 1 << 8,
}

impl<I> Conn<I> {
    pub(super) const fn new(io: I, peer: Peer) -> Self {
        Self {
            io,
            hot: NIL,
            served: 0,
            lingered: 0,
            owed: 0,
            peer,
            flags: 0,
        }
    }

    #[inline]
    pub(super) const fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    /// The seat of its tunnel, if it was upgraded.
    #[inline]
    pub(super) const fn seat(&self) -> Option<u32> {
        if self.is(Flag::Tunnel) {
            Some(self.lingered)
        } else {
            None
        }
    }

    /// It becomes a tunnel with that seat.
    pub(super) const fn sit_down(&mut self, seat: u32) {
        self.lingered = seat;
        self.set(Flag::Tunnel);
    }

    /// It is no tunnel any more; whose seat is free.
    pub(super) const fn stand_up(&mut self) -> Option<u32> {
        let seat = self.seat();
        if seat.is_some() {
            self.lingered = 0;
            self.clear(Flag::Tunnel);
        }
        seat
    }

    #[inline]
    pub(super) const fn set(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    #[inline]
    pub(super) const fn clear(&mut self, flag: Flag) {
        self.flags &= !(flag as u16);
    }

    /// Whether a blank state is not all of it: it has a tunnel, or empty lines came.
    #[inline]
    pub(super) const fn brings_something(&self) -> bool {
        self.flags & (Flag::Tunnel as u16 | !FLAGS) != 0
    }

    /// How many empty lines came since the last request.
    pub(super) const fn empty_lines(&self) -> u8 {
        (self.flags >> EMPTY_LINES) as u8
    }

    pub(super) const fn set_empty_lines(&mut self, count: u8) {
        self.flags = self.flags & FLAGS | (count as u16) << EMPTY_LINES;
    }
}

/// Where the count of empty lines begins: it has four bits.
const EMPTY_LINES: u32 = 12;
const FLAGS: u16 = (1 << EMPTY_LINES) - 1;
