//! The arguments of `ebbtide serve`.
//!
//! Plain data with every default filled in, except the address: its default depends on what a
//! supervisor passed on. Knows nothing of the server that they configure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;

use super::tls::TlsFlags;
use crate::admin::args::Flags as AdminFlags;
use crate::files::args::FileFlags;
use crate::values::{self, LatePolicy, Maybe};

/// Serve the demo routes until a signal, then drain.
///
/// Routes: /plaintext, /json, /echo, /delay/MS, /bytes/N, /stream/N/MS, /events, /ws, /health; and
/// with --root the files below it.
///
/// Durations are written 250ms, 2s or 1m; sizes 64KiB, 64MiB or 1000 (bytes).
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub listening: Listening,
    #[command(flatten)]
    pub tls: TlsFlags,
    #[command(flatten)]
    pub stopping: Stopping,
    #[command(flatten)]
    pub timeouts: Timeouts,
    #[command(flatten)]
    pub admin: AdminFlags,
    #[command(flatten)]
    pub files: FileFlags,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub output: Output,
}

/// Where the server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listening {
    // Not as a doc comment, where rustdoc takes the brackets for a link.
    /// Where to listen
    #[arg(
        help = "Address and port to listen on, as 127.0.0.1:8080 or [::1]:8080; may be given \
                several times. Port 0 takes a free port and prints it. By default only this \
                machine gets in, so that nothing is exposed by accident. Sockets passed on by a \
                supervisor (LISTEN_FDS) take the place of the default, and come first \
                [default: 127.0.0.1:8080]"
    )]
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::address)]
    pub listen: Vec<SocketAddr>,

    /// Share the port with other processes that ask for the same (SO_REUSEPORT), as a successor. Off
    /// by default, so that a second server by mistake fails and does not take half of the clients
    #[arg(long)]
    pub reuse_port: bool,
}

/// What starts a drain, and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Stopping")]
pub(crate) struct Stopping {
    /// The one deadline of a drain, from the signal on and over everything; what is left then is
    /// cut. Below the 30 s after which Kubernetes kills
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = values::duration)]
    pub drain_timeout: Duration,

    /// Go on accepting for that long after the signal, /health already failing, so that load
    /// balancers see it first. None by default, as it delays every stop
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub drain_delay: Duration,

    /// End the drain delay early once no connection came for that long: the load balancers have
    /// noticed. Off by default, as a check that is slower than this would be missed
    #[arg(long, value_name = "DURATION|off", default_value = "off")]
    #[arg(value_parser = values::duration_or_off)]
    pub drain_quiet: Maybe<Duration>,

    /// The path of the readiness check: 200 while serving, 503 from the signal on
    #[arg(long, value_name = "PATH", default_value = "/health", value_parser = values::path)]
    pub health_path: String,

    /// How long a request whose head has begun to arrive may take to send the rest of it during a
    /// drain. Enough for a slow link, and too short to hold up a stop
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::duration)]
    pub drain_head_timeout: Duration,

    /// Requests whose first byte comes once the draining has begun, which it does after the drain
    /// delay: serve them, reject them with a status (400 to 599; 503 if none is given), or drop them
    /// unanswered. Until then all are served. Served by default, as their clients could not know
    #[arg(
        long,
        value_name = "serve|reject[:STATUS]|drop",
        default_value = "serve"
    )]
    #[arg(value_parser = values::late_requests)]
    pub late_requests: LatePolicy,

    /// During a drain a connection that has been idle for that long is closed; one that has just
    /// been answered may be about to send its next request, and gets that long to do so. A few
    /// round trips within a data centre
    #[arg(long, value_name = "DURATION", default_value = "25ms", value_parser = values::duration)]
    pub idle_grace: Duration,

    /// Spread the closing of idle connections over that long, so that their clients do not all
    /// reconnect at once. None by default: the fastest stop
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub close_spread: Duration,

    /// After our last byte, go on reading for at most that long, so that a request which crosses
    /// it does not destroy the answer by a reset. A few round trips
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = values::duration)]
    pub linger: Duration,

    /// The signals that start a drain, with commas between; another one cuts it short. Ctrl-C, and
    /// what supervisors send
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "INT,TERM",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::signal)]
    pub signals: Vec<i32>,

    /// For an upgraded connection (a WebSocket) to end once it was told of the drain; one that has
    /// not is ended and counts as cut. A WebSocket waits 3s for its peer's Close by itself
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    #[arg(alias = "drain-farewell")]
    pub tunnel_grace: Duration,

    /// After a drain stay for that long, when all is closed and the report is written, so that the
    /// collector of a container's log gets its last lines. Within --drain-timeout; a signal ends
    /// it. None by default: every line is written before the exit anyway
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub exit_delay: Duration,

    /// No drain: the first signal cuts. For development, where a restart should not wait
    #[arg(long)]
    pub dev: bool,
}

impl Stopping {
    /// Finds what does not fit into the deadline of a drain.
    ///
    /// # Errors
    ///
    /// The flag and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let delays = [
            ("--drain-delay", self.drain_delay),
            ("--exit-delay", self.exit_delay),
        ];
        match delays.iter().find(|(_, time)| *time > self.drain_timeout) {
            None => Ok(()),
            Some((flag, _)) => Err(format!(
                "{flag}: is longer than --drain-timeout, which covers it; lengthen that one too"
            )),
        }
    }
}

/// How slow a client and the application may be.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Timeouts")]
pub(crate) struct Timeouts {
    /// How long a new connection may take to send its first byte, and a request's head to arrive
    /// from its first byte on. Generous for any client that means well
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = values::positive_duration)]
    pub head_timeout: Duration,

    /// How long each --min-progress of a request's body may take to arrive. Longer than a mobile
    /// link falls silent
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = values::positive_duration)]
    pub body_timeout: Duration,

    /// How long a client may take for each --min-progress of the bytes it is owed. As long as an
    /// upload may pause
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = values::positive_duration)]
    pub write_timeout: Duration,

    /// How many bytes count as progress in these two. With 30 s the least rate is 273 bytes a
    /// second, which any link has; 1 lets any byte count, and so a client that dribbles stay
    #[arg(long, value_name = "SIZE", default_value = "8KiB", value_parser = values::size)]
    pub min_progress: u64,

    /// How long a connection may wait for its next request. Longer than the 60 s after which load
    /// balancers close theirs, so that they close first
    #[arg(long, value_name = "DURATION", default_value = "75s", value_parser = values::duration)]
    pub idle_timeout: Duration,

    /// How long an answer may be worked on, or none. No limit by default, as only the application
    /// knows what it does
    #[arg(long, value_name = "DURATION|none", default_value = "none")]
    #[arg(value_parser = values::duration_or_none)]
    pub handler_timeout: Maybe<Duration>,
}

/// How much of everything there may be.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// The longest head of a request, in bytes. Room for large cookies
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::head_size)]
    pub max_head: u32,

    /// The most header fields in a request. Browsers send about 20
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::field_count)]
    pub max_headers: u16,

    /// The longest body of a request to /echo, in bytes. It is kept in memory as a whole
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    pub max_body: u64,

    /// The most connections at a time; further ones wait in the backlog. By default what the limit
    /// of open files (ulimit -n) leaves room for
    #[arg(long, value_name = "N", value_parser = values::connection_count)]
    pub max_connections: Option<u32>,
}

/// What is written about it all.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// How often to log a line with the number of connections in each phase, or off. Off by
    /// default, as a log should be quiet while nothing happens
    #[arg(long, value_name = "DURATION|off", default_value = "off")]
    #[arg(value_parser = values::duration_or_off)]
    pub log_connections: Maybe<Duration>,

    /// What the drain did, written to stderr at exit: a text for people, a line of JSON for
    /// programs, or none
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    #[arg(hide_possible_values = true)]
    pub report: Report,
}

/// How the outcome of a drain is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// Lines for people.
    Text,
    /// One line for programs.
    Json,
    /// Not at all.
    None,
}

impl Serve {
    /// Finds flags that do not go together.
    ///
    /// # Errors
    ///
    /// The flag and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.admin.check()?;
        self.stopping.check()?;
        self.files.check()?;
        self.tls.check(&self.stopping.signals)
    }
}

/// Where to listen when nobody says where: `--listen` is empty and a supervisor passed no sockets.
pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

const AFTER_HELP: &str = include_str!("after-help.txt");
