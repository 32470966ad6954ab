//! Runs the crate's own benches, which need no server, for their lines and the tracker's curve.
//!
//! Knows no plots.

use std::env;
use std::path::Path;
use std::process::Command;

/// Output of the benches, one line for each figure.
#[derive(Debug, Default)]
pub(crate) struct Own {
    lines: String,
}

/// Nanoseconds of one operation for each connection, by number of connections.
#[derive(Debug, PartialEq)]
pub(crate) struct Curve {
    pub(crate) operation: String,
    pub(crate) points: Vec<(u64, f64)>,
}

impl Own {
    /// Builds and runs the benches.
    pub(crate) fn run() -> Result<Self, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut bench = Command::new(cargo);
        bench.args(["bench", "--quiet", "--package", "ebbtide"]);
        for name in BENCHES {
            bench.args(["--bench", name]);
        }
        bench.arg("--manifest-path").arg(manifest);
        let done = bench.output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let last = said.trim().lines().next_back().unwrap_or("no output");
            return Err(format!("{}: {last}", done.status));
        }
        let lines = String::from_utf8_lossy(&done.stdout).into_owned();
        Ok(Self { lines })
    }

    /// Returns the lines as a part of the report, or nothing if no bench ran.
    pub(crate) fn text(&self) -> String {
        if self.lines.is_empty() {
            return String::new();
        }
        let names = BENCHES.join(" --bench ");
        format!(
            "\nThe parts without sockets, by `cargo bench --package ebbtide --bench {names}`: \
             receiving, the tracker, and whole turns of the engine in the simulator.\n\n\
             ```text\n{}\n```\n",
            self.lines.trim()
        )
    }

    /// Returns the curves of the tracker.
    pub(crate) fn curves(&self) -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for (operation, count, nanos) in self.lines.lines().filter_map(point) {
            match curves.iter_mut().find(|c| c.operation == operation) {
                Some(curve) => curve.points.push((count, nanos)),
                None => curves.push(Curve {
                    operation: operation.to_owned(),
                    points: vec![(count, nanos)],
                }),
            }
        }
        curves
    }
}

/// Parses a line of the tracker's bench: `drain  1000 connections  7.5 ns each`.
fn point(line: &str) -> Option<(&str, u64, f64)> {
    let (before, after) = line.split_once(" connections ")?;
    let (operation, count) = before.trim().rsplit_once(' ')?;
    let nanos = after.trim().strip_suffix(" ns each")?;
    Some((operation.trim(), count.parse().ok()?, nanos.parse().ok()?))
}

const BENCHES: [&str; 3] = ["parse", "tracker", "turn"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_are_read_from_the_lines() {
        let own = Own {
            lines: "plain head of 70 bytes: 25.8 ns, ratio 0.82\n\
                    enter, one by one      1000 connections     2.7 ns each\n\
                    drain                  1000 connections     7.6 ns each\n\
                    drain               1000000 connections    46.6 ns each\n"
                .into(),
        };
        let curve = |operation: &str, points: &[_]| Curve {
            operation: operation.to_owned(),
            points: points.to_vec(),
        };
        let expected = [
            curve("enter, one by one", &[(1_000, 2.7)]),
            curve("drain", &[(1_000, 7.6), (1_000_000, 46.6)]),
        ];
        assert_eq!(own.curves(), expected);
        assert!(own.text().contains("\n```text\nplain head"));
        assert_eq!(Own::default().text(), "");
    }
}
