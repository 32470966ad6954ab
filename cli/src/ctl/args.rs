//! The arguments of `ebbtide ctl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::admin::args::Place;
use crate::values;

/// Ask a running server how it is, or tell it to stop.
///
/// The server must have been started with --admin.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Ctl {
    /// Where the server's --admin is: unix:PATH, or an address and a port, also as the URL in the
    /// server's log. By default what the environment variable EBBTIDE_ADMIN says
    #[arg(long, global = true, value_name = "unix:PATH|ADDR:PORT")]
    #[arg(value_parser = Place::parse)]
    pub admin: Option<Place>,

    /// The file with the secret that the server was given as --admin-token-file, if it was
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Print the server's answer as it is, in JSON, instead of a text for people
    #[arg(long, global = true)]
    pub json: bool,

    /// What to ask or tell it
    #[command(subcommand)]
    pub ask: Ask,
}

impl Ctl {
    /// Finds flags that do not go together.
    ///
    /// # Errors
    ///
    /// The flag and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.ask {
            Ask::Shutdown {
                wait: false,
                timeout: Some(_),
            } => Err("--timeout: is of no use without --wait".into()),
            _ => Ok(()),
        }
    }
}

/// What to ask a server, or to tell it.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Ask {
    /// Where the server stands: its stage, how many connections wait for what, the oldest of those
    /// in the middle of something
    Status,
    /// The connections, those first that have waited for longest
    Connections {
        /// Also those that only wait for a request
        #[arg(long)]
        all: bool,
        /// How many at most, up to 1000
        #[arg(long, value_name = "N", default_value = "100", value_parser = values::page_size)]
        take: u32,
    },
    /// Start the drain, as SIGTERM does; one that has begun goes on
    Shutdown {
        /// Come back when the server has gone
        #[arg(long)]
        wait: bool,
        /// With --wait: for that long at most, then exit with 1; the drain goes on. No limit by
        /// default, as the server has one
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Cut what is left of a drain, as a second signal does; without a drain, cut at once
    Cut,
    /// Wait until the server has gone; if nobody is there, it has
    Wait {
        /// For that long at most, then exit with 1. No limit by default, as nothing says that the
        /// server is about to go
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
  1  the server answered with an error, or the wait was over before it had gone
  2  bad usage
  3  the server cannot be reached; for wait, that is done, unless it is there and silent";
