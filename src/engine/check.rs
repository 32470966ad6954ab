//! What must hold between turns, asserted: after each in a debug build, and by tests and fuzzers.
//!
//! Changes nothing.

use super::Engine;
use super::conn::Flag;
use super::hot::NIL;
use crate::app::Handler;
use crate::sys::Sys;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Asserts what must hold between turns: the lists and the slab agree, and working state is
    /// held exactly by those who are in the middle of something.
    ///
    /// # Panics
    ///
    /// When it does not hold.
    pub fn check(&self) {
        // O(n) only while small: a million connections are checked by their counts.
        let counts = self.tracker.counts();
        let total: u32 = counts.iter().sum();
        assert_eq!(total as usize, self.tracker.len(), "the counts do not sum");
        let asleep = [Phase::Fresh, Phase::Idle, Phase::Linger, Phase::Tunnel];
        let awake = total
            - asleep
                .iter()
                .map(|phase| counts[*phase as usize])
                .sum::<u32>();
        assert_eq!(self.pool.used(), awake as usize, "working state is leaked");
        if total <= CHECKED {
            self.tracker.check();
            let mut tunnels = 0;
            for phase in Phase::ALL {
                for (id, _, conn) in self.tracker.iter(phase) {
                    let idle = asleep.contains(&phase);
                    assert_eq!(conn.hot == NIL, idle, "{id:?} in {phase:?}");
                    assert_eq!(conn.is(Flag::Finished), phase == Phase::Linger);
                    assert!(conn.is(Flag::Tunnel) || phase != Phase::Tunnel);
                    tunnels += usize::from(conn.is(Flag::Tunnel));
                }
            }
            assert_eq!(self.core.tunnels.len(), tunnels, "a tunnel is left behind");
            self.core.tunnels.check();
        }
    }
}

/// Up to this many connections every list is checked after each turn of a debug build.
const CHECKED: u32 = 64;
