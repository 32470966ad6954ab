//! What a server did and how it ended, as text and as JSON.
//!
//! The numbers are part of the contract: `opened == closed` when `run` returns, and whatever the
//! deadline destroyed has a number here, and an exit code. Knows no connections.

use std::fmt;
use std::process::{ExitCode, Termination};

pub use crate::drain::End;

/// What a server did, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// Connections accepted.
    pub opened: u64,
    /// Connections closed, for any reason.
    pub closed: u64,
    /// Requests whose head was received.
    pub requests: u64,
    /// Responses that were handed to the kernel to their last byte, refusals included.
    pub answered: u64,
    /// Responses among these that upgraded their connection to another protocol.
    pub upgraded: u64,
    /// Messages that were no valid request, or over a limit: answered 4xx or 5xx, and closed.
    pub refused: u64,
    /// Requests that began once the draining had, and were rejected or dropped as
    /// [`LateRequests`](crate::LateRequests) says.
    pub late: u64,
    /// Connections that a timeout ended, outside the deadline of a drain.
    pub timed_out: u64,
    /// Connections that the peer broke, or left in the middle of a request or a response.
    pub left: u64,
    /// Panics of the handler, each answered 500 where no byte was sent.
    pub panics: u64,
    /// Connections that the drain closed idle, or before their first byte.
    pub closed_idle: u64,
    /// Requests that were cut before their response had begun: answered 503.
    pub forced_503: u64,
    /// Responses that a reset broke off: at the deadline, by a timeout, or because their source
    /// failed; and connections that were cut and got no response.
    pub aborted: u64,
    /// Responses that were handed to the kernel in full, and not acknowledged at the deadline.
    pub undelivered: u64,
    /// Upgraded connections that were still open at the end of
    /// [`DrainPolicy::tunnel_grace`](crate::DrainPolicy::tunnel_grace), and got a FIN.
    pub dismissed: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections that were cut from the first reason to stop on: by the deadline, a second
    /// signal, a timeout, or a source that failed. The exit code depends on this: the sum of
    /// [`forced_503`](Self::forced_503), [`undelivered`](Self::undelivered),
    /// [`dismissed`](Self::dismissed) and the growth of [`aborted`](Self::aborted) since. A request
    /// that a timeout answers with 408 or 503 is not cut.
    pub cut: u64,
    /// Milliseconds from the first reason to stop until every connection was closed and every guard
    /// released. The last hooks are not counted.
    pub drain_millis: u32,
    /// The reason to stop.
    pub trigger: String,
    /// Guards that were still held at the deadline.
    pub held: Vec<String>,
    /// Hooks that panicked or did not return in time.
    pub failed_hooks: Vec<String>,
}

impl Report {
    /// Returns a number that grows with everything a peer does except silence.
    pub(crate) const fn heard(&self) -> u64 {
        self.requests + self.refused + self.left
    }
}

/// How a server ended: what `run` returns. [`main`](crate::main) makes it the exit code.
#[doc(alias = "exit code")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "its exit code says whether anything was cut"]
#[non_exhaustive]
pub struct Outcome {
    /// Why the server ended.
    pub end: End,
    /// What the server did.
    pub report: Report,
}

impl Outcome {
    /// Returns the exit code: 0 drained; 1 the deadline, or another limit during the drain, cut at
    /// least one connection, or the deadline found a guard held; 3 a second signal cut the rest; 4
    /// a hook failed. ([`main`](crate::main) returns 2 when the server cannot start.)
    pub const fn code(&self) -> i32 {
        self.end.code()
    }

    /// Returns one line of JSON: `end`, `exit_code`, and every number of the report under its name.
    #[cfg(feature = "json")]
    pub fn to_json(&self) -> String {
        #[derive(serde::Serialize)]
        struct Line<'a> {
            end: &'a str,
            exit_code: i32,
            #[serde(flatten)]
            report: &'a Report,
        }
        let line = Line {
            end: self.end.name(),
            exit_code: self.code(),
            report: &self.report,
        };
        // Strings and integers always serialize.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        let seconds = f64::from(report.drain_millis) / 1_000.0;
        let cut = Counted(report.cut, "connection");
        match self.end {
            End::Drained => write!(f, "drained in {seconds:.3} s, nothing cut: ")?,
            End::Deadline if report.cut == 0 => write!(f, "held to the end, {seconds:.3} s: ")?,
            End::Deadline => write!(f, "{cut} cut in a drain of {seconds:.3} s: ")?,
            End::HookFailed => write!(f, "drained in {seconds:.3} s, but a hook failed: ")?,
            End::Cut if report.cut == 0 => {
                write!(f, "cut short after {seconds:.3} s, nothing cut: ")?
            }
            End::Cut => write!(f, "cut short after {seconds:.3} s, {cut} cut: ")?,
        }
        write!(
            f,
            "{}, {}, {} answered",
            Counted(report.opened, "connection"),
            Counted(report.requests, "request"),
            report.answered
        )?;
        for (names, what) in [
            (&report.held, "still held"),
            (&report.failed_hooks, "failed"),
        ] {
            for name in names {
                write!(f, ", {name:?} {what}")?;
            }
        }
        for (count, what) in [
            (report.upgraded, "upgraded"),
            (report.closed_idle, "closed idle"),
            (report.refused, "refused"),
            (report.late, "came late"),
            (report.timed_out, "timed out"),
            (report.left, "left by their peer"),
            (report.panics, "panics"),
            (report.forced_503, "forced with 503"),
            (report.aborted, "reset in the middle"),
            (report.dismissed, "upgraded and dismissed"),
            (report.undelivered, "not acknowledged"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// A number and what it counts.
struct Counted(u64, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {what}{plural}")
    }
}

impl Termination for Outcome {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code() as u8) // 0 to 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(end: End) -> Outcome {
        let report = Report {
            opened: 7,
            closed: 7,
            requests: 9,
            answered: 8,
            aborted: 1,
            cut: 1,
            drain_millis: 1_250,
            ..Report::default()
        };
        Outcome { end, report }
    }

    #[test]
    fn codes_tell_the_truth() {
        assert_eq!(outcome(End::Drained).code(), 0);
        assert_eq!(outcome(End::Deadline).code(), 1);
        assert_eq!(outcome(End::Cut).code(), 3);
        assert_eq!(outcome(End::HookFailed).code(), 4);
        for end in [End::Drained, End::Deadline, End::Cut, End::HookFailed] {
            // What a `main` that returns it exits with. The type has no other way to be compared.
            let code = format!("{:?}", Termination::report(outcome(end)));
            assert_eq!(code, format!("{:?}", ExitCode::from(end.code() as u8)));
        }
    }

    #[test]
    fn the_text_names_what_happened_and_only_that() {
        assert_eq!(
            outcome(End::Deadline).to_string(),
            "1 connection cut in a drain of 1.250 s: 7 connections, 9 requests, 8 answered, \
             1 reset in the middle"
        );
    }

    #[cfg(feature = "json")]
    #[test]
    fn the_json_is_one_line_with_every_number() {
        let line = outcome(End::Deadline).to_json();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["end"], "deadline");
        assert_eq!(value["exit_code"], 1);
        assert_eq!(value["aborted"], 1);
        assert_eq!(value["drain_millis"], 1_250);
        assert!(!line.contains('\n'));
    }
}
