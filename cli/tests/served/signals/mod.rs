//! The races of a drain on real sockets, against the spawned command.
//!
//! One test, or a few, for each row of the drain's contract, named after it. The lever is always
//! the same: stop the process, arrange what the kernel holds for it, send the signal, let it go
//! on; it wakes to everything at once, and what happens one time in ten thousand happens every
//! time. What is asserted is the order of events wherever that is possible; times only with wide
//! margins, for these tests run beside others.
//!
//! Two environment variables:
//!
//! * `EBBTIDE_RUNS` is a factor by which the races are repeated more often.
//! * `EBBTIDE_COMMAND` names another build of the command.

mod accept;
mod answers;
mod deadline;
mod exit;
mod idle;
mod storm;
use ebbtide_lab::command as support;

use std::env;
use std::time::Duration;

use ebbtide_lab::response::Response;
use support::served::Served;

/// What is said to happen at once happens within this, on a machine that does other things too.
const PROMPT: Duration = Duration::from_millis(1500);

/// The command with a report that can be read.
fn serve(flags: &[&str]) -> Served {
    Served::start(&[&["--report", "json"], flags].concat())
}

/// How often to repeat what is usually repeated `usual` times.
fn runs(usual: usize) -> usize {
    let factor = env::var("EBBTIDE_RUNS").ok();
    usual * factor.map_or(1, |text| text.parse().expect("EBBTIDE_RUNS is a number"))
}

/// Checks an answer to what came together with the signal: it says close, like all that follow.
#[track_caller]
fn assert_served(response: &Response, body: &[u8]) {
    assert_eq!(response.status, 200, "{response}");
    assert!(response.body == body, "another body: {response}");
    response.assert_last();
}
