//! The result of a probe, as plain data: a line for each state, with each of its clients.
//!
//! Times are milliseconds since the signal, below 0 before it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::seen::{End, Phase};
use super::state::State;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The command, or the process.
    pub(super) server: String,
    pub(super) signal: String,
    pub(super) deadline_ms: f64,
    /// Clients in each state.
    pub(super) connections: u16,
    /// One server served all states.
    pub(super) together: bool,
    /// At least one state was probed, nothing was lost or torn, and the server stopped each time.
    pub(super) ok: bool,
    /// Lost requests.
    pub(super) lost: u64,
    /// Torn responses.
    pub(super) torn: u64,
    pub(super) states: Vec<Line>,
}

/// The result of the clients in one state.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) state: State,
    pub(super) level: Level,
    /// The verdict in words, on one line.
    pub(super) verdict: String,
    /// The reason why the state matters.
    pub(super) why: &'static str,
    /// The number of clients for each observation.
    pub(super) saw: BTreeMap<Saw, u32>,
    /// Requests, whole or in part.
    pub(super) requests: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) torn: u64,
    /// Absent if the probe skipped the state.
    pub(super) stop: Option<Stop>,
    pub(super) clients: Vec<Row>,
}

/// The severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Skipped,
    Ok,
    /// The server lost nothing, but could do better.
    Note,
    /// Something was lost, or the server did not stop.
    Bad,
}

/// The observation of a client, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Saw {
    /// Every request got a response, the last one with a close.
    AnsweredWithClose,
    /// Every request got a response, but the last one did not announce the close.
    AnsweredWithoutClose,
    /// Every request got a response; the last one had begun before the signal.
    AnsweredAndClosed,
    /// A part of a pipeline got responses, the last one with a close, which says that the server
    /// did not run the rest.
    AnsweredInPart,
    /// The response was a refusal.
    Refused,
    /// No connection was made, and nothing was sent.
    TurnedAway,
    /// No request was open, and the connection ended.
    Fin,
    Reset,
    /// No request was open, and the connection was open at the deadline.
    Hang,
    /// A response ended in the middle.
    Torn,
    /// A request was sent, whole or in part, and the connection ended without a byte.
    LostByFin,
    LostByReset,
    /// The deadline came without a response.
    LostByHang,
    /// The client was not in its state when the signal came.
    NotMade,
}

/// The stop of the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Stop {
    /// The time of the first refused connection.
    pub(super) listener_closed_ms: Option<f64>,
    /// Absent if the server was still there at the deadline.
    pub(super) exit_ms: Option<f64>,
    /// The process had ended while its listener or a connection was still open at the deadline: the
    /// process had only started the server.
    pub(super) still_serving: bool,
    /// Absent if a signal ended the server, or if the probe did not start it.
    pub(super) exit_code: Option<i32>,
    pub(super) exit_signal: Option<i32>,
    /// The time from the last byte that a client got, or from the signal, to the exit.
    pub(super) lag_ms: Option<f64>,
}

/// A client.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) saw: Saw,
    /// The status of the last response.
    pub(super) status: Option<u16>,
    pub(super) requests: u64,
    pub(super) answered: u64,
    pub(super) spans: Vec<Span>,
    /// Absent if the connection was open at the deadline.
    pub(super) end: Option<End>,
    pub(super) end_ms: Option<f64>,
}

/// A phase of a connection.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Span {
    pub(super) phase: Phase,
    pub(super) from_ms: f64,
    pub(super) to_ms: f64,
}

impl Report {
    /// Returns whether the probe skipped every state.
    pub(super) fn skipped(&self) -> bool {
        self.states.iter().all(|line| line.level == Level::Skipped)
    }

    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl Stop {
    /// Returns whether nothing of the server was left at the deadline.
    pub(super) const fn is_complete(&self) -> bool {
        self.exit_ms.is_some() && !self.still_serving
    }
}

impl Saw {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::AnsweredWithClose => "answered with close",
            Self::AnsweredWithoutClose => "answered without close",
            Self::AnsweredAndClosed => "answered, then closed",
            Self::AnsweredInPart => "answered in part, with close",
            Self::Refused => "refused by a response",
            Self::TurnedAway => "turned away",
            Self::Fin => "FIN",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::Torn => "torn",
            Self::LostByFin => "lost by FIN",
            Self::LostByReset => "lost by reset",
            Self::LostByHang => "lost by hang",
            Self::NotMade => "not in the state",
        }
    }

    pub(super) const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::Torn | Self::LostByFin | Self::LostByReset | Self::LostByHang
        )
    }
}

impl Line {
    /// Returns the line of a state that could not be made.
    pub(super) fn skipped(state: State, why_not: &str) -> Self {
        Self {
            state,
            level: Level::Skipped,
            verdict: format!("skipped: {why_not}"),
            why: state.why(),
            saw: BTreeMap::new(),
            requests: 0,
            answered: 0,
            lost: 0,
            torn: 0,
            stop: None,
            clients: Vec::new(),
        }
    }

    /// Counts the clients that saw this.
    pub(super) fn count(&self, saw: Saw) -> u32 {
        self.saw.get(&saw).copied().unwrap_or_default()
    }

    /// Returns what all clients saw: `7 FIN, 1 reset`.
    pub(super) fn summary(&self) -> String {
        let counts = self.saw.iter();
        let counts: Vec<_> = counts
            .map(|(saw, count)| format!("{count} {}", saw.words()))
            .collect();
        match counts.is_empty() {
            true => "-".into(),
            false => counts.join(", "),
        }
    }
}

/// Writes a time for people: `0.4 ms`, `52 ms`, `1.21 s`.
pub(super) fn time(millis: f64) -> String {
    match millis.abs() {
        ..9.95 => format!("{millis:.1} ms"),
        ..999.5 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases = [
            (0.04, "0.0 ms"),
            (9.9, "9.9 ms"),
            (9.96, "10 ms"),
            (999.4, "999 ms"),
            (1210.0, "1.21 s"),
            (-52.0, "-52 ms"),
        ];
        for (millis, expected) in cases {
            assert_eq!(time(millis), expected);
        }
    }
}
