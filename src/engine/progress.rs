//! The lines a person at a terminal, or whoever reads the log later, wants to see.
//!
//! By the `log` facade, at `info`, with the counts of every phase that has any. Knows no sockets.

use std::fmt;

use super::Engine;
use crate::drain::{Policy, Stage};
use crate::handler::Handler;
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::{Counts, Phase};

/// When the next line is due.
#[derive(Debug, Default)]
pub(super) struct Progress {
    next: Option<Tick>,
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Starts the regular lines.
    pub(super) fn start_lines(&mut self, now: Tick) {
        self.progress.next = self.core.config.log_connections.map(|ms| now.after(ms));
    }

    /// Says that the drain has begun, and why.
    pub(super) fn log_trigger(&mut self, why: &str, now: Tick) {
        let counts = Phases(self.tracker.counts());
        let limit = seconds(self.core.config.drain.0.limit);
        match self.stage {
            Stage::Draining { .. } => log::info!("{why}: draining {counts}; at most {limit} s"),
            Stage::Cutting => log::warn!("{why}: cutting {counts}"),
            Stage::Serving => {}
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
        let counts = Phases(self.tracker.counts());
        match self.stage {
            Stage::Serving => log::info!("connections: {counts}"),
            Stage::Draining { since, .. } => {
                let left = time_left(&self.core.config.drain.0, since, now);
                log::info!("draining: {counts}; {} s left", seconds(left));
            }
            Stage::Cutting => {}
        }
        self.progress.next = match self.stage {
            Stage::Serving => self.core.config.log_connections.map(|ms| now.after(ms)),
            // In step with the signal, however late a turn was.
            Stage::Draining { since, .. } => Some(now.after(SECOND - now.since(since) % SECOND)),
            Stage::Cutting => None,
        };
    }

    /// When the next line is due.
    pub(super) const fn next_line(&self) -> Option<Tick> {
        self.progress.next
    }
}

fn time_left(policy: &Policy, since: Tick, now: Tick) -> u32 {
    policy.limit.saturating_sub(now.since(since))
}

fn seconds(millis: u32) -> f32 {
    (millis as f32 / 100.0).round() / 10.0
}

/// Counts as a person reads them: `5000 idle, 50 handler`.
struct Phases(Counts);

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for phase in Phase::ALL {
            let count = self.0[phase as usize];
            if count > 0 {
                write!(f, "{separator}{count} {}", phase.name())?;
                separator = ", ";
            }
        }
        if separator.is_empty() {
            f.write_str("no connections")?;
        }
        Ok(())
    }
}

const SECOND: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_phases_with_someone_in_them_are_named() {
        let mut counts = [0; Phase::COUNT];
        assert_eq!(Phases(counts).to_string(), "no connections");
        counts[Phase::Idle as usize] = 5_000;
        counts[Phase::Handler as usize] = 50;
        assert_eq!(Phases(counts).to_string(), "5000 idle, 50 handler");
    }

    #[test]
    fn seconds_have_one_decimal() {
        assert_eq!(seconds(24_960).to_string(), "25");
        assert_eq!(seconds(24_949).to_string(), "24.9");
    }
}
