//! The states in which a signal can find a connection: their names and why they matter.

use clap::ValueEnum;
use serde::Serialize;

/// What a client is doing when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Nobody is connected: what a bare stop takes
    Empty,
    /// Connected, and nothing sent
    Fresh,
    /// Between two requests
    Idle,
    /// Its next request lies unread in the server's socket
    Unread,
    /// The first head is half sent
    HalfHead,
    /// The head of a second request is half sent
    HalfNextHead,
    /// The head and half of the body are sent
    HalfBody,
    /// The server works on its request
    Handler,
    /// An answer without a known length is arriving
    Streaming,
    /// Three requests in one write; the server works on the first
    Pipelined,
    /// Its request waits in the listener's backlog, not yet accepted
    Backlog,
    /// Asks again as soon as it is answered
    Busy,
    /// Connects anew for each request
    Connecting,
}

/// What a state needs to be made.
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
            Self::Empty => {
                "nobody was connected; what such a stop takes is the price of every deploy"
            }
            Self::Fresh => {
                "connected and silent, as browsers do in advance; it must not hold up the stop"
            }
            Self::Idle => {
                "between two requests in a client's pool; a FIN tells the client to connect anew"
            }
            Self::Unread => {
                "the request was in the server's socket before the signal; who closes without \
                 reading resets it"
            }
            Self::HalfHead => {
                "a slow client had begun; it will send the rest, and nothing else told it to stop"
            }
            Self::HalfNextHead => {
                "the same on a connection that was idle before; many servers still take it for idle"
            }
            Self::HalfBody => "an upload was under way; the client cannot know that it is in vain",
            Self::Handler => "the server was working; the work may have been done and nobody told",
            Self::Streaming => "an answer was half sent; cut, it is a download that fails",
            Self::Pipelined => {
                "the last answer must say close, or the client takes the rest for lost or done"
            }
            Self::Backlog => {
                "the kernel had accepted them for the server; a listener that just closes resets \
                 them"
            }
            Self::Busy => {
                "the next request is on its way when the server looks; only `Connection: close` \
                 ends it without a loss"
            }
            Self::Connecting => {
                "from one moment to the next a new connection must be served, or refused; never \
                 taken and dropped"
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
