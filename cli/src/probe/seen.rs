//! What one client saw: its phases, its end, and what became of its requests.

use serde::Serialize;

/// What became of a client's requests, without the one that only warmed the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) torn: u64,
    /// By a client that asks again and again: sent, and not a byte came back.
    pub(super) lost: u64,
}

/// What a client is doing, as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// The handshake.
    Connecting,
    /// Connected, and nothing is owed to it.
    Silent,
    /// A request is sent in part.
    Sending,
    /// A request is sent, and no byte of the answer is here.
    Waiting,
    /// An answer arrives.
    Answering,
    /// Asks again and again.
    Looping,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    Fin,
    Reset,
    /// It was never made.
    Refused,
    /// What came was no HTTP, and the client has left.
    Left,
}
