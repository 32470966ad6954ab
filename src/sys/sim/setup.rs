//! The set-up of a world, and its counts.

use super::faults::Faults;
use super::row::Manner;
#[cfg(doc)]
use super::{Sim, Sys};
use crate::tick::Tick;

/// The set-up of a world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The number of listeners.
    pub listeners: usize,
    /// The size of each listener's backlog, in connections.
    pub backlog: usize,
    /// The most events of one wait, besides the inbox's.
    pub batch: usize,
    /// The loop's clock when the world begins.
    pub start: Tick,
    /// Whether [`Sys::stop_handshakes`] can do what it says.
    pub filter: bool,
    /// Whether to keep bytes written to peers, for [`Sim::got`]. Otherwise only the digest and the
    /// counts are kept.
    pub record: bool,
    /// How peers behave, unless [`Sim::behave`] changes it.
    pub manner: Manner,
    /// What goes wrong.
    pub faults: Faults,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listeners: 1,
            backlog: 4096,
            batch: 1024,
            start: Tick::default(),
            filter: true,
            record: true,
            manner: Manner::default(),
            faults: Faults::default(),
        }
    }
}

/// Counts of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted.
    pub accepted: u64,
    /// Closed by us, including aborted ones.
    pub closed: u64,
    /// Aborted by us.
    pub aborted: u64,
}

impl Totals {
    /// Returns the number of accepted connections that are not closed.
    pub const fn open(self) -> u64 {
        self.accepted - self.closed
    }
}
