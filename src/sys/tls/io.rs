//! The handle of a TLS connection, and writes of its records to the socket.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroU64;

use super::session::Session;
use crate::sys::{Sys, retry};
use crate::tracker::ConnId;

/// The handle of a TLS connection.
pub struct Io<I> {
    pub(super) inner: I,
    pub(super) id: ConnId,
    /// The place in the queue of handshakes.
    pub(super) ticket: Option<NonZeroU64>,
    pub(super) state: State,
}

pub(super) enum State {
    /// No byte was read, and nothing is stored.
    New,
    /// The connection speaks TLS, or begins to.
    Open(Box<Session>),
    /// The peer speaks HTTP: it gets a response in the clear.
    NotTls,
    /// We have written our last record, or failed. Further bytes are not decrypted.
    Closing(Box<Closing>),
}

#[derive(Default)]
pub(super) struct Closing {
    /// Records without room in the socket: our FIN comes behind them.
    pub(super) rest: Vec<u8>,
    /// We have sent our FIN.
    pub(super) finished: bool,
    /// Bytes of the close_notify, which a peer with the whole response does not miss.
    pub(super) notify: u32,
    /// The peer violated the protocol, and was sent an alert.
    pub(super) failed: bool,
}

impl Closing {
    /// Writes the rest, then the FIN.
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

/// The result of one read of the socket.
pub(super) enum Received {
    /// Records, or a part of one, without bytes for the reader.
    Nothing,
    /// Bytes for the reader, and whether more may be there without a further event.
    Bytes(usize, bool),
    /// The peer sends no more.
    End,
}

impl<I> Io<I> {
    /// Returns whether the handshake is incomplete.
    pub(super) fn is_handshaking(&self) -> bool {
        match &self.state {
            State::New => true,
            State::Open(session) => session.is_handshaking(),
            State::NotTls | State::Closing(_) => false,
        }
    }
}

/// Writes the queue of a session, as far as there is room.
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

/// Writes until everything is written or the socket is full. Returns the number of bytes.
pub(super) fn send<S: Sys>(sys: &mut S, io: &mut S::Io, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match retry(|| sys.write(io, &[IoSlice::new(&bytes[sent..])])) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // The caller must know of the written bytes; the error comes again.
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
