//! An HTTP/1.1 server on raw mio that always knows what each of its sockets is doing, and so stops
//! without losing a request.
//!
//! ```no_run
//! use ebbtide::{Response, Server};
//!
//! fn main() -> std::io::Result<()> {
//!     let server = Server::bind("127.0.0.1:8080")?;
//!     let outcome = server.serve(|request| match request.path() {
//!         "/" => Response::text(200, "hello\n"),
//!         _ => Response::text(404, "not here\n"),
//!     })?;
//!     std::process::exit(outcome.code())
//! }
//! ```
//!
//! One thread, one loop. SIGTERM or SIGINT starts the drain; [`Server::run`] returns its
//! [`Outcome`] the moment the last byte is delivered.
//!
//! # A drain
//!
//! | when | what |
//! |---|---|
//! | the signal | known before the requests of the same batch are answered: every head not yet sent says `Connection: close`, [`Request::draining`] is true, the readiness check fails |
//! | [`Drain::delay`], default 0 | the listener goes on accepting; a hook ([`Server::on_trigger`]) may hold this |
//! | then, in one turn | new handshakes are turned away, the backlog is accepted; idle sockets get one last non-blocking read, and FIN if there was nothing |
//! | 1 ms later | handshakes that were half way are in; the listener closes |
//! | [`Drain::idle_grace`], 25 ms | a connection that was answered a moment ago may send its next request, and is answered with close |
//! | [`Drain::head_timeout`], 2 s | heads that have begun are complete, or answered 408 |
//! | as long as it takes | uploads, handlers and answers finish; FIN, then [`Drain::linger`] for the peer's |
//! | the last acknowledgement | hooks, guards, the outcome |
//! | [`Drain::timeout`], 25 s | what is left is cut: 503 where nothing was sent, a reset where a body was in the middle |
//!
//! # Features
//!
//! * `cli` (default): the command, `ebbtide serve`, `ebbtide ctl` and `ebbtide probe`.
//! * `json`: `Outcome::to_json`, and `serde::Serialize` for [`Report`] and [`Status`].
//! * `tls` (default): TLS 1.2 and 1.3 by `Server::tls`, with the cryptography of ring, which needs a
//!   C compiler and no cmake.
//! * `rustls`: the same, with a provider of cryptography of your own: one that the process has
//!   installed, or that of the `rustls::ServerConfig` you give.
//! * `websocket` (default): `websocket::WebSocket`, on upgraded connections.
//! * `sim`: `sys::sim`, the world as a table with virtual time, in which the whole [`engine`] runs.
//!
//! A program needs the command as little as its dependencies: `default-features = false`, and what it
//! uses. Without any, the library depends on mio, httparse, slab, socket2, log, memchr, signal-hook and
//! signal-hook-mio only. It never exits the process, installs a logger, or starts a thread that
//! nobody asked for ([`Server::spawn`] and hooks ask for one each), and has no `unsafe`.
//!
//! # The map
//!
//! ```text
//! main ──► server ──► engine ──► sys (a trait) ◄── sys::real (mio), sys::sim (a table),
//!                       │                          sys::tls (rustls, around either)
//!       ┌───────────────┼───────────────┐
//!       ▼               ▼               ▼
//!      h1            tracker          drain
//! ```
//!
//! [`h1`] turns bytes into events and decisions into bytes; [`tracker`] knows which connections
//! wait for what, and since when; [`mod@drain`] says what stopping asks for at a moment. None of
//! the three knows a socket or a clock.
//!
//! # For fuzzers and benchmarks
//!
//! Both machines run without a socket, so that what is measured or broken is theirs alone.
//!
//! * The parser: feed bytes to an [`h1::Codec`], take [`h1::Event`]s, write answers into a `Vec`.
//!   `examples/codec.rs` is a whole conversation in fifty lines; see [`h1`].
//! * The server: an [`engine::Engine`] on a `sys::sim::Sim`, with the feature `sim`. Peers, faults,
//!   signals and time are a script; [`engine::Engine::turn`] is one turn of the loop, and
//!   [`engine::Engine::check`] asserts what must hold between two. `examples/simulated.rs` drains a
//!   server after eleven minutes that take no time; see the docs of `sys::sim`.
//!
//! `fuzz/README.md` says what the fuzz targets hold, and how to add one.
//!
//! # Decisions worth knowing
//!
//! * **Delivered means acknowledged.** A FIN of the peer that crosses ours is no receipt. Before
//!   the process exits, the kernel is asked whether everything was acknowledged (`sock_diag` on
//!   Linux; the acknowledgement of our FIN is an edge that the loop sees, so nothing is polled).
//!   Where the system cannot tell, the peer's FIN or the linger's end is taken.
//! * **What is read out after a FIN** is bounded by time, and by 16 MiB: an upload of the size
//!   people really send may be refused without a reset that destroys the answer.
//! * **A request that is refused with a body announced** closes its connection after the answer
//!   (RFC 9112 §9.6); nothing is read only to keep a connection that made a mistake.
//! * **A second signal during the notice** ends the notice; one during the drain cuts it. Signals
//!   that arrive in one batch are one.
//! * **A field that cannot be written** makes the answer a 500 and a line in the log. It is never
//!   written half, and nothing panics; [`Response::try_field`] is for values from outside.
//! * **The head's scan** is kept for heads that arrive in pieces; one that arrives whole goes
//!   straight to httparse, and its line ends are then checked. Both ways give the same answer for
//!   any cut. A whole head as nearly everybody sends it is parsed eight bytes at a time instead,
//!   which takes a part of what httparse takes and gives the same; debug builds compare.
//! * **TLS is a system around another.** Decrypted bytes are never left behind, and a byte counts as
//!   written when its record is with the kernel, so that limits, back-pressure and the drain are
//!   those of plain TCP. The engine asks one thing more: whether a record or a handshake has begun
//!   of which it has seen nothing ([`Sys::midway`](sys::Sys::midway)); such a connection is not
//!   idle, and has the time of a head.
//! * **What begins like a head and turns out to be none**, a line end in two pieces or a TLS record
//!   without data, has the time of a head from its first byte, and does not make the connection idle
//!   anew: such a peer would never be idle for long, and could hold a drain.
//! * **Limits** are at most five days, because moments are 32-bit milliseconds and the age of
//!   whoever waits without a limit is capped well below their wrap.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod config;
pub mod date;
pub mod drain;
pub mod engine;
pub mod error;
mod guard;
pub mod h1;
pub mod handler;
pub mod hooks;
pub mod later;
mod list;
pub mod peer;
pub mod pipe;
pub mod report;
pub mod request;
pub mod response;
pub mod server;
pub mod source;
pub mod sse;
pub mod status;
pub mod sys;
pub mod tick;
pub mod timeouts;
pub mod tracker;
pub mod trigger;
pub mod upgrade;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use config::{Drain, LateRequests, Limits, Timeouts};
pub use error::Error;
pub use h1::{Head, Header};
pub use handler::{Admit, Handler, Reply};
pub use later::{BodyWaker, Guard, Handle, Pending, Ticket};
pub use pipe::{Pipe, PipeError, PipeWriter};
pub use report::{End, Outcome, Report};
pub use request::Request;
pub use response::{Body, Mistake, Response};
#[cfg(feature = "rustls")]
pub use rustls;
pub use server::{Builder, Running, Server};
pub use source::{BodyContext, Fill, Flow, SharedBytes, Sink, Source};
pub use status::{Connection, Status, StatusQuery};
#[cfg(feature = "rustls")]
pub use sys::tls::{Pem, TlsConfig};
pub use trigger::Trigger;
pub use upgrade::{Tunnel, TunnelAction, TunnelIo, Upgrade};
