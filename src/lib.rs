//! An HTTP/1.1 server on raw mio that knows what each of its sockets is doing, and so stops without
//! losing a request.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use ebbtide::{Response, Server};
//!
//! fn main() -> ExitCode {
//!     ebbtide::main(|| {
//!         Server::bind("127.0.0.1:8080")?.serve(|request| match request.path() {
//!             "/" => Response::text(200, "hello\n"),
//!             _ => Response::text(404, "not here\n"),
//!         })
//!     })
//! }
//! ```
//!
//! One thread runs one loop. SIGTERM or SIGINT starts the drain. [`Server::run`] returns its
//! [`Outcome`] once the last byte is delivered, and [`main`] turns the outcome into the exit code.
//!
//! # A drain
//!
//! | when | what |
//! |---|---|
//! | the signal | every head not yet sent says `Connection: close`, [`Request::draining`] is true, the readiness check fails |
//! | [`DrainPolicy::delay`], default 0 | the listener goes on accepting; a hook ([`Server::on_trigger`]) may prolong this |
//! | then, in one turn | the kernel refuses new handshakes, the loop accepts the backlog; each idle socket is read once more, and gets a FIN if nothing was there |
//! | 1 ms later | half-done handshakes are in; the listener closes |
//! | [`DrainPolicy::idle_grace`], 25 ms | a connection that was answered a moment ago may send its next request, whose response says close |
//! | [`DrainPolicy::head_timeout`], 2 s | heads that have begun are complete, or answered 408 |
//! | as long as it takes | uploads, handlers and responses finish; FIN, then [`DrainPolicy::linger`] for the peer's |
//! | the last acknowledgement | hooks, guards, the outcome |
//! | [`DrainPolicy::timeout`], 25 s | the rest is cut: 503 where no byte was sent, a reset in the middle of a body |
//!
//! # Features
//!
//! None is on by default.
//!
//! * `json`: `Outcome::to_json`, and `serde::Serialize` for [`Report`] and [`Status`].
//! * `tls`: TLS 1.2 and 1.3 with `Server::tls`, and the cryptography of ring, which needs a C compiler
//!   and no cmake.
//! * `rustls`: the same with your own provider of cryptography: the one that the process has
//!   installed, or that of your `rustls::ServerConfig`.
//! * `websocket`: `websocket::WebSocket`, on upgraded connections.
//! * `sim`: a simulated system with virtual time, in which the whole
//!   [`engine`](internals::engine) runs.
//!
//! With no feature the library depends on mio, httparse, slab, socket2, log, memchr, signal-hook and
//! nix. The command `ebbtide` is another package, `ebbtide-cli`. The library never exits the process,
//! installs no logger, and has no `unsafe`. Only [`Server::spawn`] and hooks start a thread.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | peer, client | the other end of a connection; a client where it speaks HTTP |
//! | head | the request line or status line, with the header fields |
//! | request, response | the messages of RFC 9112 |
//! | phase | what a connection waits for: [`Phases`] |
//! | idle | between requests, with nothing sent or received |
//! | turn | one round of the loop: wait, serve every event, obey the drain |
//! | drain | the orderly stop, from the first reason to the [`Outcome`] |
//! | delay | the time in which a server that drains still accepts |
//! | deadline | the end of [`DrainPolicy::timeout`], over the whole drain |
//! | cut | to end at once, with a 503 or a reset |
//! | late | a request whose first byte came after the draining began |
//! | linger | the wait for the peer's FIN after ours |
//! | grace | a time in which an idle connection or a tunnel may still end by itself |
//! | ticket | the right to answer one request from any thread |
//! | source | makes a body in pieces |
//! | sink | takes a body in pieces |
//! | pipe | a bounded source that another thread fills |
//! | tunnel | a connection after an upgrade |
//! | waker | has the loop call a source, sink or tunnel again |
//! | guard | holds the end of a drain |
//! | hook | runs at a station of a drain |
//! | tick | a moment in milliseconds, 32 bits |
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
//! [`h1`](internals::h1) turns bytes into events, and decisions into bytes.
//! [`tracker`](internals::tracker) knows which connections wait for what, and since when.
//! [`drain`](internals::drain) decides what stopping asks of the loop at a moment. None of the three
//! knows a socket or a clock.
//!
//! # For fuzzers and benchmarks
//!
//! [`internals`] has the parts. The protocol and the loop both run without a socket.
//!
//! * The parser: an [`h1::Codec`] takes bytes and returns
//!   [`h1::Event`]s. `examples/codec.rs` is a whole conversation.
//! * The server: an [`engine::Engine`] runs on a `sys::sim::Sim`, with the
//!   feature `sim`. Peers, faults, signals and time are a script.
//!   [`Engine::turn`](internals::engine::Engine::turn) runs one turn, and
//!   [`Engine::check`](internals::engine::Engine::check) asserts the invariants between two turns.
//!   `examples/simulated.rs` drains a server after eleven minutes that take no time.
//!
//! `fuzz/README.md` lists the fuzz targets, and says how to add one.
//!
//! # Decisions worth knowing
//!
//! * **Delivered means acknowledged.** A FIN of the peer that crosses ours is no receipt. Before the
//!   process exits, the loop asks the kernel whether everything was acknowledged (`sock_diag` on
//!   Linux). Where the system cannot tell, the peer's FIN or the end of the linger counts.
//! * **Reading after our FIN** has a bound of time, and of 16 MiB. A real upload can so be refused
//!   without a reset that destroys the response.
//! * **Refusing a request with an announced body** closes the connection after the response (RFC 9112
//!   §9.6).
//! * **A second signal during the delay** ends the delay; a signal during the drain cuts. Signals
//!   within 50 ms, and those of one batch, count as one.
//! * **A field that cannot be written** makes the response a 500, and a line in the log. No part of it
//!   is written, and nothing panics. [`Response::try_field`] is for values from outside.
//! * **Three parsers of a head agree.** A common head takes the fast path, eight bytes at a time.
//!   Another whole head goes to httparse. A head in pieces is scanned as it arrives. Debug builds
//!   compare them.
//! * **TLS wraps a system.** A byte counts as written when the kernel has its record, so limits,
//!   back-pressure and the drain are those of plain TCP. A connection with a part of a record or of a
//!   handshake ([`Sys::midway`](internals::sys::Sys::midway)) is not idle, and has the time of a head.
//! * **Bytes that begin like a head and are none**, such as a line end or an empty TLS record, have
//!   the time of a head from the first byte. They do not restart the idle time, so that no peer can
//!   hold a drain with them.
//! * **Durations** are at most five days, because moments have 32 bits.

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
#[cfg(not(without_internals))] // for .ci/api
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
    Admit, Body, BodyContext, BodyWaker, Connection, DrainPolicy, End, Fill, Flow, Guard, Handle,
    Handler, LateRequests, Limits, Mistake, Outcome, Pending, Phases, Pipe, PipeError, PipeWriter,
    Progress, Reply, Report, Request, Response, SharedBytes, Sink, Source, Status, StatusQuery,
    Ticket, Timeouts, Trigger, Tunnel, TunnelAction, TunnelIo, Upgrade, main,
};
pub use engine::PROGRESS_LINE;
pub use error::Error;
pub use h1::{Framing, Head, Header};
pub use peer::Peer;
#[cfg(feature = "rustls")]
pub use rustls;
pub use server::{Running, Server};
pub use sys::file::read_file;
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
