//! The state that a topic and its subscriptions share.
//!
//! One lock guards the state, for a few copies at a time. A publisher takes the waiting subscribers
//! under the lock, and wakes their loops after the lock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::options::Options;
use super::ring::Ring;
use super::subscribers::Subscribers;
use crate::app::SharedBytes;

pub(super) struct Hub {
    pub(super) options: Options,
    /// A random number, which tells the ids of this topic and process from others.
    pub(super) era: u32,
    pub(super) comment: SharedBytes,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ring: Ring,
    pub(super) subscribers: Subscribers,
    /// Heartbeats sent. A subscriber that missed several gets one.
    pub(super) beats: u32,
    /// See [`Numbers`](super::Numbers).
    pub(super) skipped: u64,
    pub(super) closed: u64,
}

impl Hub {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            era: RandomState::new().hash_one(0) as u32,
            comment: SharedBytes::new(b":\n\n"),
            state: Mutex::default(),
        }
    }

    /// Locks the state. A panic under the lock leaves no step half done, so poison is ignored.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the line that tells a client when to reconnect: another delay for each `salt`.
    pub(super) fn retry(&self, salt: u64) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let half = u64::MAX / 2; // the sum of two never overflows
        let least = millis(self.options.retry).min(half);
        let spread = millis(self.options.spread).min(half);
        let salt = salt ^ u64::from(self.era) << 32;
        format!("retry: {}\n\n", least + mix(salt) % (spread + 1))
    }
}

/// Wakes the loops of all subscribers that wait, after the lock.
pub(super) fn wake_waiting(mut state: MutexGuard<'_, State>) {
    let wakes = state.subscribers.take_waiting();
    drop(state);
    for (handle, list) in wakes {
        handle.wake_all(&list);
    }
}

/// Scatters consecutive numbers over all of `u64` (the last steps of SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_spread_and_never_overflow() {
        let hint = |least, spread, salt| {
            let hub = Hub::new(Options::new().retry(least, spread));
            let text = hub.retry(salt);
            let number = text
                .strip_prefix("retry: ")
                .and_then(|text| text.strip_suffix("\n\n"))
                .expect("a field and an empty line");
            number.parse::<u64>().expect("a number")
        };
        let second = Duration::from_secs(1);
        for salt in 0..1_000 {
            assert!((1_000..=3_000).contains(&hint(second, 2 * second, salt)));
            assert_eq!(hint(second, Duration::ZERO, salt), 1_000);
            hint(Duration::MAX, Duration::MAX, salt);
        }
    }
}
