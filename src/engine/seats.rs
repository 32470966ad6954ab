//! The tunnels, asleep or awake, their timers, and who of them has been told of the drain.
//!
//! A tunnel's seat is all that an idle one costs beside the connection's entry in the tracker.
//! Timers follow the tracker's design: those who ask for the same time stand in one list, and are
//! due in the order in which they asked; few different times are asked for, so there are few lists.
//! No heap, no sweep, nothing allocated by asking. Knows no sockets and no clock.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use slab::Slab;

use super::hot::{NIL, discard};
use crate::app::Tunnel;
use crate::tick::Tick;
use crate::tracker::ConnId;

/// What a connection that was upgraded owns.
pub(super) struct Seat {
    pub(super) tunnel: Box<dyn Tunnel>,
    pub(super) id: ConnId,
    /// Bytes since the upgrade; those of the pass under way are still in its `Hot`.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    prev: u32,
    next: u32,
    /// When its timer was set.
    since: Tick,
    /// The list that its timer stands in, or [`NONE`].
    lane: u8,
    pub(super) hears: Hears,
    /// It was told of the drain.
    pub(super) told: bool,
}

impl Seat {
    /// What its tunnel calls itself.
    pub(super) fn name(&self) -> &str {
        catch_unwind(AssertUnwindSafe(|| self.tunnel.name())).unwrap_or_default()
    }
}

/// Whether a tunnel is given what its peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    /// It is.
    Yes,
    /// Not until it is woken.
    Paused,
    /// The peer has sent its last byte, and the tunnel knows.
    Ended,
}

/// The timers of one duration, oldest first.
struct Lane {
    after: u32,
    head: u32,
    tail: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct Seats {
    seats: Slab<Seat>,
    lanes: Vec<Lane>,
    /// Those that were there when the drain began, and are not told yet.
    pub(super) untold: VecDeque<ConnId>,
    /// Those that were told, and until when they may stay.
    pub(super) told: VecDeque<(Tick, ConnId)>,
    /// How many there were when the drain began; none before.
    pub(super) at_drain: Option<u32>,
}

impl Seats {
    /// Takes a tunnel; the connection keeps the index.
    pub(super) fn add(&mut self, id: ConnId, tunnel: Box<dyn Tunnel>) -> u32 {
        let seat = Seat {
            tunnel,
            id,
            bytes_in: 0,
            bytes_out: 0,
            prev: NIL,
            next: NIL,
            since: Tick::default(),
            lane: NONE,
            hears: Hears::Yes,
            told: false,
        };
        self.seats.insert(seat) as u32 // fewer than there are connections, and their keys are u32
    }

    /// Drops a tunnel.
    pub(super) fn remove(&mut self, index: u32) {
        self.stop(index);
        discard(self.seats.remove(index as usize).tunnel);
    }

    pub(super) fn get(&self, index: u32) -> Option<&Seat> {
        self.seats.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Seat> {
        self.seats.get_mut(index as usize)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Sets a tunnel's timer, in place of the one that it may have.
    pub(super) fn set(&mut self, index: u32, after: u32, now: Tick) {
        self.stop(index);
        let lane = self.lane(after);
        let tail = std::mem::replace(&mut self.lanes[lane].tail, index);
        if tail == NIL {
            self.lanes[lane].head = index;
        } else {
            self.seats[tail as usize].next = index;
        }
        let seat = &mut self.seats[index as usize];
        (seat.prev, seat.next) = (tail, NIL);
        (seat.lane, seat.since) = (lane as u8, now); // at most LANES
    }

    /// Takes a tunnel's timer away, if it has one.
    pub(super) fn stop(&mut self, index: u32) {
        let seat = &mut self.seats[index as usize];
        if seat.lane == NONE {
            return;
        }
        let lane = usize::from(std::mem::replace(&mut seat.lane, NONE));
        let (prev, next) = (seat.prev, seat.next);
        match self.seats.get_mut(prev as usize) {
            Some(seat) => seat.next = next,
            None => self.lanes[lane].head = next,
        }
        match self.seats.get_mut(next as usize) {
            Some(seat) => seat.prev = prev,
            None => self.lanes[lane].tail = prev,
        }
    }

    /// When the next timer is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.dues().map(|(due, _)| due).reduce(Tick::min)
    }

    /// Takes a timer that is due, and says whose it is.
    pub(super) fn due(&mut self, now: Tick) -> Option<ConnId> {
        let (_, index) = self.dues().find(|(due, _)| now.reached(*due))?;
        self.stop(index);
        Some(self.seats[index as usize].id)
    }

    /// For each duration, the next to be due.
    fn dues(&self) -> impl Iterator<Item = (Tick, u32)> {
        self.lanes.iter().filter_map(|lane| {
            let seat = self.seats.get(lane.head as usize)?;
            Some((seat.since.after(lane.after), lane.head))
        })
    }

    /// The list of a duration: a new one as long as there are not too many, then the next longer
    /// one's, and at last the longest.
    fn lane(&mut self, after: u32) -> usize {
        if let Some(lane) = self.lanes.iter().position(|lane| lane.after == after) {
            return lane;
        }
        let new = Lane {
            after,
            head: NIL,
            tail: NIL,
        };
        if let Some(lane) = self.lanes.iter().position(|lane| lane.head == NIL) {
            self.lanes[lane] = new;
            return lane;
        }
        if self.lanes.len() < LANES {
            self.lanes.push(new);
            return self.lanes.len() - 1;
        }
        let far = |lane: &&Lane| (lane.after < after, lane.after.abs_diff(after));
        let nearest = self.lanes.iter().min_by_key(far);
        let nearest = nearest.map_or(after, |lane| lane.after);
        self.lane(nearest)
    }

    /// Asserts that the lists of the timers and the seats agree. O(n).
    pub(super) fn check(&self) {
        let mut timed = 0;
        for (number, lane) in self.lanes.iter().enumerate() {
            let (mut index, mut prev, mut last) = (lane.head, NIL, None::<Tick>);
            while index != NIL {
                let seat = &self.seats[index as usize];
                assert_eq!((usize::from(seat.lane), seat.prev), (number, prev));
                assert!(
                    last.is_none_or(|last| seat.since.reached(last)),
                    "out of order"
                );
                (last, prev, index) = (Some(seat.since), index, seat.next);
                timed += 1;
            }
            assert_eq!(lane.tail, prev, "a list of timers that ends elsewhere");
        }
        let set = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.lane != NONE)
            .count();
        assert_eq!(timed, set, "a timer that stands in no list");
    }
}

/// No timer.
const NONE: u8 = u8::MAX;

/// How many different durations there may be at a time.
const LANES: usize = 32;

// What an idle tunnel costs beside the connection's entry and what it owns itself.
const _: () = assert!(size_of::<Seat>() <= 56 && size_of::<Option<Seat>>() <= 56);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{TunnelAction, TunnelIo};
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

    fn seats(count: u64) -> Seats {
        let mut seats = Seats::default();
        for bits in 0..count {
            let index = seats.add(ConnId::from_bits(bits), Box::new(Nothing));
            assert_eq!(u64::from(index), bits);
        }
        seats
    }

    /// Who is due up to a moment, each when it is.
    fn due(seats: &mut Seats, until: Tick) -> Vec<(u32, u64)> {
        let mut all = Vec::new();
        while let Some(now) = seats.next_due().filter(|due| until.reached(*due)) {
            let id = seats.due(now).expect("it was due");
            all.push((now.as_millis(), id.to_bits()));
            seats.check();
        }
        all
    }

    #[test]
    fn each_is_due_at_its_time_once() {
        let mut seats = seats(4);
        let at = Tick::from_millis;
        seats.set(0, 100, at(0));
        seats.set(1, 30, at(10));
        seats.set(2, 100, at(20));
        seats.set(3, 30, at(20));
        seats.set(3, 100, at(25)); // in place of the other
        seats.check();
        let expected = [(40, 1), (100, 0), (120, 2), (125, 3)];
        assert_eq!(due(&mut seats, at(1_000)), expected);
        assert_eq!(seats.next_due(), None);
    }

    #[test]
    fn a_timer_that_is_stopped_or_whose_tunnel_ends_is_never_due() {
        for victim in 0..3 {
            let mut seats = seats(3);
            for index in 0..3 {
                seats.set(index, 50, Tick::from_millis(index));
            }
            if victim == 1 {
                seats.remove(victim);
            } else {
                seats.stop(victim);
                seats.stop(victim);
            }
            seats.check();
            let left = due(&mut seats, Tick::from_millis(1_000));
            let left: Vec<u64> = left.into_iter().map(|(_, id)| id).collect();
            let expected: Vec<u64> = (0..3).filter(|id| *id != u64::from(victim)).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn more_durations_than_lists_share_the_next_longer_one() {
        let mut seats = seats(LANES as u64 + 2);
        let now = Tick::from_millis(u32::MAX - 50); // across the wrap
        for index in 0..LANES as u32 {
            seats.set(index, 100 * (index + 1), now);
        }
        seats.set(LANES as u32, 150, now);
        seats.set(LANES as u32 + 1, MAX_LIMIT, now);
        assert_eq!(seats.lanes.len(), LANES);
        let far = now.after(1_000_000);
        let due: Vec<_> = due(&mut seats, far)
            .into_iter()
            .map(|(at, id)| (Tick::from_millis(at).since(now), id))
            .collect();
        assert!(due.contains(&(200, LANES as u64)), "not early: {due:?}");
        assert!(
            due.contains(&(3_200, LANES as u64 + 1)),
            "the longest there is: {due:?}"
        );
        // Empty lists are there for other durations.
        seats.set(0, 7, now);
        assert_eq!(
            (seats.lanes.len(), seats.next_due()),
            (LANES, Some(now.after(7)))
        );
    }

    #[test]
    fn a_random_history_agrees_with_a_plain_list() {
        let mut seats = seats(50);
        let mut plain: Vec<Option<Tick>> = vec![None; 50];
        let (mut state, mut now) = (9u64, Tick::from_millis(u32::MAX - 20_000));
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let dice = (state >> 33) as u32;
            let index = dice % 50;
            now = now.after(dice / 50 % 4);
            if dice.is_multiple_of(7) {
                seats.stop(index);
                plain[index as usize] = None;
            } else {
                let after = [1, 20, 300][(dice / 500 % 3) as usize];
                seats.set(index, after, now);
                plain[index as usize] = Some(now.after(after));
            }
            let mut due: Vec<u64> = std::iter::from_fn(|| seats.due(now))
                .map(ConnId::to_bits)
                .collect();
            due.sort_unstable();
            let mut expected = Vec::new();
            for (id, at) in plain.iter_mut().enumerate() {
                if at.is_some_and(|at| now.reached(at)) {
                    *at = None;
                    expected.push(id as u64);
                }
            }
            assert_eq!(due, expected);
            assert_eq!(
                seats.next_due(),
                plain.iter().flatten().copied().reduce(Tick::min)
            );
        }
        seats.check();
    }
}
