//! The last moments of the process: `--exit-delay`, and the signals that end it sooner.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use super::args::Stopping;
use crate::screen::{self, say};
use crate::values::signal_names;
use ebbtide::{End, Handle, Outcome, StatusQuery};

/// Watches the signals that stop the server, beside the loop.
#[derive(Debug)]
pub(super) struct SignalWatcher {
    /// The thread got a signal that is an action of its own.
    heard: Receiver<()>,
    /// A signal came. The handler sets this flag on the loop's own thread, so the order of events
    /// is certain.
    came: Arc<AtomicBool>,
    life: Arc<Mutex<Life>>,
}

/// The state of the process.
#[derive(Clone, Debug)]
enum Life {
    /// The loop does not run yet.
    Starting,
    /// The loop runs.
    Running(Handle),
    /// The loop has ended, and the process is about to exit with this code.
    Ending(i32),
}

impl SignalWatcher {
    /// Starts to watch. The loop gets the signals too and decides what they mean. A handler may
    /// hold the loop; the third signal then ends the process, with the exit code of a cut. Before
    /// the loop runs, the first signal ends a start that hangs, with the exit code of a drain: the
    /// server has served nothing.
    ///
    /// # Errors
    ///
    /// The signals cannot be caught, or the system cannot start a thread.
    pub(super) fn start(signals: &[i32]) -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in signals {
            flag::register(*signal, Arc::clone(&came))?;
        }
        let signals = Signals::new(signals)?;
        let life = Arc::new(Mutex::new(Life::Starting));
        let (tell, heard) = channel();
        thread::Builder::new().name("signals".into()).spawn({
            let life = Arc::clone(&life);
            move || hear(signals, &life, &tell)
        })?;
        Ok(Self { heard, came, life })
    }

    /// Takes note of a loop that is about to run.
    pub(super) fn running(&self, handle: Handle) {
        *lock(&self.life) = Life::Running(handle);
    }

    /// Takes note of the loop's end, after which any signal ends the delay.
    pub(super) fn ending(&self, outcome: &Outcome) {
        *lock(&self.life) = Life::Ending(outcome.code());
        self.came.store(false, Ordering::SeqCst);
    }

    /// Waits as long as the flags and the deadline allow, or until a signal.
    pub(super) fn delay(&self, flags: &Stopping, outcome: &Outcome) {
        let delay = flags.exit_delay.min(left(flags.drain_timeout, outcome));
        let until = Instant::now() + delay;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let heard = self.heard.recv_timeout(left);
            // The thread may report a signal of the drain only now.
            if heard.is_err() || self.came.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

/// Runs the thread.
fn hear(mut signals: Signals, life: &Mutex<Life>, tell: &Sender<()>) {
    let mut actions = Actions::default();
    loop {
        let numbers: Vec<_> = signals.wait().collect();
        if numbers.is_empty() || !actions.begins(Instant::now()) {
            continue;
        }
        // The receiver may be gone.
        let _ = tell.send(());
        if let Some(code) = exit_code(life, actions.count) {
            screen::close();
            say(&format!(
                "ebbtide: {}: exits at once",
                signal_names(&numbers)
            ));
            screen::finish(LAST_LINE);
            low_level::exit(code);
        }
    }
}

/// Counts actions that send signals, as the loop does.
#[derive(Debug, Default)]
struct Actions {
    count: u32,
    /// The time of the first signal of the last action.
    last: Option<Instant>,
}

impl Actions {
    /// Returns whether a signal begins an action, and counts it if so.
    fn begins(&mut self, now: Instant) -> bool {
        let same = |last| now.duration_since(last) <= SAME_ACTION;
        if self.last.is_some_and(same) {
            return false;
        }
        self.count += 1;
        self.last = Some(now);
        true
    }
}

/// Returns the exit code where this action must end the process: the third, or the first while the
/// process starts, if the process is stuck.
fn exit_code(life: &Mutex<Life>, actions: u32) -> Option<i32> {
    let starting = matches!(*lock(life), Life::Starting);
    let last = starting || actions >= AT_THE_LATEST;
    last.then(|| stuck(life)).flatten()
}

/// Returns the exit code where the process is stuck: its loop does not answer, or has ended while
/// the process has not. A loop that answers gets its signals, and cuts by the third.
fn stuck(life: &Mutex<Life>) -> Option<i32> {
    let start = Instant::now();
    let before = lock(life).clone();
    if let Life::Running(handle) = &before
        && handle.status(StatusQuery::default(), MOMENT).is_some()
    {
        return None;
    }
    let moment = match before {
        Life::Ending(_) => LAST_MOMENTS,
        // A loop that has just ended is silent too.
        Life::Starting | Life::Running(_) => MOMENT,
    };
    // No event shows that a held loop goes on, and this thread has no other work.
    thread::sleep(moment.saturating_sub(start.elapsed()));
    match (before, &*lock(life)) {
        (Life::Starting, Life::Starting) => Some(DRAINED),
        (Life::Running(_), Life::Running(_)) => Some(CUT),
        (Life::Ending(code), Life::Ending(_)) => Some(code),
        _ => None,
    }
}

fn lock(life: &Mutex<Life>) -> MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the time for the last lines to reach their reader: the rest of the deadline, at most
/// [`LAST_LINES`]. The thread gets a moment even after the deadline, to write what fits.
pub(super) fn last_lines(limit: Duration, outcome: &Outcome) -> Duration {
    left(limit, outcome).clamp(LAST_LINE, LAST_LINES)
}

/// Returns the rest of the drain's deadline; nothing after a cut.
pub(super) fn left(limit: Duration, outcome: &Outcome) -> Duration {
    left_after(limit, outcome.end, outcome.report.drain_millis)
}

fn left_after(limit: Duration, end: End, drain_millis: u32) -> Duration {
    match end {
        End::Cut => Duration::ZERO,
        _ => limit.saturating_sub(Duration::from_millis(drain_millis.into())),
    }
}

/// The time that the last lines have to reach a reader, before the process ends.
pub(crate) const LAST_LINES: Duration = Duration::from_millis(200);

/// The same where nothing is left of the deadline.
const LAST_LINE: Duration = Duration::from_millis(50);

/// The number of signals that end the process in any state.
const AT_THE_LATEST: u32 = 3;

/// The time within which further signals belong to the action of the first. The library has the
/// same: `timeout` signals its child and then its group, and a parent passes a Ctrl-C on.
const SAME_ACTION: Duration = Duration::from_millis(50);

/// The time after which a silent loop counts as stuck: far longer than a turn.
const MOMENT: Duration = Duration::from_millis(100);

/// The time that the process has for the rest once its loop has ended: the admin listener and the
/// last lines take less together.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// The exit codes of [`End::Drained`] and [`End::Cut`].
const DRAINED: i32 = End::Drained.code();
const CUT: i32 = End::Cut.code();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Held;
    use ebbtide::{Request, Response, Server};

    #[test]
    fn a_loop_that_answers_is_not_stuck_and_one_that_is_held_is() {
        let mut held = Held::start();
        let life = Mutex::new(Life::Running(held.handle()));
        assert_eq!(stuck(&life), None);
        held.hold();
        assert_eq!(stuck(&life), Some(CUT));
        held.release();
        assert_eq!(stuck(&life), None);
    }

    #[test]
    fn signals_of_one_action_are_one() {
        let (start, mut actions) = (Instant::now(), Actions::default());
        for (millis, count) in [
            (0, 1),
            (9, 1),
            (50, 1),
            (51, 2),
            (60, 2),
            (101, 2),
            (102, 3),
        ] {
            let now = start + Duration::from_millis(millis);
            let before = actions.count;
            assert_eq!(actions.begins(now), count > before, "at {millis} ms");
            assert_eq!(actions.count, count, "at {millis} ms");
        }
    }

    #[test]
    fn a_start_that_hangs_ends_at_the_first_signal_and_one_that_goes_on_does_not() {
        assert_eq!(exit_code(&Mutex::new(Life::Starting), 1), Some(DRAINED));
        let served = Server::bind("127.0.0.1:0").unwrap();
        let served = served.spawn(|_: &Request<'_>| Response::new(204)).unwrap();
        let running = Life::Running(served.handle().clone());
        assert_eq!(exit_code(&Mutex::new(running.clone()), 1), None);
        let life = Arc::new(Mutex::new(Life::Starting));
        let asking = thread::spawn({
            let life = Arc::clone(&life);
            move || exit_code(&life, 1)
        });
        // The loop runs long before the moment is over; after it, the other result is right.
        *lock(&life) = running;
        assert!(matches!(asking.join().unwrap(), None | Some(DRAINED)));
    }

    #[test]
    fn a_loop_that_has_just_ended_is_not_stuck() {
        let served = Server::bind("127.0.0.1:0").unwrap();
        let served = served.spawn(|_: &Request<'_>| Response::new(204)).unwrap();
        let life = Arc::new(Mutex::new(Life::Running(served.handle().clone())));
        assert_eq!(served.shutdown().unwrap().code(), 0);
        let asking = thread::spawn({
            let life = Arc::clone(&life);
            move || stuck(&life)
        });
        // The channel closes long before the moment is over; after it, the other result is right.
        *lock(&life) = Life::Ending(0);
        assert!(matches!(asking.join().unwrap(), None | Some(0)));
        assert_eq!(stuck(&life), Some(0), "what should have ended has not");
    }

    #[test]
    fn what_is_left_of_the_deadline_is_nothing_after_a_cut() {
        let millis = Duration::from_millis;
        for (end, took, expected) in [
            (End::Drained, 0, 1_000),
            (End::Drained, 900, 100),
            (End::HookFailed, 400, 600),
            (End::Deadline, 1_003, 0),
            (End::Cut, 10, 0),
        ] {
            let left = left_after(millis(1_000), end, took);
            assert_eq!(left, millis(expected), "{end:?} after {took} ms");
        }
    }
}
