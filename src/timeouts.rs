//! How long a connection may stay in each phase while the server serves.
//!
//! No lists, no sockets, no clock.

use crate::tracker::Phase;

/// The longest stay in each phase, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTimeouts {
    /// The wait for the first byte.
    pub fresh: u32,
    /// The wait between requests.
    pub idle: u32,
    /// The time of a head, from its first byte. The clock never restarts, so dripping gains nothing.
    pub head: u32,
    /// The time for each [`Limits::progress`](crate::Limits::progress) bytes of a body.
    pub body: u32,
    /// The time of the application; `None` for no limit.
    pub handler: Option<u32>,
    /// The time in which the peer takes the pending bytes, or
    /// [`Limits::progress`](crate::Limits::progress) of them.
    pub reply: u32,
    /// The wait for the peer's FIN after ours.
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
