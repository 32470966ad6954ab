//! What answers requests.
//!
//! The loop owns the handler and calls it from one thread, so a handler counts with plain integers
//! and needs no lock. Knows no sockets.

use std::fmt;

use crate::app::reply::Reply;
use crate::app::request::Request;
use crate::app::response::Response;
use crate::app::sink::Sink;
use crate::h1::Head;

/// Answers requests. A closure from a request to anything that becomes a [`Reply`] is a handler.
///
/// The loop serves nothing else while a handler works. Long work belongs on another thread, with a
/// [`Ticket`](crate::Ticket). A panic answers 500 and closes that connection, not the server, unless
/// the program is built with `panic = "abort"`.
///
/// A handler lives until the server has ended, hooks included, and so does what the handler owns: a
/// [`Guard`](crate::Guard) in it holds every drain to its deadline.
#[doc(alias = "middleware")]
#[doc(alias = "service")]
#[doc(alias = "router")]
pub trait Handler {
    /// Decides what becomes of the body, or refuses the request. The loop calls this once for each
    /// head, before it takes any of the body.
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        let _ = head;
        Admit::Take
    }

    /// Answers a complete request.
    fn handle(&mut self, request: &Request<'_>) -> Reply;
}

/// What to do with a request's body.
#[non_exhaustive]
pub enum Admit {
    /// Buffer the body, up to the server's limit ([`Limits::body`](crate::Limits::body)).
    Take,
    /// Buffer the body, up to this number of bytes. A longer one is refused with 413.
    Buffer(u64),
    /// Refuse any body with 413.
    NoBody,
    /// Give the body to this sink, a piece at a time. The sink answers, and [`Handler::handle`] is
    /// not called.
    Stream(Box<dyn Sink>),
    /// Refuse the request with this response. The connection closes after it where a body was
    /// announced (RFC 9112 §9.6).
    Refuse(Response),
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take => f.write_str("Take"),
            Self::Buffer(limit) => f.debug_tuple("Buffer").field(limit).finish(),
            Self::NoBody => f.write_str("NoBody"),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Refuse(response) => f.debug_tuple("Refuse").field(response).finish(),
        }
    }
}

/// For a handler that is chosen as the program runs.
impl Handler for Box<dyn Handler> {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        (**self).admit(head)
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        (**self).handle(request)
    }
}

/// The same, for [`Server::spawn`](crate::Server::spawn).
impl Handler for Box<dyn Handler + Send> {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        (**self).admit(head)
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        (**self).handle(request)
    }
}

impl<F, R> Handler for F
where
    F: FnMut(&Request<'_>) -> R,
    R: Into<Reply>,
{
    fn handle(&mut self, request: &Request<'_>) -> Reply {
        self(request).into()
    }
}
