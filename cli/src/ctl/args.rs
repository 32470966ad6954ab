//! The arguments of `ebbtide ctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::admin::args::Place;
use crate::values;

/// Show the state of a running server, or stop it.
///
/// The server needs the flag --admin.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Ctl {
    /// Admin listener of the server: unix:PATH, or an address and a port, also as the URL in the
    /// server's log. The environment variable EBBTIDE_ADMIN is the default
    #[arg(long, global = true, value_name = "unix:PATH|ADDR:PORT")]
    #[arg(value_parser = Place::parse)]
    pub admin: Option<Place>,

    /// File with the secret that the server got by --admin-token-file, if any
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Print the server's response as JSON instead of a text for people
    #[arg(long, global = true)]
    pub json: bool,

    /// Command for the server
    #[command(subcommand)]
    pub ask: Ask,
}

impl Ctl {
    /// Checks that the flags fit together.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.ask {
            Ask::Shutdown {
                wait: false,
                timeout: Some(_),
            } => Err("--timeout: has no effect without --wait".into()),
            _ => Ok(()),
        }
    }
}

/// A command for the server.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Ask {
    /// Show the stage, the number of connections in each phase, and the oldest busy connections
    Status,
    /// List the connections, longest wait first
    Connections {
        /// Include connections that only wait for a request
        #[arg(long)]
        all: bool,
        /// Most connections to list, up to 1000
        #[arg(long, value_name = "N", default_value = "100", value_parser = values::page_size)]
        take: u32,
    },
    /// Start the drain, as SIGTERM does; a drain that has begun goes on
    Shutdown {
        /// Return once the server has gone
        #[arg(long)]
        wait: bool,
        /// Longest wait of --wait; then exit with 1 while the drain goes on. No limit by default,
        /// because the drain has a deadline of its own
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Cut what is left of a drain, as a second signal does; without a drain, cut everything at
    /// once
    Cut,
    /// Wait until the server has gone; return at once if no server is there
    Wait {
        /// Longest wait; then exit with 1. No limit by default, because nothing says when the
        /// server will stop
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
}

const AFTER_HELP: &str = "\
Examples:
  ebbtide ctl --admin unix:/run/ebbtide.sock status
  EBBTIDE_ADMIN=127.0.0.1:9000 ebbtide ctl shutdown --wait --timeout 30s

Exit codes:
  0  done
  1  the server answered with an error, or the wait ended before the server had gone
  2  bad usage, or stdout could not be written
  3  the server cannot be reached; wait then exits with 0, unless a server is there and silent";
