//! Faults of a world: by chance, drawn from a seed, and by appointment.
//!
//! A chance of `n` is one call in `n`; 0 is never. A fault that would stop all progress (an
//! interruption, a write of nothing) happens at most every other time.

use std::ops::Range;

/// The faults of a world. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The seed of all chances: the same seed and script give the same world.
    pub seed: u64,
    /// The chance of a short read. An event follows for the rest, as if it came a moment later.
    pub short_reads: u32,
    /// The chance of a write that takes less than there is room for, or nothing. An event follows
    /// for the room.
    pub short_writes: u32,
    /// Whether every read and write moves one byte, as a short one.
    pub one_byte: bool,
    /// The chance that a read or a write is interrupted.
    pub interrupts: u32,
    /// The chance that a write takes 5 ms, as if another process had the processor.
    pub held_up: u32,
    /// The chance that a wait returns early, without events.
    pub early_returns: u32,
    /// The chance that a wait makes a connection readable and writable that may be neither.
    pub spurious: u32,
    /// The chance that a connection fails in `accept`: its peer has reset it.
    pub failed_accepts: u32,
    /// The chance that a registration fails.
    pub failed_registrations: u32,
    /// The number of open connections from which descriptors are used up.
    pub max_open: Option<u64>,
    /// The time in which descriptors are used up, in milliseconds since the world began.
    pub exhausted: Range<u32>,
    /// The byte at which each peer resets.
    pub reset: Option<ResetAt>,
}

/// The byte at which a peer resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetAt {
    /// After this number of bytes sent.
    Sent(u64),
    /// After this number of bytes taken.
    Taken(u64),
}

impl Faults {
    pub(super) fn out_of_descriptors(&self, millis: u32, open: u64) -> bool {
        self.exhausted.contains(&millis) || self.max_open.is_some_and(|max| open >= max)
    }

    /// Returns the number of bytes that a peer still sends before it resets.
    pub(super) const fn sends_before_reset(&self, sent: u64) -> u64 {
        match self.reset {
            Some(ResetAt::Sent(at)) => at.saturating_sub(sent),
            _ => u64::MAX,
        }
    }

    /// Returns the number of bytes that a peer takes before it resets.
    pub(super) const fn takes_before_reset(&self) -> u64 {
        match self.reset {
            Some(ResetAt::Taken(at)) => at,
            _ => u64::MAX,
        }
    }
}

/// The time of a write that is held up, in milliseconds.
pub(super) const HELD_UP: u32 = 5;

/// Random numbers from a seed (xorshift64*), so a failed run can be repeated.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts the sequence of `seed`, which may be any number.
    pub const fn new(seed: u64) -> Self {
        // The multiplication spreads small seeds; xorshift needs a state other than 0.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Returns true one time in `n`, and never for 0.
    pub const fn one_in(&mut self, n: u32) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// Returns true one time in `n`, at most every other time, and never for 0.
    pub(super) const fn sometimes(&mut self, n: u32) -> bool {
        self.one_in(if n == 1 { 2 } else { n })
    }

    /// Returns a number below `n`, which must not be 0.
    pub const fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32 % n
    }

    /// Returns an index below `n`, which must not be 0.
    pub const fn index(&mut self, n: usize) -> usize {
        self.below(n as u32) as usize
    }

    /// Returns one element of a slice, which must not be empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_about_what_they_say_for_any_seed() {
        for seed in [0, 1, 2, u64::MAX] {
            let mut dice = Dice::new(seed);
            let hits = (0..10_000).filter(|_| dice.one_in(10)).count();
            assert!((800..1200).contains(&hits), "{hits} of 10,000");
            let hits = (0..10_000).filter(|_| dice.sometimes(1)).count();
            assert!((4600..5400).contains(&hits), "{hits} of 10,000");
            assert!((0..100).all(|_| dice.one_in(1) && !dice.one_in(0)));
        }
    }
}
