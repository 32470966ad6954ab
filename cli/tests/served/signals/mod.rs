//! The races of a drain on real sockets, against the spawned command.
//!
//! Each test is named after its row of the drain's contract. A test stops the process, arranges
//! what the kernel holds for it, sends the signal, and lets it go on. The process wakes to
//! everything at once, so a race of one in ten thousand happens every time. The tests assert the
//! order of events wherever possible, and times only with wide margins, because other tests run
//! beside them.
//!
//! Two environment variables:
//!
//! * `EBBTIDE_RUNS` is a factor by which the races are repeated more often.
//! * `EBBTIDE_COMMAND` names another build of the command.

mod accept;
mod deadline;
mod exit;
mod idle;
mod responses;
mod storm;
use ebbtide_lab::command as support;

use std::env;
use std::time::Duration;

use ebbtide_lab::response::Response;
use support::served::Served;

/// The limit for events that come at once, on a busy machine.
const PROMPT: Duration = Duration::from_millis(1500);

/// Starts the command with a report that the tests can read.
fn serve(flags: &[&str]) -> Served {
    Served::start(&[&["--report", "json"], flags].concat())
}

/// Returns how often to repeat what usually runs `usual` times.
fn runs(usual: usize) -> usize {
    let factor = env::var("EBBTIDE_RUNS").ok();
    usual * factor.map_or(1, |text| text.parse().expect("EBBTIDE_RUNS is a number"))
}

/// Asserts the response to a request that came with the signal: like all that follow, it says
/// close.
#[track_caller]
fn assert_served(response: &Response, body: &[u8]) {
    assert_eq!(response.status, 200, "{response}");
    assert!(response.body == body, "another body: {response}");
    response.assert_last();
}
