//! The tunnels: what each owns, their timers, and which of them know of the drain.
//!
//! An idle tunnel costs its [`TunnelEntry`] beside the connection's entry in the tracker.
//! Timers of one duration stand in one list, due in the order in which they were set. Setting,
//! stopping and expiring therefore cost the same for any number. Programs use few durations, so
//! [`LISTS`] lists are enough. Timers of further durations stand in a set ordered by their due
//! time, at O(log n) and some 16 bytes each. Each timer is due in its millisecond, never earlier.
//!
//! Knows no sockets and no clock.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use slab::Slab;

use super::connection::discard;
use crate::app::Tunnel;
use crate::list::{Linked, Links, List};
use crate::tick::Tick;
use crate::tracker::ConnId;

/// What a tunnel owns.
pub(super) struct TunnelEntry {
    pub(super) tunnel: Box<dyn Tunnel>,
    id: ConnId,
    /// Bytes since the upgrade, without those of the pass under way.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    links: Links,
    /// When its timer is due, if one is set.
    due: Tick,
    timer: TimerPlace,
    pub(super) inbound: Inbound,
    /// Whether it knows of the drain.
    pub(super) notified: bool,
}

impl TunnelEntry {
    /// Returns the tunnel's own name; an empty one if the tunnel panics.
    pub(super) fn name(&self) -> &str {
        catch_unwind(AssertUnwindSafe(|| self.tunnel.name())).unwrap_or_default()
    }
}

impl Linked for TunnelEntry {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Whether a tunnel gets the bytes of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Open,
    /// The tunnel gets none until it is woken.
    Paused,
    /// The peer has sent its last byte, and the tunnel knows.
    Ended,
}

/// Where a tunnel's timer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimerPlace {
    Unset,
    List(u8),
    Ordered,
}

/// The timers of one duration, in the order of their due times.
struct TimerList {
    after: u32,
    list: List,
}

/// A timer that stands in no list. Due times lie within five days of the clock, so they compare.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OrderedTimer {
    due: Tick,
    index: u32,
}

impl Ord for OrderedTimer {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_due = self.due.compare(other.due);
        by_due.then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for OrderedTimer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All tunnels of a loop.
#[derive(Default)]
pub(super) struct Tunnels {
    entries: Slab<TunnelEntry>,
    timer_lists: Vec<TimerList>,
    ordered_timers: BTreeSet<OrderedTimer>,
    /// Tunnels from before the drain that do not know of it yet.
    pub(super) to_notify: VecDeque<ConnId>,
    /// Tunnels that know of the drain, and until when each may stay.
    pub(super) notified: VecDeque<(Tick, ConnId)>,
    /// The number of tunnels when the drain began; `None` before.
    pub(super) at_drain: Option<u32>,
}

impl Tunnels {
    /// Adds a tunnel. Returns the index of its entry.
    pub(super) fn attach(&mut self, id: ConnId, tunnel: Box<dyn Tunnel>) -> u32 {
        let entry = TunnelEntry {
            tunnel,
            id,
            bytes_in: 0,
            bytes_out: 0,
            links: Links::NONE,
            due: Tick::default(),
            timer: TimerPlace::Unset,
            inbound: Inbound::Open,
            notified: false,
        };
        self.entries.insert(entry) as u32 // fewer than there are connections, and their keys are u32
    }

    /// Drops a tunnel.
    pub(super) fn detach(&mut self, index: u32) {
        self.stop_timer(index);
        discard(self.entries.remove(index as usize).tunnel);
    }

    pub(super) fn get(&self, index: u32) -> Option<&TunnelEntry> {
        self.entries.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut TunnelEntry> {
        self.entries.get_mut(index as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sets a tunnel's timer to `after` milliseconds from now, in place of an earlier one.
    pub(super) fn set_timer(&mut self, index: u32, after: u32, now: Tick) {
        self.stop_timer(index);
        let due = now.after(after);
        let place = match self.list_of(after) {
            Some(list) => {
                self.timer_lists[list].list.append(&mut self.entries, index);
                TimerPlace::List(list as u8) // less than LISTS
            }
            None => {
                self.ordered_timers.insert(OrderedTimer { due, index });
                TimerPlace::Ordered
            }
        };
        let entry = &mut self.entries[index as usize];
        (entry.due, entry.timer) = (due, place);
    }

    /// Stops a tunnel's timer, if one is set.
    pub(super) fn stop_timer(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let due = entry.due;
        match std::mem::replace(&mut entry.timer, TimerPlace::Unset) {
            TimerPlace::Unset => {}
            TimerPlace::List(list) => {
                let list = &mut self.timer_lists[usize::from(list)].list;
                list.unlink(&mut self.entries, index);
            }
            TimerPlace::Ordered => {
                self.ordered_timers.remove(&OrderedTimer { due, index });
            }
        }
    }

    /// Returns when the next timer is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.first_dues().map(|(due, _)| due).reduce(Tick::min)
    }

    /// Stops a timer that is due. Returns the connection of its tunnel.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<ConnId> {
        let (_, index) = self.first_dues().find(|(due, _)| now.reached(*due))?;
        self.stop_timer(index);
        Some(self.entries[index as usize].id)
    }

    /// Iterates over the first timer of each list and of the ordered set.
    fn first_dues(&self) -> impl Iterator<Item = (Tick, u32)> {
        let heads = self.timer_lists.iter().map(|timers| timers.list.head());
        heads
            .chain(self.ordered_timers.first().map(|timer| timer.index))
            .filter_map(|index| Some((self.entries.get(index as usize)?.due, index)))
    }

    /// Returns the list of a duration: its own, or a free one. `None` if other durations hold all
    /// lists.
    fn list_of(&mut self, after: u32) -> Option<usize> {
        let lists = &mut self.timer_lists;
        let own = lists.iter().position(|timers| timers.after == after);
        let free = || lists.iter().position(|timers| timers.list.is_empty());
        if let Some(list) = own.or_else(free) {
            lists[list].after = after;
            return Some(list);
        }
        if lists.len() == LISTS {
            return None;
        }
        let list = List::EMPTY;
        lists.push(TimerList { after, list });
        Some(lists.len() - 1)
    }

    /// Asserts that the timers and the entries agree. O(n).
    pub(super) fn check(&self) {
        let mut timers = self.ordered_timers.len();
        for timer in &self.ordered_timers {
            let entry = &self.entries[timer.index as usize];
            assert_eq!((entry.timer, entry.due), (TimerPlace::Ordered, timer.due));
        }
        for (number, TimerList { list, .. }) in self.timer_lists.iter().enumerate() {
            list.check(&self.entries);
            timers += list.len() as usize;
            let mut last: Option<Tick> = None;
            for (_, entry) in list.iter(&self.entries) {
                assert_eq!(entry.timer, TimerPlace::List(number as u8));
                assert!(
                    last.is_none_or(|last| entry.due.reached(last)),
                    "out of order"
                );
                last = Some(entry.due);
            }
        }
        let entries = self.entries.iter();
        let set = entries.filter(|(_, entry)| entry.timer != TimerPlace::Unset);
        assert_eq!(timers, set.count(), "a timer that stands nowhere");
    }
}

/// The most durations with a list: each turn looks at the first timer of every list.
const LISTS: usize = 32;

// The memory of an idle tunnel, beside the connection's entry and the tunnel itself.
const _: () = assert!(size_of::<TunnelEntry>() <= 56 && size_of::<Option<TunnelEntry>>() <= 56);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{TunnelAction, TunnelIo};
    use crate::sys::sim::Dice;
    use crate::tick::MAX_LIMIT;

    struct Nothing;

    impl Tunnel for Nothing {
        fn receive(&mut self, _: &mut [u8], _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Wait
        }

        fn draining(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Close
        }
    }

    fn tunnels(count: u64) -> Tunnels {
        let mut tunnels = Tunnels::default();
        for bits in 0..count {
            let index = tunnels.attach(ConnId::from_bits(bits), Box::new(Nothing));
            assert_eq!(u64::from(index), bits);
        }
        tunnels
    }

    /// Lets the clock jump from one due time to the next; returns each with its tunnel.
    fn run_until(tunnels: &mut Tunnels, until: Tick) -> Vec<(u32, u64)> {
        let mut all = Vec::new();
        while let Some(now) = tunnels.next_due().filter(|due| until.reached(*due)) {
            let id = tunnels.take_due(now).expect("it was due");
            all.push((now.as_millis(), id.to_bits()));
            tunnels.check();
        }
        all
    }

    #[test]
    fn each_is_due_at_its_time_once() {
        let mut tunnels = tunnels(4);
        let at = Tick::from_millis;
        tunnels.set_timer(0, 100, at(0));
        tunnels.set_timer(1, 30, at(10));
        tunnels.set_timer(2, 100, at(20));
        tunnels.set_timer(3, 30, at(20));
        tunnels.set_timer(3, 100, at(25)); // in place of the other
        tunnels.check();
        let expected = [(40, 1), (100, 0), (120, 2), (125, 3)];
        assert_eq!(run_until(&mut tunnels, at(1_000)), expected);
        assert_eq!(tunnels.next_due(), None);
    }

    #[test]
    fn a_timer_that_is_stopped_or_whose_tunnel_ends_is_never_due() {
        for victim in 0..3 {
            let mut tunnels = tunnels(3);
            for index in 0..3 {
                tunnels.set_timer(index, 50, Tick::from_millis(index));
            }
            if victim == 1 {
                tunnels.detach(victim);
            } else {
                tunnels.stop_timer(victim);
                tunnels.stop_timer(victim);
            }
            tunnels.check();
            let left = run_until(&mut tunnels, Tick::from_millis(1_000));
            let left: Vec<u64> = left.into_iter().map(|(_, id)| id).collect();
            let expected: Vec<u64> = (0..3).filter(|id| *id != u64::from(victim)).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn more_durations_than_lists_are_due_at_their_time() {
        let now = Tick::from_millis(u32::MAX - 50); // across the wrap
        let count = 2 * LISTS as u32;
        let mut tunnels = tunnels(count.into());
        let after = |index| match index {
            0 => 1, // the shortest and the longest come last, without a list
            1 => MAX_LIMIT,
            _ => 100 * index,
        };
        for index in (0..count).rev() {
            tunnels.set_timer(index, after(index), now);
        }
        assert_eq!(tunnels.timer_lists.len(), LISTS);
        assert_eq!(tunnels.ordered_timers.len(), LISTS);
        let mut expected: Vec<(u32, u64)> = (0..count)
            .map(|index| (after(index), index.into()))
            .collect();
        expected.sort_unstable();
        let due: Vec<(u32, u64)> = run_until(&mut tunnels, now.after(MAX_LIMIT))
            .into_iter()
            .map(|(at, id)| (Tick::from_millis(at).since(now), id))
            .collect();
        assert_eq!(due, expected);
        // Other durations reuse empty lists.
        tunnels.set_timer(0, 7, now);
        assert_eq!(tunnels.timer_lists.len(), LISTS);
        assert_eq!(tunnels.entries[0].timer, TimerPlace::List(0));
    }

    #[test]
    fn a_random_history_agrees_with_a_plain_list() {
        const COUNT: u32 = 100;
        let mut tunnels = tunnels(COUNT.into());
        let mut model: Vec<Option<Tick>> = vec![None; COUNT as usize];
        let (mut chance, mut now) = (Dice::new(9), Tick::from_millis(u32::MAX - 20_000));
        let mut most_ordered = 0;
        for _ in 0..40_000 {
            let dice = chance.below(u32::MAX);
            let index = dice % COUNT;
            now = now.after(dice / 100 % 4);
            if dice.is_multiple_of(7) {
                tunnels.stop_timer(index);
                model[index as usize] = None;
            } else {
                let after = match dice / 500 % 5 {
                    0 => 1,
                    1 => 20,
                    2 => 300,
                    3 => dice / 4_000 % 1_000, // any, 0 among them
                    _ => MAX_LIMIT - dice / 4_000 % 100,
                };
                tunnels.set_timer(index, after, now);
                model[index as usize] = Some(now.after(after));
            }
            most_ordered = most_ordered.max(tunnels.ordered_timers.len());
            let mut due: Vec<u64> = std::iter::from_fn(|| tunnels.take_due(now))
                .map(ConnId::to_bits)
                .collect();
            due.sort_unstable();
            let mut expected = Vec::new();
            for (id, at) in model.iter_mut().enumerate() {
                if at.is_some_and(|at| now.reached(at)) {
                    *at = None;
                    expected.push(id as u64);
                }
            }
            assert_eq!(due, expected);
            assert_eq!(
                tunnels.next_due(),
                model.iter().flatten().copied().reduce(Tick::min)
            );
        }
        assert!(most_ordered > 10, "more durations than lists");
        tunnels.check();
    }
}
