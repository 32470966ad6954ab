//! How a world is set up, and what it counts.

use super::faults::Faults;
use super::row::Manner;
#[cfg(doc)]
use super::{Sim, Sys};
use crate::tick::Tick;

/// How the world is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many listeners there are.
    pub listeners: usize,
    /// How many connections fit into each listener's backlog.
    pub backlog: usize,
    /// The most events that one wait gives, besides those of the inbox.
    pub batch: usize,
    /// The loop's clock when the world begins.
    pub start: Tick,
    /// Whether [`Sys::stop_handshakes`] can do what it says.
    pub filter: bool,
    /// Whether to keep the bytes that peers are sent, for [`Sim::got`]. Without, only the digest
    /// and the counts are kept.
    pub record: bool,
    /// How peers behave that are told nothing else.
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

/// How many connections we have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted.
    pub accepted: u64,
    /// Closed by us, the aborted ones included.
    pub closed: u64,
    /// Aborted by us.
    pub aborted: u64,
}

impl Totals {
    /// How many are accepted and not closed.
    pub const fn open(self) -> u64 {
        self.accepted - self.closed
    }
}
