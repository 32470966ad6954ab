//! The way out for a handler, during an event.
//!
//! Knows no handshake.

use super::code;
use super::frame::{self, Message};
use super::header::OpCode;
use super::sender::{Queue, Sender};
use crate::app::TunnelIo;

/// Sends on a WebSocket, for the time of one event.
#[derive(Debug)]
pub struct Outbox<'a, 'io> {
    /// None once nothing can be sent.
    io: Option<&'a mut TunnelIo<'io>>,
    queue: &'a mut Option<Box<Queue>>,
    /// A Close was sent.
    closed: bool,
}

impl<'a, 'io> Outbox<'a, 'io> {
    pub(super) const fn new(
        io: Option<&'a mut TunnelIo<'io>>,
        queue: &'a mut Option<Box<Queue>>,
    ) -> Self {
        Self {
            io,
            queue,
            closed: false,
        }
    }

    /// Returns whether the handler sent a Close.
    pub(super) const fn closed(&self) -> bool {
        self.closed
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.frame(OpCode::Text, text.as_bytes());
    }

    /// Sends a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.frame(OpCode::Binary, bytes);
    }

    /// Sends an encoded message.
    pub fn send(&mut self, message: &Message) {
        if let Some(io) = &mut self.io {
            io.send(message.bytes());
        }
    }

    /// Sends a Close with a [`code`] and a reason, cut to 123 bytes; later messages are discarded. A
    /// code that must not be sent becomes 1011.
    pub fn close(&mut self, code: u16, reason: &str) {
        let payload = frame::close(code::sendable(code), reason);
        self.frame(OpCode::Close, &payload);
        self.closed = true;
        self.io = None;
    }

    /// Returns how many more bytes fit before messages wait for the peer: 64 KiB when none wait. A
    /// reply to a message may exceed the room; use a [`Sender`] for a stream of many.
    pub fn room(&self) -> usize {
        self.io.as_ref().map_or(0, |io| io.room())
    }

    /// Returns a sender for any thread, with a queue of up to `capacity` bytes. A WebSocket has one
    /// queue: a second call closes the first.
    pub fn sender(&mut self, capacity: usize) -> Sender {
        let (sender, queue) = Sender::new(capacity);
        *self.queue = self.io.is_some().then(|| Box::new(queue));
        sender
    }

    /// Returns whether the server stops. [`Event::Draining`](super::Event::Draining) follows when
    /// the drain reaches this WebSocket.
    pub fn draining(&self) -> bool {
        self.io.as_ref().is_some_and(|io| io.draining())
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        if let Some(io) = &mut self.io {
            frame::send(io, opcode, payload);
        }
    }
}
