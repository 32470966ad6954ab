//! What a peer can do wrong, and the status that answers it.
//!
//! Bytes never panic, and misuse of this crate never gets a 4xx: a [`RequestError`] is always the peer's.
//!
//! Knows nothing of how an answer is written.

use std::error::Error;
use std::fmt;

/// What the peer did wrong. After it nothing more of the connection is read as HTTP: where the
/// framing is in doubt, the next byte may be anybody's (RFC 9112, section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// A line of the head, or an empty line before it, ends in LF without CR. RFC 9112 (section
    /// 2.2) lets a recipient take it as a line end; two recipients that differ in this can be
    /// played against each other, so it is refused.
    BareLf,
    /// The head is no request line and fields: a character, a space or a colon is out of place, a
    /// field is folded, or more than two empty lines come first.
    Syntax,
    /// The target is none of the forms of RFC 9112, section 3.2, for this method, is not ASCII or
    /// has a fragment.
    Target,
    /// The method is CONNECT: this is no proxy.
    Connect,
    /// A well-formed version that is neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// No `Host` in HTTP/1.1, more than one in any version, or one that is not `uri-host[:port]`
    /// (RFC 9112, section 3.2).
    Host,
    /// The request line does not end within the bytes a head may have.
    TargetTooLong,
    /// The fields do not end within the bytes a head may have.
    HeadTooLarge,
    /// More fields than a head may have.
    TooManyFields,
    /// `Content-Length` is no number, or is there more than once, be it with the same value.
    Length,
    /// `Content-Length` is more than 64 bits can say. The status is also right for a body that is
    /// larger than somebody wants.
    BodyTooLarge,
    /// `Transfer-Encoding` beside `Content-Length`, or in HTTP/1.0: a smuggler's tools (RFC 9112,
    /// section 6.1).
    Framing,
    /// `Transfer-Encoding` is other than `chunked` once.
    Coding,
    /// `Expect` asks for something else than `100-continue`.
    Expectation,
    /// A chunk's size, extension or end, or a trailer line, is malformed.
    Chunk,
    /// The extensions and trailers of a body, and the zeros that make sizes longer than sixteen
    /// digits, are together more than [`chunk_extras`](super::Limits::chunk_extras) bytes.
    ChunkExtras,
}

impl RequestError {
    /// The status that answers it.
    pub const fn status(self) -> u16 {
        match self {
            Self::BareLf
            | Self::Syntax
            | Self::Target
            | Self::Host
            | Self::Length
            | Self::Framing
            | Self::Chunk => 400,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            // Trailers are fields, and a sender of extensions has nothing better to read.
            Self::HeadTooLarge | Self::TooManyFields | Self::ChunkExtras => 431,
            Self::Connect | Self::Coding => 501,
            Self::Version => 505,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLf => "a line ends in LF without CR",
            Self::Syntax => "malformed head",
            Self::Target => "malformed request target",
            Self::Connect => "CONNECT is not served",
            Self::Version => "HTTP version not supported",
            Self::Host => "missing, repeated or malformed Host",
            Self::TargetTooLong => "request line too long",
            Self::HeadTooLarge => "head too large",
            Self::TooManyFields => "too many fields",
            Self::Length => "repeated or malformed Content-Length",
            Self::BodyTooLarge => "body too large",
            Self::Framing => "Transfer-Encoding beside Content-Length or in HTTP/1.0",
            Self::Coding => "transfer coding not supported",
            Self::Expectation => "expectation not supported",
            Self::Chunk => "malformed chunked body",
            Self::ChunkExtras => "chunk extensions and trailers too large",
        })
    }
}

impl Error for RequestError {}
