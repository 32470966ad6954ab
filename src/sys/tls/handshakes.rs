//! Whose handshake goes on in this turn, and who waits for the next.
//!
//! Knows connections by their names, and nothing of what they say.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::tracker::ConnId;

/// The share of a turn that is for handshakes, and the queue for it.
///
/// Whoever is in it has a ticket, so that it can be forgotten when it leaves: a queue of those who
/// are long gone would hold up the others.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// By the order of their coming.
    waiting: BTreeMap<NonZeroU64, ConnId>,
    next: NonZeroU64,
    /// How many this turn may still go on with.
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
    /// A turn begins: those that waited longest, to be told that they may go on.
    pub(super) fn turn(&mut self) -> impl Iterator<Item = ConnId> {
        self.left = SHARE;
        (0..SHARE).map_while(|_| self.waiting.pop_first().map(|(_, id)| id))
    }

    /// Whether this one may go on now; else it is queued.
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

    /// One has gone on.
    pub(super) const fn advanced(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Who has this ticket waits no longer.
    pub(super) fn forget(&mut self, ticket: &mut Option<NonZeroU64>) {
        if let Some(ticket) = ticket.take() {
            self.waiting.remove(&ticket);
        }
    }
}

/// Handshakes gone on with in a turn. With a key of RSA the dearest step takes about a millisecond,
/// so that a turn full of them holds up those that are served by less than ten.
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
            // To be told twice changes nothing.
            assert!(first || !handshakes.may_advance(id(n), ticket));
        }
        handshakes.forget(&mut tickets[9]); // it has left
        let told: Vec<_> = handshakes.turn().collect();
        assert_eq!(told, [8, 10, 11, 12, 13, 14, 15, 16].map(id));
        assert!(handshakes.may_advance(id(8), &mut tickets[8]) && tickets[8].is_none());
        assert_eq!(handshakes.turn().collect::<Vec<_>>(), [17, 18, 19].map(id));
        assert_eq!(handshakes.turn().count(), 0);
    }
}
