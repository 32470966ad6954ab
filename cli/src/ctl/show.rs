//! Prints responses of the admin listener as a text for people.

use std::fmt::Write;

use serde::Deserialize;

use crate::shown::one_line;

/// The members of `/status` to print.
#[derive(Debug, Deserialize)]
struct Status {
    pid: u32,
    version: String,
    stage: String,
    left_millis: Option<u32>,
    progress: Option<Progress>,
    phases: serde_json::Map<String, serde_json::Value>,
    guards: Vec<String>,
    report: Report,
    connections: Vec<Connection>,
}

#[derive(Debug, Deserialize)]
struct Progress {
    connections: u64,
    gone: u64,
}

#[derive(Debug, Deserialize)]
struct Report {
    opened: u64,
    requests: u64,
    answered: u64,
}

#[derive(Debug, Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Debug, Deserialize)]
struct Connection {
    number: u32,
    peer: String,
    phase: String,
    age_millis: u32,
    requests: u32,
    request: String,
    bytes_in: u64,
    bytes_out: u64,
}

/// Returns a line for each fact of a status.
///
/// # Errors
///
/// The response is no status.
pub(super) fn status(body: &[u8]) -> serde_json::Result<String> {
    let status: Status = serde_json::from_slice(body)?;
    let left = status
        .left_millis
        .map_or_else(String::new, |millis| format!(", {} left", seconds(millis)));
    let gone = status.progress.as_ref().map_or_else(String::new, |so_far| {
        format!(
            "; {} of {} connections gone",
            so_far.gone, so_far.connections
        )
    });
    let report = &status.report;
    let guards: Vec<_> = status.guards.iter().map(|name| one_line(name)).collect();
    let guards = match guards.is_empty() {
        true => "none".into(),
        false => guards.join(", "),
    };
    let mut text = format!(
        "server   ebbtide {}, pid {}\n\
         stage    {}{left}{gone}\n\
         phases   {}\n\
         guards   {guards}\n\
         so far   {} connections, {} requests, {} answered\n",
        one_line(&status.version),
        status.pid,
        one_line(&status.stage),
        phases(&status.phases),
        report.opened,
        report.requests,
        report.answered,
    );
    if !status.connections.is_empty() {
        text += "oldest\n";
        text += &table(&status.connections);
    }
    Ok(text)
}

/// Returns a table of connections.
///
/// # Errors
///
/// The response is no list of connections.
pub(super) fn connections(body: &[u8], all: bool) -> serde_json::Result<String> {
    let Connections { connections } = serde_json::from_slice(body)?;
    Ok(match (connections.is_empty(), all) {
        (true, true) => "no connections\n".into(),
        (true, false) => "nothing in flight; --all also lists idle connections\n".into(),
        (false, _) => table(&connections),
    })
}

fn phases(phases: &serde_json::Map<String, serde_json::Value>) -> String {
    let some = phases.iter().filter(|(_, count)| count.as_u64() != Some(0));
    let some: Vec<_> = some
        .map(|(name, count)| format!("{count} {}", one_line(name)))
        .collect();
    match some.is_empty() {
        true => "no connections".into(),
        false => some.join(", "),
    }
}

/// Aligns the columns, numbers to the right.
fn table(connections: &[Connection]) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    rows.extend(connections.iter().map(|connection| {
        [
            connection.number.to_string(),
            one_line(&connection.peer).into_owned(),
            one_line(&connection.phase).into_owned(),
            seconds(connection.age_millis),
            connection.requests.to_string(),
            connection.bytes_in.to_string(),
            connection.bytes_out.to_string(),
            one_line(&connection.request).into_owned(),
        ]
    }));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..TITLES.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(&widths).zip(RIGHT) {
            // Writing to a string cannot fail.
            let _ = match right {
                true => write!(line, "  {cell:>width$}"),
                false => write!(line, "  {cell:<width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn seconds(millis: u32) -> String {
    format!("{:.1} s", f64::from(millis) / 1_000.0)
}

const TITLES: [&str; 8] = [
    "NUMBER", "PEER", "PHASE", "AGE", "REQUESTS", "IN", "OUT", "REQUEST",
];
const RIGHT: [bool; 8] = [true, false, false, true, true, true, true, false];

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"pid":42,"version":"0.1.0","stage":"draining","left_millis":9250,
        "progress":{"connections":5,"gone":2,"elapsed_millis":750,"limit_millis":10000},
        "phases":{"fresh":0,"idle":2,"handler":1},"guards":["flush"],
        "report":{"opened":3,"requests":7,"answered":6,"extra":1},
        "connections":[{"number":9,"peer":"127.0.0.1:4000","phase":"handler","age_millis":1260,
        "requests":3,"request":"GET /\u001b[31m","bytes_in":0,"bytes_out":12345}]}"#;

    #[test]
    fn a_status_is_a_line_for_each_thing() {
        let expected = [
            "server   ebbtide 0.1.0, pid 42",
            "stage    draining, 9.2 s left; 2 of 5 connections gone",
            "phases   1 handler, 2 idle",
            "guards   flush",
            "so far   3 connections, 7 requests, 6 answered",
            "oldest",
            "  NUMBER  PEER            PHASE      AGE  REQUESTS  IN    OUT  REQUEST",
            "       9  127.0.0.1:4000  handler  1.3 s         3   0  12345  GET /\\u{1b}[31m",
        ];
        let text = status(BODY).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_connections_are_said_to_be_none() {
        let none = br#"{"connections":[]}"#;
        assert_eq!(connections(none, true).unwrap(), "no connections\n");
        assert!(connections(none, false).unwrap().contains("--all"));
        assert!(connections(BODY, false).unwrap().starts_with("  NUMBER"));
        assert!(connections(b"{}", false).is_err());
    }
}
