//! What goes wrong in a world: faults by chance, drawn from a seed, and faults by appointment.
//!
//! A chance is "one in so many" of the calls concerned; 0 is never. A fault that would stop
//! everything if it always happened (an interruption, a write of nothing) happens at most every
//! other time.
//!
//! No connections: numbers and chances.

use std::ops::Range;

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where the chances are drawn from: the same seed and script give the same world.
    pub seed: u64,
    /// One in so many reads gives less than there is, as if the rest came a moment later: an event
    /// follows for it.
    pub short_reads: u32,
    /// One in so many writes takes less than there is room for, or nothing; an event follows when
    /// there is room again, which is at once.
    pub short_writes: u32,
    /// One byte at a time, in both directions, in the same sense.
    pub one_byte: bool,
    /// One in so many reads and writes is interrupted.
    pub interrupts: u32,
    /// One in so many writes is held up by 5 ms before it happens, as when the process had to leave
    /// the processor to another.
    pub held_up: u32,
    /// One in so many waits returns early, with nothing.
    pub early_returns: u32,
    /// One in so many waits tells a connection that it is readable and writable, whether it is or
    /// not.
    pub spurious: u32,
    /// One in so many connections fails in `accept`: the peer has reset it.
    pub failed_accepts: u32,
    /// One in so many registrations fails.
    pub failed_registrations: u32,
    /// Out of descriptors while so many connections are open.
    pub max_open: Option<u64>,
    /// Out of descriptors for that time, in milliseconds since the world began.
    pub exhausted: Range<u32>,
    /// Where each peer resets.
    pub reset: Option<ResetAt>,
}

/// The byte at which a peer resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetAt {
    /// When it has sent that many bytes.
    Sent(u64),
    /// When it has taken that many bytes.
    Taken(u64),
}

impl Faults {
    pub(super) fn out_of_descriptors(&self, millis: u32, open: u64) -> bool {
        self.exhausted.contains(&millis) || self.max_open.is_some_and(|max| open >= max)
    }

    /// How many more bytes a peer sends before it resets.
    pub(super) const fn sends_before_reset(&self, sent: u64) -> u64 {
        match self.reset {
            Some(ResetAt::Sent(at)) => at.saturating_sub(sent),
            _ => u64::MAX,
        }
    }

    /// How many bytes a peer takes in all before it resets.
    pub(super) const fn takes_before_reset(&self) -> u64 {
        match self.reset {
            Some(ResetAt::Taken(at)) => at,
            _ => u64::MAX,
        }
    }
}

/// How long a write is held up, in milliseconds.
pub(super) const HELD_UP: u32 = 5;

/// Numbers that a seed determines (xorshift64*): a run that fails can be had again.
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
