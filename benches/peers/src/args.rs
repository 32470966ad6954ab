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
    /// All workloads, with instructions where valgrind is installed, and the crate's own benches
    #[arg(long)]
    pub(crate) all: bool,
    /// These workloads [default: all but instructions]
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    work: Vec<Work>,
    /// Only servers with one of these in their name, in lower or upper case
    #[arg(long, value_delimiter = ',', value_name = "TEXT")]
    peer: Vec<String>,
    /// One more server: NAME=COMMAND, in which {port} is filled in
    #[arg(long, value_name = "NAME=COMMAND")]
    also: Vec<String>,
    /// How long each figure is measured [default: 2]
    #[arg(long)]
    seconds: Option<f64>,
    /// How often all is done; figures are medians [default: 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Fewer connections, less time, one round: some two minutes
    #[arg(long)]
    quick: bool,
    /// A handful of connections, for milliseconds: to see that everything works
    #[arg(long, conflicts_with = "quick")]
    tiny: bool,
    /// Puts tables and plots into benches/peers/results, and a summary into docs/benchmarks.md, between its marks
    #[arg(long)]
    pub(crate) publish: bool,
    /// Says which servers there are, and ends
    #[arg(long)]
    pub(crate) list: bool,
    /// What the bench starts itself with: be this server
    #[arg(long, hide = true, requires = "port")]
    pub(crate) serve: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) port: Option<u16>,
}

impl Args {
    /// The servers that are wanted.
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
            return Err("no server has such a name; --list says which there are".to_owned());
        }
        Ok(peers)
    }

    /// The workloads, in their order.
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
