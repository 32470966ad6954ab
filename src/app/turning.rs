//! The loop in whose turn a thread is, so that a call that would wait for that loop can say so.
//!
//! A handler of one loop may wait for another loop. Knows loops by a number only.

use std::cell::Cell;

thread_local! {
    static TURNING: Cell<usize> = const { Cell::new(NONE) };
}

/// Marks this thread as in a turn, until it is dropped.
pub(crate) struct Turning {
    before: usize,
}

impl Turning {
    /// Begins a turn of a loop. Its number is not [`NONE`].
    pub(crate) fn begin(number: usize) -> Self {
        Self {
            before: TURNING.replace(number),
        }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        TURNING.set(self.before);
    }
}

/// Returns whether this thread is in a turn of any loop.
pub(crate) fn is_turning() -> bool {
    TURNING.get() != NONE
}

/// Returns whether this thread is in a turn of that loop.
pub(crate) fn is_turning_of(number: usize) -> bool {
    TURNING.get() == number
}

const NONE: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_in_a_turn_of_one_loop() {
        assert!(!is_turning());
        let turning = Turning::begin(1);
        assert!(is_turning() && is_turning_of(1) && !is_turning_of(2));
        drop(turning);
        assert!(!is_turning());
    }
}
