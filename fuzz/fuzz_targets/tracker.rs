//! The tracker against a vector in order: the same operations on both, the same answers of both,
//! `check()` after each, and ids that are dead find nobody.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::tick::Tick;
use ebbtide::tracker::{ConnId, Phase, Tracker};

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

fuzz_target!(|script: (u32, Vec<Operation>)| {
    let (start, operations) = script;
    let mut now = Tick::from_millis(start);
    let mut tracker = Tracker::new();
    let mut rows: Vec<(ConnId, Phase, u32)> = Vec::new();
    let mut dead: Vec<ConnId> = Vec::new();
    for (n, operation) in (0..).zip(operations) {
        match operation {
            Operation::Insert { phase } => {
                let phase = phase_of(phase);
                rows.push((tracker.insert(phase, now, n), phase, n));
            }
            Operation::Enter { who, phase } => {
                if let Some(at) = pick(who, rows.len()) {
                    let (id, _, value) = rows.remove(at);
                    assert!(tracker.enter(id, phase_of(phase), now));
                    assert_eq!(tracker.since(id), Some(now));
                    rows.push((id, phase_of(phase), value));
                }
            }
            Operation::Remove { who } => {
                if let Some(at) = pick(who, rows.len()) {
                    let (id, _, value) = rows.remove(at);
                    assert_eq!(tracker.remove(id), Some(value));
                    dead.push(id);
                }
            }
            Operation::Expired { phase, limit } => {
                let oldest = tracker.oldest(phase_of(phase));
                let expected = oldest.filter(|(_, since)| now.since(*since) >= u32::from(limit));
                let expired = tracker.expired(phase_of(phase), limit.into(), now);
                assert_eq!(expired, expected.map(|(id, _)| id));
            }
            Operation::Walk { phase, remove } => {
                let expected = list(&rows, phase_of(phase));
                let mut walked = Vec::new();
                let mut next = tracker.oldest(phase_of(phase)).map(|(id, _)| id);
                while let Some(id) = next {
                    next = tracker.next(id);
                    if remove >> (walked.len() % 64) & 1 == 1 {
                        assert!(tracker.remove(id).is_some());
                        rows.retain(|row| row.0 != id);
                        dead.push(id);
                    }
                    walked.push(id);
                }
                assert_eq!(walked, expected);
            }
            Operation::Restart { phase, ago } => {
                let phase = phase_of(phase);
                let from = Tick::from_millis(now.as_millis().wrapping_sub(ago.into()));
                let ages = |t: &Tracker<u32>| -> Vec<Tick> {
                    t.iter(phase).map(|(_, since, _)| since).collect()
                };
                let before = ages(&tracker);
                tracker.restart(phase, from, now);
                for (before, after) in before.iter().zip(ages(&tracker)) {
                    assert_eq!(after, if before.reached(from) { now } else { *before });
                }
            }
            Operation::CapAges => tracker.cap_ages(now),
            Operation::Pass { millis } => now = now.after(millis.into()),
            Operation::PassDays { days } => {
                // At most eleven: whoever calls cap_ages in time.
                now = now.after(u32::from(days % 12) * DAY);
                tracker.cap_ages(now);
            }
        }
        tracker.check();
        assert_eq!(tracker.len(), rows.len());
        for phase in Phase::ALL {
            let listed: Vec<ConnId> = tracker.iter(phase).map(|(id, ..)| id).collect();
            assert_eq!(listed, list(&rows, phase));
            assert_eq!(tracker.count(phase) as usize, listed.len());
        }
        for &(id, phase, value) in &rows {
            assert_eq!(tracker.get(id), Some(&value));
            assert_eq!(tracker.phase(id), Some(phase));
        }
        for &id in &dead {
            assert_eq!(tracker.get_mut(id), None);
            assert_eq!(tracker.remove(id), None);
            assert!(!tracker.enter(id, Phase::Idle, now));
        }
    }
});

const DAY: u32 = 24 * 60 * 60 * 1000;

fn phase_of(n: u8) -> Phase {
    Phase::ALL[n as usize % Phase::COUNT]
}

fn pick(n: u8, len: usize) -> Option<usize> {
    (n as usize).checked_rem(len)
}

fn list(rows: &[(ConnId, Phase, u32)], phase: Phase) -> Vec<ConnId> {
    let of_phase = rows.iter().filter(|row| row.1 == phase);
    of_phase.map(|row| row.0).collect()
}
