//! The header of a frame (RFC 6455 §5.2): bytes into its fields, and back.
//!
//! Knows no messages and no connection.

use super::code;

/// The opcodes that RFC 6455 defines; the others are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpCode {
    Continue = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl OpCode {
    const fn read(first: u8) -> Option<Self> {
        Some(match first & 0x0f {
            0 => Self::Continue,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: OpCode,
    /// FIN: the frame is the last of its message.
    pub(super) last: bool,
    pub(super) mask: [u8; 4],
    /// The length of the payload, in bytes.
    pub(super) length: usize,
}

/// A fault of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Protocol(&'static str),
    /// Text is not UTF-8.
    Utf8,
    /// A frame or a message exceeds its limit.
    TooBig,
}

impl Fault {
    /// Returns the code and the reason of the Close that reports the fault.
    pub(super) const fn close(self) -> (u16, &'static str) {
        match self {
            Self::Protocol(why) => (code::PROTOCOL, why),
            Self::Utf8 => (code::INVALID, "not UTF-8"),
            Self::TooBig => (code::TOO_BIG, "too big"),
        }
    }
}

/// Reads a client's header from the start of `bytes`; returns it with its own length in bytes, or
/// `None` while bytes are missing.
///
/// # Errors
///
/// The client broke §5.1, §5.2 or §5.5, or announces a payload of more than `max` bytes. The first
/// byte that is wrong is enough: the rest need not arrive.
pub(super) fn read(bytes: &[u8], max: usize) -> Result<Option<(Header, usize)>, Fault> {
    let [first, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & RESERVED != 0 {
        return Err(Fault::Protocol("a reserved bit"));
    }
    let opcode = OpCode::read(*first).ok_or(Fault::Protocol("a reserved opcode"))?;
    let last = first & FIN != 0;
    if opcode.is_control() && !last {
        return Err(Fault::Protocol("a fragmented control frame"));
    }
    let [second, rest @ ..] = rest else {
        return Ok(None);
    };
    if second & MASKED == 0 {
        return Err(Fault::Protocol("a frame is not masked"));
    }
    let short = second & !MASKED;
    if opcode.is_control() && short > LONGEST_CONTROL {
        return Err(Fault::Protocol("a long control frame"));
    }
    let Some((length, rest)) = read_length(short, rest) else {
        return Ok(None);
    };
    if short != short_length(length) {
        return Err(Fault::Protocol("a length that is not the shortest"));
    }
    let length = usize::try_from(length).map_err(|_| Fault::TooBig)?;
    if length > max {
        return Err(Fault::TooBig);
    }
    let Some((mask, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let header = Header {
        opcode,
        last,
        mask: *mask,
        length,
    };
    Ok(Some((header, bytes.len() - rest.len())))
}

/// Returns the payload's length and the bytes behind it.
fn read_length(short: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match short {
        TWO_BYTES => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((u16::from_be_bytes(*length).into(), rest))
        }
        EIGHT_BYTES => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((u64::from_be_bytes(*length), rest))
        }
        length => Some((length.into(), rest)),
    }
}

/// Returns the seven bits that must announce a length: the length itself, or how many bytes it takes.
const fn short_length(length: u64) -> u8 {
    match length {
        0..126 => length as u8,
        126..65_536 => TWO_BYTES,
        _ => EIGHT_BYTES,
    }
}

/// Passes the header of a server's frame to `write`. The frame is not masked (§5.1), and is a whole
/// message or a control frame.
pub(super) fn write(opcode: OpCode, length: usize, write: impl FnOnce(&[u8])) {
    let length = length as u64;
    let short = short_length(length);
    let mut header = [FIN | opcode as u8, short, 0, 0, 0, 0, 0, 0, 0, 0];
    let end = match short {
        TWO_BYTES => {
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        EIGHT_BYTES => {
            header[2..].copy_from_slice(&length.to_be_bytes());
            10
        }
        _ => 2,
    };
    write(&header[..end]);
}

/// The longest header of a client, in bytes.
pub(super) const LONGEST_READ: usize = 14;

/// The longest header of a server, in bytes: a server sends no mask.
pub(super) const LONGEST_WRITTEN: usize = 10;

/// The longest payload of a control frame, in bytes (§5.5).
pub(super) const LONGEST_CONTROL: u8 = 125;

/// The bits of the first byte.
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;

/// The bit of the second byte.
const MASKED: u8 = 0x80;

/// Short lengths that announce a length of two and of eight bytes.
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::OpCode as TheirOpCode;

    use super::*;

    const MAX: usize = 1 << 20;
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    const LENGTHS: &[u64] = &[
        0,
        1,
        125,
        126,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        65_537,
        MAX as u64,
        MAX as u64 + 1,
        u32::MAX as u64,
        1 << 32,
        1 << 63,
        u64::MAX,
    ];

    /// Every pair of first bytes, with every length behind it that has the size which the pair
    /// announces, shortest or not.
    fn headers() -> Vec<Vec<u8>> {
        let mut headers = Vec::new();
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let size = match second & 0x7f {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                let cut = |length: &u64| length.to_be_bytes()[8 - size..].to_vec();
                let mut lengths: Vec<Vec<u8>> = LENGTHS.iter().map(cut).collect();
                lengths.sort();
                lengths.dedup();
                let header =
                    |length: Vec<u8>| [&[first, second], &*length, &MASK, b"payload"].concat();
                headers.extend(lengths.into_iter().map(header));
            }
        }
        headers
    }

    /// Returns what tungstenite reads, if a server may take it. The parser of tungstenite leaves
    /// the rest of the rules to other code.
    fn theirs(bytes: &[u8]) -> Option<(Header, usize)> {
        let mut cursor = Cursor::new(bytes);
        let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
        let end = cursor.position() as usize;
        let opcode = OpCode::read(header.opcode.into())?;
        let is_control = u8::from(header.opcode) >= 8;
        let is_good = !(header.rsv1 || header.rsv2 || header.rsv3)
            && (!is_control || header.is_final && length <= 125)
            && header.len(length) == end
            && length <= MAX as u64;
        let last = header.is_final;
        let header = header.mask.map(|mask| Header {
            opcode,
            last,
            mask,
            length: length as usize,
        });
        Some((header?, end)).filter(|_| is_good)
    }

    #[test]
    fn every_header_is_read_as_tungstenite_reads_it() {
        let mut good = 0;
        for bytes in headers() {
            let ours = read(&bytes, MAX);
            good += usize::from(ours.is_ok());
            match theirs(&bytes) {
                Some(header) => assert_eq!(ours, Ok(Some(header)), "{bytes:x?}"),
                None => assert!(ours.is_err(), "{bytes:x?}: {ours:?}"),
            }
        }
        assert_eq!(good, 3 * 126 + 6 * (126 + 6 + 3), "control and data frames");
    }

    #[test]
    fn a_header_that_is_cut_waits_or_is_wrong_already() {
        for bytes in headers() {
            let whole = read(&bytes, MAX);
            let end = whole.as_ref().map_or(LONGEST_READ, |found| match found {
                Some((_, end)) => *end,
                None => panic!("{bytes:x?} is whole"),
            });
            for cut in 0..end.min(bytes.len()) {
                let part = read(&bytes[..cut], MAX);
                let is_right = part == Ok(None) || part.is_err() && part == whole;
                assert!(is_right, "{bytes:x?} cut at {cut}: {part:?}");
            }
        }
    }

    #[test]
    fn every_header_is_written_as_tungstenite_writes_it() {
        for opcode in [0, 1, 2, 8, 9, 10] {
            for length in LENGTHS {
                let mut theirs = Vec::new();
                let header = FrameHeader {
                    opcode: TheirOpCode::from(opcode),
                    ..FrameHeader::default()
                };
                header.format(*length, &mut theirs).unwrap();
                let opcode = OpCode::read(opcode).unwrap();
                write(opcode, *length as usize, |ours| assert_eq!(ours, theirs));
            }
        }
    }
}
