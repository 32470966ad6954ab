//! A request as a handler sees it: borrowed from the bytes that it came in.
//!
//! A handler copies what it keeps. Knows no sockets.

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
    /// Returns the method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub const fn method(&self) -> &'r str {
        self.head.method
    }

    /// Returns the request target as sent: origin-form, absolute-form, or `*` with OPTIONS (RFC
    /// 9112 §3.2).
    #[doc(alias = "uri")]
    #[doc(alias = "url")]
    pub const fn target(&self) -> &'r str {
        self.head.target
    }

    /// Returns the path of the target, as sent: percent codes are not decoded.
    pub fn path(&self) -> &'r str {
        self.head.path()
    }

    /// Returns the query of the target, without its `?`.
    #[doc(alias = "parameters")]
    pub fn query(&self) -> Option<&'r str> {
        self.head.query()
    }

    /// Returns the minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub const fn minor_version(&self) -> u8 {
        self.head.minor
    }

    /// Returns the header fields, in the order they came.
    #[doc(alias = "headers")]
    pub const fn fields(&self) -> &'r [Header<'r>] {
        self.head.fields
    }

    /// Returns the value of the first field of this name, in any case.
    #[doc(alias = "header")]
    pub fn field(&self, name: &str) -> Option<&'r [u8]> {
        self.head.field(name)
    }

    /// Returns the values of all fields of this name, in any case and in order: several `Cookie` or
    /// `X-Forwarded-For`.
    #[doc(alias = "headers")]
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.head.fields_named(name)
    }

    /// Returns the host that the request names, with its port if there is one: of the target if
    /// that is a URI, else of `Host` (RFC 9112 §3.2.2). `None` only in HTTP/1.0.
    #[doc(alias = "host")]
    pub fn authority(&self) -> Option<&'r str> {
        self.head.authority()
    }

    /// Returns the head, as [`Handler::admit`](crate::Handler::admit) gets it.
    pub const fn head(&self) -> &'r Head<'r, 'r> {
        self.head
    }

    /// Returns the buffered body: empty when there was none, or a sink took it.
    pub const fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Returns the other end of the connection.
    #[doc(alias = "remote address")]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Returns whether the server has been told to stop.
    #[doc(alias = "graceful")]
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }

    /// Starts a response that comes later: the handler returns the [`Pending`], and any thread
    /// sends the response with the [`Ticket`].
    #[doc(alias = "defer")]
    #[doc(alias = "async")]
    pub fn later(&self) -> (Pending, Ticket) {
        Ticket::pair(self.id, self.nth, self.handle)
    }

    /// Returns what reaches the loop, to stop the server or to ask for its status.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}
