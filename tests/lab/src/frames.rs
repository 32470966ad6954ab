//! Writes the frames of a raw client, and reads those of a server strictly.

use std::fmt;

/// The bits of a frame's first byte.
pub const LAST: u8 = 0x80;
pub const MORE: u8 = 0x00;

/// The opcodes.
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The masking key: four bytes without a meaning.
const KEY: [u8; 4] = [0x12, 0xfe, 0x00, 0x9c];

/// The handshake that RFC 6455 §1.2 gives as its example.
pub const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\
    \r\n";

/// Returns a client's frame with this first byte.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

pub fn text(text: &str) -> Vec<u8> {
    frame(LAST | TEXT, text)
}

/// Returns a client's Close.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(LAST | CLOSE, closing(code, reason))
}

/// Returns the payload of a Close.
pub fn closing(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// A server's frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// Shows the first bytes: a test that fails shows many frames.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = &self.payload[..self.payload.len().min(20)];
        let (opcode, length) = (self.opcode, self.payload.len());
        write!(f, "{opcode}[{length}] {}…", begin.escape_ascii())
    }
}

impl Frame {
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            opcode,
            payload: payload.as_ref().to_vec(),
        }
    }

    pub fn text(text: &str) -> Self {
        Self::new(TEXT, text)
    }

    /// Asserts that the frame is a Close with this code and any text.
    #[track_caller]
    pub fn assert_close(&self, code: u16) {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        let found = self
            .payload
            .first_chunk()
            .map(|code| u16::from_be_bytes(*code));
        assert_eq!(found, Some(code), "{self:?}");
        assert!(
            str::from_utf8(&self.payload[2..]).is_ok(),
            "a reason is text"
        );
    }
}

/// Returns the frames in a server's bytes.
///
/// Panics unless each is a whole message or a control frame, not masked, with the shortest length,
/// and no frame follows a Close.
#[track_caller]
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    while !bytes.is_empty() {
        assert!(
            frames.last().is_none_or(|last| last.opcode != CLOSE),
            "after a Close: {bytes:?}"
        );
        let [first, second, rest @ ..] = bytes else {
            panic!("half a header: {bytes:?}");
        };
        assert_eq!(
            first & 0xf0,
            LAST,
            "a fragment or a reserved bit: {first:#x}"
        );
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (length, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk().expect("a length");
                let length = usize::from(u16::from_be_bytes(*length));
                assert!(length > 125);
                (length, rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk().expect("a length");
                let length = usize::try_from(u64::from_be_bytes(*length)).expect("a length");
                assert!(length > 65_535);
                (length, rest)
            }
            length => (usize::from(length), rest),
        };
        assert!(rest.len() >= length, "half a frame");
        let (payload, behind) = rest.split_at(length);
        let opcode = first & 0x0f;
        assert!(opcode < 8 || length <= 125, "a long control frame");
        frames.push(Frame::new(opcode, payload));
        bytes = behind;
    }
    frames
}
