//! WebSocket (RFC 6455) as a [`Tunnel`](crate::Tunnel): served in the loop, nothing kept while idle.
//!
//! ```
//! use ebbtide::websocket::{Event, WebSocket};
//! use ebbtide::{Request, Response};
//!
//! let websocket = WebSocket::new();
//! let answer = move |request: &Request<'_>| match request.path() {
//!     "/ws" => websocket.accept(request, |event, outbox| match event {
//!         Event::Text(text) => outbox.text(text),
//!         Event::Binary(bytes) => outbox.binary(bytes),
//!         _ => {}
//!     }),
//!     _ => Response::text(404, "not here\n"),
//! };
//! # let _ = answer;
//! ```
//!
//! # What it does
//!
//! * The handshake: version 13 or 426, a key of 16 bytes or 400, the origin or 403 (by default a
//!   page may only connect to where it came from), the first subprotocol of the client's that the
//!   server has. While the server drains, 503: the client comes back to another one.
//! * Each message whole, text checked as it arrives; a message that came in one piece is given
//!   where it was read and unmasked. Limits on frames and messages; nothing is reserved because a
//!   header announces it.
//! * Pings when the peer has been silent, and an end when it does not answer.
//! * Close codes: 1002 for what breaks the protocol, 1007 for text that is no UTF-8, 1009 beyond a
//!   limit, 1011 when the thread that pushes panics.
//! * A drain: [`Event::Draining`], then a message that is half way may come to its end and be
//!   answered, then Close 1001; the peer's Close is waited for within a limit, then FIN.
//! * No extensions: compression is never agreed to, so clients that offer it go without.
//!
//! # Which crate reads the frames
//!
//! `soketto::base`, a codec for headers alone: bytes in, a header or an error out, no buffer and no
//! I/O; all there is to do between that and messages is here, because the state between two reads
//! is what a connection costs. Weighed against it:
//!
//! * `tungstenite` on an in-memory stream: the best known, but each connection keeps a read buffer
//!   of 128 KiB and a write buffer, and what it has read cannot be given out where it lies; its
//!   `protocol::frame` alone parses headers as well, but leaves the checks of control frames and
//!   reserved bits to its private parts. It is the client of our tests instead.
//! * `fastwebsockets`, `wtx`: own the stream and want an executor.
//! * `soketto` as a whole: the same; only its base is used here.
//! * `websocket-codec` (rust-websocket-lite): buffers whole messages for tokio's codecs.
//! * `websocket-sans-io`: the right shape, but one release and few users.
//!
//! Knows no sockets, no clock and no HTTP beyond the handshake.

mod decoder;
mod frame;
mod handshake;
mod outbox;
mod sender;
mod socket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::frame::Message;
pub use self::outbox::Outbox;
pub use self::sender::{SendError, Sender};

use self::handshake::Handshake;
use self::socket::Socket;
use crate::request::Request;
use crate::response::Response;

/// Close codes (RFC 6455 §7.4.1) that this side uses or a program may want to.
pub mod code {
    /// The purpose is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server goes down, or a browser leaves the page.
    pub const AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// A kind of data that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// Never sent: the peer's Close had no code.
    pub const NONE: u16 = 1005;
    /// Never sent: the connection ended without a Close.
    pub const ABNORMAL: u16 = 1006;
    /// Text that is no UTF-8.
    pub const INVALID: u16 = 1007;
    /// Against a rule of the application's.
    pub const POLICY: u16 = 1008;
    /// A message beyond the limit.
    pub const TOO_BIG: u16 = 1009;
    /// The server failed.
    pub const INTERNAL: u16 = 1011;
}

/// What happens on a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It is open.
    Open {
        /// The subprotocol that was agreed on.
        protocol: Option<&'a str>,
    },
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// The server drains: the last words. Close 1001 follows by itself.
    Draining,
    /// It has ended, and nothing can be sent any more. The last event, in any case.
    Closed {
        /// The code of the peer's Close; [`code::NONE`] where it had none, [`code::ABNORMAL`]
        /// where there was no Close.
        code: u16,
    },
}

/// How WebSockets are accepted and served: the settings for any number of them.
#[derive(Clone)]
pub struct WebSocket {
    settings: Arc<Settings>,
}

/// Whether a page from that origin may connect.
type Origin = Arc<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Clone)]
struct Settings {
    max_message: usize,
    max_frame: usize,
    ping: Duration,
    patience: Duration,
    closing: Duration,
    protocols: Vec<Box<str>>,
    /// None: the origin of the server itself.
    origin: Option<Origin>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Ample for what is sent as messages; whoever sends files raises it.
            max_message: 1 << 20,
            max_frame: 1 << 20,
            // Below the minute after which many proxies and address translators forget.
            ping: Duration::from_secs(25),
            patience: Duration::from_secs(15),
            // Twice this, and some time to spare, is within `Drain::tunnel_grace`.
            closing: Duration::from_secs(3),
            protocols: Vec::new(),
            origin: None,
        }
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        Self::new()
    }
}

impl WebSocket {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            settings: Arc::default(),
        }
    }

    /// The longest message, in bytes, in however many frames: 1 MiB. Beyond it Close 1009.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.set().max_message = bytes;
        self
    }

    /// The longest frame, in bytes: 1 MiB. Beyond it Close 1009.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.set().max_frame = bytes;
        self
    }

    /// How long a peer may be silent before it is sent a ping: 25 s. It is looked at that often,
    /// so that the ping comes after one to two times this long.
    #[must_use]
    pub fn ping(mut self, after: Duration) -> Self {
        self.set().ping = after;
        self
    }

    /// How long after a ping the peer may still be silent before the connection is ended: 15 s.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.set().patience = limit;
        self
    }

    /// How long the peer's Close is waited for after ours, and in a drain the rest of a message
    /// before that: 3 s each. Twice this should be below
    /// [`Drain::tunnel_grace`](crate::Drain::tunnel_grace).
    #[must_use]
    pub fn closing(mut self, limit: Duration) -> Self {
        self.set().closing = limit;
        self
    }

    /// The subprotocols that the server speaks; of those the client lists, the first that is one of
    /// these is taken. Where there is none the client is told of none, and decides. At most 255.
    #[must_use]
    pub fn protocols(mut self, names: &[&str]) -> Self {
        self.set().protocols = names
            .iter()
            .take(255)
            .map(|name| Box::from(*name))
            .collect();
        self
    }

    /// Which pages may connect, by their origin, `https://example.com` say: asked where there is an
    /// `Origin`, which browsers always send. By default a page's host must be the request's.
    /// Anything that is no browser can say what it likes.
    #[must_use]
    pub fn origin(mut self, may: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.set().origin = Some(Arc::new(may));
        self
    }

    /// Answers a request for a WebSocket: the 101, and `handler` is told what happens from then on;
    /// or why not (400, 403, 405, 426, 503). The handler runs on the loop's thread.
    pub fn accept<F>(&self, request: &Request<'_>, handler: F) -> Response
    where
        F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send + 'static,
    {
        match Handshake::check(request, &self.settings) {
            Ok(handshake) => {
                let settings = Arc::clone(&self.settings);
                let socket = Socket::new(handler, settings, handshake.protocol);
                handshake.answer(socket, &self.settings)
            }
            Err(refusal) => *refusal,
        }
    }

    fn set(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("max_message", &self.settings.max_message)
            .field("protocols", &self.settings.protocols)
            .finish_non_exhaustive()
    }
}
