//! The lines of the log that tell how the server and its drain go on.
//!
//! They go through the `log` facade, at `info`, with the counts of the phases. Knows no sockets.

use super::Engine;
use crate::app::{Handler, Phases, Trigger, held_by};
use crate::drain::Stage;
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Logs a reason to stop, and what follows from it.
    pub(super) fn log_trigger(&mut self, trigger: &Trigger, now: Tick) {
        let counts = Phases::from(self.tracker.counts());
        let policy = *self.core.drain.policy();
        match self.core.drain.stage() {
            Stage::Serving => return,
            Stage::Delaying { .. } if policy.delay > 0 => log::info!(
                "{trigger}: draining in {} s, still accepting: {counts}; at most {} s in all{}",
                seconds(policy.delay),
                seconds(policy.timeout),
                self.waiting()
            ),
            // A hook may hold the draining where no delay does.
            Stage::Delaying { .. } | Stage::Draining { .. } => log::info!(
                "{trigger}: draining: {counts}; at most {} s{}",
                seconds(self.core.drain.time_left(now).unwrap_or_default()),
                self.waiting()
            ),
            Stage::Cutting => {
                log::warn!("{trigger}: cutting: {counts}");
                self.log_blockers(LISTED);
            }
        }
        self.next_line = Some(now.after(SECOND));
    }

    /// Logs the line that is due.
    pub(super) fn log_progress(&mut self, now: Tick) {
        let Some(next) = self.next_line else {
            return;
        };
        if !now.reached(next) {
            return;
        }
        let counts = Phases::from(self.tracker.counts());
        self.next_line = match self.core.drain.stage() {
            Stage::Delaying { since } | Stage::Draining { since, .. } => {
                let left = seconds(self.core.drain.time_left(now).unwrap_or_default());
                let waiting = self.waiting();
                log::info!(target: PROGRESS_LINE, "draining: {counts}; {left} s left{waiting}");
                // The lines stay in step with the signal, however late a turn was.
                Some(now.after(SECOND - now.since(since) % SECOND))
            }
            Stage::Serving | Stage::Cutting => None,
        };
    }

    /// Returns the oldest blocker and the guards, as the end of a line.
    fn waiting(&self) -> String {
        let mut text = String::new();
        if let Some(oldest) = self.blockers(1).first() {
            text += &format!("; oldest: {oldest}");
        }
        text + &self.held()
    }

    fn held(&self) -> String {
        held_by(&self.handle().guards().names())
    }

    /// Logs what the deadline found. Connections that have nothing to lose are worth no warning.
    pub(super) fn log_deadline(&self) {
        let counts = self.tracker.counts();
        let harmless = [Phase::Fresh, Phase::Idle, Phase::Linger];
        let harmless: u32 = harmless.map(|phase| counts[phase as usize]).iter().sum();
        let held = self.held();
        if self.tracker.len() > harmless as usize || !held.is_empty() {
            log::warn!("the deadline: {}{held}", Phases::from(counts));
            self.log_blockers(LISTED);
        }
    }
}

fn seconds(millis: u32) -> f32 {
    (millis as f32 / 100.0).round() / 10.0
}

/// The target of the lines that a drain logs each second. A program that shows its progress by
/// [`Handle::status`](crate::Handle::status) filters the lines by this target.
pub const PROGRESS_LINE: &str = "ebbtide::progress";

const SECOND: u32 = 1_000;

/// How many connections a table names.
const LISTED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_one_decimal() {
        assert_eq!(seconds(24_960).to_string(), "25");
        assert_eq!(seconds(24_949).to_string(), "24.9");
    }
}
