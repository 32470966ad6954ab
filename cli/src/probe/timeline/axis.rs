//! The axis of time: the place of a moment, the grid, and the moments that all bands share.

use super::super::report::{Report, time};
use super::markup::Markup;

/// Turns a moment into a place.
pub(super) struct Axis {
    /// The first moment, in milliseconds.
    first: f64,
    last: f64,
}

impl Axis {
    pub(super) fn of(report: &Report) -> Self {
        let rows = || report.states.iter().flat_map(|line| &line.clients);
        let begun = rows().filter_map(|row| row.spans.first());
        let first = begun.map(|span| span.from_ms).fold(0.0, f64::min);
        let ended = rows().filter_map(|row| row.spans.last());
        let ended = ended.map(|span| span.to_ms);
        let exits = report.states.iter().filter_map(|line| line.stop?.exit_ms);
        let mut last = ended.chain(exits).fold(10.0, f64::max);
        if report.deadline_ms < NEAR * last {
            last = last.max(report.deadline_ms);
        }
        Self {
            first: first.max(EARLIEST),
            last: last * 1.04,
        }
    }

    pub(super) fn x(&self, millis: f64) -> f64 {
        let scaled = |millis: f64| match millis < 0.0 {
            // Moments before the signal need less room.
            true => -0.35 * millis.abs().sqrt(),
            false => millis.sqrt(),
        };
        let (first, last) = (scaled(self.first), scaled(self.last));
        let at = scaled(millis.clamp(self.first, self.last));
        LEFT + (at - first) / (last - first) * (WIDTH - RIGHT - LEFT)
    }

    /// Draws ticks that have room, with their times above and below.
    pub(super) fn grid(&self, svg: &mut Markup, top: f64, bottom: f64) {
        let signal = self.x(0.0);
        let mut before = signal + 8.0;
        for tick in TICKS {
            let x = self.x(tick);
            if tick > self.last || x < before + 34.0 {
                continue;
            }
            before = x;
            let path = format!("M{x:.1} {top:.1}V{bottom:.1}");
            svg.path(&path, "#e3e3e3", "1", false, "");
            let words = match tick {
                ..1_000.0 => format!("{tick} ms"),
                _ => format!("{} s", tick / 1_000.0),
            };
            let style = "fill=\"#777777\" font-size=\"10.5\" text-anchor=\"middle\"";
            svg.text([x, top - 6.0], &words, style);
            svg.text([x, bottom + 15.0], &words, style);
        }
    }

    /// Draws the signal and the deadline, over everything.
    pub(super) fn moments(&self, svg: &mut Markup, report: &Report, top: f64, bottom: f64) {
        let mut moment = |millis: f64, name: &str, colour: &str, dashes: &str| {
            let x = self.x(millis);
            svg.open(
                "path",
                &[
                    ("d", format!("M{x:.1} {top:.1}V{bottom:.1}")),
                    ("stroke", colour.into()),
                    ("stroke-width", "1.6".into()),
                    ("stroke-dasharray", dashes.into()),
                ],
            );
            svg.title(&format!("{name} at {}", time(millis)));
            svg.close("path");
            let style = format!(
                "fill=\"{colour}\" font-size=\"10.5\" font-weight=\"600\" text-anchor=\"middle\""
            );
            svg.text([x, top - 19.0], name, &style);
        };
        moment(0.0, &report.signal, "#111111", "none");
        if report.deadline_ms <= self.last {
            moment(report.deadline_ms, "deadline", RED, "5 4");
        } else {
            let words = format!("deadline {} →", time(report.deadline_ms));
            let style = format!("fill=\"{RED}\" font-size=\"10.5\" text-anchor=\"end\"");
            svg.text([WIDTH - 12.0, top - 19.0], &words, &style);
        }
    }
}

/// The ticks, in milliseconds.
const TICKS: [f64; 13] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 15_000.0, 60_000.0,
];

/// The axis shows a deadline at most this many times later than everything else.
const NEAR: f64 = 4.0;

/// The earliest moment to draw, in milliseconds.
const EARLIEST: f64 = -150.0;

pub(super) const RED: &str = "#c22f1d";

// Lengths in pixels.
pub(super) const WIDTH: f64 = 1200.0;
const LEFT: f64 = 232.0;
const RIGHT: f64 = 92.0;
