//! What a handler sends from within an event.
//!
//! Knows no handshake.

use soketto::base::OpCode;

use super::code;
use super::frame::{self, Message};
use super::sender::{Push, Sender};
use crate::upgrade::TunnelIo;

/// A WebSocket's way out, for the time of one event.
#[derive(Debug)]
pub struct Outbox<'a, 'l> {
    /// None once nothing can be sent.
    line: Option<&'a mut TunnelIo<'l>>,
    push: &'a mut Option<Box<Push>>,
    /// A Close was sent.
    closed: bool,
}

impl<'a, 'l> Outbox<'a, 'l> {
    pub(super) const fn new(
        line: Option<&'a mut TunnelIo<'l>>,
        push: &'a mut Option<Box<Push>>,
    ) -> Self {
        Self {
            line,
            push,
            closed: false,
        }
    }

    /// Whether the handler closed.
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

    /// Sends a message that was encoded before.
    pub fn send(&mut self, message: &Message) {
        if let Some(line) = &mut self.line {
            line.send(message.bytes());
        }
    }

    /// Closes, with a code ([`code`]) and a reason of at most 123 bytes; nothing is sent after it.
    /// A code that must not be sent becomes 1011.
    pub fn close(&mut self, code: u16, reason: &str) {
        let code = if frame::is_code(code) {
            code
        } else {
            log::error!("{code} must not stand in a Close");
            code::INTERNAL
        };
        self.frame(OpCode::Close, &frame::close(code, reason));
        self.closed = true;
        self.line = None;
    }

    /// How many more bytes can be sent before they wait for the peer: 64 KiB where none wait. What
    /// answers a message may go beyond; a stream of many should come by a [`Sender`].
    pub fn room(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.room())
    }

    /// What sends to this WebSocket from any thread, through a queue of up to `capacity` bytes. A
    /// WebSocket has one queue: a second call ends the first one's.
    pub fn sender(&mut self, capacity: usize) -> Sender {
        let (sender, push) = Sender::new(capacity);
        *self.push = self.line.is_some().then(|| Box::new(push));
        sender
    }

    /// Whether the server has been told to stop; an
    /// [`Event::Draining`](super::Event::Draining) comes when the draining
    /// begins.
    pub fn draining(&self) -> bool {
        self.line.as_ref().is_some_and(|line| line.draining())
    }

    pub(super) fn frame(&mut self, opcode: OpCode, payload: &[u8]) {
        if let Some(line) = &mut self.line {
            frame::header(opcode, payload.len(), |header| line.send(header));
            line.send(payload);
        }
    }
}
