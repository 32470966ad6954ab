//! The workloads: each starts a server, measures that server, and puts figures on the sheet.

mod drain;
mod instructions;
mod memory;
mod request;
mod storm;

use std::time::Duration;

use crate::cpu::Cpus;
use crate::peers::Peer;
use crate::sheet::Sheet;

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// Measures requests a second, latency and CPU time, on kept and on new connections
    Requests,
    /// Measures the memory of idle connections
    Memory,
    /// Drains many idle connections and some requests under way
    Drain,
    /// Counts lost requests while all connections are busy
    Storm,
    /// Counts instructions for a request, under valgrind
    Instructions,
}

/// Sizes and times of the workloads.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// Time for each figure.
    pub(crate) time: Duration,
    /// Number of rounds.
    pub(crate) rounds: usize,
    /// Connections of the small, the larger and the largest load.
    pub(crate) few: usize,
    pub(crate) thousand: usize,
    pub(crate) many: usize,
    /// Numbers of idle connections: each is a point of the memory curve, the last is drained.
    pub(crate) idle: Vec<usize>,
    /// Requests under way when the signal comes.
    pub(crate) active: usize,
    /// Delay of the responses to those requests.
    pub(crate) delay: Duration,
    /// Clients of a storm on kept connections.
    pub(crate) busy: usize,
    /// Clients of the storm of new connections that keep theirs.
    pub(crate) staying: usize,
    /// Clients of the same storm that connect anew for each request.
    pub(crate) anew: usize,
}

impl Scale {
    /// Returns the scale of the published figures.
    pub(crate) fn full() -> Self {
        Self {
            time: Duration::from_secs(2),
            rounds: 3,
            few: 64,
            thousand: 1_000,
            many: 10_000,
            idle: vec![1_000, 5_000, 10_000, 14_000, 18_000],
            active: 100,
            delay: Duration::from_millis(1_500),
            busy: 1_000,
            staying: 256,
            anew: 32,
        }
    }

    /// Returns the scale for all workloads in about two minutes.
    pub(crate) fn quick() -> Self {
        Self {
            time: Duration::from_millis(250),
            rounds: 1,
            many: 2_000,
            idle: vec![500, 2_000, 4_000],
            delay: Duration::from_millis(700),
            ..Self::full()
        }
    }

    /// Returns the scale that only checks that everything works.
    pub(crate) fn tiny() -> Self {
        Self {
            time: Duration::from_millis(20),
            rounds: 1,
            few: 4,
            thousand: 8,
            many: 16,
            idle: vec![10, 50],
            active: 4,
            delay: Duration::from_millis(300),
            busy: 20,
            staying: 8,
            anew: 2,
        }
    }
}

impl Work {
    /// Runs the workload once.
    pub(crate) fn run(
        self,
        peer: &Peer,
        scale: &Scale,
        cpus: Cpus,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        match self {
            Self::Requests => request::requests(peer, scale, cpus, sheet),
            Self::Memory => memory::memory(peer, scale, cpus, sheet),
            Self::Drain => drain::drain(peer, scale, cpus, sheet),
            Self::Storm => storm::storms(peer, scale, cpus, sheet),
            Self::Instructions => instructions::instructions(peer, scale, cpus, sheet),
        }
    }
}

/// A request as a load generator sends it.
pub(crate) const SMALL: &[u8] =
    b"GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk/4.2\r\n\r\n";

/// A request as a browser sends it, with a head of 0.6 KiB.
pub(crate) const BROWSER: &[u8] = b"GET /plaintext HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/another/page/of/this/site\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=none\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    If-None-Match: \"0123456789abcdef\"\r\n\
    Priority: u=0, i\r\n\
    \r\n";

/// Requests that a pipelining client sends together.
const DEPTH: usize = 16;
