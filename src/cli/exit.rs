//! The last moments of the process: `--exit-delay`, and the signals that end it sooner.
//!
//! Knows nothing of the drain but what it said when it was over.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::iterator::Signals;
use signal_hook::low_level;

use super::args::Serve;
use super::{names, say, screen};
use crate::cli::values;
use crate::{End, Outcome};

/// When the process ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[group(skip)] // or no two of this name could be in one command
pub struct Flags {
    /// After a drain stay for that long, when all is closed and the report is written, so that who
    /// collects the log of a container gets its last lines. Within --drain-timeout; a second signal
    /// ends it. None by default: every line is written before the exit anyway
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        default_value = "0s",
        value_parser = values::duration,
        help_heading = "Stopping",
    )]
    pub exit_delay: Duration,
}

/// Finds what does not fit into the deadline of a drain.
///
/// # Errors
///
/// The flag and what is wrong with it.
pub(super) fn check(args: &Serve) -> Result<(), String> {
    let delays = [
        ("--drain-delay", args.drain_delay),
        ("--exit-delay", args.exit.exit_delay),
    ];
    match delays.iter().find(|(_, time)| *time > args.drain_timeout) {
        None => Ok(()),
        Some((flag, _)) => Err(format!(
            "{flag}: is longer than --drain-timeout, which covers it; lengthen that one too"
        )),
    }
}

/// Hears the signals that stop the server, besides the loop.
#[derive(Debug)]
pub(super) struct Ears {
    heard: Receiver<()>,
}

impl Ears {
    /// Starts to hear. The loop hears the first signal and the second. Should it not hear, because
    /// a handler holds it, the third ends the process all the same, with the exit code of a cut.
    ///
    /// # Errors
    ///
    /// The signals cannot be caught, or there is no thread to be had.
    pub(super) fn start(signals: &[i32]) -> io::Result<Self> {
        let mut signals = Signals::new(signals)?;
        let (tell, heard) = channel();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for (before, signal) in signals.forever().enumerate() {
                    if before == 2 {
                        screen::close();
                        say(&format!("ebbtide: {}: exits at once", names(&[signal])));
                        screen::finish(LAST_LINE);
                        low_level::exit(CUT);
                    }
                    // Nobody may care any more.
                    let _ = tell.send(());
                }
            })?;
        Ok(Self { heard })
    }

    /// Waits for as long as the flags and the deadline allow, or until a second signal. What was
    /// cut short is over now.
    pub(super) fn delay(&self, flags: &Flags, limit: Duration, outcome: &Outcome) {
        let until = Instant::now() + delay(flags.exit_delay, limit, outcome);
        // Those that came during the drain count: the first may have begun it.
        for _ in 0..2 {
            let left = until.saturating_duration_since(Instant::now());
            if self.heard.recv_timeout(left).is_err() {
                return;
            }
        }
    }
}

/// How long who reads stderr may take for the last lines: until the deadline, at most
/// [`LAST_LINES`], and also where the deadline is what ended it a moment, which a thread needs to
/// write them where there is room.
pub(super) fn last_lines(limit: Duration, outcome: &Outcome) -> Duration {
    left(limit, outcome).clamp(LAST_LINE, LAST_LINES)
}

fn delay(wanted: Duration, limit: Duration, outcome: &Outcome) -> Duration {
    wanted.min(left(limit, outcome))
}

/// What the drain has left of its deadline; nothing where it was cut.
fn left(limit: Duration, outcome: &Outcome) -> Duration {
    match outcome.end {
        End::Cut => Duration::ZERO,
        _ => limit.saturating_sub(Duration::from_millis(outcome.report.drain_millis.into())),
    }
}

/// How long the last lines may take on their way to who reads stderr, before the process ends.
pub(super) const LAST_LINES: Duration = Duration::from_millis(200);

/// And where nothing is left of the deadline.
const LAST_LINE: Duration = Duration::from_millis(50);

/// The exit code of [`End::Cut`].
const CUT: i32 = End::Cut.code();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;

    #[test]
    fn the_delay_is_within_the_deadline_and_not_after_a_cut() {
        let outcome = |end, drain_millis| Outcome {
            end,
            report: Report {
                drain_millis,
                ..Report::default()
            },
        };
        let millis = Duration::from_millis;
        let (wanted, limit) = (millis(100), millis(1_000));
        for (end, took, expected) in [
            (End::Drained, 0, 100),
            (End::Drained, 900, 100),
            (End::Drained, 950, 50),
            (End::HookFailed, 400, 100),
            (End::Deadline, 1_003, 0),
            (End::Cut, 10, 0),
        ] {
            let delay = delay(wanted, limit, &outcome(end, took));
            assert_eq!(delay, millis(expected), "{end:?} after {took} ms");
        }
    }
}
