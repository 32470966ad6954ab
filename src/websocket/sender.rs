//! Messages from other threads: a bounded queue into one WebSocket.
//!
//! The queue is a [`Pipe`] of whole frames, and has a pipe's back-pressure. Knows no sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::code;
use super::frame::Message;
use crate::app::{Pipe, PipeError, PipeWriter};

/// Sends to one WebSocket from any thread. Cheap to clone.
///
/// The WebSocket outlives its senders. A panic that drops the last of them sends Close 1011.
#[derive(Clone, Debug)]
pub struct Sender {
    writer: Arc<PipeWriter>,
    close: CloseCode,
}

/// The loop's end of a [`Sender`].
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) pipe: Pipe,
    close: CloseCode,
}

/// The code that a sender closes with, or 0.
type CloseCode = Arc<AtomicU16>;

/// The reason that a sender refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The WebSocket has ended, or is closing.
    Closed,
    /// The queue is full.
    Full,
    /// The queue is full, and the caller is the loop, which alone empties it: [`Sender::send`] would
    /// wait for ever.
    OnLoop,
}

impl Sender {
    /// Returns a sender with a queue of up to `capacity` bytes, and the queue.
    pub(super) fn new(capacity: usize) -> (Self, Queue) {
        let (writer, pipe) = Pipe::new(capacity);
        let close = CloseCode::default();
        let sender = Self {
            writer: Arc::new(writer),
            close: Arc::clone(&close),
        };
        (sender, Queue { pipe, close })
    }

    /// Sends a message; blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::OnLoop`].
    pub fn send(&self, message: &Message) -> Result<(), SendError> {
        self.check()?;
        self.writer.send(message.bytes()).map_err(refusal)
    }

    /// Sends a message if the queue has room.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Full`].
    pub fn try_send(&self, message: &Message) -> Result<(), SendError> {
        self.check()?;
        self.writer.try_send(message.bytes()).map_err(refusal)
    }

    fn check(&self) -> Result<(), SendError> {
        match self.close.load(Ordering::Acquire) {
            0 => Ok(()),
            _ => Err(SendError::Closed),
        }
    }

    /// Closes the WebSocket with a [`code`], after the messages in the queue. A code that must not
    /// be sent becomes 1011.
    pub fn close(&self, code: u16) {
        self.close.store(code::sendable(code), Ordering::Release);
        self.writer.finish();
    }

    /// Returns whether the server stops.
    pub fn draining(&self) -> bool {
        self.writer.draining()
    }
}

impl Queue {
    /// Returns the code that a sender closes with, if one does.
    pub(super) fn close(&self) -> Option<u16> {
        let code = self.close.load(Ordering::Acquire);
        (code != 0).then_some(code)
    }
}

fn refusal(error: PipeError) -> SendError {
    match error {
        PipeError::Closed => SendError::Closed,
        PipeError::Full(_) => SendError::Full,
        PipeError::OnLoop(_) => SendError::OnLoop,
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the WebSocket has ended",
            Self::Full => "the queue of the WebSocket is full",
            Self::OnLoop => "the queue is full, and only this thread empties it: send from another",
        })
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_closes() {
        for (code, sent) in [
            (code::AWAY, code::AWAY),
            (4001, 4001),
            (0, code::INTERNAL),
            (1005, code::INTERNAL),
            (65_535, code::INTERNAL),
        ] {
            let (sender, queue) = Sender::new(100);
            assert_eq!(queue.close(), None);
            sender.close(code);
            assert_eq!(queue.close(), Some(sent), "{code}");
            let refused = sender.try_send(&Message::text("late"));
            assert_eq!(refused, Err(SendError::Closed), "{code}");
        }
    }
}
