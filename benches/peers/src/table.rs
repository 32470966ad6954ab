//! Writes the tables in Markdown: `docs/benchmarks.md` has the summary, the report has all.
//!
//! Knows no plots.

use std::fmt::Write;

use crate::machine::Machine;
use crate::peers::{Kind, Peer};
use crate::sheet::{Ask, Column, Fate, Sheet, Storm};
use crate::work::{BROWSER, Scale, Work};

/// Returns all tables of the workloads that ran, and the lines of the crate's own benches.
pub(crate) fn tables(
    peers: &[Peer],
    sheet: &Sheet,
    scale: &Scale,
    works: &[Work],
    machine: &Machine,
    own: &str,
) -> String {
    let mut text = machine.introduction(scale);
    let tables = [
        (Work::Requests, requests(peers, sheet, scale)),
        (Work::Requests, latencies(peers, sheet, scale)),
        (Work::Memory, drain(peers, sheet, scale)),
        (Work::Storm, storm(peers, sheet, scale)),
        (Work::Instructions, instructions(peers, sheet)),
    ];
    for (work, table) in tables {
        let drained = work == Work::Memory && works.contains(&Work::Drain);
        if works.contains(&work) || drained {
            text += &table;
        }
    }
    text += own;
    let mut notes = sheet.notes().peekable();
    if notes.peek().is_some() {
        text += "\nNot as it should be:\n\n";
        for (peer, note, times) in notes {
            let again = if times > 1 {
                format!(" ({times} times)")
            } else {
                String::new()
            };
            text += &format!("* {peer}: {note}{again}\n");
        }
    }
    text
}

/// Returns one table of the most telling figures, with a row for each server.
pub(crate) fn summary(peers: &[Peer], sheet: &Sheet, scale: &Scale, machine: &Machine) -> String {
    let thousand = grouped(scale.thousand as f64);
    let head = BROWSER.len();
    let mut table = Table::new(
        &format!(
            "CPU is the server's time for a request, user and system, in µs. Idle is the process memory of \
             an idle connection, in bytes. Last FIN is the time from the signal until {} idle clients \
             have read their FIN, in ms. Lost counts requests, and connections of the backlog, that the \
             signal left without a response. Its three figures are for {} busy clients / as many that \
             pause for 20 ms / {} busy clients and {} that connect anew.",
            grouped(scale.idle.last().copied().unwrap_or(0) as f64),
            grouped(scale.busy as f64),
            scale.staying,
            scale.anew,
        ),
        &[
            &format!("CPU: {} clients", scale.few),
            &format!("{thousand} clients"),
            &format!("head of {head} bytes"),
            "pipelined by 16",
            "idle",
            "last FIN",
            "lost: requests",
            "backlog",
        ],
    );
    for peer in peers {
        let get = |column| sheet.median(&peer.name, column);
        let cpu = |ask| cell(get(Column::Cpu(ask)), 2);
        let fate = |fate| {
            let storms = STORMS.map(|storm| {
                let range = sheet.range(&peer.name, Column::Storm(storm, fate));
                let (least, most) = range.unzip();
                span(least, most)
            });
            storms.join(" / ")
        };
        table.row(
            peer,
            &[
                cpu(Ask::Few),
                cpu(Ask::Thousand),
                cpu(Ask::Browser),
                cpu(Ask::Pipelined),
                cell(get(Column::IdleBytes), 0),
                cell(get(Column::LastFin), 0),
                fate(Fate::Lost),
                fate(Fate::Backlog),
            ],
        );
    }
    machine.introduction(scale) + &table.text
}

fn requests(peers: &[Peer], sheet: &Sheet, scale: &Scale) -> String {
    let Scale {
        few,
        thousand,
        many,
        ..
    } = scale;
    let head = BROWSER.len();
    let mut table = Table::new(
        "Requests: requests a second (client and server each on a core), and the server's CPU time for \
         one, user and system, in µs (both on one core, taking turns).",
        &[
            &format!("{few} clients: requests/s"),
            "CPU µs",
            &format!("{} clients", grouped(*thousand as f64)),
            &format!("{} clients", grouped(*many as f64)),
            &format!("head of {head} bytes"),
            "pipelined by 16",
            "new connection each",
        ],
    );
    for peer in peers {
        let get = |column| sheet.median(&peer.name, column);
        let cpu = |ask| cell(get(Column::Cpu(ask)), 2);
        table.row(
            peer,
            &[
                cell(get(Column::Rate(Ask::Few)), 0),
                cpu(Ask::Few),
                cpu(Ask::Thousand),
                cpu(Ask::Many),
                cpu(Ask::Browser),
                cpu(Ask::Pipelined),
                cpu(Ask::Churn),
            ],
        );
    }
    table.text
}

fn latencies(peers: &[Peer], sheet: &Sheet, scale: &Scale) -> String {
    let count = |count| grouped(count as f64);
    let mut table = Table::new(
        "Latency in µs: p50 / p99 / p99.9. Clients that ask again at once measure their own queue; \
         clients that pause for 100 ms measure the server.",
        &[
            &format!("{} clients", scale.few),
            &format!("{} clients", count(scale.thousand)),
            &format!("{} clients", count(scale.many)),
            &format!("{} clients that pause", count(scale.thousand)),
        ],
    );
    for peer in peers {
        let cells = [Ask::Few, Ask::Thousand, Ask::Many, Ask::Paced].map(|ask| {
            let columns = [Column::P50(ask), Column::P99(ask), Column::P999(ask)];
            columns
                .map(|column| cell(sheet.median(&peer.name, column), 0))
                .join(" / ")
        });
        table.row(peer, &cells);
    }
    table.text
}

fn drain(peers: &[Peer], sheet: &Sheet, scale: &Scale) -> String {
    let least = grouped(scale.idle.first().copied().unwrap_or(0) as f64);
    let most = grouped(scale.idle.last().copied().unwrap_or(0) as f64);
    let mut table = Table::new(
        &format!(
            "Idle connections: bytes of process memory for each, from {least} to {most}; then the \
             drain of {most} idle ones with {} requests under way. The floors just close; the polite \
             one sends FIN and waits for its peers' FIN. The floors answer at once what other servers \
             delay.",
            scale.active
        ),
        &[
            "bytes, idle",
            "last FIN after, ms",
            "CPU µs a connection",
            "under way, unanswered",
            "exit after the last response, ms",
            "exit code",
        ],
    );
    for peer in peers {
        let get = |column| sheet.median(&peer.name, column);
        let (least, most) = match sheet.range(&peer.name, Column::Unanswered) {
            Some((least, most)) => (Some(least), Some(most)),
            None => (None, None),
        };
        table.row(
            peer,
            &[
                cell(get(Column::IdleBytes), 0),
                cell(get(Column::LastFin), 0),
                cell(get(Column::DrainCpu), 2),
                span(least, most),
                cell(get(Column::Exit), 0),
                match get(Column::Code) {
                    Some(code) => format!("{code:.0}"),
                    None => "–".to_owned(),
                },
            ],
        );
    }
    table.text
}

fn storm(peers: &[Peer], sheet: &Sheet, scale: &Scale) -> String {
    let Scale {
        busy,
        staying,
        anew,
        ..
    } = scale;
    let busy = grouped(*busy as f64);
    let mut table = Table::new(
        "The signal in a storm, least to most of all rounds. Lost counts requests sent in full on a \
         connection that showed no end, and that got no byte of a response. Backlog counts new \
         connections that ended without a response. Each client looks for an end before it writes; \
         refused connections are no loss. Late counts requests that a client, held up by the system, \
         sent more than 25 ms after the previous response.",
        &[
            &format!("{busy} busy: lost"),
            "backlog",
            &format!("{busy} with pauses of 20 ms: lost"),
            "backlog",
            &format!("{staying} busy, {anew} connecting anew: lost"),
            "backlog",
            "torn responses",
            "late",
        ],
    );
    for peer in peers {
        let range = |storm, fate| sheet.range(&peer.name, Column::Storm(storm, fate));
        let mut cells = Vec::new();
        for storm in STORMS {
            for fate in [Fate::Lost, Fate::Backlog] {
                let (least, most) = range(storm, fate).unzip();
                cells.push(span(least, most));
            }
        }
        for fate in [Fate::Torn, Fate::Late] {
            let ranges = STORMS.map(|storm| range(storm, fate));
            let most = ranges.iter().flatten().map(|(_, most)| *most);
            cells.push(cell(most.reduce(f64::max), 0));
        }
        table.row(peer, &cells);
    }
    table.text
}

fn instructions(peers: &[Peer], sheet: &Sheet) -> String {
    let head = BROWSER.len();
    let mut table = Table::new(
        "User-space instructions a request, by valgrind (which cannot run Go and Node).",
        &[
            "small GET",
            &format!("head of {head} bytes"),
            "pipelined by 16",
        ],
    );
    for peer in peers.iter().filter(|peer| peer.valgrind) {
        let cells = [Ask::Few, Ask::Browser, Ask::Pipelined]
            .map(|ask| cell(sheet.median(&peer.name, Column::Instructions(ask)), 0));
        table.row(peer, &cells);
    }
    table.text
}

struct Table {
    text: String,
}

impl Table {
    fn new(title: &str, columns: &[&str]) -> Self {
        let head = columns.join(" | ");
        let rule = "---:|".repeat(columns.len());
        Self {
            text: format!("\n{title}\n\n| | {head} |\n|---|{rule}\n"),
        }
    }

    fn row(&mut self, peer: &Peer, cells: &[String]) {
        let name = match peer.kind {
            Kind::Ours => format!("**{}**", peer.name),
            Kind::NoDrain => format!("{} (no drain)", peer.name),
            Kind::Floor | Kind::Other => peer.name.clone(),
        };
        let _ = writeln!(self.text, "| {name} | {} |", cells.join(" | ")); // writing to a String cannot fail
    }
}

fn cell(figure: Option<f64>, digits: usize) -> String {
    match figure {
        Some(figure) if digits == 0 => grouped(figure),
        Some(figure) => format!("{figure:.digits$}"),
        None => "–".to_owned(),
    }
}

fn span(least: Option<f64>, most: Option<f64>) -> String {
    match (least, most) {
        (Some(least), Some(most)) if least < most => {
            format!("{}–{}", grouped(least), grouped(most))
        }
        _ => cell(most, 0),
    }
}

/// Returns a whole number with a comma for each thousand.
pub(crate) fn grouped(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if figure <= -0.5 {
        format!("-{text}")
    } else {
        text
    }
}

/// Storms in the order of the columns.
const STORMS: [Storm; 3] = [Storm::Busy, Storm::Pausing, Storm::Anew];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let text = [0.0, 7.4, 999.5, 18_000.0, 1_234_567.0, -4_096.0, -0.2].map(grouped);
        assert_eq!(
            text,
            ["0", "7", "1,000", "18,000", "1,234,567", "-4,096", "0"]
        );
    }

    #[test]
    fn the_summary_has_a_cell_for_every_column_and_a_dash_for_what_is_missing() {
        let mut sheet = Sheet::default();
        let peers = crate::peers::all();
        let name = &peers[0].name;
        sheet.add(name, Column::Cpu(Ask::Few), 6.5);
        for lost in [3.0, 1_000.0] {
            sheet.add(name, Column::Storm(Storm::Pausing, Fate::Lost), lost);
        }
        let text = summary(&peers[..1], &sheet, &Scale::full(), &Machine::now());
        let row = text.lines().last().unwrap();
        assert!(
            row.ends_with(" | 6.50 | – | – | – | – | – | – / 3–1,000 / – | – / – / – |"),
            "{row}"
        );
    }

    #[test]
    fn a_span_of_one_is_a_number() {
        assert_eq!(span(Some(3.0), Some(3.0)), "3");
        assert_eq!(span(Some(0.0), Some(1_000.0)), "0–1,000");
        assert_eq!(span(None, None), "–");
    }
}
