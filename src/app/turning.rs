//! Whether this thread is in a turn of a loop, so that what would wait for the loop can say that it
//! would wait for itself.

use std::cell::Cell;

thread_local! {
    static TURNING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread until it is dropped.
pub(crate) struct Turning {
    before: bool,
}

impl Turning {
    pub(crate) fn begin() -> Self {
        Self {
            before: TURNING.replace(true),
        }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        TURNING.set(self.before);
    }
}

/// Returns whether this thread is in a turn of a loop.
pub(crate) fn is_turning() -> bool {
    TURNING.get()
}
