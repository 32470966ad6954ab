//! Signals, caught from before the first socket is opened.
//!
//! The pipe brings an event to the loop; a flag is seen after every wait, so that a signal whose
//! handler ran while a wait was returning is known in the same turn. Knows no sockets.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::FORBIDDEN;
use signal_hook::{SigId, flag, low_level};
use signal_hook_mio::v1_0::Signals as SignalPipe;

use crate::error::Error;

/// Signals that are caught, before there is anyone to be told of them.
///
/// Installed before the listeners are bound, so that there is no moment at which the server can
/// be reached and a SIGTERM kills it. What comes before the loop runs is kept for it.
///
/// Once caught, a signal never gets its default action back in this process: after this value is
/// dropped it does nothing at all.
pub struct Signals {
    pub(super) pipe: SignalPipe,
    /// One came: seen after every wait, also when the pipe's own event is only in the next batch,
    /// because the handler ran while the wait was returning.
    came: Arc<AtomicBool>,
    flags: Vec<SigId>,
}

/// The signals that people and supervisors stop a server with: Ctrl-C and SIGTERM.
pub const STOP_SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

impl Signals {
    /// Catches these signals from now on.
    ///
    /// # Errors
    ///
    /// A signal that cannot be caught (KILL, STOP) or must not be (ILL, FPE, SEGV), a number that
    /// is no signal, and a want of descriptors.
    pub fn install(numbers: &[i32]) -> Result<Self, Error> {
        // signal-hook panics at these.
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

    /// Whether one came since this was last asked.
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

/// One more than the highest number of a signal: 64 on Linux, less on most systems.
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
