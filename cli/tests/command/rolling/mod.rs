//! Restarts under load, and nothing is lost: in turn behind HAProxy, by socket activation, and on
//! one shared port. R32.
//!
//! No client tries anything twice, so every request that a restart costs is counted. That it would
//! be is shown by a server which is killed instead of told to stop. Knows the command from outside.

mod haproxy;
mod load;
mod one_port;
use ebbtide_lab::command as support;

use std::time::Duration;

use load::Seen;
use support::served::Served;

/// Tells it to stop, and demands that it drained. Gives how many requests it answered.
fn stop(served: &Served) -> i64 {
    served.terminate();
    stopped(served)
}

/// Demands that it drained.
fn stopped(served: &Served) -> i64 {
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    report.answered()
}

/// Not one failed, and it was no idle test.
#[track_caller]
fn assert_nothing_lost(name: &str, seen: &Seen, at_least: u64) {
    let Seen {
        answered,
        connections,
        failed,
        slowest,
    } = seen;
    println!(
        "{name}: {answered} requests on {connections} connections, {} failed, slowest {slowest:?}",
        failed.len()
    );
    assert_eq!(failed, &[""; 0], "{name}: of {answered} requests");
    assert!(*answered >= at_least, "{name}: only {answered} requests");
    assert!(*slowest < Duration::from_secs(8), "{name}: {slowest:?}");
}
