//! A status in the text format of Prometheus, version 0.0.4.
//!
//! Metrics use base units. Each thing has one family, and the name of a counter ends in `_total`.
//! Names of guards and requests are not labels, because peers and applications would create endless
//! series.

use std::fmt::{Display, Write};

use ebbtide::{Phases, Report, Status};

/// The content type of [`text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the metrics of a status.
pub(super) fn text(status: &Status) -> String {
    let mut out = Families(String::with_capacity(4_096));
    let build = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let help = "The version of ebbtide, as a label; always 1.";
    out.gauge("build_info", help, [(&*build, 1)]);
    let stages = STAGES.map(|stage| (stage, u8::from(stage == status.stage)));
    let help = "The stage of the server: 1 for the current one.";
    out.labelled("stage", help, "stage", stages);
    let help = "Time until the deadline of the drain; absent while serving.";
    let left = status.left_millis.map(|millis| f64::from(millis) / 1_000.0);
    out.gauge("drain_left_seconds", help, left.map(|left| ("", left)));
    let help = "Guards of the application, which delay the exit.";
    out.gauge("guards", help, [("", status.guards.len())]);
    let phases = PHASES.map(|(name, count)| (name, count(&status.phases)));
    let help = "Open connections by phase.";
    out.labelled("connections", help, "phase", phases);
    for (name, count, help) in COUNTERS {
        out.counter(name, help, count(&status.report));
    }
    out.0
}

type Of<T, N> = fn(&T) -> N;

/// Each counter: its name without `_total`, its value, its help.
const COUNTERS: [(&str, Of<Report, u64>, &str); 17] = [
    ("connections_opened", |r| r.opened, "Connections accepted."),
    (
        "connections_closed",
        |r| r.closed,
        "Connections closed for any reason.",
    ),
    (
        "connections_closed_idle",
        |r| r.closed_idle,
        "Idle connections closed by a drain.",
    ),
    (
        "connections_timed_out",
        |r| r.timed_out,
        "Connections that a timeout ended.",
    ),
    (
        "connections_left",
        |r| r.left,
        "Connections that the peer broke, or left in the middle of a request or a response.",
    ),
    (
        "requests",
        |r| r.requests,
        "Requests whose head was received.",
    ),
    (
        "requests_refused",
        |r| r.refused,
        "Invalid requests, and those over a limit.",
    ),
    (
        "requests_late",
        |r| r.late,
        "Requests rejected or dropped because the server drains.",
    ),
    (
        "requests_forced_503",
        |r| r.forced_503,
        "Requests cut before their response began.",
    ),
    (
        "requests_aborted",
        |r| r.aborted,
        "Requests cut in the middle of their response.",
    ),
    (
        "responses",
        |r| r.answered,
        "Responses handed to the kernel in full.",
    ),
    (
        "upgrades",
        |r| r.upgraded,
        "Connections upgraded to another protocol.",
    ),
    (
        "tunnels_dismissed",
        |r| r.dismissed,
        "Upgraded connections that a drain had to end.",
    ),
    (
        "responses_undelivered",
        |r| r.undelivered,
        "Responses not acknowledged by the deadline.",
    ),
    ("handler_panics", |r| r.panics, "Panics of the handler."),
    ("received_bytes", |r| r.bytes_in, "Bytes received."),
    ("sent_bytes", |r| r.bytes_out, "Bytes sent."),
];

/// Each phase: its label and its value.
const PHASES: [(&str, Of<Phases, u32>); 8] = [
    ("fresh", |p| p.fresh),
    ("idle", |p| p.idle),
    ("head", |p| p.head),
    ("body", |p| p.body),
    ("handler", |p| p.handler),
    ("reply", |p| p.reply),
    ("linger", |p| p.linger),
    ("tunnel", |p| p.tunnel),
];

struct Families(String);

impl Families {
    fn labelled<V: Display, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: [(&str, V); N],
    ) {
        let samples = samples.map(|(value, number)| (format!("{label}=\"{value}\""), number));
        self.gauge(name, help, samples);
    }

    fn gauge<L: AsRef<str>, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) {
        self.family(&format!("{name}_total"), "counter", help, [("", count)]);
    }

    fn family<L: AsRef<str>, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) {
        // Writing to a string cannot fail.
        let _ = write!(
            self.0,
            "# HELP ebbtide_{name} {help}\n# TYPE ebbtide_{name} {kind}\n"
        );
        for (labels, value) in samples {
            let _ = match labels.as_ref() {
                "" => writeln!(self.0, "ebbtide_{name} {value}"),
                labels => writeln!(self.0, "ebbtide_{name}{{{labels}}} {value}"),
            };
        }
    }
}

/// The values of [`Status::stage`].
const STAGES: [&str; 5] = ["serving", "delaying", "draining", "cutting", "ending"];
