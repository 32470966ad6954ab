//! Records of a connection: read and decrypted, encrypted and written.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::ops::Range;

use super::Tls;
use super::io::{Closing, Io, Received, State, flush, is_passing, send};
use super::session::Session;
use crate::sys::{Sys, retry};

impl<S: Sys> Tls<S> {
    /// Reads the socket once and decrypts.
    pub(super) fn receive(&mut self, io: &mut Io<S::Io>, buf: &mut [u8]) -> Result<Received> {
        let kept = match &io.state {
            State::Open(session) => session.partial(),
            _ => &[],
        };
        let start = kept.len();
        self.cipher[..start].copy_from_slice(kept);
        // Decryption never lengthens, so everything fits into `buf`.
        let room = self.cipher.len().min(buf.len());
        let n = self.read_inner(&mut io.inner, start..room)?;
        if n == 0 {
            return Ok(Received::End);
        }
        let full = n == room - start;
        let records = &mut self.cipher[..start + n];
        if let State::New = io.state {
            if speaks_http(records) {
                io.state = State::NotTls;
                buf[..n].copy_from_slice(records);
                if let Some(end) = buf.get_mut(n) {
                    *end = 0; // what stands there is of an earlier read
                }
                return Err(Error::new(ErrorKind::InvalidData, WRONG_PORT));
            }
            let session = Session::new(self.config.current()).map_err(Error::other)?;
            io.state = State::Open(Box::new(session));
        }
        let State::Open(session) = &mut io.state else {
            return Ok(Received::End);
        };
        if session.is_handshaking() {
            self.handshakes.advanced();
        }
        self.wire.clear();
        match session.receive(records, buf, &mut self.wire) {
            Ok(given) => {
                session.queue(&self.wire);
                flush(&mut self.inner, &mut io.inner, session)?;
                Ok(match given {
                    0 if session.is_closed() => Received::End,
                    0 => Received::Nothing,
                    given => Received::Bytes(given, full || session.is_closed()),
                })
            }
            Err(error) => {
                log::debug!("TLS: {error}");
                session.queue(&self.wire); // the alert
                let rest = session.take_queue();
                let mut closing = Closing {
                    rest,
                    failed: true,
                    ..Closing::default()
                };
                // A peer that is gone or takes nothing misses the alert.
                let _ = closing.advance(&mut self.inner, &mut io.inner);
                io.state = State::Closing(Box::new(closing));
                Err(Error::new(ErrorKind::ConnectionAborted, error))
            }
        }
    }

    /// Reads the socket into a part of the buffer.
    fn read_inner(&mut self, io: &mut S::Io, into: Range<usize>) -> Result<usize> {
        retry(|| self.inner.read(io, &mut self.cipher[into.clone()]))
    }

    /// Encrypts slices into `wire`, behind messages of the session itself. Returns the number of
    /// bytes taken from the slices.
    fn encrypt(&mut self, session: &mut Session, bufs: &[IoSlice<'_>]) -> Result<usize> {
        self.wire.clear();
        if let [buf] = bufs {
            let taken = &buf[..buf.len().min(WRITE)];
            return session.encrypt(taken, &mut self.wire);
        }
        self.plaintext.clear();
        for buf in bufs {
            let room = WRITE - self.plaintext.len();
            self.plaintext
                .extend_from_slice(&buf[..buf.len().min(room)]);
        }
        session.encrypt(&self.plaintext, &mut self.wire)
    }

    pub(super) fn write_records(
        &mut self,
        io: &mut Io<S::Io>,
        session: &mut Session,
        bufs: &[IoSlice<'_>],
    ) -> Result<usize> {
        flush(&mut self.inner, &mut io.inner, session)?;
        if session.queued() > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(taken) = session.take_unreported() {
            return Ok(taken); // an earlier call encrypted them
        }
        let taken = self.encrypt(session, bufs)?;
        match send(&mut self.inner, &mut io.inner, &self.wire) {
            Ok(sent) if sent == self.wire.len() => Ok(taken),
            stopped => {
                let (sent, error) = match stopped {
                    Ok(sent) => (sent, ErrorKind::WouldBlock.into()),
                    Err(error) if is_passing(&error) => (0, error),
                    Err(error) => return Err(error),
                };
                session.queue(&self.wire[sent..]);
                session.set_unreported(taken);
                Err(error)
            }
        }
    }
}

/// Returns whether the first byte of a connection begins a method. A TLS record begins with 22.
fn speaks_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}

const WRONG_PORT: &str = "this port speaks TLS: use https";

/// Bytes that one write encrypts: four full records.
pub(super) const WRITE: usize = 64 * 1024;
