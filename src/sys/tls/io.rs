//! One connection as the engine holds it, and how its records get to the socket.
//!
//! Knows a system to write to; no bytes in the clear.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroU64;

use super::session::Session;
use crate::sys::{Sys, retry};
use crate::tracker::ConnId;

/// A connection.
pub struct Io<I> {
    pub(super) inner: I,
    pub(super) id: ConnId,
    /// Its place in the queue of handshakes.
    pub(super) ticket: Option<NonZeroU64>,
    pub(super) state: State,
}

pub(super) enum State {
    /// Nothing was read yet, and nothing is kept.
    New,
    /// It speaks TLS, or is about to.
    Open(Box<Session>),
    /// It speaks HTTP, is told so, and heard no further.
    NotTls,
    /// We have written our last record, or given up. What comes is no longer decrypted.
    Closing(Box<Closing>),
}

#[derive(Default)]
pub(super) struct Closing {
    /// Records that the socket had no room for: our FIN comes behind them.
    pub(super) rest: Vec<u8>,
    /// Our FIN is sent.
    pub(super) finished: bool,
    /// Bytes of the close_notify, which nobody misses who has the answer.
    pub(super) notify: u32,
    /// The peer did not keep to the protocol, and has been told.
    pub(super) failed: bool,
}

impl Closing {
    /// Writes what is left, and then the FIN.
    pub(super) fn advance<S: Sys>(&mut self, sys: &mut S, io: &mut S::Io) -> io::Result<()> {
        if !self.rest.is_empty() {
            match send(sys, io, &self.rest) {
                Ok(sent) => drop(self.rest.drain(..sent)),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.rest.is_empty() && !self.finished {
            sys.finish(io)?;
            self.finished = true;
            self.rest = Vec::new();
        }
        Ok(())
    }
}

/// What one read of a socket gave.
pub(super) enum Received {
    /// Records, or parts of one, without bytes for the reader.
    Nothing,
    /// So many bytes, and whether there may be more without a further event.
    Bytes(usize, bool),
    /// The peer has said that it sends nothing more.
    End,
}

impl<I> Io<I> {
    /// Whether its handshake is not complete, or not begun.
    pub(super) fn is_handshaking(&self) -> bool {
        match &self.state {
            State::New => true,
            State::Open(session) => session.is_handshaking(),
            State::NotTls | State::Closing(_) => false,
        }
    }
}

/// Writes what a session has queued, as far as there is room.
pub(super) fn flush<S: Sys>(sys: &mut S, io: &mut S::Io, session: &mut Session) -> io::Result<()> {
    if session.queued() > 0 {
        match send(sys, io, session.queue_bytes()) {
            Ok(sent) => session.sent(sent),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes until everything is written or the socket says that it is full; returns how much was.
pub(super) fn send<S: Sys>(sys: &mut S, io: &mut S::Io, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match retry(|| sys.write(io, &[IoSlice::new(&bytes[sent..])])) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // What was taken is gone: the error comes again, by itself.
            Err(_) if sent > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl<I: fmt::Debug> fmt::Debug for Io<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::New => "new",
            State::Open(session) if session.is_handshaking() => "handshaking",
            State::Open(_) => "open",
            State::NotTls => "not TLS",
            State::Closing(_) => "closing",
        };
        f.debug_struct("Io")
            .field("inner", &self.inner)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
