//! The arguments of `ebbtide serve`.
//!
//! The arguments are plain data with every default filled in, except the address, whose default
//! depends on the sockets of a supervisor. This module knows nothing of the server.

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
/// Write durations as 250ms, 2s or 1m; sizes as 64KiB, 64MiB or 1000 (bytes).
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

/// The addresses of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listening {
    // A doc comment would not do: rustdoc takes the brackets for a link.
    /// The addresses to listen on
    #[arg(
        help = "Address and port to listen on, as 127.0.0.1:8080 or [::1]:8080; may be given \
                several times. Port 0 takes a free port, which the log shows. By default only \
                this machine gets in, so that nothing is exposed by accident. Sockets from a \
                supervisor (LISTEN_FDS) replace the default, and come before other addresses \
                [default: 127.0.0.1:8080]"
    )]
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::address)]
    pub listen: Vec<SocketAddr>,

    /// Share the port with other processes that also set SO_REUSEPORT, such as a successor. Off by
    /// default, so that a second server started by mistake fails and does not take half of the
    /// clients
    #[arg(long)]
    pub reuse_port: bool,
}

/// The start and the course of a drain.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Stopping")]
pub(crate) struct Stopping {
    /// Deadline of the whole drain, from the signal on; the server then cuts what is left. The
    /// default is below the 30 s after which Kubernetes kills
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = values::duration)]
    pub drain_timeout: Duration,

    /// Time after the signal during which the server accepts connections while /health fails, so
    /// that load balancers notice first. Zero by default, because a delay slows every stop
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub drain_delay: Duration,

    /// End the drain delay early after that long without a new connection: the load balancers have
    /// noticed. Off by default, because a slower health check would be missed
    #[arg(long, value_name = "DURATION|off", default_value = "off")]
    #[arg(value_parser = values::duration_or_off)]
    pub drain_quiet: Maybe<Duration>,

    /// Path of the readiness check: 200 while serving, 503 from the signal on
    #[arg(long, value_name = "PATH", default_value = "/health", value_parser = values::path)]
    pub health_path: String,

    /// Longest time during a drain for the rest of a head that has begun to arrive. The default is
    /// enough for a slow link, and too short to hold up a stop
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = values::duration)]
    pub drain_head_timeout: Duration,

    /// Treatment of requests whose first byte comes after the drain delay: serve, reject with a
    /// status, or drop without a response. A status is from 400 to 599, by default 503. Serve by
    /// default, because the clients could not know of the drain
    #[arg(
        long,
        value_name = "serve|reject[:STATUS]|drop",
        default_value = "serve"
    )]
    #[arg(value_parser = values::late_requests)]
    pub late_requests: LatePolicy,

    /// Longest idle time of a connection during a drain. A client that just got a response may be
    /// about to send its next request. The default is a few round trips within a data centre
    #[arg(long, value_name = "DURATION", default_value = "25ms", value_parser = values::duration)]
    pub idle_grace: Duration,

    /// Spread the closing of idle connections over that long, so that their clients do not all
    /// reconnect at once. Zero by default, for the fastest stop
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub close_spread: Duration,

    /// Longest time to go on reading after the server's last byte, so that a request on its way
    /// does not destroy the response. The default is a few round trips
    #[arg(long, value_name = "DURATION", default_value = "250ms", value_parser = values::duration)]
    pub linger: Duration,

    /// Signals that start a drain, with commas between; another signal, 50 ms later or more, cuts the
    /// drain short. The default covers Ctrl-C and supervisors
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "INT,TERM",
        value_delimiter = ','
    )]
    #[arg(value_parser = values::signal)]
    pub signals: Vec<i32>,

    /// Time for an upgraded connection (a WebSocket) to end after it learns of the drain; the
    /// server then ends the connection, which counts as cut. A WebSocket waits 3s for its peer's
    /// Close by itself
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    #[arg(alias = "drain-farewell")]
    pub tunnel_grace: Duration,

    /// Time to stay after the drain and its report, so that the collector of a container's log gets
    /// the last lines. The delay lies within --drain-timeout, and a signal ends it. Zero by
    /// default, because every line is written before the exit anyway
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub exit_delay: Duration,

    /// Cut at the first signal, without a drain, so that a restart in development does not wait. The
    /// flags of the drain then have no effect, and are a mistake
    #[arg(long, conflicts_with_all = DRAIN)]
    pub dev: bool,
}

/// The flags that only a drain obeys.
pub(crate) const DRAIN: [&str; 9] = [
    "drain_timeout",
    "drain_delay",
    "drain_quiet",
    "drain_head_timeout",
    "late_requests",
    "idle_grace",
    "close_spread",
    "linger",
    "tunnel_grace",
];

impl Stopping {
    /// Checks that the delays fit into the deadline of a drain, and into each other.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        let delays = [
            ("--drain-delay", self.drain_delay),
            ("--close-spread", self.close_spread),
            ("--exit-delay", self.exit_delay),
        ];
        match (
            delays.iter().find(|(_, time)| *time > self.drain_timeout),
            self.drain_quiet,
        ) {
            (Some((flag, _)), _) => Err(format!(
                "{flag}: is longer than --drain-timeout, which covers it; lengthen that one too"
            )),
            (None, Some(_)) if self.drain_delay.is_zero() => {
                Err("--drain-quiet: has no effect without --drain-delay, which it ends".into())
            }
            (None, Some(quiet)) if quiet >= self.drain_delay => {
                Err("--drain-quiet: has no effect unless it is shorter than --drain-delay".into())
            }
            _ => Ok(()),
        }
    }
}

/// The limits on slow clients and on a slow application.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Timeouts")]
pub(crate) struct Timeouts {
    /// Longest time for the first byte of a new connection, and for a request's head from its first
    /// byte on. The default is generous for any honest client
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = values::positive_duration)]
    pub head_timeout: Duration,

    /// Longest time for each --min-progress of a request's body to arrive. The default is longer
    /// than the silences of a mobile link
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = values::positive_duration)]
    pub body_timeout: Duration,

    /// Longest time for a client to take each --min-progress of its response. The default is as
    /// long as an upload may pause
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = values::positive_duration)]
    pub write_timeout: Duration,

    /// Bytes that count as progress of a body or a response. The default makes at least 273 bytes a
    /// second in 30 s, which any link has; 1 admits a client that sends single bytes
    #[arg(long, value_name = "SIZE", default_value = "8KiB")]
    #[arg(value_parser = values::progress)]
    pub min_progress: u32,

    /// Longest wait of a connection for its next request. The default is longer than the 60 s after
    /// which load balancers close their connections, so that they close first
    #[arg(long, value_name = "DURATION", default_value = "75s", value_parser = values::duration)]
    pub idle_timeout: Duration,

    /// Longest time for the application to work on a response, or none. No limit by default,
    /// because only the application knows its work
    #[arg(long, value_name = "DURATION|none", default_value = "none")]
    #[arg(value_parser = values::duration_or_none)]
    pub handler_timeout: Maybe<Duration>,
}

/// The limits on requests and connections.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Longest head of a request, in bytes. The default has room for large cookies
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::head_size)]
    pub max_head: u32,

    /// Most header fields in a request. Browsers send about 20
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::field_count)]
    pub max_headers: u16,

    /// Longest body of a request to /echo, in bytes. The server keeps the whole body in memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = values::size)]
    pub max_body: u64,

    /// Most connections at a time; further ones wait in the backlog. The default is what the limit
    /// of open files (ulimit -n) leaves room for
    #[arg(long, value_name = "N", value_parser = values::connection_count)]
    pub max_connections: Option<u32>,
}

/// The log and the report.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Interval of a log line with the number of connections in each phase, or off. Off by default,
    /// because a log should be quiet while nothing happens
    #[arg(long, value_name = "DURATION|off", default_value = "off")]
    #[arg(value_parser = values::duration_or_off)]
    pub log_connections: Maybe<Duration>,

    /// Report of the drain on stderr at exit: a text for people, a line of JSON for programs, or
    /// none
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    #[arg(hide_possible_values = true)]
    pub report: Report,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// Lines for people.
    Text,
    /// One line for programs.
    Json,
    /// No report.
    None,
}

impl Serve {
    /// Checks that the flags fit together.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.admin.check()?;
        self.stopping.check()?;
        self.files.check()?;
        self.tls.check(&self.stopping.signals)
    }
}

/// The address without `--listen` and without sockets from a supervisor.
pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

const AFTER_HELP: &str = include_str!("after-help.txt");
