//! What the tracker costs for a connection, among a thousand to a million. The cache makes the
//! difference between the figures, not the number.
//!
//! `cargo bench --bench tracker`

mod timer;

use ebbtide::internals::sys::sim::Dice;
use ebbtide::internals::tick::Tick;
use ebbtide::internals::tracker::{ConnId, Phase, Tracker};

/// A value as large as what the engine keeps of a connection.
type Value = [u32; 10];

fn main() {
    timer::begin();
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        if !timer::measuring() && count > 1_000 {
            break;
        }
        let filled = || fill(count);
        let figures = [
            ("enter, one by one", timer::nanos_each(count, filled, enter)),
            ("enter, at random", {
                let shuffled = || shuffle(fill(count));
                timer::nanos_each(count, shuffled, enter)
            }),
            ("expire", timer::nanos_each(count, filled, expire)),
            ("drain", timer::nanos_each(count, filled, drain)),
        ];
        for (what, nanos) in figures {
            println!("{what:<18} {count:>8} connections  {nanos:>6.1} ns each");
        }
    }
}

/// A tracker, and its connections in the order in which they will move.
type Filled = (Tracker<Value>, Vec<ConnId>);

/// Returns a tracker whose connections are all idle since the beginning.
fn fill(count: usize) -> Filled {
    let mut tracker = Tracker::new();
    let insert = |_| tracker.insert(Phase::Idle, START, Value::default());
    let ids = (0..count).map(insert).collect();
    (tracker, ids)
}

/// Shuffles by Fisher–Yates, with the same outcome each time.
fn shuffle((tracker, mut ids): Filled) -> Filled {
    let mut dice = Dice::new(1);
    for n in (1..ids.len()).rev() {
        ids.swap(n, dice.index(n + 1));
    }
    (tracker, ids)
}

/// Lets each connection begin a response.
fn enter((tracker, ids): &mut Filled) {
    for id in ids {
        assert!(tracker.enter(*id, Phase::Reply, START.after(1)));
    }
}

/// Takes every connection, all of which are due.
fn expire((tracker, _): &mut Filled) {
    while let Some(id) = tracker.expired(Phase::Idle, 1000, START.after(1000)) {
        tracker.remove(id);
    }
    assert!(tracker.is_empty());
}

/// Sends FIN on each connection, and then takes the peer's FIN.
fn drain((tracker, ids): &mut Filled) {
    while let Some((id, _)) = tracker.oldest(Phase::Idle) {
        tracker.enter(id, Phase::Linger, START.after(1));
    }
    for id in ids {
        assert!(tracker.remove(*id).is_some());
    }
}

const START: Tick = Tick::from_millis(0);
