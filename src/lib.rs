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
//! None is on by default.
//!
//! * `json`: `Outcome::to_json`, and `serde::Serialize` for [`Report`] and [`Status`].
//! * `tls`: TLS 1.2 and 1.3 by `Server::tls`, with the cryptography of ring, which needs a
//!   C compiler and no cmake.
//! * `rustls`: the same, with a provider of cryptography of your own: one that the process has
//!   installed, or that of the `rustls::ServerConfig` you give.
//! * `websocket`: `websocket::WebSocket`, on upgraded connections.
//! * `sim`: `sys::sim`, the world as a table with virtual time, in which the whole [`engine`](internals::engine) runs.
//!
//! Without any, the library depends on mio, httparse, slab, socket2, log, memchr, signal-hook and
//! signal-hook-mio only. The command, `ebbtide serve`, is a package of its own, `ebbtide-cli`. The
//! library never exits the process, installs a logger, or starts a thread that
//! nobody asked for ([`Server::spawn`] and hooks ask for one each), and has no `unsafe`.
//!
//! # The map
//!
//! ```text
//!          server ──► engine ──► sys (a trait) ◄── sys::real (mio), sys::sim (a table),
//!                       │                          sys::tls (rustls, around either)
//!       ┌───────────────┼───────────────┐
//!       ▼               ▼               ▼
//!      h1            tracker          drain
//! ```
//!
//! [`h1`](internals::h1) turns bytes into events and decisions into bytes; [`tracker`](internals::tracker) knows which connections
//! wait for what, and since when; [`drain`](internals::drain) says what stopping asks for at a moment. None of
//! the three knows a socket or a clock.
//!
//! # For fuzzers and benchmarks
//!
//! Both machines run without a socket, so that what is measured or broken is theirs alone.
//!
//! * The parser: feed bytes to an [`h1::Codec`], take [`h1::Event`]s, write answers into a `Vec`.
//!   `examples/codec.rs` is a whole conversation in fifty lines; see [`h1`](internals::h1).
//! * The server: an [`engine::Engine`] on a `sys::sim::Sim`, with the feature `sim`. Peers, faults,
//!   signals and time are a script; [`engine::Engine::turn`](internals::engine::Engine::turn) is one turn of the loop, and
//!   [`engine::Engine::check`](internals::engine::Engine::check) asserts what must hold between two. `examples/simulated.rs` drains a
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
//!   of which it has seen nothing ([`Sys::midway`](internals::sys::Sys::midway)); such a connection is not
//!   idle, and has the time of a head.
//! * **What begins like a head and turns out to be none**, a line end in two pieces or a TLS record
//!   without data, has the time of a head from its first byte, and does not make the connection idle
//!   anew: such a peer would never be idle for long, and could hold a drain.
//! * **Limits** are at most five days, because moments are 32-bit milliseconds and the age of
//!   whoever waits without a limit is capped well below their wrap.

mod app;
mod date;
mod drain;
mod engine;
mod error;
mod h1;
mod list;
mod peer;
mod server;
pub mod sse;
mod sys;
mod tick;
mod timeouts;
mod tracker;
#[cfg(feature = "websocket")]
pub mod websocket;

/// The parts of the server, for fuzzers, benchmarks and tests on the simulator.
///
/// A program needs none of them, and any release may change them.
pub mod internals {
    /// The drain as a value, and the time that connections have in each phase.
    pub mod drain {
        pub use crate::drain::*;
        pub use crate::timeouts::*;
    }

    /// The loop, its settings and its mailbox.
    pub mod engine {
        pub use crate::app::{Config, Hooks, Inbox, Wake};
        pub use crate::engine::*;
    }

    /// The protocol: from bytes to events, and from decisions to bytes.
    pub mod h1 {
        pub use crate::h1::*;
    }

    /// The system below the loop; `sim`, with the feature of that name, is a simulated one.
    pub mod sys {
        pub use crate::sys::*;
    }

    /// Moments, in milliseconds.
    pub mod tick {
        pub use crate::tick::*;
    }

    /// Which connections wait for what, and since when.
    pub mod tracker {
        pub use crate::tracker::*;
    }
}

pub use app::{
    Admit, Body, BodyContext, BodyWaker, Connection, Drain, End, Fill, Flow, Guard, Handle,
    Handler, LateRequests, Limits, Mistake, Outcome, Pending, Phases, Pipe, PipeError, PipeWriter,
    Progress, Reply, Report, Request, Response, SharedBytes, Sink, Source, Status, StatusQuery,
    Ticket, Timeouts, Trigger, Tunnel, TunnelAction, TunnelIo, Upgrade, main,
};
pub use engine::PROGRESS_LINE;
pub use error::Error;
pub use h1::{Head, Header};
pub use peer::Peer;
#[cfg(feature = "rustls")]
pub use rustls;
pub use server::{Running, Server};
pub use sys::listen::{ListenOptions, Listener};
pub use sys::signals::Signals;
#[cfg(feature = "rustls")]
pub use sys::tls::{Pem, TlsConfig};

/// The Rust blocks of the pages are tests.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/library.md")]
    mod library {}
}
