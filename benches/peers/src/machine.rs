//! Describes a run for its readers: command, machine and load.

use std::env;
use std::fs;

use crate::work::Scale;

/// The machine of a run.
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    /// Load average of the minute before the run.
    load: f64,
}

impl Machine {
    /// Reads processors, kernel and load; a missing value is empty, zero or `unknown`.
    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let models = cpuinfo
            .lines()
            .filter_map(|line| line.strip_prefix("model name"));
        let models: Vec<_> = models.filter_map(|rest| rest.split(": ").nth(1)).collect();
        let release = read("/proc/sys/kernel/osrelease");
        let version: Vec<_> = release.trim().split(['.', '-']).take(2).collect();
        let load = read("/proc/loadavg");
        Self {
            processor: models.first().copied().unwrap_or("unknown").to_owned(),
            processors: models.len(),
            kernel: version.join("."),
            load: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// Returns the command, the machine and the kind of the figures, in one paragraph.
    pub(crate) fn introduction(&self, scale: &Scale) -> String {
        let args: Vec<_> = env::args()
            .skip(1)
            .filter(|arg| arg != "--publish")
            .collect();
        let Self {
            processor,
            processors,
            kernel,
            load,
        } = self;
        let rounds = match scale.rounds {
            1 => "one round".to_owned(),
            rounds => format!("medians of {rounds} rounds"),
        };
        let shared = if *load > ALONE {
            format!(
                " The machine was shared: its load average was {load:.1} when the run began, so \
                 compare rows, not runs."
            )
        } else {
            String::new()
        };
        let args = args.join(" ");
        format!(
            "`cargo run --release --manifest-path benches/peers/Cargo.toml -- {args}` on {processors} \
             cores of {processor}, Linux {kernel}; {rounds}, {:.2} s a figure, one worker each.{shared}\n",
            scale.time.as_secs_f64()
        )
    }
}

/// Greatest load average of a machine that counts as unshared.
const ALONE: f64 = 0.5;
