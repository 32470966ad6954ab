//! Signals, caught before the first socket is opened.
//!
//! A handler sets a flag for its signal, and writes to a pipe whose event wakes the loop. The loop
//! also reads a flag after every wait, so it knows in the same turn of a signal whose handler ran
//! while the wait returned.
//!
//! A process inherits the mask of its parent. A signal that is caught is unblocked too, in the
//! thread that catches it and in the loop's: a blocked one would never stop the server.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::FORBIDDEN;
use signal_hook::{SigId, flag, low_level};

use crate::error::Error;

/// Caught signals.
///
/// Install them before the listeners are bound: then a SIGTERM never kills a server that can be
/// reached. Signals that come before the loop runs are kept for it.
///
/// Each signal is unblocked in the thread that installs it, and in the thread that runs the server:
/// a process inherits the signals that its parent blocked. An ignored signal (`nohup` ignores SIGHUP)
/// is caught all the same, because the program names it.
///
/// Signals within 50 ms of the first are one reason to stop, whichever they are: `timeout` signals its
/// child and then its group, and a parent passes a Ctrl-C on that the child got too. So are signals
/// that the loop finds together.
///
/// A caught signal never gets its default action back in this process: after this value is dropped
/// the signal does nothing.
pub struct Signals {
    /// The end of the pipe that the loop watches.
    pub(super) pipe: UnixStream,
    /// A signal came. Its event may come only with the next wait, if the handler ran while one
    /// returned.
    came: Arc<AtomicBool>,
    /// Each signal, and whether it came.
    caught: Vec<(i32, Arc<AtomicBool>)>,
    actions: Vec<SigId>,
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
        let (pipe, write) = StdStream::pair()?;
        pipe.set_nonblocking(true)?;
        let mut signals = Self {
            pipe: UnixStream::from_std(pipe),
            came: Arc::default(),
            caught: Vec::with_capacity(numbers.len()),
            actions: Vec::with_capacity(3 * numbers.len()),
        };
        for &number in numbers {
            let caught = Arc::default();
            // The pipe is last: when its event is read, the flags are set.
            signals.actions.extend([
                flag::register(number, Arc::clone(&caught))?,
                flag::register(number, Arc::clone(&signals.came))?,
                low_level::pipe::register(number, write.try_clone()?)?,
            ]);
            signals.caught.push((number, caught));
        }
        signals.unblock()?;
        Ok(signals)
    }

    /// Unblocks the signals in this thread.
    pub(super) fn unblock(&self) -> io::Result<()> {
        let named = self
            .caught
            .iter()
            .map(|(number, _)| Signal::try_from(*number));
        match named.collect::<Result<SigSet, _>>() {
            Ok(set) => set.thread_unblock()?,
            // A real-time signal has no name, so only the whole mask can be changed.
            Err(_) => SigSet::empty().thread_set_mask()?,
        }
        Ok(())
    }

    /// Returns whether a signal came since the last call.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed) && self.came.swap(false, Ordering::AcqRel)
    }

    /// Adds the numbers of the signals since the last call, each at most once.
    pub(super) fn take(&mut self, numbers: &mut Vec<i32>) {
        // A byte is there for each signal. The pipe is emptied before the flags are read, so the
        // event of a signal that comes meanwhile is not lost.
        while matches!(self.pipe.read(&mut [0; 64]), Ok(64)) {}
        let came = self
            .caught
            .iter()
            .filter(|(_, came)| came.swap(false, Ordering::AcqRel));
        numbers.extend(came.map(|(number, _)| number));
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            low_level::unregister(action);
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

    /// The thread dies with its mask, which no other test then inherits.
    #[test]
    fn what_is_caught_is_unblocked_and_nothing_else() {
        let thread = std::thread::spawn(|| {
            SigSet::all().thread_block().unwrap();
            let signals = Signals::install(&[Signal::SIGWINCH as i32]).unwrap();
            let mask = SigSet::thread_get_mask().unwrap();
            assert!(!mask.contains(Signal::SIGWINCH) && mask.contains(Signal::SIGUSR1));
            SigSet::all().thread_block().unwrap();
            signals.unblock().unwrap();
            assert!(
                !SigSet::thread_get_mask()
                    .unwrap()
                    .contains(Signal::SIGWINCH)
            );
            #[cfg(target_os = "linux")]
            {
                let _nameless = Signals::install(&[40]).unwrap();
                assert_eq!(SigSet::thread_get_mask().unwrap(), SigSet::empty());
            }
        });
        thread.join().unwrap();
    }

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
