//! A request as a handler sees it: borrowed from the bytes it came in.
//!
//! Nothing is owned and nothing copied; what a handler wants to keep it copies itself. Knows no
//! sockets.

use crate::app::handle::Handle;
use crate::app::ticket::{Pending, Ticket};
use crate::h1::{Head, Header};
use crate::peer::Peer;
use crate::tracker::ConnId;

/// A request.
#[derive(Debug)]
pub struct Request<'r> {
    pub(crate) head: &'r Head<'r, 'r>,
    pub(crate) body: &'r [u8],
    pub(crate) peer: Peer,
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
    pub(crate) handle: &'r Handle,
}

impl<'r> Request<'r> {
    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub const fn method(&self) -> &'r str {
        self.head.method
    }

    /// The request target as sent: origin-form, absolute-form, or `*` with OPTIONS.
    pub const fn target(&self) -> &'r str {
        self.head.target
    }

    /// The path of the target, as sent: percent codes are not decoded.
    pub fn path(&self) -> &'r str {
        self.head.path()
    }

    /// The query of the target, without its `?`.
    pub fn query(&self) -> Option<&'r str> {
        self.head.query()
    }

    /// The minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub const fn minor_version(&self) -> u8 {
        self.head.minor
    }

    /// The header fields, in the order they came.
    pub const fn fields(&self) -> &'r [Header<'r>] {
        self.head.fields
    }

    /// The value of the first field of that name, in any case.
    pub fn field(&self, name: &str) -> Option<&'r [u8]> {
        self.head.field(name)
    }

    /// The values of the fields of that name, in any case and in order: of several `Cookie` or
    /// `X-Forwarded-For`, say.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.head.fields_named(name)
    }

    /// The host that is asked for, with its port if it was given: of the target if that is a URI,
    /// else of `Host` (RFC 9112 §3.2.2). `None` only in HTTP/1.0.
    pub fn authority(&self) -> Option<&'r str> {
        self.head.authority()
    }

    /// The head, as [`Handler::admit`](crate::Handler::admit) has it.
    pub const fn head(&self) -> &'r Head<'r, 'r> {
        self.head
    }

    /// The body, where it was buffered: empty when there was none or a sink took it.
    pub const fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Returns the other end of the connection.
    #[doc(alias = "remote address")]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether the server has been told to stop. A readiness check answers 503 then.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }

    /// Answers later, from any thread: return the [`Pending`], and send the answer by the
    /// [`Ticket`].
    pub fn later(&self) -> (Pending, Ticket) {
        Ticket::pair(self.id, self.nth, self.handle)
    }

    /// The loop's handle, to stop the server or to ask whether it is stopping.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
