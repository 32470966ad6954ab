//! One connection of the world: what is on its way in each direction, and what each end has said.
//!
//! No queue of events and no other connections: those are the world's.

use super::bytes::Inbox;
use crate::sys::{Ready, Who};
use crate::tracker::ConnId;

/// Names a peer: the number of its row, which is also the handle that `accept` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub(super) u32);

impl PeerId {
    /// The peer at the other end of a handle.
    pub const fn of(io: u32) -> Self {
        Self(io)
    }

    /// How many peers were made before this one.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How soon a peer does what it will do anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// In the same moment.
    #[default]
    AtOnce,
    /// So many milliseconds later.
    After(u32),
    /// Only when the test says so.
    Never,
}

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// When it takes and acknowledges what it is sent, our FIN included.
    pub takes: Pace,
    /// When it answers our FIN with its own, from the moment it took ours.
    pub answers: Pace,
    /// How many bytes can be on their way to it: written and not taken.
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

/// What a peer has seen of us: milliseconds since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether its connect succeeded, which the backlog is enough for.
    pub connected: bool,
    /// When it took our FIN, which comes after all that we wrote.
    pub fin: Option<u32>,
    /// When it got a reset from us. After a FIN that is harmless: it has everything.
    pub reset: Option<u32>,
    /// When its connect was refused.
    pub refused: Option<u32>,
}

impl Seen {
    /// Whether it is connected and we have neither finished nor reset.
    pub const fn open(self) -> bool {
        self.connected && self.fin.is_none() && self.reset.is_none()
    }
}

/// Where our end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    /// The peer has not tried to connect.
    Planned,
    /// Its handshake gets no answer yet.
    Held,
    /// It was refused, or gave up.
    Never,
    Backlog,
    Accepted,
    Registered,
    Closed,
}

/// Where the peer's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    Up,
    /// Its application has closed; its kernel resets whatever still comes.
    Left,
    /// Reset by either side, or refused.
    Cut,
}

/// What we have heard from the peer, after its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Open,
    Fin,
    /// A reset, which the next read or write reports.
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
    /// When it was reset by us, or refused.
    pub(super) cut: Option<u32>,
    pub(super) listener: u16,
    pub(super) ours: Ours,
    pub(super) theirs: Theirs,
    pub(super) stream_end: StreamEnd,
    /// We have sent our FIN.
    pub(super) finished: bool,
    /// A write met a full window: room is worth an event.
    pub(super) starved: bool,
    /// Is on the ready list.
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

    /// Whether the peer can still send bytes or a FIN.
    pub(super) fn can_send(&self) -> bool {
        let trying = !matches!(self.ours, Ours::Planned | Ours::Never);
        trying && self.theirs == Theirs::Up && self.stream_end == StreamEnd::Open
    }

    /// How many bytes can be written now.
    pub(super) const fn room(&self) -> u64 {
        (self.manner.window as u64).saturating_sub(self.written - self.taken)
    }

    /// Bytes that were written and not taken; a FIN that was not counts as one.
    pub(super) fn unacknowledged(&self) -> u64 {
        let fin = self.finished && self.fin.is_none();
        self.written - self.taken + u64::from(fin)
    }

    /// What an event says now; `None` if there would be nothing in it. To find no room is to meet a
    /// full window, as a poll in the kernel is.
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

// A million of them fit into a test.
const _: () = assert!(size_of::<Row>() <= 168);
