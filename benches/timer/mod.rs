//! Times a piece of work: the best of many batches, because a disturbance can only make a batch
//! slower.
//!
//! `cargo bench` passes `--bench`. Without it, as under `cargo test --benches`, all work is done
//! once to see that it runs, and the figures mean nothing.

use std::env;
use std::time::{Duration, Instant};

/// Whether figures are wanted, or only a run.
pub(crate) fn measuring() -> bool {
    env::args().any(|arg| arg == "--bench")
}

/// Prints a line where the figures mean nothing.
pub(crate) fn begin() {
    if !measuring() {
        println!("one run of each, to see that it runs: for figures use `cargo bench`");
    }
}

/// Returns the nanoseconds that `work` takes on what `prepare` makes, divided by `count`. The time
/// of `prepare` does not count.
#[allow(dead_code, reason = "not every bench times this way")]
pub(crate) fn nanos_each<T>(count: usize, prepare: impl Fn() -> T, work: impl Fn(&mut T)) -> f64 {
    let run = || {
        let mut subject = prepare();
        let start = Instant::now();
        work(&mut subject);
        start.elapsed()
    };
    let mut best = run();
    let begun = Instant::now();
    while measuring() && begun.elapsed() < TIME {
        best = best.min(run());
    }
    best.as_secs_f64() * 1e9 / count as f64
}

/// How long one figure is measured.
#[allow(dead_code, reason = "not every bench times this way")]
const TIME: Duration = Duration::from_millis(500);
