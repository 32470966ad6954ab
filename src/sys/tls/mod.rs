//! TLS as a system around another: rustls between the engine and the sockets.
//!
//! Two rules make a connection look like TCP to the engine. *Reading:* a read decrypts everything
//! at once into the caller's buffer, which is large enough, so no decrypted byte waits without an
//! event. Only a part of a record is kept, and [`Sys::midway`] reports it. *Writing:* a byte counts
//! as written when the kernel has its record. Until then the engine repeats the write with the same
//! bytes, as for any full socket.
//!
//! A handshake costs a hundred times a request, so a bounded number advances per turn. The others
//! wait in a queue, oldest first, and get an event in a later turn.
//!
//! An idle connection owns no buffer here, only what rustls keeps.

mod config;
mod handshakes;
mod io;
mod pem;
mod records;
mod session;

use std::fmt;
use std::io::{ErrorKind, IoSlice, Result};
use std::mem;
use std::sync::Arc;

pub use config::TlsConfig;
pub use io::Io;
pub use pem::Pem;

use self::handshakes::Handshakes;
use self::io::{Closing, Received, State, flush};
use self::session::MAX_PARTIAL;
use crate::peer::Peer;
use crate::sys::{AcceptError, Midway, Ready, Sys, Who};
use crate::tick::Tick;
use crate::tracker::ConnId;

/// A system whose connections speak TLS.
pub struct Tls<S> {
    inner: S,
    config: TlsConfig,
    /// Bytes read from a socket, behind the kept part of a record.
    cipher: Box<[u8]>,
    /// Several slices in one, to make the fewest records.
    plaintext: Vec<u8>,
    /// Records on their way to a socket.
    wire: Vec<u8>,
    handshakes: Handshakes,
    /// Connections that may have more to read without a further event.
    more: Vec<ConnId>,
}

impl<S: Sys> Tls<S> {
    /// Wraps a system: each of its connections speaks TLS.
    pub fn new(inner: S, config: TlsConfig) -> Self {
        Self {
            inner,
            config,
            cipher: vec![0; CIPHER].into_boxed_slice(),
            plaintext: Vec::new(),
            wire: Vec::new(),
            handshakes: Handshakes::default(),
            more: Vec::new(),
        }
    }

    /// Returns the system underneath, for tests that drive it.
    pub const fn inner(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Ends our side of a connection: its last record, and the FIN behind it. Every way out that is
    /// not a reset comes through here (RFC 5246 §7.2.1, RFC 8446 §6.1).
    fn end(&mut self, io: &mut Io<S::Io>) -> Result<()> {
        self.handshakes.forget(&mut io.ticket);
        let closing = match &mut io.state {
            State::NotTls => return self.inner.finish(&mut io.inner),
            State::New => Closing::default(), // a handshake that begins now is read out
            State::Open(session) => {
                self.wire.clear();
                session.last_record(&mut self.wire);
                session.queue(&self.wire);
                Closing {
                    rest: session.take_queue(),
                    notify: self.wire.len() as u32, // an alert, of about 24 bytes
                    ..Closing::default()
                }
            }
            State::Closing(closing) => return closing.advance(&mut self.inner, &mut io.inner),
        };
        let mut closing = Box::new(closing);
        let advanced = closing.advance(&mut self.inner, &mut io.inner);
        io.state = State::Closing(closing);
        advanced
    }
}

impl<S: Sys> Sys for Tls<S> {
    type Io = Io<S::Io>;

    const SHORT_READ_DRAINS: bool = S::SHORT_READ_DRAINS;
    const SECURE: bool = true;

    fn now(&self) -> Tick {
        self.inner.now()
    }

    fn update_clock(&mut self) -> Tick {
        self.inner.update_clock()
    }

    fn unix_time(&self) -> u64 {
        self.inner.unix_time()
    }

    /// Marks a socket with room as readable too: a read advances a handshake or a close.
    fn wait(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) -> Result<bool> {
        let begun = events.len();
        events.extend(self.more.drain(..).map(readable));
        events.extend(self.handshakes.turn().map(readable));
        let at_once = events.len() > begun;
        let waited = self
            .inner
            .wait(if at_once { Some(0) } else { timeout }, events);
        for event in &mut events[begun..] {
            event.readable |= event.writable && matches!(event.who, Who::Conn(_));
        }
        waited
    }

    fn listeners(&self) -> usize {
        self.inner.listeners()
    }

    fn accept(&mut self, listener: usize) -> std::result::Result<(Self::Io, Peer), AcceptError> {
        let (inner, peer) = self.inner.accept(listener)?;
        let io = Io {
            inner,
            id: ConnId::from_bits(u64::MAX), // no connection's, until `register`
            ticket: None,
            state: State::New,
        };
        Ok((io, peer))
    }

    fn register(&mut self, io: &mut Self::Io, id: ConnId) -> Result<()> {
        io.id = id;
        self.inner.register(&mut io.inner, id)
    }

    /// # Errors
    ///
    /// Those of the system underneath. `InvalidData` for a peer that speaks HTTP without TLS, and
    /// can get a response. `ConnectionAborted` for a peer that violated the protocol, and was sent
    /// an alert. `InvalidInput` for a buffer of less than 64 KiB.
    fn read(&mut self, io: &mut Self::Io, buf: &mut [u8]) -> Result<usize> {
        match &mut io.state {
            State::NotTls => return self.inner.read(&mut io.inner, buf),
            State::Closing(closing) => {
                closing.advance(&mut self.inner, &mut io.inner)?;
                return self.inner.read(&mut io.inner, buf);
            }
            State::Open(session) => {
                flush(&mut self.inner, &mut io.inner, session)?;
                if session.is_closed() {
                    return Ok(0);
                }
                if session.is_clogged() {
                    return Err(ErrorKind::WouldBlock.into()); // room brings an event
                }
            }
            State::New => {}
        }
        if buf.len() < 2 * MAX_PARTIAL {
            return Err(ErrorKind::InvalidInput.into());
        }
        if io.is_handshaking() && !self.handshakes.may_advance(io.id, &mut io.ticket) {
            return Err(ErrorKind::WouldBlock.into());
        }
        for _ in 0..READS {
            match self.receive(io, buf)? {
                Received::End => return Ok(0),
                // The socket may hold the peer's FIN, which brings no further event: read on until
                // it would block.
                Received::Nothing => {}
                Received::Bytes(n, more) => {
                    if more {
                        self.more.push(io.id);
                    }
                    return Ok(n);
                }
            }
        }
        self.more.push(io.id);
        Err(ErrorKind::WouldBlock.into())
    }

    /// Encrypts and writes. Until a call returns a number, further calls must pass the same bytes,
    /// or more behind them.
    fn write(&mut self, io: &mut Self::Io, bufs: &[IoSlice<'_>]) -> Result<usize> {
        // Taken out: the call below borrows all of `self`.
        let mut session = match mem::replace(&mut io.state, State::New) {
            State::Open(session) if !session.is_handshaking() => session,
            State::NotTls => {
                io.state = State::NotTls;
                return self.inner.write(&mut io.inner, bufs);
            }
            other => {
                io.state = other;
                return Err(ErrorKind::NotConnected.into());
            }
        };
        let written = self.write_records(io, &mut session, bufs);
        io.state = State::Open(session);
        written
    }

    /// Returns whether a handshake or a record is incomplete, or waits for its turn.
    fn midway(&self, io: &Self::Io) -> Midway {
        match &io.state {
            State::New if io.ticket.is_some() => Midway::Handshake,
            State::Open(session) if session.is_handshaking() => Midway::Handshake,
            State::Open(session) if !session.partial().is_empty() => Midway::Record,
            _ => Midway::Nothing,
        }
    }

    /// Sends close_notify, then FIN. The FIN waits until the socket has room for close_notify.
    fn finish(&mut self, io: &mut Self::Io) -> Result<()> {
        self.end(io)
    }

    fn unacknowledged(&mut self, io: &Self::Io) -> Option<u32> {
        let owed = self.inner.unacknowledged(&io.inner)?;
        Some(match &io.state {
            State::New | State::NotTls => owed,
            State::Open(session) => owed.saturating_add(session.queued() as u32),
            State::Closing(closing) => {
                let unsent = closing.rest.len() as u32 + u32::from(!closing.finished);
                let owed = owed.saturating_add(unsent);
                // The FIN stands for both close_notify and FIN.
                owed.saturating_sub(closing.notify).max(owed.min(1))
            }
        })
    }

    /// Sends what [`Sys::finish`] sends, unless it was sent.
    fn close(&mut self, mut io: Self::Io) {
        self.handshakes.forget(&mut io.ticket);
        let unread = match &io.state {
            State::Open(_) => true,
            State::Closing(closing) => closing.failed,
            State::New | State::NotTls => false,
        };
        if matches!(io.state, State::Open(_) | State::Closing(_)) {
            let _ = self.end(&mut io); // a peer that is gone cannot be told
        }
        if unread {
            // Unread bytes would turn the close into a reset, which destroys the last record.
            for _ in 0..READS {
                if !matches!(self.inner.read(&mut io.inner, &mut self.cipher), Ok(1..)) {
                    break;
                }
            }
        }
        self.inner.close(io.inner);
    }

    /// Resets without close_notify: a cut response looks incomplete on both layers.
    fn abort(&mut self, mut io: Self::Io) {
        self.handshakes.forget(&mut io.ticket);
        self.inner.abort(io.inner);
    }

    fn stop_handshakes(&mut self) -> bool {
        self.inner.stop_handshakes()
    }

    fn stop_listening(&mut self) {
        self.inner.stop_listening();
    }

    fn signals(&mut self, numbers: &mut Vec<i32>) {
        self.inner.signals(numbers);
    }

    fn signal_name(number: i32) -> String {
        S::signal_name(number)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.inner.waker()
    }
}

const fn readable(id: ConnId) -> Ready {
    Ready {
        who: Who::Conn(id),
        readable: true,
        writable: false,
        read_closed: false,
        gone: false,
    }
}

impl<S: fmt::Debug> fmt::Debug for Tls<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("inner", &self.inner)
            .field("handshakes", &self.handshakes)
            .finish_non_exhaustive()
    }
}

/// The buffer for reads, in bytes: as long as the engine's, so one read fits into the other.
const CIPHER: usize = 64 * 1024;

/// Reads of the socket in one call without bytes for the reader, as in a handshake.
const READS: u32 = 8;

#[cfg(all(test, feature = "tls"))]
mod tests {
    use rustls::ServerConfig;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::records::WRITE;
    use super::session::{MAX_QUEUE, Session};
    use super::*;
    use crate::sys::sim::{Manner, Pace, Setup, Sim};

    /// Returns the result of a read behind this number of bytes that the peer does not take.
    fn read_behind(queued: usize) -> Result<usize> {
        let config =
            ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .expect("the versions")
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let mut sim = Sim::new(Setup {
            manner: Manner {
                takes: Pace::Never,
                window: 10,
                ..Manner::default()
            },
            ..Setup::default()
        });
        let peer = sim.connect(0);
        sim.send(peer, "no record");
        let mut tls = Tls::new(sim, TlsConfig::new(config).expect("a configuration"));
        let (mut io, _) = tls.accept(0).expect("a connection");
        let mut session = Box::new(Session::new(tls.config.current()).expect("a session"));
        session.queue(&vec![0; 10 + queued]); // ten have room
        io.state = State::Open(session);
        tls.read(&mut io, &mut vec![0; CIPHER])
    }

    #[test]
    fn a_peer_that_takes_nothing_is_read_behind_one_write_and_not_for_ever() {
        for (queued, expected) in [
            (0, ErrorKind::ConnectionAborted),
            (WRITE + 4_000, ErrorKind::ConnectionAborted),
            (MAX_QUEUE + 1, ErrorKind::WouldBlock),
        ] {
            let error = read_behind(queued).expect_err("no record was sent");
            assert_eq!(error.kind(), expected, "{queued}");
        }
    }
}
