//! Restarts under load lose nothing: in turn behind HAProxy, by socket activation, and on one
//! shared port (r32).
//!
//! No client tries anything twice, so every lost request is counted. A test that kills the server
//! proves the count.

mod haproxy;
mod load;
mod one_port;
use ebbtide_lab::command as support;

use std::time::Duration;

use load::Seen;
use support::served::Served;

/// Stops a server, asserts that it drained, and returns how many requests it answered.
fn stop(served: &Served) -> i64 {
    served.terminate();
    stopped(served)
}

/// Asserts that a server drained.
fn stopped(served: &Served) -> i64 {
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    report.answered()
}

/// Asserts that no request failed, and that enough were made.
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
