//! The system under the engine: sockets, signals, a clock and a wait.
//!
//! The engine is generic over [`Sys`], so a turn is a function of the system's results: `real` asks
//! the kernel through mio, `sim` a table with virtual time. The system does the I/O on handles
//! (`Io`): a handle can be four bytes, and TLS can keep its buffers there.
//!
//! Connections have their [`ConnId`]. No HTTP.

mod delivered;
mod errno;
pub mod file;
pub mod listen;
pub mod real;
mod retry;
pub mod signals;
#[cfg(feature = "rustls")]
pub mod tls;
mod unix;

use std::io::{self, IoSlice};
use std::sync::Arc;

pub(crate) use self::retry::retry;
use crate::peer::Peer;
use crate::tick::Tick;
use crate::tracker::ConnId;

#[cfg(any(test, fuzzing, feature = "sim"))]
pub mod sim;

/// The subject of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A listening socket, by its position. There may be connections to accept.
    Listener(usize),
    /// Another thread posted a message.
    Inbox,
    /// A signal arrived: [`Sys::signals`] returns which.
    Signal,
    /// A connection.
    Conn(ConnId),
}

/// An event. Edge-triggered: each comes once, and says what *may* be possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The subject.
    pub who: Who,
    /// There may be bytes to read.
    pub readable: bool,
    /// There may be room to write. After [`Sys::finish`], the peer may have acknowledged our FIN.
    pub writable: bool,
    /// The peer has sent its FIN, or the connection is gone: a read returns 0 or an error.
    pub read_closed: bool,
    /// The connection is broken in both directions: no write will arrive.
    pub gone: bool,
}

impl Ready {
    /// Returns the event that says nothing new about `who`.
    pub const fn nothing_new(who: Who) -> Self {
        Self {
            who,
            readable: false,
            writable: false,
            read_closed: false,
            gone: false,
        }
    }
}

/// What a peer has begun to send, without bytes for a read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midway {
    /// Nothing.
    Nothing,
    /// A handshake, which has begun to arrive or waits for its turn.
    Handshake,
    /// A part of a record.
    Record,
}

/// The reason why an accept returned no connection.
#[derive(Debug)]
pub enum AcceptError {
    /// The backlog is empty. An event comes with the next connection.
    Empty,
    /// Descriptors or memory are used up. The connection stays in the backlog, and **no event
    /// comes**: try again after a close, or after a while.
    Exhausted(io::Error),
    /// One connection failed before it was accepted; the next may succeed.
    Failed(io::Error),
    /// The listener is closed or broken for good.
    Closed(io::Error),
}

/// The system under the engine.
///
/// Reads and writes never block: they return [`io::ErrorKind::WouldBlock`]. They may return
/// [`io::ErrorKind::Interrupted`], and move fewer bytes than asked for.
pub trait Sys {
    /// The handle of a connection.
    type Io;

    /// Whether a short read proves that no more bytes are there, which saves the read that would
    /// block. True for epoll and kqueue, except after an event with `read_closed`.
    const SHORT_READ_DRAINS: bool;

    /// Whether the connections speak TLS.
    const SECURE: bool = false;

    /// Returns the loop's time as of the last wait or [`update_clock`](Self::update_clock). Cheap.
    fn now(&self) -> Tick;

    /// Reads the clock. Returns the new time.
    fn update_clock(&mut self) -> Tick;

    /// Returns the seconds since 1970, for the `Date` field.
    fn unix_time(&self) -> u64;

    /// Waits for events, at most `timeout` milliseconds (`None`: no limit), and adds them to
    /// `events`. Returns whether every pending event was delivered: the size of a batch is bounded.
    /// May return early without events.
    ///
    /// # Errors
    ///
    /// The selector's, after which the loop cannot go on.
    fn wait(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) -> io::Result<bool>;

    /// Returns the number of listeners: [`Who::Listener`] counts from 0.
    fn listeners(&self) -> usize;

    /// Takes one connection from a listener's backlog.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`].
    fn accept(&mut self, listener: usize) -> Result<(Self::Io, Peer), AcceptError>;

    /// Registers a connection for all its events, once for its whole life. The first event reports
    /// what happened before.
    ///
    /// # Errors
    ///
    /// The selector's: memory or watches are used up.
    fn register(&mut self, io: &mut Self::Io, id: ConnId) -> io::Result<()>;

    /// Reads available bytes; `Ok(0)` is the peer's FIN.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, those of a broken connection, and `InvalidData` for a peer of
    /// another protocol that can still get a response: `buf` has its bytes, and a 0 behind them.
    fn read(&mut self, io: &mut Self::Io, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes the slices in order, as far as there is room. After `WouldBlock` or `Interrupted` the
    /// next write must begin with the same bytes.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, and those of a broken connection.
    fn write(&mut self, io: &mut Self::Io, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns what the peer has begun to send, without bytes for a read yet. A connection midway
    /// in something is not idle.
    fn midway(&self, io: &Self::Io) -> Midway {
        let _ = io;
        Midway::Nothing
    }

    /// Sends our FIN, behind the last byte.
    ///
    /// # Errors
    ///
    /// `NotConnected` for a broken connection.
    fn finish(&mut self, io: &mut Self::Io) -> io::Result<()>;

    /// Returns the number of unacknowledged bytes, our FIN counted as one; `None` if the system
    /// cannot tell. After [`Sys::finish`], `Some(0)` proves that everything arrived.
    fn unacknowledged(&mut self, io: &Self::Io) -> Option<u32>;

    /// Closes a connection. The kernel goes on delivering written bytes, unless some are unread.
    fn close(&mut self, io: Self::Io);

    /// Closes with a reset, so a truncated response cannot look complete.
    fn abort(&mut self, io: Self::Io);

    /// Turns new handshakes away, but lets those under way complete. Returns whether the system can
    /// do that. If so, [`Sys::stop_listening`] a moment later resets no connection.
    fn stop_handshakes(&mut self) -> bool;

    /// Closes the listeners, which resets connections in a backlog.
    fn stop_listening(&mut self);

    /// Adds the numbers of the signals since the last call, each at most once.
    fn signals(&mut self, numbers: &mut Vec<i32>);

    /// Returns the name of a signal: `SIGTERM`.
    fn signal_name(number: i32) -> String {
        format!("signal {number}")
    }

    /// Returns a function for other threads that ends a wait, with an event for [`Who::Inbox`].
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;
}
