//! What a handler returns.

use crate::app::response::Response;
use crate::app::ticket::Pending;

/// What a handler returns: a response, or that one comes later.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// This response.
    Now(Response),
    /// The response that the [`Ticket`](crate::Ticket) sends.
    Pending(Pending),
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Now(response)
    }
}

impl From<Pending> for Reply {
    fn from(pending: Pending) -> Self {
        Self::Pending(pending)
    }
}

/// For a handler that uses `?`: an error is a response, too.
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
