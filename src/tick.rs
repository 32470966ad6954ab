//! Moments of the loop's clock, in milliseconds, that wrap.
//!
//! A tracker keeps a moment for each of a million connections, so a moment is four bytes. It wraps
//! after 49 days, and two moments compare while they are less than 24 days apart ([`MAX_MILLIS`]).
//! No limit in this crate is longer than five days ([`MAX_LIMIT`]).
//!
//! Reads no clock: callers pass the time.

use std::cmp::Ordering;
use std::time::Duration;

/// The longest span over which two ticks compare, in milliseconds: a little over 24 days.
pub const MAX_MILLIS: u32 = i32::MAX as u32;

/// The longest limit, in milliseconds: five days. Ages are capped above it
/// ([`Tracker::cap_ages`](crate::tracker::Tracker::cap_ages)), so every limit is reached.
pub const MAX_LIMIT: u32 = 5 * 24 * 60 * 60 * 1_000;

/// A moment: milliseconds since the loop began, modulo 2³².
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tick(u32);

impl Tick {
    /// Returns the moment `millis` milliseconds after the loop began.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the loop began, modulo 2³².
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// Returns the moment `millis` milliseconds later.
    #[must_use]
    pub const fn after(self, millis: u32) -> Self {
        Self(self.0.wrapping_add(millis))
    }

    /// Returns the milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u32 {
        let span = self.0.wrapping_sub(earlier.0);
        if span > MAX_MILLIS { 0 } else { span }
    }

    /// Returns whether this moment is `other` or later.
    pub const fn reached(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) <= MAX_MILLIS
    }

    /// Compares two moments that are at most [`MAX_MILLIS`] apart.
    pub fn compare(self, other: Self) -> Ordering {
        self.0.wrapping_sub(other.0).cast_signed().cmp(&0)
    }

    /// Returns the later of two moments.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.reached(other) { self } else { other }
    }

    /// Returns the earlier of two moments.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.reached(other) { other } else { self }
    }
}

impl std::fmt::Debug for Tick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Converts a duration to milliseconds: rounded up, so no limit ends early, and at most
/// [`MAX_LIMIT`].
pub const fn millis(duration: Duration) -> u32 {
    let nanos = duration.as_nanos();
    let millis = nanos.div_ceil(1_000_000);
    if millis > MAX_LIMIT as u128 {
        MAX_LIMIT
    } else {
        millis as u32
    }
}

/// Returns the ticks that last for `millis` in full. A moment is cut to its millisecond, so a span
/// of that many ticks alone may be almost one millisecond shorter.
pub const fn in_full(millis: u32) -> u32 {
    if millis == 0 { 0 } else { millis + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let before = Tick::from_millis(u32::MAX - 5);
        let after = before.after(10);
        assert_eq!(after.as_millis(), 4);
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), 0);
        assert!(after.reached(before) && !before.reached(after));
        assert_eq!(after.compare(before), Ordering::Greater);
        assert_eq!(before.compare(after), Ordering::Less);
        assert_eq!((after.max(before), after.min(before)), (after, before));
    }

    #[test]
    fn a_moment_reaches_itself() {
        let now = Tick::from_millis(7);
        assert!(now.reached(now));
        assert_eq!(now.since(now), 0);
        assert_eq!(now.compare(now), Ordering::Equal);
    }

    #[test]
    fn durations_round_up_and_saturate() {
        const CASES: &[(Duration, u32)] = &[
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_millis(250), 250),
            (Duration::from_micros(1_001), 2),
            (Duration::MAX, MAX_LIMIT),
        ];
        for (duration, expected) in CASES {
            assert_eq!(millis(*duration), *expected, "{duration:?}");
        }
    }
}
