//! Frames on their way out.
//!
//! A server's frames are not masked (RFC 6455 §5.1), so a message is the same bytes for every peer
//! and is encoded once. Knows no connection.

use std::sync::Arc;

use super::header::{self, LONGEST_CONTROL, LONGEST_WRITTEN, OpCode};
use crate::app::TunnelIo;

/// An encoded message, for any number of peers. Clones share its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

impl Message {
    /// Encodes a text message.
    pub fn text(text: &str) -> Self {
        Self::new(OpCode::Text, text.as_bytes())
    }

    /// Encodes a binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    fn new(opcode: OpCode, payload: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(LONGEST_WRITTEN + payload.len());
        header::write(opcode, payload.len(), |header| {
            frame.extend_from_slice(header);
        });
        frame.extend_from_slice(payload);
        Self(frame.into())
    }

    /// Returns the frame.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Sends one frame.
pub(super) fn send(io: &mut TunnelIo<'_>, opcode: OpCode, payload: &[u8]) {
    header::write(opcode, payload.len(), |header| io.send(header));
    io.send(payload);
}

/// Returns the payload of a Close: the code, and as much of the reason as fits a control frame.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut fits = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(fits) {
        fits -= 1;
    }
    [&code.to_be_bytes(), &reason.as_bytes()[..fits]].concat()
}

/// The longest reason, in bytes: two bytes of the payload are the code.
const LONGEST_REASON: usize = LONGEST_CONTROL as usize - 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_shortest_length() {
        const CASES: &[(usize, &[u8])] = &[
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (length, expected) in CASES {
            let message = Message::text(&"x".repeat(*length));
            let (head, payload) = message.bytes().split_at(expected.len());
            assert_eq!((head, payload.len()), (*expected, *length));
        }
        assert_eq!(Message::binary(&[7]).bytes(), [0x82, 1, 7]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(close(1000, ""), [3, 232]);
        let long = close(1001, &"é".repeat(100));
        assert_eq!(long.len(), 2 + 122, "61 of two bytes each");
        assert!(str::from_utf8(&long[2..]).is_ok());
    }
}
