//! What answers requests.
//!
//! A handler is a value that the loop owns: one thread calls it, so it counts with plain integers
//! and needs no lock. It returns its answer; the type system sees to it that there is one. Knows
//! no sockets.

use crate::app::later::Pending;
use crate::app::request::Request;
use crate::app::response::Response;
use crate::app::source::Sink;
use crate::h1::Head;

/// Answers requests. Closures from a request to anything that is a [`Reply`] are handlers.
///
/// A handler runs on the loop's thread: while it works nothing else is served. What takes long goes
/// to another thread, with a [`Ticket`](crate::Ticket). A panic is answered 500 and closes that
/// connection, not the server, unless the program is built with `panic = "abort"`.
///
/// A handler lives until the server has ended, hooks included, and what it owns does too: a
/// [`Guard`](crate::Guard) that it keeps for good holds every drain to its deadline.
pub trait Handler {
    /// Asked once for each head, before any of the body is taken: what to do with the body, or a
    /// refusal.
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        let _ = head;
        Admit::Take
    }

    /// Asked when the request is complete.
    fn handle(&mut self, request: &Request<'_>) -> Reply;
}

/// What to do with a request's body.
#[non_exhaustive]
pub enum Admit {
    /// Buffer it, up to the server's limit ([`Limits::body`](crate::Limits::body)).
    Take,
    /// Buffer it, up to that many bytes; beyond it the request is refused with 413.
    Buffer(u64),
    /// There should be none: 413 if there is one.
    NoBody,
    /// Give it to this, a piece at a time; it answers, and `handle` is not asked.
    Stream(Box<dyn Sink>),
    /// Do not take the request: this is the answer. Where a body was announced, the connection is
    /// closed after it.
    Refuse(Response),
}

impl std::fmt::Debug for Admit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Take => f.write_str("Take"),
            Self::Buffer(limit) => f.debug_tuple("Buffer").field(limit).finish(),
            Self::NoBody => f.write_str("NoBody"),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Refuse(response) => f.debug_tuple("Refuse").field(response).finish(),
        }
    }
}

/// A handler's answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// This.
    Now(Response),
    /// It comes by the ticket.
    Pending(Pending),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

impl From<Pending> for Reply {
    fn from(later: Pending) -> Self {
        Self::Pending(later)
    }
}

/// For a handler that uses `?`: what went wrong is an answer, too.
///
/// ```
/// use ebbtide::{Reply, Request, Response, Server};
///
/// fn square(request: &Request<'_>) -> Result<Response, Response> {
///     let bad = |_| Response::text(400, "a number, please\n");
///     let number: i32 = request.query().unwrap_or_default().parse().map_err(bad)?;
///     Ok(Response::text(200, format!("{}\n", i64::from(number).pow(2))))
/// }
/// # fn main() -> std::io::Result<()> {
/// let running = Server::bind("127.0.0.1:0")?.spawn(square)?;
/// # running.shutdown()?;
/// # Ok(())
/// # }
/// ```
impl<T: Into<Self>, E: Into<Self>> From<Result<T, E>> for Reply {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(reply) => reply.into(),
            Err(reply) => reply.into(),
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
