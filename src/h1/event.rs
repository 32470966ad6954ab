//! What a [`Codec`](super::Codec) says: of bytes that came, and of a response that begins.

use super::head::Head;
#[cfg(doc)]
use super::{Codec, Framing};

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'h, 'b> {
    /// The head of a request. If its framing is [`Framing::None`] the request is complete.
    Head(Head<'h, 'b>),
    /// A piece of the body; never empty.
    Body(&'b [u8]),
    /// The end of the body. Every request with a body has it, after the last piece.
    End,
    /// Nothing more can be said about these bytes without more behind them.
    NeedMore,
    /// The request was received in full: what follows belongs to the next.
    Paused,
}

/// How the body of a response is to be put out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// No body follows: the answer is to a HEAD, the status has none (1xx, 204, 304) or it has 0
    /// bytes.
    None,
    /// As it is, as many bytes as were announced; [`Codec::sent`] counts them.
    Length,
    /// Through [`Codec::chunk`], and then [`Codec::end`].
    Chunked,
    /// As it is, up to the connection's end, then [`Codec::end`]: HTTP/1.0 knows no chunks.
    UntilClose,
}
