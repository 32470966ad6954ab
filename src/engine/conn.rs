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
    /// Bytes read out and thrown away after our FIN.
    pub(super) lingered: u32,
    /// Bytes that the peer had not acknowledged when that was last asked, after our FIN. Before it,
    /// with what was written since: what it would owe an acknowledgement for if it gave none. 0 if
    /// it was not asked.
    pub(super) owed: u32,
    pub(super) peer: Peer,
    flags: u8,
}

/// One thing that is remembered about a socket.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Flag {
    /// There may be bytes to read: an edge said so, and no read has said otherwise.
    Readable = 1,
    /// A read gave the peer's FIN.
    Eof = 2,
    /// An event said that the peer's FIN is there, maybe behind bytes: no further edge will come.
    ReadClosed = 64,
    /// It is in the queue of those who had more to give than their share.
    Queued = 4,
    /// We have sent our FIN.
    Finished = 8,
    /// It leaves, if one more read gives nothing.
    LastLook = 16,
    /// Its linger is over, but the peer has not acknowledged everything.
    Overdue = 32,
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
        self.flags & flag as u8 != 0
    }

    #[inline]
    pub(super) const fn set(&mut self, flag: Flag) {
        self.flags |= flag as u8;
    }

    #[inline]
    pub(super) const fn clear(&mut self, flag: Flag) {
        self.flags &= !(flag as u8);
    }
}
