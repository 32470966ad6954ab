//! `--tunnel-grace`: how long an upgraded connection has to say goodbye.
//!
//! Knows no protocol that one upgrades to.

use std::time::Duration;

use crate::values;

/// How long a goodbye may take.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[group(skip)] // or no two of this name could be in one command
pub(crate) struct Farewell {
    /// For an upgraded connection (a WebSocket) to end once it was told of the drain; one that has
    /// not is ended and counts as cut. A WebSocket waits 3s for its peer's Close by itself
    #[arg(
        long = "tunnel-grace",
        alias = "drain-farewell", // the flag's earlier name
        value_name = "DURATION",
        allow_hyphen_values = true,
        default_value = "10s",
        value_parser = values::duration,
        help_heading = "Stopping",
    )]
    pub limit: Duration,
}

impl Default for Farewell {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(10),
        }
    }
}
