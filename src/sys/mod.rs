//! The world as the engine sees it: sockets, signals, a clock and a way to sleep.
//!
//! The engine is generic over [`Sys`], so that one turn of it is a function of what the system
//! answers: `real` asks the kernel through mio, `sim` asks a table with virtual time. The system
//! does the I/O on handles (`Io`), so that a handle can be four bytes, and so that TLS has a place
//! for its buffers.
//!
//! Knows connections by their [`ConnId`] and nothing of HTTP.

mod delivered;
mod errno;
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

/// Who an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A listening socket, by its position: there may be connections to accept.
    Listener(usize),
    /// Another thread posted a message.
    Inbox,
    /// A signal arrived: ask [`Sys::signals`] which.
    Signal,
    /// A connection.
    Conn(ConnId),
}

/// An event. Edge-triggered: each is told once, and says what *may* be possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Who it is about.
    pub who: Who,
    /// There may be bytes to read.
    pub readable: bool,
    /// There may be room to write; after [`Sys::finish`] it also says that the peer has
    /// acknowledged our FIN.
    pub writable: bool,
    /// The peer has sent its FIN (or the connection is gone): a read will give 0 or an error.
    pub read_closed: bool,
    /// The connection is broken in both directions: nothing that is written will arrive.
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

/// What a peer has begun, of which no read gives anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midway {
    /// Nothing.
    Nothing,
    /// A handshake: it has begun to arrive, or waits for its turn.
    Handshake,
    /// A record, of which a part has arrived.
    Record,
}

/// Why there was nothing to accept.
#[derive(Debug)]
pub enum AcceptError {
    /// The backlog is empty; an event will come when it is not.
    Empty,
    /// Out of descriptors or memory. The connection stays in the backlog, and **no event will
    /// come**: try again when something was closed, or after a while.
    Exhausted(io::Error),
    /// That one connection failed before it was accepted; the next may be fine.
    Failed(io::Error),
    /// The listener is closed or broken for good.
    Closed(io::Error),
}

/// The system under the engine.
///
/// Reads and writes never block: they answer [`io::ErrorKind::WouldBlock`]. They may answer
/// [`io::ErrorKind::Interrupted`], and may take or give less than was asked.
pub trait Sys {
    /// A handle of one connection.
    type Io;

    /// Whether a read that gives less than was asked means that there is nothing more, so that the
    /// read which would block can be saved. True of epoll and kqueue, unless the event said
    /// `read_closed`.
    const SHORT_READ_DRAINS: bool;

    /// The moment of the loop's clock when it was last looked at: in [`update_clock`](Self::update_clock), or as a
    /// wait returned. It stands still meanwhile, and is cheap to ask for.
    fn now(&self) -> Tick;

    /// Looks at the clock.
    fn update_clock(&mut self) -> Tick;

    /// Seconds since 1970, for the Date field.
    fn unix_time(&self) -> u64;

    /// Sleeps until something happens or `timeout` milliseconds from now are over (`None`: no
    /// limit), and adds what happened to `events`. May return early with nothing. Whether that is
    /// all there was: a batch holds only so many.
    ///
    /// # Errors
    ///
    /// Those of the system's own selector; the loop cannot go on after one.
    fn wait(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) -> io::Result<bool>;

    /// How many listeners there are: [`Who::Listener`] counts from 0 up to this.
    fn listeners(&self) -> usize;

    /// Takes one connection from a listener's backlog.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`].
    fn accept(&mut self, listener: usize) -> Result<(Self::Io, Peer), AcceptError>;

    /// Asks for every event of a connection from now on, once and for its whole life. The first
    /// event says what is already there.
    ///
    /// # Errors
    ///
    /// Those of the selector (out of memory or of watches).
    fn register(&mut self, io: &mut Self::Io, id: ConnId) -> io::Result<()>;

    /// Reads what is there; `Ok(0)` is the peer's FIN.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, `InvalidData` for a peer that does not speak what is spoken here
    /// and can be told so, and those of a broken connection.
    fn read(&mut self, io: &mut Self::Io, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes the slices in order, as far as there is room. After `WouldBlock` or `Interrupted` the
    /// next write begins with the same bytes.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, and those of a broken connection.
    fn write(&mut self, io: &mut Self::Io, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Whether the peer has begun something of which no read gives anything yet. Such a connection
    /// is not idle.
    fn midway(&self, io: &Self::Io) -> Midway {
        let _ = io;
        Midway::Nothing
    }

    /// Says that we have written our last byte: FIN.
    ///
    /// # Errors
    ///
    /// The connection is no longer connected.
    fn finish(&mut self, io: &mut Self::Io) -> io::Result<()>;

    /// How many bytes the peer has not acknowledged yet, the FIN counted as one; `None` where the
    /// system cannot tell. After [`Sys::finish`], `Some(0)` proves that everything arrived.
    fn unacknowledged(&mut self, io: &Self::Io) -> Option<u32>;

    /// Closes; the kernel goes on delivering what was written, unless bytes are left unread.
    fn close(&mut self, io: Self::Io);

    /// Closes with a reset, so that a truncated answer cannot look complete.
    fn abort(&mut self, io: Self::Io);

    /// Turns new handshakes away while those half way may complete, and says whether the system
    /// can do that. If so, [`Sys::stop_listening`] a moment later resets nobody.
    fn stop_handshakes(&mut self) -> bool;

    /// Closes the listeners. Whoever is still in a backlog is reset.
    fn stop_listening(&mut self);

    /// Adds the numbers of the signals that came since the last call, each at most once.
    fn signals(&mut self, numbers: &mut Vec<i32>);

    /// What people call a signal: `SIGTERM`.
    fn signal_name(number: i32) -> String {
        format!("signal {number}")
    }

    /// What another thread calls to end a wait: it brings an event for [`Who::Inbox`].
    fn waker(&self) -> Arc<dyn Fn() + Send + Sync>;
}
