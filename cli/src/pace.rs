//! The flags that say how slow a client may be in the middle of a request or an answer.
//!
//! Knows no sockets.

use std::time::Duration;

use crate::values;
use ebbtide::{Limits, Timeouts};

/// How slow a client may be.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Pace {
    /// How long each --min-progress of a request's body may take to arrive. Longer than a mobile
    /// link falls silent
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        default_value = "30s",
        value_parser = values::positive_duration,
        help_heading = HEADING,
    )]
    pub body_timeout: Duration,

    /// How long a client may take for each --min-progress of the bytes it is owed. As long as an
    /// upload may pause
    #[arg(
        long,
        value_name = "DURATION",
        allow_hyphen_values = true,
        default_value = "30s",
        value_parser = values::positive_duration,
        help_heading = HEADING,
    )]
    pub write_timeout: Duration,

    /// How many bytes count as progress in these two. With 30 s the least rate is 273 bytes a
    /// second, which any link has; 1 lets any byte count, and so a client that dribbles stay
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "8KiB",
        value_parser = values::size,
        help_heading = HEADING,
    )]
    pub min_progress: u64,
}

impl Pace {
    /// The limits with this one.
    pub(super) fn limit(&self, limits: Limits) -> Limits {
        limits.progress(u32::try_from(self.min_progress).unwrap_or(u32::MAX))
    }

    /// The timeouts with these two.
    pub(super) const fn time(&self, times: Timeouts) -> Timeouts {
        times.body(self.body_timeout).write(self.write_timeout)
    }
}

const HEADING: &str = "Timeouts";
