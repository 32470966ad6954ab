//! A bound on handshakes per turn, and the queue of connections that wait for a turn.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::tracker::ConnId;

/// The handshakes of a turn, and the queue for the next.
///
/// A queued connection has a ticket, by which it leaves the queue when it closes: closed ones would
/// hold up the others.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Connections by ticket, oldest first.
    waiting: BTreeMap<NonZeroU64, ConnId>,
    next: NonZeroU64,
    /// Handshakes that may still advance in this turn.
    left: u32,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: NonZeroU64::MIN,
            left: SHARE,
        }
    }
}

impl Handshakes {
    /// Begins a turn. Iterates over the oldest of the queue, which may advance now.
    pub(super) fn turn(&mut self) -> impl Iterator<Item = ConnId> {
        self.left = SHARE;
        (0..SHARE).map_while(|_| self.waiting.pop_first().map(|(_, id)| id))
    }

    /// Returns whether a handshake may advance now; queues it otherwise.
    pub(super) fn may_advance(&mut self, id: ConnId, ticket: &mut Option<NonZeroU64>) -> bool {
        if self.left > 0 {
            self.forget(ticket);
            return true;
        }
        let queued = ticket.is_some_and(|ticket| self.waiting.contains_key(&ticket));
        if !queued {
            self.waiting.insert(self.next, id);
            *ticket = Some(self.next);
            self.next = self.next.saturating_add(1); // not in a thousand years
        }
        false
    }

    /// Counts a handshake that advanced.
    pub(super) const fn advanced(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Removes the connection with this ticket from the queue.
    pub(super) fn forget(&mut self, ticket: &mut Option<NonZeroU64>) {
        if let Some(ticket) = ticket.take() {
            self.waiting.remove(&ticket);
        }
    }
}

/// Handshakes advanced per turn. An RSA key makes the dearest step take about a millisecond, so a
/// full turn delays other connections by less than ten.
const SHARE: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u64) -> ConnId {
        ConnId::from_bits(n)
    }

    #[test]
    fn a_turn_has_its_share_and_the_others_follow_in_order() {
        let mut handshakes = Handshakes::default();
        let mut tickets = vec![None; 20];
        for (n, ticket) in (0..).zip(&mut tickets) {
            let first = n < u64::from(SHARE);
            assert_eq!(handshakes.may_advance(id(n), ticket), first);
            assert_eq!(ticket.is_none(), first);
            handshakes.advanced();
            // A second question changes nothing.
            assert!(first || !handshakes.may_advance(id(n), ticket));
        }
        handshakes.forget(&mut tickets[9]); // it has closed
        let told: Vec<_> = handshakes.turn().collect();
        assert_eq!(told, [8, 10, 11, 12, 13, 14, 15, 16].map(id));
        assert!(handshakes.may_advance(id(8), &mut tickets[8]) && tickets[8].is_none());
        assert_eq!(handshakes.turn().collect::<Vec<_>>(), [17, 18, 19].map(id));
        assert_eq!(handshakes.turn().count(), 0);
    }
}
