//! Invariants between turns, asserted after each turn of a debug build, by tests and by fuzzers.
//!
//! Changes nothing.

use super::Engine;
use crate::app::Handler;
use crate::sys::Sys;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Asserts that the lists and the slab agree, and that each connection stands in the list of its
    /// phase. Asserts that no exchange and no tunnel is left behind.
    ///
    /// # Panics
    ///
    /// When an invariant does not hold.
    pub fn check(&self) {
        // O(n) only while small: a million connections are checked by their counts.
        let counts = self.tracker.counts();
        let total: u32 = counts.iter().sum();
        assert_eq!(total as usize, self.tracker.len(), "the counts do not sum");
        // A handshake is in the phase of heads, and has no exchange.
        let asleep = [Phase::Fresh, Phase::Idle, Phase::Linger, Phase::Tunnel];
        let asleep: u32 = asleep.map(|phase| counts[phase as usize]).iter().sum();
        let (used, awake) = (self.pool.used(), (total - asleep) as usize);
        let heads = counts[Phase::Head as usize] as usize;
        assert!(
            used <= awake && awake <= used + heads,
            "exchanges are left behind"
        );
        if total > CHECKED {
            return;
        }
        self.tracker.check();
        let (mut exchanges, mut tunnels) = (0, 0);
        for phase in Phase::ALL {
            for (id, _, connection) in self.tracker.iter(phase) {
                assert_eq!(
                    connection.phase(&self.pool),
                    phase,
                    "{id:?} in another list"
                );
                exchanges += usize::from(connection.has_exchange());
                tunnels += usize::from(connection.is_tunnel());
            }
        }
        assert_eq!(self.pool.used(), exchanges, "an exchange is left behind");
        assert_eq!(self.core.tunnels.len(), tunnels, "a tunnel is left behind");
        self.core.tunnels.check();
    }
}

/// Up to this many connections every list is checked after each turn of a debug build.
const CHECKED: u32 = 64;
