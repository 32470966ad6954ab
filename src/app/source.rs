//! Response bodies that are made as the peer takes them.
//!
//! The loop calls a [`Source`] only when the socket has taken what came before: that is the
//! back-pressure. Knows no sockets.

use std::fmt;
use std::sync::Arc;

use crate::app::waker::BodyContext;
use crate::h1;

/// Makes the body of a response, a piece at a time.
#[doc(alias = "stream")]
#[doc(alias = "streaming")]
pub trait Source: Send {
    /// Appends the next piece to `out`, which is empty. Pieces of a few KiB to some tens of KiB are
    /// best. The loop calls this when the peer has taken most of what came before, and once more
    /// when the server starts to drain.
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill;
}

/// What a [`Source`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fill {
    /// More: the loop calls again when there is room. A source that has nothing for now returns
    /// [`Pending`](Self::Pending): one that returns `More` 64 times in a row and appends nothing has
    /// failed.
    More,
    /// These bytes, behind what was appended, and perhaps more: the loop calls again when there is
    /// room.
    Share(SharedBytes),
    /// Nothing more for now: the loop sends what was appended, and calls again after
    /// [`BodyWaker::wake`](crate::BodyWaker::wake).
    Pending,
    /// No more: the body is complete.
    Done,
    /// The rest cannot be made. A 500 replaces the response while no byte of it has left. After that
    /// the server resets the connection, so that the peer does not take a part for the whole. A
    /// panic, and an end before the announced length, count as `Failed`.
    Failed,
}

/// Bytes that many responses send and none copies: an event, to many thousand streams.
///
/// The bytes are kept as the chunk that is sent (RFC 9112 §7.1), framed once for all.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedBytes(Arc<[u8]>);

impl SharedBytes {
    /// Copies bytes, for the last time.
    pub fn new(bytes: &[u8]) -> Self {
        let mut chunk = Vec::new();
        if !bytes.is_empty() {
            h1::write_chunk(&mut chunk, bytes); // an empty chunk would end the body
        }
        Self(chunk.into())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        let line = self.0.iter().position(|byte| *byte == b'\n');
        line.map_or(&[], |end| &self.0[end + 1..self.0.len() - 2])
    }

    /// Returns the bytes as a chunk; nothing if there are none.
    pub(crate) fn chunk(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_are_a_chunk() {
        for (bytes, chunk) in [
            (&b""[..], &b""[..]),
            (b"a", b"1\r\na\r\n"),
            (b"\n\r\n", b"3\r\n\n\r\n\r\n"),
            (b"0123456789abcdef", b"10\r\n0123456789abcdef\r\n"),
        ] {
            let shared = SharedBytes::new(bytes);
            assert_eq!((shared.bytes(), shared.chunk()), (bytes, chunk));
        }
    }
}
