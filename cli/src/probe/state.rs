//! The states in which a signal can find a connection: their names and why they matter.

use clap::ValueEnum;
use serde::Serialize;

/// The activity of a client when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// No client is connected; shows the time of a bare stop
    Empty,
    /// Connected, and nothing sent
    Fresh,
    /// The connection waits between two requests
    Idle,
    /// The next request lies unread in the server's socket
    Unread,
    /// The first head is half sent
    HalfHead,
    /// The head of a second request is half sent
    HalfNextHead,
    /// The head and half of the body are sent
    HalfBody,
    /// The server works on the request
    Handler,
    /// A response without a known length is arriving
    Streaming,
    /// Three requests in one write; the server works on the first
    Pipelined,
    /// The request waits in the listener's backlog, not yet accepted
    Backlog,
    /// Sends the next request as soon as a response is complete
    Busy,
    /// Connects anew for each request
    Connecting,
}

/// A need of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The server keeps connections open after a response.
    KeepAlive,
    /// A path that takes time.
    Slow,
    /// A path that answers in pieces.
    Stream,
    /// A path that takes a body.
    Upload,
    /// The server may be frozen for a moment.
    Freeze,
}

impl State {
    /// Returns every state, in the order in which they are probed.
    pub(super) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Returns the name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Fresh => "fresh",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::HalfHead => "half-head",
            Self::HalfNextHead => "half-next-head",
            Self::HalfBody => "half-body",
            Self::Handler => "handler",
            Self::Streaming => "streaming",
            Self::Pipelined => "pipelined",
            Self::Backlog => "backlog",
            Self::Busy => "busy",
            Self::Connecting => "connecting",
        }
    }

    /// Returns what the client was doing, and why its fate matters.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Empty => "no client was connected; every deploy takes at least this long",
            Self::Fresh => {
                "browsers connect in advance and stay silent; that must not hold up the stop"
            }
            Self::Idle => {
                "the connection waited in a client's pool; a FIN tells the client to connect anew"
            }
            Self::Unread => {
                "the request was in the server's socket before the signal; a close without \
                 reading resets it"
            }
            Self::HalfHead => {
                "a slow client had begun a request; nothing tells the client not to send the rest"
            }
            Self::HalfNextHead => {
                "a request had begun on an idle connection; many servers still take it for idle"
            }
            Self::HalfBody => "an upload was under way; its client cannot know of the stop",
            Self::Handler => "the server was working; a lost response hides if the work was done",
            Self::Streaming => "a response was half sent; a cut makes the download fail",
            Self::Pipelined => {
                "the last response must say close, or the client cannot know the fate of the rest"
            }
            Self::Backlog => {
                "the kernel had accepted the connections; a listener that just closes resets \
                 them"
            }
            Self::Busy => {
                "the next request is always on its way; only `Connection: close` ends the \
                 connection without a loss"
            }
            Self::Connecting => {
                "the server must serve or refuse each new connection; never accept and drop it"
            }
        }
    }

    /// Returns what the state needs.
    pub(super) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Empty | Self::Fresh | Self::HalfHead | Self::Connecting => &[],
            Self::Idle | Self::HalfNextHead | Self::Busy => &[Need::KeepAlive],
            Self::Unread => &[Need::KeepAlive, Need::Freeze],
            Self::HalfBody => &[Need::Upload],
            Self::Handler => &[Need::Slow],
            Self::Streaming => &[Need::Stream],
            Self::Pipelined => &[Need::KeepAlive, Need::Slow],
            Self::Backlog => &[Need::Freeze],
        }
    }

    /// Returns whether the server must be in the middle of its response.
    pub(super) const fn takes_time(self) -> bool {
        matches!(self, Self::Handler | Self::Streaming | Self::Pipelined)
    }

    /// Returns whether the server is frozen for the state.
    pub(super) fn needs_freeze(self) -> bool {
        self.needs().contains(&Need::Freeze)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_flag_and_of_the_json() {
        for state in State::all() {
            let value = state.to_possible_value().unwrap();
            assert_eq!(value.get_name(), state.name());
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
    }
}
