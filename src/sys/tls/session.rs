//! One TLS connection: rustls without its buffers, a part of a record, and records to be sent.
//!
//! Bytes in, bytes out. Knows no sockets and no clock but rustls's own, which it asks for the age
//! of a ticket.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// A TLS connection.
pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// What has arrived of a record that is not complete, or of a message in several records.
    partial: Vec<u8>,
    /// Records that the socket had no room for.
    queue: Vec<u8>,
    /// How many of them it has taken since.
    sent: usize,
    /// Bytes of the writer's that are in the queue: it has not been told that they are written.
    unreported: usize,
    /// The peer has said that it sends nothing more.
    closed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            partial: Vec::new(),
            queue: Vec::new(),
            sent: 0,
            unreported: 0,
            closed: false,
        })
    }

    /// Whether the handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said that it sends nothing more.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// What was kept of the last bytes: to be given again, before those that follow.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Takes what was kept with what has arrived behind it, writes what is decrypted to `plain`,
    /// which is at least as long, and what there is to be sent to `out`. Returns the number of
    /// bytes in `plain`.
    ///
    /// # Errors
    ///
    /// The peer does not keep to the protocol, or offers nothing that both speak. The alert that
    /// tells it so is in `out`, and the session can only be dropped.
    pub(super) fn receive(
        &mut self,
        records: &mut [u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        let (mut used, mut given) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut records[used..]);
            let mut done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        let end = given + record.payload.len();
                        plain[given..end].copy_from_slice(record.payload);
                        given = end;
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.closed = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    done = true;
                }
                Ok(ConnectionState::Closed) => {
                    self.closed = true;
                    done = true;
                }
                // It was not offered: see `TlsConfig`.
                Ok(_) => return Err(rustls::Error::General("early data".into())),
                Err(error) => {
                    self.last_words(&mut records[used + discard..], out);
                    return Err(error);
                }
            }
            used += discard;
            if done {
                break;
            }
        }
        let rest = &records[used..];
        if rest.len() > MAX_PARTIAL {
            return Err(rustls::Error::General("a message is too long".into()));
        }
        if rest.is_empty() || self.closed {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
        Ok(given)
    }

    /// What rustls has to send after an error: records of its last flight, and an alert. It is not
    /// asked again behind the alert, for it would look at the same bytes and find the same error.
    fn last_words(&mut self, records: &mut [u8], out: &mut Vec<u8>) {
        let mut used = 0;
        loop {
            let status = self.connection.process_tls_records(&mut records[used..]);
            used += status.discard;
            let Ok(ConnectionState::EncodeTlsData(data)) = status.state else {
                return;
            };
            let start = out.len();
            if encode(data, out).is_err() || is_alert(&out[start..]) {
                return;
            }
        }
    }

    /// Adds bytes as records to `out`, behind what the session has to say by itself; returns how
    /// many bytes that were, which is all of them.
    ///
    /// # Errors
    ///
    /// The handshake is not complete, or the keys are used up and cannot be changed.
    pub(super) fn encrypt(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        self.with_traffic(out, |mut traffic, out| {
            // Room for the records' heads and tags, of the longer version.
            let start = out.len();
            let mut room = bytes.len() + (bytes.len() / FRAGMENT + 1) * OVERHEAD;
            loop {
                out.resize(start + room, 0);
                match traffic.encrypt(bytes, &mut out[start..]) {
                    Ok(n) => {
                        out.truncate(start + n);
                        return Ok(bytes.len());
                    }
                    Err(EncryptError::InsufficientSize(size)) if size.required_size > room => {
                        room = size.required_size;
                    }
                    Err(error) => return Err(io::Error::new(ErrorKind::BrokenPipe, error)),
                }
            }
        })
    }

    /// Adds the close_notify to `out`; nothing where the handshake is not complete.
    pub(super) fn notify(&mut self, out: &mut Vec<u8>) {
        if self.is_handshaking() {
            return;
        }
        // Who cannot be told goes without: it sees the FIN.
        let _ = self.with_traffic(out, |mut traffic, out| {
            let start = out.len();
            out.resize(start + FRAGMENT, 0);
            let n = traffic.queue_close_notify(&mut out[start..]).unwrap_or(0);
            out.truncate(start + n);
            Ok(0)
        });
    }

    /// Does something in the state in which bytes can be sent.
    fn with_traffic(
        &mut self,
        out: &mut Vec<u8>,
        send: impl Fn(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            // What was kept must be shown each time: rustls knows where in it it is.
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.partial);
            let sent = match state.map_err(broken)? {
                ConnectionState::WriteTraffic(traffic) => Some(send(traffic, out)),
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, out).map_err(broken)?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.closed = true;
                    None
                }
                // Nothing else is left over by `receive`.
                _ => Some(Err(ErrorKind::NotConnected.into())),
            };
            self.partial.drain(..discard);
            if let Some(sent) = sent {
                return sent;
            }
        }
    }

    /// Adds records to be sent.
    pub(super) fn queue(&mut self, records: &[u8]) {
        self.queue.extend_from_slice(records);
    }

    /// How many bytes of records there are to be sent.
    pub(super) const fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    pub(super) fn queue_bytes(&self) -> &[u8] {
        &self.queue[self.sent..]
    }

    /// So many bytes of the queue are with the kernel.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.queue.len() {
            self.queue = Vec::new();
            self.sent = 0;
        }
    }

    pub(super) fn take_queue(&mut self) -> Vec<u8> {
        let sent = mem::take(&mut self.sent);
        let mut queue = mem::take(&mut self.queue);
        queue.drain(..sent);
        queue
    }

    /// Whether a peer that takes nothing makes us say more and more: it is read no further.
    pub(super) const fn is_clogged(&self) -> bool {
        self.queued() > MAX_QUEUE
    }

    /// The queue has so many bytes of the writer's.
    pub(super) const fn set_unreported(&mut self, bytes: usize) {
        self.unreported = bytes;
    }

    /// Bytes of the writer's that are written now, and of which it does not know.
    pub(super) fn take_unreported(&mut self) -> Option<usize> {
        let unreported = mem::take(&mut self.unreported);
        (unreported > 0).then_some(unreported)
    }
}

/// Adds a record of the handshake to `out`.
fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match data.encode(&mut out[start..]) {
            Ok(n) => {
                out.truncate(start + n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size;
            }
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}

/// Whether a record of ours is an alert: by its type, or where that is hidden by its length, which no
/// message of a handshake has (RFC 8446 §5.2).
fn is_alert(record: &[u8]) -> bool {
    matches!(record, [21, ..] | [23, _, _, 0, 19, ..])
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, error)
}

/// The most that is kept of what is not complete, in bytes. A record has at most 18,437; a message
/// of a handshake may be longer, and this is more than any chain that a client shows.
pub(super) const MAX_PARTIAL: usize = 32 * 1024;

/// From so many unsent bytes on a peer is read no further.
const MAX_QUEUE: usize = 64 * 1024;

/// The longest that a record carries, in bytes (RFC 8446 §5.1).
const FRAGMENT: usize = 16 * 1024;

/// What a record adds to what it carries, in bytes and with some to spare.
const OVERHEAD: usize = 64;
