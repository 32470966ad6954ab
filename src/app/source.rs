//! Bodies in pieces: answers that are made as the peer takes them, and uploads that are taken as
//! they come.
//!
//! Back-pressure is the absence of a call: a [`Source`] is asked only when the socket has taken
//! what it had, and a [`Sink`] that says [`Flow::Pause`] is given nothing until it is woken, while
//! the kernel's window holds the peer. Knows no sockets.

use std::fmt;
use std::sync::Arc;

use crate::app::handler::Reply;
use crate::app::later::{BodyWaker, Handle};
use crate::app::request::Request;
use crate::app::response::Response;
use crate::h1;
use crate::tracker::ConnId;

/// Makes the body of an answer, a piece at a time.
pub trait Source: Send {
    /// Appends the next piece to `out`, which is empty: a few to some tens of KiB is best. Called
    /// when the peer has taken most of what came before, and once more when the server starts to
    /// drain.
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill;
}

/// What a [`Source`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fill {
    /// There is more: ask again when there is room. Who has nothing for now is
    /// [`Pending`](Self::Pending): a source that says this 64 times in a row and appends nothing
    /// has failed.
    More,
    /// These, behind what was appended, and maybe more: ask again when there is room.
    Share(SharedBytes),
    /// Nothing more for now: ask again after [`BodyWaker::wake`]. What was appended is sent at once.
    Pending,
    /// That was all.
    Done,
    /// The rest cannot be made. While no byte of the answer has left, a 500 takes its place; after
    /// that the connection is reset, so that the peer does not take what it has for the whole. A
    /// panic and an end before the announced length are the same.
    Failed,
}

/// Bytes that many answers send, and that are not copied for any: an event, to very many streams.
///
/// They are kept as the chunk that they are sent as, framed once for all.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedBytes(Arc<[u8]>);

impl SharedBytes {
    /// Copies bytes, for the last time.
    pub fn new(bytes: &[u8]) -> Self {
        let mut chunk = Vec::new();
        if !bytes.is_empty() {
            h1::write_chunk(&mut chunk, bytes); // an empty one would be the last
        }
        Self(chunk.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let line = self.0.iter().position(|byte| *byte == b'\n');
        line.map_or(&[], |end| &self.0[end + 1..self.0.len() - 2])
    }

    /// The bytes as a chunk of the chunked coding; nothing if there are none.
    pub(crate) fn chunk(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.bytes().len())
    }
}

/// Takes the body of a request, a piece at a time, and answers at its end.
///
/// Dropped without [`Sink::end`] when the peer leaves in the middle or a limit ends the upload.
pub trait Sink {
    /// Takes a piece, which is never empty.
    fn receive(&mut self, bytes: &[u8], context: &BodyContext<'_>) -> Flow;

    /// The body is complete: the answer. The request's own body is empty here.
    fn end(&mut self, request: &Request<'_>) -> Reply;
}

/// What a [`Sink`] can take.
#[derive(Debug)]
pub enum Flow {
    /// More.
    Continue,
    /// Nothing until [`BodyWaker::wake`].
    Pause,
    /// Nothing more at all: this is the answer, and the connection is closed after it.
    Refuse(Response),
}

/// What a source or a sink may know of its connection.
#[derive(Debug)]
pub struct BodyContext<'a> {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
    pub(crate) handle: &'a Handle,
}

impl BodyContext<'_> {
    /// Whether the server has been told to stop. A stream without an end should end now.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }

    /// What wakes this source or sink again, from any thread.
    pub fn waker(&self) -> BodyWaker {
        BodyWaker::new(self.id, self.nth, self.handle.clone())
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
