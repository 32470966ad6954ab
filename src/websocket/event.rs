//! The events of a WebSocket.

/// An event of a WebSocket, for its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The WebSocket is open.
    Open {
        /// The agreed subprotocol.
        protocol: Option<&'a str>,
    },
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// The server drains: the last chance to send. Close 1001 follows without a call.
    Draining,
    /// The WebSocket has ended: nothing can be sent, and no event follows.
    Closed {
        /// The code of the peer's Close: [`code::NONE`](super::code::NONE) for a Close without a
        /// code, [`code::ABNORMAL`](super::code::ABNORMAL) without a Close.
        code: u16,
    },
}
