//! Messages from other threads: a bounded queue into one WebSocket.
//!
//! Its bytes are whole frames in a [`Pipe`], so it has a pipe's back-pressure. Knows no sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::code;
use super::frame::{self, Message};
use crate::app::{Pipe, PipeError, PipeWriter};

/// Sends to one WebSocket from any thread. Cheap to clone. When the last is dropped the WebSocket
/// goes on without; when a panic drops it, the WebSocket is closed with 1011.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: PipeWriter,
    /// The code to close with, or 0.
    close: Arc<AtomicU16>,
}

/// The loop's end of a [`Sender`].
#[derive(Debug)]
pub(super) struct Push {
    pub(super) pipe: Pipe,
    close: Arc<AtomicU16>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The WebSocket has ended, or is closing.
    Closed,
    /// The queue holds as much as it may.
    Full,
}

impl Sender {
    /// A sender whose queue holds up to `capacity` bytes, and its other end.
    pub(super) fn new(capacity: usize) -> (Self, Push) {
        let (writer, pipe) = Pipe::new(capacity);
        let close = Arc::new(AtomicU16::new(0));
        let shared = Shared {
            writer,
            close: Arc::clone(&close),
        };
        let shared = Arc::new(shared);
        (Self { shared }, Push { pipe, close })
    }

    /// Sends a message; blocks while the queue is full. Never from a handler: it is the loop that
    /// empties the queue.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    pub fn send(&self, message: &Message) -> Result<(), SendError> {
        self.check()?;
        let sent = self.shared.writer.send(message.bytes());
        sent.map_err(|_| SendError::Closed)
    }

    /// Sends a message if there is room for it.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Full`].
    pub fn try_send(&self, message: &Message) -> Result<(), SendError> {
        self.check()?;
        let sent = self.shared.writer.try_send(message.bytes());
        sent.map_err(|error| match error {
            PipeError::Closed => SendError::Closed,
            PipeError::Full(_) => SendError::Full,
        })
    }

    fn check(&self) -> Result<(), SendError> {
        match self.shared.close.load(Ordering::Acquire) {
            0 => Ok(()),
            _ => Err(SendError::Closed),
        }
    }

    /// Closes the WebSocket behind what was sent before, with a code ([`code`]). A code that must
    /// not be sent becomes 1011.
    pub fn close(&self, code: u16) {
        // Here, as 0 would be taken for no close at all.
        let code = if frame::is_code(code) {
            code
        } else {
            log::error!("{code} must not stand in a Close");
            code::INTERNAL
        };
        self.shared.close.store(code, Ordering::Release);
        self.shared.writer.finish();
    }

    /// Whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.shared.writer.draining()
    }
}

impl Push {
    /// The code that a sender wants to close with, if one does.
    pub(super) fn close(&self) -> Option<u16> {
        let code = self.close.load(Ordering::Acquire);
        (code != 0).then_some(code)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the WebSocket has ended",
            Self::Full => "the queue of the WebSocket is full",
        })
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_code_a_close_closes() {
        for (code, sent) in [
            (code::AWAY, code::AWAY),
            (4001, 4001),
            (0, code::INTERNAL),
            (1005, code::INTERNAL),
            (65_535, code::INTERNAL),
        ] {
            let (sender, push) = Sender::new(100);
            assert_eq!(push.close(), None);
            sender.close(code);
            assert_eq!(push.close(), Some(sent), "{code}");
            let refused = sender.try_send(&Message::text("late"));
            assert_eq!(refused, Err(SendError::Closed), "{code}");
        }
    }
}
