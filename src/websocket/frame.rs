//! Frames on their way out, and the codes of a Close.
//!
//! A server's frames are not masked (RFC 6455 §5.1), so a message is the same bytes for every peer
//! and is encoded once. Knows no connection.

use std::sync::Arc;

use super::header::{self, LONGEST_CONTROL, LONGEST_WRITTEN, OpCode};

/// A message, encoded: made once, sent to any number of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

impl Message {
    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::new(OpCode::Text, text.as_bytes())
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(OpCode::Binary, bytes)
    }

    fn new(opcode: OpCode, payload: &[u8]) -> Self {
        let mut frame = Vec::with_capacity(payload.len() + LONGEST_WRITTEN);
        header::write(opcode, payload.len(), |bytes| {
            frame.extend_from_slice(bytes)
        });
        frame.extend_from_slice(payload);
        Self(frame.into())
    }

    /// The frame.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The payload of a Close: the code, and as much of the reason as fits a control frame.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut fits = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(fits) {
        fits -= 1;
    }
    [&code.to_be_bytes(), &reason.as_bytes()[..fits]].concat()
}

/// Whether a code may stand in a Close (RFC 6455 §7.4, and the registry of IANA).
pub(super) const fn is_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The longest reason, in bytes: two bytes of the payload are the code.
const MAX_REASON: usize = LONGEST_CONTROL as usize - 2;

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

    #[test]
    fn codes_that_must_not_be_sent_are_none() {
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            assert!(!is_code(code), "{code}");
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 4999,
        ] {
            assert!(is_code(code), "{code}");
        }
    }
}
