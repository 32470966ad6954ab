//! How to stop: the settings of a drain, its stages, and its exit codes.

use crate::tick::Tick;

/// How to stop, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long the listener goes on accepting after the signal, while every response says close.
    pub delay: u32,
    /// Ends the delay once no connection came for this long; `None` for never.
    pub quiet: Option<u32>,
    /// How long a connection must have been idle to be closed. Its client may be writing the next
    /// request just after a response.
    pub idle_grace: u32,
    /// The time of a head that has begun.
    pub head_timeout: u32,
    /// The wait for the peer's FIN after ours, so that a request that crosses ours meets no reset.
    pub linger: u32,
    /// The time over which the idle connections are closed, so that their clients do not all
    /// reconnect at once.
    pub close_spread: u32,
    /// The time of a tunnel, from the moment it was told of the drain.
    pub tunnel_grace: u32,
    /// The one deadline, from the signal, over everything.
    pub timeout: u32,
}

/// The default idle grace, in milliseconds: a few round trips within a data centre.
pub const IDLE_GRACE: u32 = 25;

/// The longest grace of a fresh connection, in milliseconds: time to send what it connected for.
pub const FRESH_GRACE: u32 = 25;

/// The grace of a connection whose last response began before the drain, in milliseconds. The
/// response could not say close, so its client may ask once more. A client that waits for the end
/// sees the FIN within 20 ms.
pub const SHORT_GRACE: u32 = 15;

/// How long half-done handshakes may complete once the listener refuses new ones, in milliseconds.
pub const LAST_CALL: u32 = 1;

/// How long a backlog that cannot be emptied keeps the listener open, in milliseconds. Causes are a
/// want of descriptors, or more arrivals than a turn accepts.
pub const BACKLOG_LIMIT: u32 = 1_000;

/// How long further signals belong to the action of the first, in milliseconds. Programs that repeat
/// a signal do so within a few milliseconds; no person presses a key again so soon.
pub const SAME_ACTION: u32 = 50;

/// The stage of a server's life. Stages only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Serving.
    Serving,
    /// Told to stop, but still accepting: the drain delay, or a hook, holds the drain.
    Delaying {
        /// When the first reason to stop came.
        since: Tick,
    },
    /// Draining.
    Draining {
        /// When the first reason to stop came: the deadline counts from here.
        since: Tick,
        /// When the draining began.
        began: Tick,
        /// How many connections were idle then: the spread divides by this number.
        idle: u32,
    },
    /// Told to stop now.
    Cutting,
}

impl Stage {
    /// Returns when the first reason to stop came, unless the server serves or cuts.
    pub const fn since(self) -> Option<Tick> {
        match self {
            Self::Delaying { since } | Self::Draining { since, .. } => Some(since),
            Self::Serving | Self::Cutting => None,
        }
    }

    /// Returns the stage's name in status, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Delaying { .. } => "delaying",
            Self::Draining { .. } => "draining",
            Self::Cutting => "cutting",
        }
    }
}

/// What the listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenerState {
    /// Accepts.
    Open,
    /// Accepts the backlog and the handshakes that are half done.
    LastCall,
    /// Closes as soon as the backlog is empty.
    Closing,
    /// Closes, whatever the backlog holds.
    Closed,
}

/// How a drain ended, or must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Every connection was finished: exit code 0.
    Drained,
    /// The deadline, or another limit during the drain, cut a connection; or a guard was held at
    /// the deadline: exit code 1.
    Deadline,
    /// A second signal cut the rest: exit code 3.
    Cut,
    /// Every connection was finished, but a hook panicked or did not return: exit code 4.
    HookFailed,
}

impl End {
    /// Returns the exit code. Code 2 belongs to a server that could not start.
    pub const fn code(self) -> i32 {
        match self {
            Self::Drained => 0,
            Self::Deadline => 1,
            Self::Cut => 3,
            Self::HookFailed => 4,
        }
    }

    /// Returns the end in a word: `drained`, `deadline`, `cut` or `hook-failed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Deadline => "deadline",
            Self::Cut => "cut",
            Self::HookFailed => "hook-failed",
        }
    }
}
