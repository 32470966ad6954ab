//! The figures of a run: one for each server, column and round.
//!
//! Knows neither servers nor how a figure is measured.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Figures by server and column.
#[derive(Default)]
pub(crate) struct Sheet {
    figures: BTreeMap<(String, Column), Vec<f64>>,
    /// Reasons why a figure is missing or unusual, each with its number of occurrences.
    notes: BTreeMap<(String, String), usize>,
}

/// Meaning of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Column {
    /// Requests a second.
    Rate(Ask),
    /// Microseconds of CPU for a request, user and system, client and server taking turns.
    Cpu(Ask),
    /// Latency in microseconds.
    P50(Ask),
    P99(Ask),
    P999(Ask),
    /// User-space instructions for a request.
    Instructions(Ask),
    /// Bytes of process memory for each idle connection.
    IdleBytes,
    /// Bytes of process memory in all, with this number of connections.
    Memory(usize),
    /// Milliseconds from the signal to the last idle connection's FIN.
    LastFin,
    /// Microseconds of CPU from the signal to the exit, for each connection.
    DrainCpu,
    /// Requests under way at the signal that got no response.
    Unanswered,
    /// Milliseconds from the last response to the end of the process.
    Exit,
    /// Exit code of the process, or 128 and the number of the signal that killed it.
    Code,
    /// Requests of a storm that had this fate.
    Storm(Storm, Fate),
}

/// A workload of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ask {
    Few,
    Thousand,
    Many,
    Browser,
    Pipelined,
    Paced,
    Churn,
}

/// Behaviour of the clients when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Storm {
    Busy,
    Pausing,
    Anew,
}

/// Outcome of a request: see `work/storm.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    Answered,
    Lost,
    Late,
    Torn,
    Backlog,
}

impl Sheet {
    pub(crate) fn add(&mut self, peer: &str, column: Column, figure: f64) {
        let key = (peer.to_owned(), column);
        self.figures.entry(key).or_default().push(figure);
    }

    /// Records what went wrong; equal texts become one note with their number.
    pub(crate) fn note(&mut self, peer: &str, text: String) {
        *self.notes.entry((peer.to_owned(), text)).or_default() += 1;
    }

    /// Returns the middle figure, or the mean of the two in the middle.
    pub(crate) fn median(&self, peer: &str, column: Column) -> Option<f64> {
        let mut figures = self.all(peer, column)?.to_vec();
        figures.sort_by(f64::total_cmp);
        let half = figures.len() / 2;
        Some(if figures.len() % 2 == 1 {
            figures[half]
        } else {
            f64::midpoint(figures[half - 1], figures[half])
        })
    }

    /// Returns the least and the greatest figure.
    pub(crate) fn range(&self, peer: &str, column: Column) -> Option<(f64, f64)> {
        let figures = self.all(peer, column)?;
        let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some((least, most))
    }

    /// Returns the figures of all rounds.
    fn all(&self, peer: &str, column: Column) -> Option<&[f64]> {
        let key = (peer.to_owned(), column);
        self.figures.get(&key).map(Vec::as_slice)
    }

    /// Returns the notes: server, text, and number of occurrences.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        let notes = self.notes.iter();
        notes.map(|((peer, text), count)| (peer.as_str(), text.as_str(), *count))
    }

    /// Returns all figures as CSV: a line for each server and column, the rounds in order.
    pub(crate) fn to_csv(&self) -> String {
        let mut csv = "server,column,rounds\n".to_owned();
        for ((peer, column), figures) in &self.figures {
            let figures: Vec<_> = figures
                .iter()
                .map(|figure| format!("{figure:.3}"))
                .collect();
            let line = format!("\"{peer}\",\"{column:?}\",{}", figures.join(","));
            let _ = writeln!(csv, "{line}"); // writing to a String cannot fail
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_of_several_rounds() {
        let mut sheet = Sheet::default();
        for figure in [9.0, 1.0, 4.0] {
            sheet.add("a", Column::LastFin, figure);
        }
        assert_eq!(sheet.median("a", Column::LastFin), Some(4.0));
        assert_eq!(sheet.range("a", Column::LastFin), Some((1.0, 9.0)));
        sheet.add("a", Column::LastFin, 5.0);
        assert_eq!(sheet.median("a", Column::LastFin), Some(4.5));
        assert_eq!(sheet.median("b", Column::LastFin), None);
        assert!(
            sheet
                .to_csv()
                .contains("\"a\",\"LastFin\",9.000,1.000,4.000,5.000")
        );
    }
}
