//! The lines a person at a terminal, or whoever reads the log later, wants to see.
//!
//! By the `log` facade, at `info`, with the counts of every phase that has any. Knows no sockets.

use super::Engine;
use crate::app::{Handler, Phases, Trigger, held_by};
use crate::drain::{Policy, Stage};
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::Phase;

/// When the next line is due.
#[derive(Debug, Default)]
pub(super) struct Progress {
    next: Option<Tick>,
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Says that there is a reason to stop, and what it means.
    pub(super) fn log_trigger(&mut self, trigger: &Trigger, now: Tick) {
        let counts = Phases::from(self.tracker.counts());
        let policy = &self.core.config.drain.0;
        match self.stage {
            Stage::Serving => return,
            Stage::Delaying { .. } if policy.delay > 0 => log::info!(
                "{trigger}: draining in {} s, still accepting: {counts}; at most {} s in all{}",
                seconds(policy.delay),
                seconds(policy.timeout),
                self.waiting()
            ),
            // Until a hook returns, the first is the second.
            Stage::Delaying { since } | Stage::Draining { since, .. } => log::info!(
                "{trigger}: draining: {counts}; at most {} s{}",
                seconds(time_left(policy, since, now)),
                self.waiting()
            ),
            Stage::Cutting => {
                log::warn!("{trigger}: cutting: {counts}");
                self.log_blockers(LISTED);
            }
        }
        self.progress.next = Some(now.after(SECOND));
    }

    /// Writes the line that is due.
    pub(super) fn log_progress(&mut self, now: Tick) {
        let Some(next) = self.progress.next else {
            return;
        };
        if !now.reached(next) {
            return;
        }
        let counts = Phases::from(self.tracker.counts());
        self.progress.next = match self.stage {
            Stage::Delaying { since } | Stage::Draining { since, .. } => {
                let left = seconds(time_left(&self.core.config.drain.0, since, now));
                let waiting = self.waiting();
                log::info!(target: PROGRESS_LINE, "draining: {counts}; {left} s left{waiting}");
                // In step with the signal, however late a turn was.
                Some(now.after(SECOND - now.since(since) % SECOND))
            }
            Stage::Serving | Stage::Cutting => None,
        };
    }

    /// What the drain waits for longest, and what holds it.
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

    /// Says what the deadline found. Those who had nothing to lose are not worth a warning.
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

    /// When the next line is due.
    pub(super) const fn next_line(&self) -> Option<Tick> {
        self.progress.next
    }
}

fn time_left(policy: &Policy, since: Tick, now: Tick) -> u32 {
    policy.timeout.saturating_sub(now.since(since))
}

fn seconds(millis: u32) -> f32 {
    (millis as f32 / 100.0).round() / 10.0
}

/// The target of the lines that a drain logs each second: a program that shows its progress in
/// another way, by [`Handle::status`](crate::Handle::status), leaves them out by it.
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
