//! A TLS session: rustls without its buffers, a part of a record, and records to send.
//!
//! No sockets. rustls reads its own clock, for the age of tickets.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

/// A TLS session.
pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// The part of an incomplete record, or of a message in several records.
    partial: Vec<u8>,
    /// The bytes of the whole records in `partial`, which rustls has read.
    whole: usize,
    /// Records without room in the socket.
    queue: Vec<u8>,
    /// Bytes of the queue that were sent.
    sent: usize,
    /// Bytes of the writer in the queue, which were not yet reported as written.
    unreported: usize,
    /// The peer has sent its close_notify.
    closed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            partial: Vec::new(),
            whole: 0,
            queue: Vec::new(),
            sent: 0,
            unreported: 0,
            closed: false,
        })
    }

    /// Returns whether the handshake is incomplete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Returns whether the peer has sent its close_notify.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the part of a record that the next call of `receive` needs first.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Decrypts `records`, the kept part and the new bytes, into `plaintext`, which is at least as
    /// long. Adds records to send to `out`. Returns the number of bytes in `plaintext`.
    ///
    /// # Errors
    ///
    /// The peer violates the protocol, or shares no version or cipher. `out` has the alert, and the
    /// session can only be dropped.
    pub(super) fn receive(
        &mut self,
        records: &mut [u8],
        plaintext: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, rustls::Error> {
        let whole = whole_records(records, self.whole); // rustls overwrites headers
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
                        plaintext[given..end].copy_from_slice(record.payload);
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
                // `TlsConfig` does not offer it.
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
        self.whole = whole.saturating_sub(used);
        if rest.len() > MAX_PARTIAL {
            self.alert(rest, out);
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

    /// Adds what rustls has to send after an error: records of its last flight, and an alert. A
    /// call behind the alert would find the same error in the same bytes.
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

    /// Adds bytes as records to `out`, behind messages of the session itself. Returns the number of
    /// bytes, which is all of them.
    ///
    /// # Errors
    ///
    /// The handshake is incomplete, or the keys are used up and cannot be changed.
    pub(super) fn encrypt(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        self.with_traffic(out, |mut traffic, out| {
            // Room for headers and tags of the records in the longer version.
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

    /// Adds our last record to `out`: the close_notify, or an alert that ends a handshake.
    pub(super) fn last_record(&mut self, out: &mut Vec<u8>) {
        if self.is_handshaking() {
            let kept = mem::take(&mut self.partial);
            return self.alert(&kept, out);
        }
        // A session that has failed sends no more.
        let _ = self.with_traffic(out, |mut traffic, out| {
            let start = out.len();
            out.resize(start + FRAGMENT, 0);
            let n = traffic.queue_close_notify(&mut out[start..]).unwrap_or(0);
            out.truncate(start + n);
            Ok(0)
        });
    }

    /// Adds an alert that ends the session to `out`. rustls alone can encrypt an alert, and sends
    /// one for a record of no type: it stands behind the whole records of `kept`.
    fn alert(&mut self, kept: &[u8], out: &mut Vec<u8>) {
        let mut records = [&kept[..self.whole], &NO_RECORD].concat();
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut records);
        if state.is_err() {
            self.last_words(&mut records[discard..], out);
        }
    }

    /// Calls `send` in the state in which bytes can be sent.
    fn with_traffic(
        &mut self,
        out: &mut Vec<u8>,
        send: impl Fn(WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            // rustls needs the kept part in each call.
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
                // `receive` leaves no other state.
                _ => Some(Err(ErrorKind::NotConnected.into())),
            };
            self.partial.drain(..discard);
            self.whole = self.whole.saturating_sub(discard);
            if let Some(sent) = sent {
                return sent;
            }
        }
    }

    /// Queues records to send.
    pub(super) fn queue(&mut self, records: &[u8]) {
        self.queue.extend_from_slice(records);
    }

    /// Returns the number of queued bytes.
    pub(super) const fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    pub(super) fn queue_bytes(&self) -> &[u8] {
        &self.queue[self.sent..]
    }

    /// Removes sent bytes from the queue.
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

    /// Returns whether the queue is so long that the peer is not read: a peer that takes nothing
    /// could make it grow for ever.
    pub(super) const fn is_clogged(&self) -> bool {
        self.queued() > MAX_QUEUE
    }

    /// Sets the number of the writer's bytes in the queue.
    pub(super) const fn set_unreported(&mut self, bytes: usize) {
        self.unreported = bytes;
    }

    /// Takes the number of the writer's bytes that are written but not reported.
    pub(super) fn take_unreported(&mut self) -> Option<usize> {
        let unreported = mem::take(&mut self.unreported);
        (unreported > 0).then_some(unreported)
    }
}

/// Returns where the first incomplete record begins, at `from` or behind it.
fn whole_records(records: &[u8], from: usize) -> usize {
    let mut end = from;
    while let Some([_, _, _, high, low, payload @ ..]) = records.get(end..)
        && let length = usize::from(u16::from_be_bytes([*high, *low]))
        && length <= payload.len()
    {
        end += HEADER + length;
    }
    end
}

/// Adds a record of a handshake to `out`.
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

/// Returns whether a record of ours is an alert, by its type, or in TLS 1.3, which hides the type,
/// by its length: no message of a handshake has it (RFC 8446 §5.2).
fn is_alert(record: &[u8]) -> bool {
    matches!(record, [21, ..] | [23, _, _, 0, 19, ..])
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, error)
}

/// The longest incomplete message that is kept, in bytes. A record has at most 18,437; the chain of
/// a client's certificates may be longer, but no real one exceeds this.
pub(super) const MAX_PARTIAL: usize = 32 * 1024;

/// The unsent bytes above which a peer is not read: more than one write, which waits in the queue
/// while the peer takes nothing, and whose peer may still send.
pub(super) const MAX_QUEUE: usize = 128 * 1024;

/// The most payload of a record, in bytes (RFC 8446 §5.1).
const FRAGMENT: usize = 16 * 1024;

/// The header of a record, in bytes.
const HEADER: usize = 5;

/// The header of a record of no type.
const NO_RECORD: [u8; HEADER] = [0xff, 3, 3, 0, 0];

/// Above the overhead of a record, in bytes.
const OVERHEAD: usize = 64;
