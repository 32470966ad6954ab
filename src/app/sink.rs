//! Uploads that are taken as they come.
//!
//! A sink holds the peer back by [`Flow::Pause`]: it is given nothing until it is woken, and the
//! kernel's window holds the peer. Knows no sockets.

use crate::app::reply::Reply;
use crate::app::request::Request;
use crate::app::response::Response;
use crate::app::waker::BodyContext;

/// Takes the body of a request, a piece at a time, and answers at its end.
///
/// A sink is dropped without a call of [`Sink::end`] when the peer leaves in the middle, or a limit
/// ends the upload.
#[doc(alias = "upload")]
#[doc(alias = "stream")]
pub trait Sink {
    /// Takes a piece, which is never empty.
    fn receive(&mut self, bytes: &[u8], context: &BodyContext<'_>) -> Flow;

    /// Answers, once the body is complete. The request's own body is empty here.
    fn end(&mut self, request: &Request<'_>) -> Reply;
}

/// What a [`Sink`] can take.
#[derive(Debug)]
#[non_exhaustive]
pub enum Flow {
    /// More.
    Continue,
    /// Nothing until [`BodyWaker::wake`](crate::BodyWaker::wake).
    Pause,
    /// Nothing more at all. The server sends this response, and closes the connection after it
    /// (RFC 9112 §9.6).
    Refuse(Response),
}
