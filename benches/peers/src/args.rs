//! The command line.

use std::time::Duration;

use clap::Parser;

use crate::peers::{self, Peer};
use crate::work::{Scale, Work};

/// Measures ebbtide and other servers on the same work, on real sockets, in one run.
///
/// Writes Markdown tables, a CSV file of all rounds and SVG plots into target/peers.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub(crate) struct Args {
    /// Runs all workloads, instructions only if valgrind is installed, and the crate's own benches
    #[arg(long)]
    pub(crate) all: bool,
    /// Runs only these workloads [default: all except instructions]
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    work: Vec<Work>,
    /// Measures only servers whose name contains one of these, in lower or upper case
    #[arg(long, value_delimiter = ',', value_name = "TEXT")]
    peer: Vec<String>,
    /// Adds a server: NAME=COMMAND, where {port} stands for its port
    #[arg(long, value_name = "NAME=COMMAND")]
    also: Vec<String>,
    /// Measures each figure for this number of seconds [default: 2]
    #[arg(long)]
    seconds: Option<f64>,
    /// Runs everything this number of times; figures are medians [default: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Takes some two minutes: fewer connections, less time, one round
    #[arg(long)]
    quick: bool,
    /// Checks that everything works: a handful of connections, milliseconds for each figure
    #[arg(long, conflicts_with = "quick")]
    tiny: bool,
    /// Writes tables and plots to benches/peers/results, and a summary between the marks of docs/benchmarks.md
    #[arg(long)]
    pub(crate) publish: bool,
    /// Lists the servers, and why others are absent
    #[arg(long)]
    pub(crate) list: bool,
    /// Runs this server, in a process that the bench starts
    #[arg(long, hide = true, requires = "port")]
    pub(crate) serve: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) port: Option<u16>,
}

impl Args {
    /// Returns the selected servers.
    pub(crate) fn peers(&self) -> Result<Vec<Peer>, String> {
        let wanted = |peer: &Peer| {
            let name = peer.name.to_lowercase();
            let mut parts = self.peer.iter();
            self.peer.is_empty() || parts.any(|part| name.contains(&part.to_lowercase()))
        };
        let mut peers: Vec<_> = peers::all().into_iter().filter(wanted).collect();
        for text in &self.also {
            let peer = peers::also(text).map_err(|error| format!("--also {text}: {error}"))?;
            peers.push(peer);
        }
        if peers.is_empty() {
            return Err("no server has such a name; --list shows all".to_owned());
        }
        Ok(peers)
    }

    /// Returns the selected workloads, in the order of the run.
    pub(crate) fn works(&self) -> Vec<Work> {
        let mut works = vec![Work::Requests, Work::Memory, Work::Drain, Work::Storm];
        if !self.work.is_empty() {
            works.clone_from(&self.work);
        }
        if self.all {
            works = vec![
                Work::Requests,
                Work::Memory,
                Work::Drain,
                Work::Storm,
                Work::Instructions,
            ];
        }
        works
    }

    pub(crate) fn scale(&self) -> Result<Scale, String> {
        let mut scale = match (self.quick, self.tiny) {
            (true, _) => Scale::quick(),
            (_, true) => Scale::tiny(),
            _ => Scale::full(),
        };
        if let Some(seconds) = self.seconds {
            scale.time = Duration::try_from_secs_f64(seconds)
                .map_err(|error| format!("--seconds {seconds}: {error}"))?;
        }
        if let Some(rounds) = self.rounds {
            scale.rounds = rounds.max(1);
        }
        Ok(scale)
    }
}
