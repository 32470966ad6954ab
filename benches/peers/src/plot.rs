//! Draws the plots: a row for each server, with dots or bars on a common scale.
//!
//! Costs of servers differ by factors of a hundred, so the scale of the dots is logarithmic.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle, WHITE};

use crate::own::Curve;
use crate::peers::{Kind, Peer};
use crate::publish::Plot;
use crate::sheet::{Ask, Column, Fate, Sheet, Storm};
use crate::table::grouped;
use crate::work::{Scale as Amount, Work};

/// Returns the plots of the workloads that ran.
pub(crate) fn plots(
    peers: &[Peer],
    sheet: &Sheet,
    scale: &Amount,
    works: &[Work],
) -> Result<Vec<Plot>, String> {
    let names: Vec<_> = peers.iter().map(Row::of).collect();
    let mut plots = Vec::new();
    for (work, file, title, series) in dots(scale) {
        if works.contains(&work) {
            let rows = rows(peers, sheet, &series);
            let labels: Vec<_> = series.iter().map(|(_, label)| &label[..]).collect();
            let svg = Sketch::draw(&names, |sketch| sketch.dots(title, &rows, &labels))?;
            plots.push(Plot { file, title, svg });
        }
    }
    if works.contains(&Work::Storm) {
        let svg = Sketch::draw(&names, |sketch| sketch.storms(sheet))?;
        plots.push(Plot {
            file: "storm.svg",
            title: "Requests lost to the signal",
            svg,
        });
    }
    Ok(plots)
}

/// Returns the plots of dots: workload, file, title, and a column with its label for each series.
fn dots(scale: &Amount) -> [(Work, &'static str, &'static str, Series); 4] {
    let clients = |count| format!("{} clients", grouped(count as f64));
    let costs = vec![
        (Column::Cpu(Ask::Pipelined), "pipelined by 16".to_owned()),
        (Column::Cpu(Ask::Few), clients(scale.few)),
        (Column::Cpu(Ask::Many), clients(scale.many)),
        (Column::Cpu(Ask::Churn), "new connection each".to_owned()),
    ];
    let paced = vec![
        (Column::P50(Ask::Paced), "p50".to_owned()),
        (Column::P99(Ask::Paced), "p99".to_owned()),
        (Column::P999(Ask::Paced), "p99.9".to_owned()),
    ];
    let bytes = vec![(Column::IdleBytes, "bytes".to_owned())];
    let drain = vec![
        (Column::LastFin, "last FIN".to_owned()),
        (Column::Exit, "exit after the last response".to_owned()),
    ];
    let memory = "Process memory of an idle connection, bytes";
    let latency = "Latency of clients that pause, µs";
    [
        (Work::Requests, "cpu.svg", "CPU time a request, µs", costs),
        (Work::Requests, "latency.svg", latency, paced),
        (Work::Memory, "memory.svg", memory, bytes),
        (
            Work::Drain,
            "drain.svg",
            "A drain of idle connections, ms",
            drain,
        ),
    ]
}

/// Columns of a plot, each with its label.
type Series = Vec<(Column, String)>;

/// Returns the plot of the tracker's costs, with a row for each number of connections.
///
/// Only cache misses may make the costs grow.
pub(crate) fn tracker(curves: &[Curve]) -> Result<Option<Plot>, String> {
    let mut counts: Vec<_> = curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(|(count, _)| *count))
        .collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.is_empty() {
        return Ok(None);
    }
    let row = |count: &u64| Row {
        text: format!("{} connections", grouped(*count as f64)),
        kind: Kind::Other,
    };
    let names: Vec<_> = counts.iter().map(row).collect();
    let nanos = |count: &u64| {
        let at = |curve: &Curve| {
            let point = curve.points.iter().find(|(of, _)| of == count)?;
            Some(point.1)
        };
        curves.iter().map(at).collect()
    };
    let rows: Vec<_> = counts.iter().map(nanos).collect();
    let labels: Vec<_> = curves.iter().map(|curve| &curve.operation[..]).collect();
    let title = "The tracker, nanoseconds a connection";
    let svg = Sketch::draw(&names, |sketch| sketch.dots(title, &rows, &labels))?;
    Ok(Some(Plot {
        file: "tracker.svg",
        title,
        svg,
    }))
}

/// Returns each server's figure in each series.
fn rows(peers: &[Peer], sheet: &Sheet, series: &[(Column, String)]) -> Vec<Vec<Option<f64>>> {
    let row = |peer: &Peer| {
        let figure = |(column, _): &(Column, String)| sheet.median(&peer.name, *column);
        series.iter().map(figure).collect()
    };
    peers.iter().map(row).collect()
}

/// Label of a row.
struct Row {
    text: String,
    kind: Kind,
}

impl Row {
    fn of(peer: &Peer) -> Self {
        Self {
            text: peer.name.clone(),
            kind: peer.kind,
        }
    }
}

/// An unfinished plot.
struct Sketch<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    rows: &'a [Row],
}

type Drawn = Result<(), String>;

impl Sketch<'_> {
    /// Returns an SVG with the labels of the rows and what `act` draws.
    fn draw(rows: &[Row], act: impl FnOnce(&Sketch<'_>) -> Drawn) -> Result<String, String> {
        let mut svg = String::new();
        {
            let height = TOP + ROW * rows.len() as i32 + BOTTOM;
            let backend = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32));
            let sketch = Sketch {
                area: backend.into_drawing_area(),
                rows,
            };
            sketch
                .area
                .fill(&WHITE)
                .map_err(|error| error.to_string())?;
            sketch.names()?;
            act(&sketch)?;
            sketch.area.present().map_err(|error| error.to_string())?;
        }
        Ok(svg)
    }

    /// Draws the labels of the rows, ebbtide's on a band.
    fn names(&self) -> Drawn {
        for (nth, row) in self.rows.iter().enumerate() {
            if row.kind == Kind::Ours {
                let band = [
                    (0, TOP + ROW * nth as i32),
                    (WIDTH, TOP + ROW * (nth as i32 + 1)),
                ];
                self.rectangle(band, BAND)?;
            }
            let color = if row.kind == Kind::Floor { GREY } else { BLACK };
            self.text(&row.text, (LEFT - 12, middle(nth)), HPos::Right, color)?;
        }
        Ok(())
    }

    /// Draws dots on a logarithmic scale, in a colour for each series.
    fn dots(&self, title: &str, rows: &[Vec<Option<f64>>], labels: &[&str]) -> Drawn {
        self.text(title, (LEFT, 18), HPos::Left, BLACK)?;
        let mut x = LEFT;
        for (label, color) in labels.iter().zip(COLORS) {
            self.dot((x + 6, 40), color)?;
            self.text(label, (x + 18, 40), HPos::Left, GREY)?;
            x += 40 + 8 * label.len() as i32;
        }
        let Some(scale) = Scale::of(rows.iter().flatten().flatten().copied()) else {
            return Ok(());
        };
        for (at, label) in scale.marks() {
            self.mark(at, &label)?;
        }
        for (nth, row) in rows.iter().enumerate() {
            let at: Vec<_> = row
                .iter()
                .flatten()
                .map(|figure| scale.place(*figure))
                .collect();
            if let (Some(least), Some(most)) = (at.iter().min(), at.iter().max()) {
                self.line([(*least, middle(nth)), (*most, middle(nth))])?;
            }
            for (figure, color) in row.iter().zip(COLORS) {
                if let Some(figure) = figure {
                    self.dot((scale.place(*figure), middle(nth)), color)?;
                }
            }
        }
        Ok(())
    }

    /// Draws a panel of bars for each storm, from zero to the greatest sum.
    fn storms(&self, sheet: &Sheet) -> Drawn {
        let title = "Requests lost to the signal, the worst round, by the clients that are busy";
        self.text(title, (LEFT, 18), HPos::Left, BLACK)?;
        let panel = (WIDTH - LEFT - RIGHT) / 3;
        let storms = [
            (Storm::Busy, "busy"),
            (Storm::Pausing, "with pauses of 20 ms"),
            (Storm::Anew, "some connecting anew"),
        ];
        for (nth, (storm, label)) in storms.into_iter().enumerate() {
            let left = LEFT + panel * nth as i32;
            self.text(label, (left, 40), HPos::Left, GREY)?;
            self.panel(sheet, storm, left, panel - 70)?;
        }
        let y = TOP + ROW * self.rows.len() as i32 + 18;
        let legend = [
            (COLORS[0], "lost"),
            (COLORS[1], "ended in the backlog"),
            (COLORS[3], "torn"),
        ];
        let mut x = LEFT;
        for (color, label) in legend {
            self.rectangle([(x, y - 6), (x + 12, y + 6)], color)?;
            self.text(label, (x + 18, y), HPos::Left, GREY)?;
            x += 50 + 8 * label.len() as i32;
        }
        Ok(())
    }

    /// Draws the bars of one storm, with their sums.
    fn panel(&self, sheet: &Sheet, storm: Storm, left: i32, width: i32) -> Drawn {
        let worst = |row: &Row| {
            let fates = [Fate::Lost, Fate::Backlog, Fate::Torn];
            let most = |fate| sheet.range(&row.text, Column::Storm(storm, fate));
            fates.map(|fate| most(fate).map(|(_, most)| most))
        };
        let rows: Vec<_> = self.rows.iter().map(worst).collect();
        let sum = |row: &[Option<f64>; 3]| row.iter().flatten().sum::<f64>();
        let most = rows.iter().map(sum).fold(1.0, f64::max);
        for (nth, row) in rows.iter().enumerate() {
            let mut x = left;
            for (count, color) in row.iter().flatten().zip([COLORS[0], COLORS[1], COLORS[3]]) {
                let to = x + (count / most * f64::from(width)).ceil() as i32;
                self.rectangle([(x, middle(nth) - 7), (to, middle(nth) + 7)], color)?;
                x = to;
            }
            let text = match row {
                [None, None, None] => "–".to_owned(),
                _ => format!("{:.0}", sum(row)),
            };
            self.text(&text, (x + 6, middle(nth)), HPos::Left, BLACK)?;
        }
        Ok(())
    }

    /// Draws a line from top to bottom, with its label.
    fn mark(&self, x: i32, label: &str) -> Drawn {
        let bottom = TOP + ROW * self.rows.len() as i32;
        self.line([(x, TOP), (x, bottom)])?;
        self.text(label, (x, bottom + 18), HPos::Center, GREY)
    }

    fn text(&self, text: &str, at: (i32, i32), side: HPos, color: RGBColor) -> Drawn {
        let anchor = Pos::new(side, VPos::Center);
        let style = TextStyle::from(("sans-serif", FONT).into_font())
            .color(&color)
            .pos(anchor);
        let text = Text::new(text.to_owned(), at, style);
        self.area.draw(&text).map_err(|error| error.to_string())
    }

    fn dot(&self, at: (i32, i32), color: RGBColor) -> Drawn {
        let dot = Circle::new(at, 5, color.filled());
        self.area.draw(&dot).map_err(|error| error.to_string())
    }

    fn line(&self, ends: [(i32, i32); 2]) -> Drawn {
        let line = PathElement::new(ends, LINE.stroke_width(1));
        self.area.draw(&line).map_err(|error| error.to_string())
    }

    fn rectangle(&self, corners: [(i32, i32); 2], color: RGBColor) -> Drawn {
        let rectangle = Rectangle::new(corners, color.filled());
        self.area
            .draw(&rectangle)
            .map_err(|error| error.to_string())
    }
}

/// Returns the middle of a row.
const fn middle(nth: usize) -> i32 {
    TOP + ROW * nth as i32 + ROW / 2
}

/// A logarithmic scale.
struct Scale {
    /// Exponents of ten at both ends.
    from: f64,
    to: f64,
}

impl Scale {
    /// Returns the smallest scale that holds all figures; zero and less stand at the left end.
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let logs: Vec<_> = figures
            .filter(|figure| *figure > 0.0)
            .map(f64::log10)
            .collect();
        let least = logs.iter().copied().reduce(f64::min)?;
        let most = logs.iter().copied().reduce(f64::max)?;
        let from = (least * 2.0).floor() / 2.0;
        Some(Self {
            from,
            to: (most * 2.0).ceil().max(from * 2.0 + 1.0) / 2.0,
        })
    }

    fn place(&self, figure: f64) -> i32 {
        let width = f64::from(WIDTH - LEFT - RIGHT);
        let log = figure.max(f64::MIN_POSITIVE).log10().max(self.from);
        LEFT + ((log - self.from) / (self.to - self.from) * width).round() as i32
    }

    /// Returns the marks: 1, 3, 10, 30, and so on.
    fn marks(&self) -> impl Iterator<Item = (i32, String)> {
        let halves = (self.from * 2.0).round() as i32..=(self.to * 2.0).round() as i32;
        halves.map(|half| {
            let step = if half.rem_euclid(2) == 0 { 1.0 } else { 3.0 };
            let power = half.div_euclid(2);
            let figure = step * 10_f64.powi(power);
            let digits = power.min(0).unsigned_abs() as usize;
            (self.place(figure), format!("{figure:.digits$}"))
        })
    }
}

const WIDTH: i32 = 900;
const LEFT: i32 = 270;
const RIGHT: i32 = 40;
const TOP: i32 = 60;
const BOTTOM: i32 = 40;
const ROW: i32 = 26;
const FONT: i32 = 14;

const BLACK: RGBColor = RGBColor(32, 32, 32);
const GREY: RGBColor = RGBColor(110, 110, 110);
const LINE: RGBColor = RGBColor(215, 215, 215);
const BAND: RGBColor = RGBColor(232, 241, 250);

/// Colours of the series, distinct also for readers who cannot see red or green (Okabe and Ito).
const COLORS: [RGBColor; 4] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_its_figures() {
        let scale = Scale::of([2.0, 550.0, 0.0].into_iter()).unwrap();
        for figure in [0.0, 2.0, 550.0] {
            let at = scale.place(figure);
            assert!((LEFT..=WIDTH - RIGHT).contains(&at), "{figure} at {at}");
        }
        let labels: Vec<_> = scale.marks().map(|(_, label)| label).collect();
        assert_eq!(labels, ["1", "3", "10", "30", "100", "300", "1000"]);
        let small: Vec<_> = Scale::of([0.3, 2.0].into_iter()).unwrap().marks().collect();
        assert_eq!(small[0].1, "0.1");
        assert_eq!(small[1].1, "0.3");
        assert!(Scale::of([].into_iter()).is_none());
        let one = Scale::of([10.0].into_iter()).unwrap();
        assert!(one.place(10.0) < one.place(30.0));
    }
}
