//! Errors of requests, and the status for each.
//!
//! No bytes cause a panic, and misuse of this crate never causes a 4xx: a [`RequestError`] is
//! always the peer's.

use std::error::Error;
use std::fmt;

/// What is wrong with a request. The connection reads no more HTTP after it: with the framing in
/// doubt, the next byte may be an attacker's (RFC 9112, section 11.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestError {
    /// A line of the head, or an empty line before it, ends in LF without CR. RFC 9112 (section
    /// 2.2) allows a recipient to accept it. Recipients that differ in this enable smuggling.
    BareLf,
    /// A character, a space or a colon of the head is out of place, a field is folded, or more than
    /// two empty lines come first.
    Syntax,
    /// The target has no form of RFC 9112, section 3.2, for this method, is not ASCII or has a
    /// fragment.
    Target,
    /// The method is CONNECT, which is for proxies.
    Connect,
    /// The version is well-formed, but neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// `Host` is missing in HTTP/1.1, repeated in any version, or not `uri-host[:port]` (RFC 9112,
    /// section 3.2).
    Host,
    /// The request line is longer than a head may be.
    TargetTooLong,
    /// The fields do not end within the length a head may have.
    HeadTooLarge,
    /// The head has more fields than allowed.
    TooManyFields,
    /// `Content-Length` is not a number, or repeated, even with equal values.
    Length,
    /// `Content-Length` does not fit into 64 bits. Handlers may use the same status for a body that
    /// is too large.
    BodyTooLarge,
    /// `Transfer-Encoding` stands beside `Content-Length`, or in HTTP/1.0: means of smuggling (RFC
    /// 9112, section 6.1).
    Framing,
    /// `Transfer-Encoding` is not one `chunked`.
    Coding,
    /// `Expect` names an expectation other than `100-continue`.
    Expectation,
    /// The size, extension or end of a chunk, or a trailer line, is malformed.
    Chunk,
    /// The extensions and trailers of a body, with the digits of sizes beyond sixteen, exceed
    /// [`chunk_extras`](super::Limits::chunk_extras) bytes.
    ChunkExtras,
}

impl RequestError {
    /// Returns the status of the response.
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
            // Trailers are fields; no status fits extensions better.
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
