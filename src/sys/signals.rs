//! Signals, caught before the first socket is opened.
//!
//! A pipe brings an event to the loop. The loop also reads a flag after every wait, so it knows in
//! the same turn of a signal whose handler ran while the wait returned.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::FORBIDDEN;
use signal_hook::{SigId, flag, low_level};
use signal_hook_mio::v1_0::Signals as SignalPipe;

use crate::error::Error;

/// Caught signals.
///
/// Install them before the listeners are bound: then a SIGTERM never kills a server that can be
/// reached. Signals that come before the loop runs are kept for it.
///
/// A caught signal never gets its default action back in this process: after this value is dropped
/// the signal does nothing.
pub struct Signals {
    pub(super) pipe: SignalPipe,
    /// A signal came. Its event may come only with the next wait, if the handler ran while one
    /// returned.
    came: Arc<AtomicBool>,
    flags: Vec<SigId>,
}

/// The signals by which people and supervisors stop a server: SIGINT (Ctrl-C) and SIGTERM.
pub const STOP_SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

impl Signals {
    /// Catches these signals from now on.
    ///
    /// # Errors
    ///
    /// A signal cannot be caught (KILL, STOP) or must not be (ILL, FPE, SEGV), a number is no
    /// signal, or descriptors are used up.
    pub fn install(numbers: &[i32]) -> Result<Self, Error> {
        // signal-hook panics on these numbers.
        let out_of_range = |number: &&i32| !(1..SIGNALS).contains(*number);
        let forbidden = |number: &&i32| FORBIDDEN.contains(*number);
        let refuse = |number, hint| {
            let error = ErrorKind::InvalidInput.into();
            Err(Error::new(format!("catch signal {number}"), error).with_hint(Some(hint)))
        };
        if let Some(number) = numbers.iter().find(out_of_range) {
            return refuse(number, "there is no signal of that number");
        }
        if let Some(number) = numbers.iter().find(forbidden) {
            return refuse(number, "that one cannot be handled, or not safely");
        }
        Self::catch(numbers)
            .map_err(|error| Error::new(format!("catch the signals {numbers:?}"), error))
    }

    fn catch(numbers: &[i32]) -> io::Result<Self> {
        let mut signals = Self {
            pipe: SignalPipe::new(numbers)?,
            came: Arc::default(),
            flags: Vec::with_capacity(numbers.len()),
        };
        for number in numbers {
            let flag = flag::register(*number, Arc::clone(&signals.came))?;
            signals.flags.push(flag);
        }
        Ok(signals)
    }

    /// Returns whether a signal came since the last call.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed) && self.came.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for flag in self.flags.drain(..) {
            low_level::unregister(flag);
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").finish_non_exhaustive()
    }
}

/// Above the highest number of a signal: 64 on Linux, less on most systems.
const SIGNALS: i32 = 128;

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn signals_that_no_one_can_catch_are_refused() {
        for signal in [Signal::SIGKILL, Signal::SIGSTOP, Signal::SIGSEGV] {
            let error = Signals::install(&[Signal::SIGUSR1 as i32, signal as i32]).unwrap_err();
            let line = error.to_string();
            assert!(line.ends_with("cannot be handled, or not safely"), "{line}");
        }
        for number in [-1, 0, 128, i32::MAX] {
            let line = Signals::install(&[number]).unwrap_err().to_string();
            assert!(line.ends_with("no signal of that number"), "{line}");
        }
        assert!(Signals::install(&[127]).is_err(), "the system has the say");
    }
}
