//! Prints a report as a text for people.

use std::fmt::Write;

use super::report::{Level, Line, Report, time};
use crate::shown::one_line;
use crate::values::signal_names;

/// Returns a line for each state, an explanation, and a conclusion.
pub(super) fn table(report: &Report) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(report.states.iter().map(cells));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..TITLES.len()).map(width).collect();
    let deadline = time(report.deadline_ms);
    let mut text = format!(
        "{}: {}, {} connections a state, deadline {deadline}\n\n",
        one_line(&report.server),
        report.signal,
        report.connections,
    );
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(RIGHT) {
            // Writing to a string cannot fail.
            let _ = match right {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text += "\nWhy each state matters:\n";
    let width = widths[0];
    for line in &report.states {
        let _ = writeln!(text, "{:<width$}  {}", line.state.name(), line.why);
    }
    text.push('\n');
    text += &conclusion(report);
    text.push('\n');
    text
}

fn cells(line: &Line) -> [String; 6] {
    let dash = || "-".to_owned();
    let stop = line.stop.filter(|_| line.level != Level::Skipped);
    let listener = stop.and_then(|stop| stop.listener_closed_ms);
    let lag = stop.and_then(|stop| stop.lag_ms);
    let exit = stop.map_or_else(dash, |stop| {
        match (stop.exit_ms, stop.exit_code, stop.exit_signal) {
            (None, ..) => "killed".into(),
            (_, Some(code), _) => code.to_string(),
            (_, None, Some(signal)) => signal_names(&[signal]),
            (_, None, None) => "gone".into(),
        }
    });
    [
        line.state.name().into(),
        line.summary(),
        listener.map_or_else(dash, time),
        exit,
        lag.map_or_else(dash, time),
        one_line(&line.verdict).into_owned(),
    ]
}

/// Returns the conclusion, in a sentence.
pub(super) fn conclusion(report: &Report) -> String {
    let skipped = report.states.iter();
    let skipped = skipped.filter(|line| line.level == Level::Skipped).count();
    let stuck = report.states.iter();
    let stuck = stuck
        .filter(|line| line.stop.is_some_and(|stop| !stop.is_complete()))
        .count();
    let notes = report.states.iter();
    let notes = notes.filter(|line| line.level == Level::Note).count();
    let mut text = match (report.lost, report.torn) {
        _ if report.skipped() => "Nothing was probed".to_owned(),
        (0, 0) => "Nothing was lost".to_owned(),
        (lost, 0) => format!("LOST: {}", several(lost, "request")),
        (0, torn) => format!("TORN: {}", several(torn, "response")),
        (lost, torn) => format!(
            "LOST: {}; TORN: {}",
            several(lost, "request"),
            several(torn, "response")
        ),
    };
    for (count, what) in [
        (stuck, "not stopped by the deadline"),
        (notes, "could be better"),
        (skipped, "skipped"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {} {what}", several(count as u64, "state"));
        }
    }
    text + "."
}

fn several(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

const TITLES: [&str; 6] = [
    "STATE",
    "THE CLIENTS SAW",
    "LISTENER",
    "EXIT",
    "LAG",
    "VERDICT",
];
const RIGHT: [bool; 6] = [false, false, true, true, true, false];
