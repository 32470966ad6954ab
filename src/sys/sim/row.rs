//! One connection of the world: its bytes under way, and the state of both ends.

use super::bytes::Inbox;
use crate::sys::{Ready, Who};
use crate::tracker::ConnId;

/// The number of a peer's row, which is also the handle of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(super) u32);

impl PeerId {
    /// Returns the peer at the other end of a handle.
    pub const fn of(io: u32) -> Self {
        Self(io)
    }

    /// Returns the number of earlier peers.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The delay before a peer acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// In the same moment.
    #[default]
    AtOnce,
    /// Milliseconds later.
    After(u32),
    /// Only by an [`Act`](super::Act).
    Never,
}

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// When the peer takes and acknowledges bytes and our FIN.
    pub takes: Pace,
    /// When the peer sends its FIN, counted from the moment it took ours.
    pub answers: Pace,
    /// The most bytes that are written and not taken.
    pub window: u32,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            takes: Pace::AtOnce,
            answers: Pace::AtOnce,
            window: 256 << 10,
        }
    }
}

/// What a peer has seen of us, in milliseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether its connect succeeded; room in the backlog is enough.
    pub connected: bool,
    /// When it took our FIN, behind all our bytes.
    pub fin: Option<u32>,
    /// When it got a reset from us; harmless after our FIN, behind which nothing was lost.
    pub reset: Option<u32>,
    /// When its connect was refused.
    pub refused: Option<u32>,
}

impl Seen {
    /// Returns whether the peer is connected and has seen neither a FIN nor a reset.
    pub const fn open(self) -> bool {
        self.connected && self.fin.is_none() && self.reset.is_none()
    }
}

/// The state of our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    /// The peer has not tried to connect.
    Planned,
    /// Its SYN was dropped; another will follow.
    Held,
    /// The connect was refused, or the peer gave up.
    Never,
    Backlog,
    Accepted,
    Registered,
    Closed,
}

/// The state of the peer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    Up,
    /// Its application has closed; its kernel responds to bytes with a reset.
    Left,
    /// Reset by either side, or refused.
    Cut,
}

/// What follows the peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Open,
    Fin,
    /// A reset that the next read or write reports.
    Reset,
    ResetReported,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: ConnId,
    pub(super) inbox: Inbox,
    /// Every byte written, if the world records them.
    pub(super) wire: Vec<u8>,
    pub(super) sent: u64,
    pub(super) written: u64,
    pub(super) taken: u64,
    pub(super) manner: Manner,
    /// When the peer took our FIN.
    pub(super) fin: Option<u32>,
    /// When we reset or refused the peer.
    pub(super) cut: Option<u32>,
    pub(super) listener: u16,
    pub(super) ours: Ours,
    pub(super) theirs: Theirs,
    pub(super) stream_end: StreamEnd,
    /// We have sent our FIN.
    pub(super) finished: bool,
    /// A write met a full window: room brings an event.
    pub(super) starved: bool,
    /// The row is on the ready list.
    pub(super) queued: bool,
}

impl Row {
    pub(super) fn new(listener: usize, manner: Manner) -> Self {
        Self {
            id: ConnId::from_bits(u64::MAX),
            inbox: Inbox::default(),
            wire: Vec::new(),
            sent: 0,
            written: 0,
            taken: 0,
            manner,
            fin: None,
            cut: None,
            listener: listener as u16,
            ours: Ours::Planned,
            theirs: Theirs::Up,
            stream_end: StreamEnd::Open,
            finished: false,
            starved: false,
            queued: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.ours, Ours::Accepted | Ours::Registered)
    }

    pub(super) const fn is_reset(&self) -> bool {
        matches!(self.stream_end, StreamEnd::Reset | StreamEnd::ResetReported)
    }

    /// Returns whether the peer can still send bytes or a FIN.
    pub(super) fn can_send(&self) -> bool {
        let trying = !matches!(self.ours, Ours::Planned | Ours::Never);
        trying && self.theirs == Theirs::Up && self.stream_end == StreamEnd::Open
    }

    /// Returns the number of bytes that can be written now.
    pub(super) const fn room(&self) -> u64 {
        (self.manner.window as u64).saturating_sub(self.written - self.taken)
    }

    /// Returns the number of bytes that are written and not taken, with our FIN as one.
    pub(super) fn unacknowledged(&self) -> u64 {
        let fin = self.finished && self.fin.is_none();
        self.written - self.taken + u64::from(fin)
    }

    /// Returns an event with what is possible now; `None` if nothing is. Finding no room counts as
    /// meeting a full window, as in the kernel's poll.
    pub(super) fn poll(&mut self) -> Option<Ready> {
        let gone = self.is_reset();
        let read_closed = gone || self.stream_end == StreamEnd::Fin;
        let readable = read_closed || self.inbox.len() > 0;
        let writable = gone || self.finished || self.room() > 0;
        self.starved |= !writable;
        (readable || writable).then_some(Ready {
            who: Who::Conn(self.id),
            readable,
            writable,
            read_closed,
            gone,
        })
    }

    pub(super) fn seen(&self) -> Seen {
        let never = self.ours == Ours::Never;
        Seen {
            connected: !matches!(self.ours, Ours::Planned | Ours::Held | Ours::Never),
            fin: self.fin,
            reset: self.cut.filter(|_| !never),
            refused: self.cut.filter(|_| never),
        }
    }
}

// A million rows fit into a test.
const _: () = assert!(size_of::<Row>() <= 168);
