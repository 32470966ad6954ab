//! The tracker against a vector in order: the same operations on both give the same results,
//! `check()` holds after each, and dead ids find nothing.
//!
//! The model keeps its own time, in moments that do not wrap. It follows the documentation, and
//! never asks the tracker since when an entry waits.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::internals::tick::{MAX_MILLIS, Tick};
use ebbtide::internals::tracker::{ConnId, Phase, Tracker};

#[derive(Arbitrary, Debug)]
enum Operation {
    Insert { phase: u8 },
    Enter { who: u8, phase: u8 },
    Remove { who: u8 },
    Expired { phase: u8, limit: u16 },
    Walk { phase: u8, remove: u64 },
    CapAges,
    Restart { phase: u8, ago: u16 },
    Pass { millis: u16 },
    PassDays { days: u8 },
}

/// An entry of the model, which has them in the order of their last move.
struct Row {
    id: ConnId,
    phase: Phase,
    /// When the wait began, in moments of the model.
    since: u64,
    value: u32,
}

fuzz_target!(|script: (u32, Vec<Operation>)| {
    let (start, operations) = script;
    // The model begins one wrap ahead, so that there is a past.
    let mut clock = (1 << 32) + u64::from(start);
    let mut capped = clock;
    let mut tracker = Tracker::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut dead: Vec<ConnId> = Vec::new();
    for (n, operation) in (0..).zip(operations) {
        let now = tick(clock);
        match operation {
            Operation::Insert { phase } => {
                let phase = phase_of(phase);
                rows.push(Row {
                    id: tracker.insert(phase, now, n),
                    phase,
                    since: clock,
                    value: n,
                });
            }
            Operation::Enter { who, phase } => {
                if let Some(at) = pick(who, rows.len()) {
                    let row = rows.remove(at);
                    let phase = phase_of(phase);
                    assert!(tracker.enter(row.id, phase, now));
                    rows.push(Row {
                        phase,
                        since: clock,
                        ..row
                    });
                }
            }
            Operation::Remove { who } => {
                if let Some(at) = pick(who, rows.len()) {
                    let row = rows.remove(at);
                    assert_eq!(tracker.remove(row.id), Some(row.value));
                    dead.push(row.id);
                }
            }
            Operation::Expired { phase, limit } => {
                let phase = phase_of(phase);
                let oldest = rows.iter().find(|row| row.phase == phase);
                let expected = oldest.filter(|row| clock - row.since >= u64::from(limit));
                let expired = tracker.expired(phase, limit.into(), now);
                assert_eq!(expired, expected.map(|row| row.id));
            }
            Operation::Walk { phase, remove } => {
                let expected = list(&rows, phase_of(phase));
                let mut walked = Vec::new();
                let mut next = tracker.oldest(phase_of(phase)).map(|(id, _)| id);
                while let Some(id) = next {
                    next = tracker.next(id);
                    let since = tracker.since(id).expect("it is there");
                    if remove >> (walked.len() % 64) & 1 == 1 {
                        assert!(tracker.remove(id).is_some());
                        rows.retain(|row| row.id != id);
                        dead.push(id);
                    }
                    walked.push((id, since));
                }
                assert_eq!(walked, expected);
            }
            Operation::Restart { phase, ago } => {
                let phase = phase_of(phase);
                let from = clock - u64::from(ago);
                tracker.restart(phase, tick(from), now);
                let of_phase = rows.iter_mut().filter(|row| row.phase == phase);
                for row in of_phase.filter(|row| row.since >= from) {
                    row.since = clock;
                }
            }
            Operation::CapAges => {
                cap_ages(&mut tracker, &mut rows, clock);
                capped = clock;
            }
            Operation::Pass { millis } => clock += u64::from(millis),
            Operation::PassDays { days } => clock += u64::from(days % 12) * DAY,
        }
        // `cap_ages` must run at least every twelve days, and one step is at most eleven.
        if clock - capped >= DAY / 2 {
            cap_ages(&mut tracker, &mut rows, clock);
            capped = clock;
        }
        agree(&mut tracker, &rows, &dead, tick(clock));
    }
});

/// Asserts that tracker and model agree about every entry.
fn agree(tracker: &mut Tracker<u32>, rows: &[Row], dead: &[ConnId], now: Tick) {
    tracker.check();
    assert_eq!(tracker.len(), rows.len());
    for phase in Phase::ALL {
        let listed = tracker.iter(phase).map(|(id, since, _)| (id, since));
        let listed: Vec<(ConnId, Tick)> = listed.collect();
        assert_eq!(listed, list(rows, phase));
        assert_eq!(tracker.oldest(phase), listed.first().copied());
        assert_eq!(tracker.count(phase) as usize, listed.len());
    }
    for row in rows {
        assert_eq!(tracker.get(row.id), Some(&row.value));
        assert_eq!(tracker.phase(row.id), Some(row.phase));
        assert_eq!(tracker.since(row.id), Some(tick(row.since)));
    }
    for &id in dead {
        assert_eq!(tracker.get_mut(id), None);
        assert_eq!(tracker.since(id), None);
        assert_eq!(tracker.remove(id), None);
        assert!(!tracker.enter(id, Phase::Idle, now));
    }
}

/// Caps the age of each entry that has waited for twelve days at six, and the ages of those behind
/// it that are longer. The list stays in order. If no entry has waited for twelve days, no age
/// changes.
fn cap_ages(tracker: &mut Tracker<u32>, rows: &mut [Row], clock: u64) {
    tracker.cap_ages(tick(clock));
    for phase in Phase::ALL {
        let mut of_phase: Vec<&mut Row> = rows.iter_mut().filter(|r| r.phase == phase).collect();
        if of_phase.iter().any(|row| clock - row.since >= OLD) {
            for row in &mut of_phase {
                row.since = row.since.max(clock - OLD / 2);
            }
        }
    }
}

/// Half of what moments can tell apart.
const OLD: u64 = MAX_MILLIS as u64 / 2;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn phase_of(n: u8) -> Phase {
    Phase::ALL[n as usize % Phase::COUNT]
}

fn pick(n: u8, len: usize) -> Option<usize> {
    (n as usize).checked_rem(len)
}

/// Returns a moment of the model as a tick.
fn tick(moment: u64) -> Tick {
    Tick::from_millis(moment as u32)
}

/// Returns the entries of a phase, oldest first, with the beginnings of their waits.
fn list(rows: &[Row], phase: Phase) -> Vec<(ConnId, Tick)> {
    let of_phase = rows.iter().filter(|row| row.phase == phase);
    of_phase.map(|row| (row.id, tick(row.since))).collect()
}
