//! What a [`Codec`] reports about received bytes, and about the body of a response.

use super::head::Head;
#[cfg(doc)]
use super::{Codec, Framing};

/// A step of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'h, 'b> {
    /// The head of a request. With [`Framing::None`] the request is complete.
    Head(Head<'h, 'b>),
    /// A piece of the body; never empty.
    Body(&'b [u8]),
    /// The end of the body, after the last piece. Every request with a body has this event.
    End,
    /// More bytes are needed.
    NeedMore,
    /// The request is complete. Bytes behind it belong to the next request.
    Paused,
}

/// How to write the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// No body follows: the request is a HEAD, the status has no body (1xx, 204, 304) or the body
    /// has 0 bytes.
    None,
    /// As it is, in the announced length; [`Codec::sent`] counts the bytes.
    Length,
    /// Through [`Codec::chunk`], and then [`Codec::end`].
    Chunked,
    /// As it is, up to the connection's end, then [`Codec::end`]: HTTP/1.0 has no chunks.
    UntilClose,
}
