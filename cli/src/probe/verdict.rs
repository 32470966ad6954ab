//! Turns the observations of a run into a word for each client and a verdict for each state.

use std::collections::BTreeMap;
use std::time::Instant;

use super::client::Client;
use super::preflight::Facts;
use super::report::{Level, Line, Row, Saw, Span, Stop, time};
use super::run::Seen;
use super::script::Kind;
use super::seen::End;
use super::state::State;
use crate::values::signal_names;

/// Returns the line of a state in a run.
pub(super) fn line(state: State, seen: &Seen, facts: &Facts) -> Line {
    let mine = || seen.clients.iter().filter(|client| client.state == state);
    let stop = stop(seen);
    let mut line = Line {
        state,
        level: Level::Ok,
        verdict: String::new(),
        why: state.why(),
        saw: BTreeMap::new(),
        requests: 0,
        answered: 0,
        lost: 0,
        torn: 0,
        stop: Some(stop),
        clients: Vec::new(),
    };
    for client in mine() {
        let row = row(client, seen, facts);
        *line.saw.entry(row.saw).or_default() += 1;
        if row.saw != Saw::NotMade {
            let (lost, torn) = losses(client, row.saw);
            line.requests += row.requests;
            line.answered += row.answered;
            line.lost += lost;
            line.torn += torn;
        }
        line.clients.push(row);
    }
    if !line.clients.is_empty() && line.saw.keys().all(|saw| *saw == Saw::NotMade) {
        line.level = Level::Skipped;
        line.verdict = "skipped: no connection was in the state when the signal came".into();
        return line;
    }
    let faults = faults(&line, &stop, seen);
    let notes = notes(&line, &stop, state);
    (line.level, line.verdict) = match (faults.is_empty(), notes.is_empty()) {
        (true, true) => (Level::Ok, "ok".into()),
        (true, false) => (Level::Note, notes.join("; ")),
        (false, _) => (Level::Bad, [faults, notes].concat().join("; ")),
    };
    line
}

/// Returns the faults.
fn faults(line: &Line, stop: &Stop, seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    if line.lost > 0 {
        let ways = [
            (Saw::LostByFin, "by FIN"),
            (Saw::LostByReset, "by reset"),
            (Saw::LostByHang, "no response"),
        ];
        let ways = ways.iter().filter(|(saw, _)| line.count(*saw) > 0);
        let ways: Vec<_> = ways.map(|(_, words)| *words).collect();
        let ways = match ways.is_empty() {
            true => String::new(),
            false => format!(", {}", ways.join(" and ")),
        };
        faults.push(format!("LOST {} of {}{ways}", line.lost, line.requests));
    }
    if line.torn > 0 {
        faults.push(format!("TORN {}", line.torn));
    }
    if stop.exit_ms.is_none() {
        faults.push("STILL THERE at the deadline".into());
    }
    if stop.still_serving {
        let why = match (seen.ours, seen.group) {
            (true, false) => {
                ": the signal ended the command but not the server; \
                 start it with exec, or give --group"
            }
            (true, true) => ", though the command has ended",
            (false, _) => ": the process that has ended was not the server; --pid must be its own",
        };
        faults.push(format!("STILL SERVING at the deadline{why}"));
    }
    faults
}

/// Returns the points that could be better.
fn notes(line: &Line, stop: &Stop, state: State) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: u32, what: &str| {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    };
    note(line.count(Saw::AnsweredWithoutClose), "without close");
    note(line.count(Saw::Reset), "reset, nothing owed");
    note(line.count(Saw::Refused), &refusal(line));
    note(line.count(Saw::NotMade), "not in the state");
    let idle = line.clients.iter().filter(|row| row.saw == Saw::Fin);
    let last = idle.filter_map(|row| row.end_ms).fold(0.0, f64::max);
    if last > PROMPT {
        notes.push(format!("held open for {}", time(last)));
    }
    let away = line.clients.iter();
    let away = away.filter(|row| row.saw == Saw::TurnedAway);
    let away = away.filter_map(|row| row.end_ms).fold(0.0, f64::max);
    let closed = stop.listener_closed_ms.unwrap_or(away);
    if away - closed > LATE {
        notes.push(format!("turned away only after {}", time(away)));
    }
    if let Some(lag) = stop.lag_ms.filter(|lag| *lag > PROMPT) {
        notes.push(format!("exit {} after the last byte", time(lag)));
    }
    match (stop.exit_code, stop.exit_signal) {
        (Some(0) | None, None) => {}
        (Some(code), _) => notes.push(format!("exit code {code}")),
        (None, Some(signal)) => notes.push(format!("ended by {}", signal_names(&[signal]))),
    }
    if let (Some(exit), true) = (stop.exit_ms, stop.is_complete() && state != State::Empty) {
        let open = stop
            .listener_closed_ms
            .is_none_or(|closed| closed + SAME > exit);
        if open && exit > LONG {
            notes.push("the listener stayed open".into());
        }
    }
    notes
}

/// Returns `refused with 503`.
fn refusal(line: &Line) -> String {
    let refused = line.clients.iter().filter(|row| row.saw == Saw::Refused);
    let mut statuses: Vec<_> = refused.filter_map(|row| row.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let statuses: Vec<_> = statuses.iter().map(u16::to_string).collect();
    format!("refused with {}", statuses.join(", "))
}

fn stop(seen: &Seen) -> Stop {
    let since = |moment| millis(seen.signalled, moment);
    let last_byte = seen.clients.iter().filter_map(|client| client.last_byte);
    let last_byte = last_byte.fold(seen.signalled, Instant::max);
    let exit = seen.exit;
    Stop {
        listener_closed_ms: seen.door_closed.map(since),
        exit_ms: exit.map(|exit| since(exit.at)),
        still_serving: exit.is_some()
            && (seen.clients.iter().any(Client::is_held)
                || seen.ours && seen.door_closed.is_none()),
        exit_code: exit.and_then(|exit| exit.code),
        exit_signal: exit.and_then(|exit| exit.signal),
        lag_ms: exit.map(|exit| millis(last_byte, exit.at).max(0.0)),
    }
}

fn row(client: &Client, seen: &Seen, facts: &Facts) -> Row {
    let since = |moment| millis(seen.signalled, moment);
    let ends = client.marks.iter().skip(1).map(|(_, begun)| *begun);
    let last = client.end.map_or(seen.until, |(_, at)| at);
    let spans = client.marks.iter().zip(ends.chain([last]));
    let spans = spans.map(|((phase, begun), ended)| Span {
        phase: *phase,
        from_ms: since(*begun),
        to_ms: since(ended),
    });
    Row {
        saw: saw(client, seen.signalled, facts),
        status: client.last.map(|response| response.status),
        requests: client.tally.asked,
        answered: client.tally.answered,
        spans: spans.collect(),
        end: client.end.map(|(end, _)| end),
        end_ms: client.end.map(|(_, at)| since(at)),
    }
}

/// Returns the word for what a client saw.
fn saw(client: &Client, signalled: Instant, facts: &Facts) -> Saw {
    let end = client.end.map(|(end, _)| end);
    let turned_away = client.script.kind == Kind::Backlog && end == Some(End::Refused);
    if !(client.ready || turned_away) {
        return Saw::NotMade;
    }
    let tally = client.tally;
    let late = client.last.filter(|response| response.begun >= signalled);
    if client.loops() && end.is_none() && late.is_some() {
        // The server served on; a request that the deadline interrupts is not lost.
        return Saw::Hang;
    }
    if client.is_torn() || tally.torn > 0 {
        return Saw::Torn;
    }
    let refused = client.last.is_some_and(|last| !facts.is_right(last.status));
    if client.is_owed() || tally.lost > 0 {
        return match (end, late) {
            (Some(End::Refused), _) => Saw::TurnedAway,
            (_, Some(response)) if response.close && !client.loops() => Saw::AnsweredInPart,
            (Some(End::Fin | End::Left), _) => Saw::LostByFin,
            (Some(End::Reset), _) => Saw::LostByReset,
            (None, _) => Saw::LostByHang,
        };
    }
    match (client.last, late, end) {
        // Clients that connect anew ask for the close themselves, so it shows nothing.
        _ if client.script.kind == Kind::Connecting => {}
        (_, Some(_), _) if refused => return Saw::Refused,
        (_, Some(response), _) if response.close => return Saw::AnsweredWithClose,
        (_, Some(_), _) => return Saw::AnsweredWithoutClose,
        (Some(_), None, Some(End::Fin)) if tally.asked > 0 && !client.loops() => {
            return Saw::AnsweredAndClosed;
        }
        _ => {}
    }
    match end {
        Some(End::Fin | End::Left) => Saw::Fin,
        Some(End::Reset) => Saw::Reset,
        Some(End::Refused) => Saw::TurnedAway,
        None => Saw::Hang,
    }
}

/// Counts a client's lost requests and torn responses.
fn losses(client: &Client, saw: Saw) -> (u64, u64) {
    let tally = client.tally;
    let owed = tally.asked.saturating_sub(tally.answered);
    match saw {
        Saw::Torn => (owed.saturating_sub(1), 1),
        _ if saw.is_loss() => (owed, 0),
        _ => (0, 0),
    }
}

/// Returns the time from one moment to another, below 0 if the other was before.
fn millis(from: Instant, to: Instant) -> f64 {
    let millis = match to >= from {
        true => (to - from).as_secs_f64() * 1e3,
        false => -(from - to).as_secs_f64() * 1e3,
    };
    (millis * 1e3).round() / 1e3
}

/// A longer time is worth a note, in milliseconds, because people wait for it.
const PROMPT: f64 = 1_000.0;

/// Two events this close were one, in milliseconds: the listener closed with the process.
const SAME: f64 = 25.0;

/// A refusal must come before the client sends its SYN again, in milliseconds.
const LATE: f64 = 500.0;

/// A listener open for longer is worth a note, in milliseconds: new clients should notice a drain.
const LONG: f64 = 100.0;
