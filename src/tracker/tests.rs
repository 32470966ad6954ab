use super::*;
use crate::sys::sim::Dice;

/// A simple model: one vector of all connections, in the order of their last move.
#[derive(Default)]
struct Model {
    rows: Vec<(ConnId, Phase, Tick, u64)>,
    dead: Vec<ConnId>,
}

impl Model {
    fn position(&self, id: ConnId) -> usize {
        self.rows.iter().position(|row| row.0 == id).unwrap()
    }

    fn enter(&mut self, id: ConnId, phase: Phase, now: Tick) {
        let (_, _, _, value) = self.rows.remove(self.position(id));
        self.rows.push((id, phase, now, value));
    }

    fn remove(&mut self, id: ConnId) -> u64 {
        self.dead.push(id);
        self.rows.remove(self.position(id)).3
    }

    fn list(&self, phase: Phase) -> Vec<(ConnId, Tick, u64)> {
        let of_phase = self.rows.iter().filter(|row| row.1 == phase);
        of_phase
            .map(|&(id, _, since, value)| (id, since, value))
            .collect()
    }

    fn oldest(&self, phase: Phase) -> Option<(ConnId, Tick)> {
        let row = self.rows.iter().find(|row| row.1 == phase);
        row.map(|row| (row.0, row.2))
    }
}

fn assert_same(tracker: &Tracker<u64>, model: &Model) {
    tracker.check();
    assert_eq!(tracker.len(), model.rows.len());
    assert_eq!(tracker.is_empty(), model.rows.is_empty());
    for phase in Phase::ALL {
        let list: Vec<_> = tracker
            .iter(phase)
            .map(|(id, since, value)| (id, since, *value))
            .collect();
        assert_eq!(list, model.list(phase));
        assert_eq!(tracker.count(phase) as usize, list.len());
        assert_eq!(tracker.counts()[phase as usize] as usize, list.len());
        assert_eq!(tracker.oldest(phase), model.oldest(phase));
    }
    for &(id, phase, since, value) in &model.rows {
        assert_eq!(tracker.get(id), Some(&value));
        assert_eq!(tracker.phase(id), Some(phase));
        assert_eq!(tracker.since(id), Some(since));
    }
}

fn assert_nobody(tracker: &mut Tracker<u64>, id: ConnId, now: Tick) {
    assert_eq!(tracker.get(id), None, "{id:?} is dead");
    assert_eq!(tracker.get_mut(id), None);
    assert_eq!(tracker.phase(id), None);
    assert_eq!(tracker.since(id), None);
    assert_eq!(tracker.next(id), None);
    assert!(!tracker.enter(id, Phase::Idle, now));
    assert_eq!(tracker.remove(id), None);
}

#[test]
fn agrees_with_a_vector_over_random_operations_across_the_wrap() {
    const OPERATIONS: u64 = 400_000;
    let mut dice = Dice::new(0x9E37_79B9_7F4A_7C15);
    let (mut tracker, mut model) = (Tracker::new(), Model::default());
    let start = Tick::from_millis(u32::MAX - 50_000);
    let mut now = start;
    for n in 0..OPERATIONS {
        now = now.after(dice.below(3));
        let phase = dice.pick(&Phase::ALL);
        // Up to sixty connections, so lists are empty, single and long in turn.
        match (dice.below(8), model.rows.len()) {
            (0 | 1, 0..60) | (_, 0) => {
                let id = tracker.insert(phase, now, n);
                model.rows.push((id, phase, now, n));
            }
            (0..2, _) | (2, _) => {
                let id = model.rows[dice.index(model.rows.len())].0;
                assert_eq!(tracker.remove(id), Some(model.remove(id)));
            }
            (3, _) => {
                let limit = dice.below(200);
                let oldest = model.oldest(phase);
                let expected = oldest.filter(|(_, since)| now.since(*since) >= limit);
                let expired = tracker.expired(phase, limit, now);
                assert_eq!(expired, expected.map(|(id, _)| id));
            }
            (4, _) => {
                let row = dice.index(model.rows.len());
                *tracker.get_mut(model.rows[row].0).unwrap() = n;
                model.rows[row].3 = n;
            }
            (_, _) => {
                let id = model.rows[dice.index(model.rows.len())].0;
                assert!(tracker.enter(id, phase, now));
                model.enter(id, phase, now);
            }
        }
        if let Some(last) = model.dead.len().checked_sub(1) {
            // The last removed id, whose key is reused first, and any other.
            assert_nobody(&mut tracker, model.dead[last], now);
            assert_nobody(&mut tracker, model.dead[dice.index(last + 1)], now);
        }
        if n % 16 == 0 {
            assert_same(&tracker, &model);
        }
    }
    assert_same(&tracker, &model);
    assert!(now.as_millis() < start.as_millis(), "the clock wrapped");
}

#[test]
fn walks_that_remove_and_move_as_they_go_see_everybody_once() {
    let mut dice = Dice::new(7);
    for size in 0..100 {
        let (mut tracker, mut model) = (Tracker::new(), Model::default());
        for n in 0..size {
            let now = Tick::from_millis(u32::MAX - 50).after(n as u32);
            let phase = dice.pick(&[Phase::Idle, Phase::Reply]);
            let id = tracker.insert(phase, now, n);
            model.rows.push((id, phase, now, n));
        }
        let now = Tick::from_millis(100);
        let expected = model.list(Phase::Idle);
        let mut walked = Vec::new();
        let mut next = tracker.oldest(Phase::Idle).map(|(id, _)| id);
        while let Some(id) = next {
            next = tracker.next(id); // before `id` leaves the list
            walked.push((id, tracker.since(id).unwrap(), *tracker.get(id).unwrap()));
            match dice.below(3) {
                0 => assert_eq!(tracker.remove(id), Some(model.remove(id))),
                1 => {
                    assert!(tracker.enter(id, Phase::Linger, now));
                    model.enter(id, Phase::Linger, now);
                }
                _ => {}
            }
            tracker.check();
        }
        assert_eq!(walked, expected);
        assert_same(&tracker, &model);
    }
}

#[test]
fn a_reused_key_has_another_name() {
    let mut tracker = Tracker::new();
    let now = Tick::default();
    let first = tracker.insert(Phase::Fresh, now, 1);
    tracker.remove(first);
    let second = tracker.insert(Phase::Fresh, now, 2);
    assert_eq!(first.key(), second.key(), "the slab reuses keys at once");
    assert_ne!(first, second);
    assert_nobody(&mut tracker, first, now);
    assert_eq!(tracker.get(second), Some(&2));
}

#[test]
fn ids_survive_as_tokens_and_other_numbers_name_nobody() {
    let mut tracker = Tracker::new();
    let now = Tick::default();
    let id = (0..5).map(|n| tracker.insert(Phase::Idle, now, n)).last();
    assert_eq!(id.map(|id| ConnId::from_bits(id.to_bits())), id);
    for bits in [u64::MAX, u64::MAX - 1, u64::from(NIL), 1 << 32, 5] {
        assert_nobody(&mut tracker, ConnId::from_bits(bits), now);
    }
    tracker.check();
}

#[test]
fn entering_again_restarts_the_clock_and_goes_to_the_young_end() {
    let mut tracker = Tracker::new();
    let [a, b] = [1, 2].map(|n| tracker.insert(Phase::Idle, Tick::from_millis(n), n));
    assert!(tracker.enter(a, Phase::Idle, Tick::from_millis(3)));
    assert_eq!(tracker.next(b), Some(a));
    assert!(
        tracker.enter(a, Phase::Idle, Tick::from_millis(9)),
        "the youngest already"
    );
    assert_eq!(tracker.since(a), Some(Tick::from_millis(9)));
    assert_eq!(tracker.count(Phase::Idle), 2);
    tracker.check();
}

#[test]
fn the_limit_is_reached_at_the_limit() {
    let mut tracker = Tracker::new();
    let since = Tick::from_millis(u32::MAX - 4);
    let id = tracker.insert(Phase::Head, since, ());
    assert_eq!(tracker.expired(Phase::Head, 10, since.after(9)), None);
    assert_eq!(tracker.expired(Phase::Head, 10, since.after(10)), Some(id));
    assert_eq!(tracker.expired(Phase::Body, 0, since.after(10)), None);
}

#[test]
fn a_wait_of_a_year_stays_old_and_in_order() {
    const DAY: u32 = 24 * 60 * 60 * 1000;
    let mut tracker = Tracker::new();
    let mut now = Tick::from_millis(5);
    let eldest = tracker.insert(Phase::Tunnel, now, 0);
    for day in 1..365 {
        now = now.after(DAY);
        tracker.cap_ages(now);
        tracker.insert(Phase::Tunnel, now, day);
        tracker.check();
        let age = now.since(tracker.since(eldest).unwrap());
        assert!(age >= day.min(6) * DAY, "{age} ms on day {day}");
        assert_eq!(tracker.expired(Phase::Tunnel, DAY, now), Some(eldest));
    }
    let order: Vec<u32> = tracker
        .iter(Phase::Tunnel)
        .map(|(_, _, day)| *day)
        .collect();
    assert!(order.is_sorted());
}

#[test]
fn a_restart_is_for_those_that_came_since_then() {
    let mut tracker = Tracker::new();
    let moment = |millis: u32| Tick::from_millis(u32::MAX - 2).after(millis);
    let ids = [0, 4, 5, 5, 6].map(|at| tracker.insert(Phase::Idle, moment(at), at));
    let other = tracker.insert(Phase::Reply, moment(6), 6);
    tracker.restart(Phase::Idle, moment(5), moment(9));
    let since = ids.map(|id| tracker.since(id).unwrap());
    assert_eq!(since, [0, 4, 9, 9, 9].map(moment));
    assert_eq!(tracker.since(other), Some(moment(6)));
    assert_eq!(tracker.next(ids[1]), Some(ids[2]), "nobody moves");
    tracker.restart(Phase::Head, moment(0), moment(9));
    tracker.check();
}

/// Removes from the slab every entry except the operation's own, its neighbours and the ends of
/// its lists. A step to any other entry would fail.
#[test]
fn an_operation_touches_neighbours_and_ends_alone() {
    type Operation = fn(&mut Tracker<u32>, ConnId);
    const OPERATIONS: &[(Operation, [u32; 2])] = &[
        (
            |t, id| assert!(t.enter(id, Phase::Reply, LATE)),
            [999, 1001],
        ),
        (
            |t, id| assert!(t.enter(id, Phase::Idle, LATE)),
            [1000, 1000],
        ),
        (|t, id| assert_eq!(t.remove(id), Some(1000)), [999, 1000]),
        (
            |t, _| assert_eq!(t.insert(Phase::Idle, LATE, 0).serial(), 2000),
            [1001, 1000],
        ),
        (
            |t, _| assert!(t.expired(Phase::Idle, 1, LATE).is_some()),
            [1000, 1000],
        ),
        (|t, id| assert!(t.next(id).is_some()), [1000, 1000]),
        (|t, _| t.restart(Phase::Idle, LATE, LATE), [1000, 1000]),
        (
            |t, _| assert_eq!(t.counts().iter().sum::<u32>(), 2000),
            [1000, 1000],
        ),
    ];
    const LATE: Tick = Tick::from_millis(10_000);
    for (operation, [idle, reply]) in OPERATIONS {
        let mut tracker = Tracker::new();
        let ids: Vec<ConnId> = (0..2000)
            .map(|n| {
                let phase = [Phase::Idle, Phase::Reply][n as usize % 2];
                tracker.insert(phase, Tick::from_millis(n), n)
            })
            .collect();
        let near = [998, 1000, 1002, 0, 1998, 1, 1999];
        for n in (0..2000).filter(|n| !near.contains(n)) {
            tracker.slab.remove(ids[n].key() as usize);
        }
        operation(&mut tracker, ids[1000]);
        let counts = [tracker.count(Phase::Idle), tracker.count(Phase::Reply)];
        assert_eq!(counts, [*idle, *reply]);
    }
}

#[test]
fn an_entry_costs_its_fields_and_nothing_for_the_slab() {
    // The shape of the slab's own entry, whose tag fits into the unused values of `Phase`.
    #[expect(dead_code, reason = "only its size is of interest")]
    enum Slot<T> {
        Vacant(usize),
        Occupied(T),
    }
    assert_eq!(size_of::<Slot<Entry<[u32; 9]>>>(), 56);
    assert_eq!(Tracker::<[u32; 9]>::ENTRY_SIZE, 56);
}
