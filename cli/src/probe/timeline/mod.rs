//! Draws a report: a row for each connection, time from left to right.
//!
//! Each state has a band of its own, and in each band time begins with the signal. The axis is the
//! square root of time: most events fall into the first milliseconds, while a hanging connection
//! lasts seconds. The title of every bar and mark says what it is.

mod axis;
mod markup;

use std::fmt::Write;

use self::axis::{Axis, RED, WIDTH};
use self::markup::{Markup, escape};
use super::report::{Level, Line, Report, Row, Saw, time};
use super::seen::{End, Phase};
use super::table::conclusion;
use crate::values::signal_names;

/// Returns an SVG document.
pub(super) fn svg(report: &Report) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}",
        picture(report)
    )
}

/// Returns a page that needs no other file.
pub(super) fn html(report: &Report) -> String {
    let title = format!("How {} drains", report.server);
    let title = escape(&title);
    let mut rows = String::new();
    for line in &report.states {
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            class(line.level),
            line.state.name(),
            escape(&line.summary()),
            escape(&line.verdict),
            escape(line.why),
        );
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>{}</p>\n{}\n<table>\n<tr><th>State</th><th>The clients saw</th><th>Verdict</th>\
         <th>Why it matters</th></tr>\n{rows}</table>\n</body>\n</html>\n",
        escape(&conclusion(report)),
        picture(report),
    )
}

fn picture(report: &Report) -> String {
    let axis = Axis::of(report);
    let bands: Vec<_> = report.states.iter().map(Band::of).collect();
    let plot: f64 = bands.iter().map(|band| band.height).sum();
    let (top, bottom) = (TOP, TOP + plot);
    let height = bottom + FOOT;
    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            ("xmlns", "http://www.w3.org/2000/svg".into()),
            ("viewBox", format!("0 0 {WIDTH} {height}")),
            ("width", WIDTH.to_string()),
            ("height", height.to_string()),
            ("font-family", FONT.into()),
            ("font-size", "12".into()),
        ],
    );
    svg.rect([0.0, 0.0, WIDTH, height], "#ffffff", None);
    heading(&mut svg, report);
    axis.grid(&mut svg, top, bottom);
    let mut y = top;
    for (n, (line, band)) in report.states.iter().zip(&bands).enumerate() {
        if n % 2 == 0 {
            svg.rect([0.0, y, WIDTH, band.height], "#00000008", None);
        }
        label(&mut svg, line, y);
        for (n, row) in line.clients.iter().enumerate() {
            let y = y + PADDING + n as f64 * band.row;
            connection(&mut svg, &axis, line, (n, row), (y, band.row));
        }
        stop(&mut svg, &axis, line, y, band.height);
        y += band.height;
    }
    axis.moments(&mut svg, report, top, bottom);
    svg.close("svg");
    svg.finish()
}

/// Draws the title and what the colours mean.
fn heading(svg: &mut Markup, report: &Report) {
    let title = format!("How {} drains", report.server);
    svg.text(
        [16.0, 28.0],
        &shorten(&title, 96),
        "font-size=\"18\" font-weight=\"600\"",
    );
    let what = format!(
        "{}, {} connections a state. {}",
        report.signal,
        report.connections,
        conclusion(report)
    );
    svg.text([16.0, 48.0], &shorten(&what, 150), "fill=\"#555555\"");
    let mut x = 16.0;
    for (phase, words) in PHASES {
        svg.rect([x, 61.0, 14.0, 10.0], colour(phase), None);
        svg.text([x + 19.0, 70.0], words, "");
        x += 19.0 + 6.3 * words.len() as f64 + 16.0;
    }
    for (saw, end, words) in [
        (Saw::Fin, Some(End::Fin), "FIN"),
        (Saw::Reset, Some(End::Reset), "reset"),
        (Saw::TurnedAway, Some(End::Refused), "turned away"),
        (Saw::LostByReset, Some(End::Reset), "red: with a loss"),
        (Saw::Hang, None, "still open"),
    ] {
        mark(svg, [x + 4.0, 66.0], 9.0, saw, end, words);
        svg.text([x + 14.0, 70.0], words, "");
        x += 14.0 + 6.3 * words.len() as f64 + 16.0;
    }
}

/// Draws the name of a band and its verdict.
fn label(svg: &mut Markup, line: &Line, y: f64) {
    let colour = match line.level {
        Level::Skipped => "#8a8a8a",
        Level::Ok => "#1b7a4b",
        Level::Note => "#9a6a00",
        Level::Bad => RED,
    };
    svg.open("g", &[]);
    svg.title(&format!("{}: {}", line.state.name(), line.why));
    let name = "font-weight=\"600\"";
    svg.text([16.0, y + PADDING + 11.0], line.state.name(), name);
    let style = format!("fill=\"{colour}\" font-size=\"10.5\"");
    let mut at = y + PADDING + 25.0;
    for part in wrap(&line.verdict, 34).iter().take(VERDICT_LINES) {
        svg.text([16.0, at], part, &style);
        at += 13.0;
    }
    svg.close("g");
}

/// Draws the bars of a connection, and its end.
fn connection(
    svg: &mut Markup,
    axis: &Axis,
    line: &Line,
    (n, row): (usize, &Row),
    (y, height): (f64, f64),
) {
    let bar = (height - 1.5).max(1.0);
    for span in &row.spans {
        let (from, to) = (axis.x(span.from_ms), axis.x(span.to_ms));
        let words = PHASES.iter().find(|(phase, _)| *phase == span.phase);
        let title = format!(
            "{} {}: {} from {} to {}",
            line.state.name(),
            n + 1,
            words.map_or("", |(_, words)| words),
            time(span.from_ms),
            time(span.to_ms),
        );
        let place = [from, y, (to - from).max(0.5), bar];
        svg.rect(place, colour(span.phase), Some(&title));
    }
    let x = match (row.end_ms, row.spans.last()) {
        (Some(end), _) => axis.x(end),
        (None, Some(last)) => axis.x(last.to_ms),
        (None, None) => return,
    };
    let how = match row.end {
        Some(End::Fin) => "FIN",
        Some(End::Reset) => "reset",
        Some(End::Refused) => "refused",
        Some(End::Left) => "closed by the client",
        None => "still open",
    };
    let answered = match row.requests {
        0 => String::new(),
        requests => format!("; {} of {requests} answered", row.answered),
    };
    let title = format!(
        "{} {}: {}; {how}{}{answered}",
        line.state.name(),
        n + 1,
        row.saw.words(),
        row.end_ms
            .map_or_else(String::new, |end| format!(" at {}", time(end))),
    );
    mark(svg, [x, y + bar / 2.0], bar, row.saw, row.end, &title);
}

/// Draws the end of a connection: a bar for a FIN, a cross for a reset, a dash for a refusal, an
/// arrow for an open one. Red means that something was lost.
fn mark(svg: &mut Markup, [x, y]: [f64; 2], size: f64, saw: Saw, end: Option<End>, title: &str) {
    let colour = match saw.is_loss() || end.is_none() {
        true => "#d62718",
        false => "#333333",
    };
    let half = (size / 2.0).clamp(1.5, 4.5);
    let (left, right, up, down) = (x - half, x + half, y - half, y + half);
    let path = match end {
        Some(End::Fin) => format!("M{x:.1} {up:.1}V{down:.1}"),
        Some(End::Reset | End::Left) => {
            format!(
                "M{left:.1} {up:.1}L{right:.1} {down:.1}M{left:.1} {down:.1}L{right:.1} {up:.1}"
            )
        }
        Some(End::Refused) => format!("M{left:.1} {y:.1}H{right:.1}"),
        None => format!("M{left:.1} {up:.1}L{right:.1} {y:.1}L{left:.1} {down:.1}Z"),
    };
    let width = match saw.is_loss() {
        true => "2.4",
        false => "1.8",
    };
    svg.path(&path, colour, width, end.is_none(), title);
}

/// Draws the exit of a band's server, if the server ended.
fn stop(svg: &mut Markup, axis: &Axis, line: &Line, y: f64, height: f64) {
    let Some(stop) = line.stop else { return };
    let Some(exit) = stop.exit_ms else { return };
    let x = axis.x(exit);
    let how = match (stop.exit_code, stop.exit_signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => signal_names(&[signal]),
        (None, None) => "gone".into(),
    };
    let words = format!("{how}, {}", time(exit));
    let title = match stop.listener_closed_ms {
        Some(closed) => format!("{words}; the listener was closed at {}", time(closed)),
        None => words.clone(),
    };
    let path = format!("M{x:.1} {:.1}V{:.1}", y + 2.0, y + height - 2.0);
    svg.path(&path, "#1f2f6b", "2", false, &title);
    let style = "fill=\"#1f2f6b\" font-size=\"10.5\"";
    let middle = y + height / 2.0 + 3.5;
    if x + 6.0 * words.len() as f64 > WIDTH {
        let style = format!("{style} text-anchor=\"end\"");
        svg.text([x - 5.0, middle], &words, &style);
    } else {
        svg.text([x + 5.0, middle], &words, style);
    }
}

/// The band of a state: its height.
struct Band {
    height: f64,
    row: f64,
}

impl Band {
    fn of(line: &Line) -> Self {
        let rows = line.clients.len() as f64;
        let row = (96.0 / rows.max(1.0)).clamp(2.5, 9.0);
        let verdict = wrap(&line.verdict, 34).len().min(VERDICT_LINES) as f64;
        let text = 17.0 + 13.0 * verdict;
        Self {
            height: (rows * row).max(text) + 2.0 * PADDING,
            row,
        }
    }
}

const fn class(level: Level) -> &'static str {
    match level {
        Level::Skipped => "skipped",
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Bad => "bad",
    }
}

/// Returns a colour. The colours stay distinct without red or green vision (after Okabe and Ito).
const fn colour(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "#c4c4c4",
        Phase::Silent => "#cfdfee",
        Phase::Sending => "#e69f00",
        Phase::Waiting => "#3f86c6",
        Phase::Answering => "#2fa377",
        Phase::Looping => "#b58ac9",
    }
}

/// Returns at most `most` characters, whole or with an ellipsis.
fn shorten(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.into(),
    }
}

/// Cuts a text at blanks into lines of about `most` characters.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > most {
            lines.push(word.into());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

const PHASES: [(Phase, &str); 6] = [
    (Phase::Connecting, "connecting"),
    (Phase::Silent, "nothing owed"),
    (Phase::Sending, "half sent"),
    (Phase::Waiting, "waiting"),
    (Phase::Answering, "response arriving"),
    (Phase::Looping, "asking again and again"),
];

// Lengths in pixels.
const TOP: f64 = 112.0;
const FOOT: f64 = 30.0;
const PADDING: f64 = 5.0;

const VERDICT_LINES: usize = 3;

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

const STYLE: &str = "body{font-family:system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
    svg{max-width:100%;height:auto}table{border-collapse:collapse;margin-top:1.5em}\
    th,td{text-align:left;vertical-align:top;padding:.3em .8em;border-top:1px solid #ddd}\
    .bad td:nth-child(3){color:#c22f1d;font-weight:600}.note td:nth-child(3){color:#9a6a00}\
    .ok td:nth-child(3){color:#1b7a4b}.skipped{color:#8a8a8a}";
