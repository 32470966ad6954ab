//! Bodies in pieces: answers that are made as the peer takes them, and uploads that are taken as
//! they come.
//!
//! Back-pressure is the absence of a call: a [`Source`] is asked only when the socket has taken
//! what it had, and a [`Sink`] that says [`Flow::Pause`] is given nothing until it is woken, while
//! the kernel's window holds the peer. Knows no sockets.

use crate::handler::Reply;
use crate::later::{Handle, Waker};
use crate::request::Request;
use crate::response::Response;
use crate::tracker::ConnId;

/// Makes the body of an answer, a piece at a time.
pub trait Source: Send {
    /// Appends the next piece to `out`, which is empty: a few to some tens of KiB is best. Called
    /// when the peer has taken most of what came before, and once more when the server starts to
    /// drain.
    fn fill(&mut self, out: &mut Vec<u8>, context: &Context<'_>) -> Fill;
}

/// What a [`Source`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// There is more: ask again when there is room.
    More,
    /// Nothing more for now: ask again after [`Waker::wake`]. What was appended is sent at once.
    Pending,
    /// That was all.
    Done,
    /// The rest cannot be made. The connection is reset, so that the peer does not take what it has
    /// for the whole.
    Failed,
}

/// Takes the body of a request, a piece at a time, and answers at its end.
///
/// Dropped without [`Sink::end`] when the peer leaves in the middle or a limit ends the upload.
pub trait Sink {
    /// Takes a piece, which is never empty.
    fn receive(&mut self, bytes: &[u8], context: &Context<'_>) -> Flow;

    /// The body is complete: the answer. The request's own body is empty here.
    fn end(&mut self, request: &Request<'_>) -> Reply;
}

/// What a [`Sink`] can take.
#[derive(Debug)]
pub enum Flow {
    /// More.
    Continue,
    /// Nothing until [`Waker::wake`].
    Pause,
    /// Nothing more at all: this is the answer, and the connection is closed after it.
    Refuse(Response),
}

/// What a source or a sink may know of its connection.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
    pub(crate) handle: &'a Handle,
}

impl Context<'_> {
    /// Whether the server has been told to stop. A stream without an end should end now.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }

    /// What wakes this source or sink again, from any thread.
    pub fn waker(&self) -> Waker {
        Waker::new(self.id, self.nth, self.handle.clone())
    }
}
