//! How long a connection may stay in each phase while the server serves.
//!
//! No lists, no sockets, no clock.

use crate::tracker::Phase;

/// The longest stay in each phase, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTimeouts {
    /// Until the first byte arrives.
    pub fresh: u32,
    /// Between requests.
    pub idle: u32,
    /// For a head, from its first byte. The clock never restarts, so dripping bytes gains nothing.
    pub head: u32,
    /// For each [`Limits::progress`](crate::Limits::progress) bytes of a body.
    pub body: u32,
    /// For the application to respond; `None` for no limit.
    pub handler: Option<u32>,
    /// For the peer to take the pending bytes, or [`Limits::progress`](crate::Limits::progress) of them.
    pub reply: u32,
    /// For the peer's FIN after ours.
    pub linger: u32,
}

impl PhaseTimeouts {
    /// Returns the limit of a phase, in milliseconds; `None` for no limit.
    pub const fn limit(&self, phase: Phase) -> Option<u32> {
        match phase {
            Phase::Fresh => Some(self.fresh),
            Phase::Idle => Some(self.idle),
            Phase::Head => Some(self.head),
            Phase::Body => Some(self.body),
            Phase::Handler => self.handler,
            Phase::Reply => Some(self.reply),
            Phase::Linger => Some(self.linger),
            Phase::Tunnel => None,
        }
    }
}
