//! Tunnels in the loop: their timers, and the goodbyes of a drain.

use super::{Engine, Input, earliest};
use crate::app::Handler;
use crate::drain::{Stage, spread_share};
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::{ConnId, Phase};

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Calls tunnels whose timer is due, tells tunnels of the drain, and ends those whose grace is
    /// over. Makes at most [`CALLS`] calls a turn. Returns when the next is due.
    pub(super) fn call_tunnels(&mut self, now: Tick) -> Option<Tick> {
        let mut left = CALLS;
        while left > 0
            && let Some(id) = self.core.tunnels.take_due(now)
        {
            left -= 1;
            self.input(id, Input::Timer, now);
        }
        let goodbye = match self.core.drain.stage() {
            Stage::Draining { began, .. } => self.say_goodbye(began, left, now),
            _ => None,
        };
        let ended = self.end_tunnels(now);
        earliest([self.core.tunnels.next_due(), goodbye, ended])
    }

    /// Tells at most `most` tunnels of the drain, as far as the spread goes. Returns when the next is
    /// to be told.
    fn say_goodbye(&mut self, began: Tick, most: u32, now: Tick) -> Option<Tick> {
        let total = match self.core.tunnels.at_drain {
            Some(total) => total,
            None => self.list_tunnels(),
        };
        let spread = self.core.drain.policy().close_spread;
        let next = |left: usize| began.after(spread_share(spread, total, left as u32));
        for _ in 0..most {
            let left = self.core.tunnels.to_notify.len();
            if left == 0 || !now.reached(next(left)) {
                break;
            }
            if let Some(id) = self.core.tunnels.to_notify.pop_front() {
                self.input(id, Input::Drain, now);
            }
        }
        let left = self.core.tunnels.to_notify.len();
        (left > 0).then(|| next(left))
    }

    /// Lists the tunnels that are to be told of the drain, and returns their number.
    fn list_tunnels(&mut self) -> u32 {
        let tunnels: Vec<_> = [Phase::Tunnel, Phase::Reply]
            .into_iter()
            .flat_map(|phase| self.tracker.iter(phase))
            .filter_map(|(id, _, connection)| connection.is_tunnel().then_some(id))
            .collect();
        let total = tunnels.len() as u32; // fewer than there are connections
        self.core.tunnels.to_notify = tunnels.into();
        self.core.tunnels.at_drain = Some(total);
        total
    }

    /// Ends the tunnels whose grace is over. Returns when the next grace is.
    fn end_tunnels(&mut self, now: Tick) -> Option<Tick> {
        while let Some((until, id)) = self.core.tunnels.notified.front().copied() {
            let here = self.is_tunnel(id);
            if here && !now.reached(until) {
                return Some(until);
            }
            self.core.tunnels.notified.pop_front();
            if here {
                self.input(id, Input::GraceOver, now);
            }
        }
        None
    }

    fn is_tunnel(&self, id: ConnId) -> bool {
        let connection = self.tracker.get(id);
        connection.is_some_and(|connection| connection.is_tunnel())
    }
}

/// Calls that timers and goodbyes may make in a turn; the others follow in the next, after the
/// sockets that became ready meanwhile.
const CALLS: u32 = 1_024;
