//! WebSocket (RFC 6455) as a [`Tunnel`](crate::Tunnel): served in the loop, and without a buffer
//! while idle.
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
//! * Handshake: version 13 or 426, a key of 16 bytes or 400, the origin or 403. A page may only
//!   connect to its own host by default. The first of the client's subprotocols that the server
//!   speaks is agreed. A draining server refuses with 503, and the client finds another one.
//! * Messages: the handler gets each one whole, with text checked as it arrives. A message that
//!   arrives in one read is unmasked in place and never copied. Frames and messages have limits, and
//!   a header that announces a length reserves no memory.
//! * Pings after silence, and an end to a connection whose peer does not answer.
//! * Close codes: 1002 for a broken protocol, 1007 for text that is not UTF-8, 1009 beyond a limit.
//!   A panic of the thread that holds the [`Sender`] sends 1011.
//! * No extensions: clients that offer compression go without.
//!
//! # The drain
//!
//! Each WebSocket gets [`Event::Draining`], the last chance to send. A message that is half way may
//! still end and be answered. Close 1001 follows, the peer's Close is awaited, and FIN ends it.
//!
//! [`close_timeout`](WebSocket::close_timeout) (3 s) bounds each of the two waits: for the rest of
//! the message, and for the peer's Close. [`DrainPolicy::tunnel_grace`](crate::DrainPolicy::tunnel_grace) (10 s)
//! starts with [`Event::Draining`] and bounds both together. Keep twice `close_timeout` below
//! `tunnel_grace`: a peer that ignores the Close then gets a FIN, and the drain is clean. A shorter
//! grace ends the connection first, and the report counts a cut.
//!
//! # Why it reads frames itself
//!
//! The state between two reads is the cost of an idle connection, so the code from headers to
//! messages stands here in any case. A crate could only read the headers, which takes some hundred
//! lines, and a test compares every header with tungstenite's. These crates were weighed:
//!
//! * `soketto` has a codec for headers alone, and brings 24 other crates.
//! * `tungstenite` keeps a read buffer of 128 KiB for each connection and gives out copies. Its
//!   parser of headers leaves reserved bits, control frames and shortest lengths to private code.
//! * `fastwebsockets` and `wtx` own the stream and need an executor.
//! * `websocket-codec` buffers whole messages for tokio.
//! * `websocket-sans-io` has the right shape, one release and few users.
//!
//! Knows no sockets, no clock and no HTTP beyond the handshake.

mod accept;
pub mod code;
mod decoder;
mod event;
mod frame;
mod handshake;
mod header;
mod origin;
mod outbox;
mod sender;
mod settings;
mod socket;

pub use self::accept::WebSocket;
pub use self::event::Event;
pub use self::frame::Message;
pub use self::outbox::Outbox;
pub use self::sender::{SendError, Sender};
