//! The observations of one client: its phases, its end, and the fate of its requests.

use serde::Serialize;

/// The fate of a client's requests, without the one that only warmed the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) torn: u64,
    /// Requests of a looping client that got no byte of a response.
    pub(super) lost: u64,
}

/// The phase of a client, as the timeline draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// The handshake.
    Connecting,
    /// Connected, and no request is open.
    Silent,
    /// A request is sent in part.
    Sending,
    /// A request is sent, and no byte of the response is here.
    Waiting,
    /// A response arrives.
    Answering,
    /// Asks again and again.
    Looping,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    Fin,
    Reset,
    /// The connection was never made.
    Refused,
    /// The server spoke no HTTP, and the client has left.
    Left,
}
