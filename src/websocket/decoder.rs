//! A client's frames into messages.
//!
//! Payloads are unmasked in place. A message that arrives in one read is passed on without a copy;
//! the parts of any other are gathered, and text is checked as it arrives. The decoder holds no
//! memory between messages. Knows no connection, and answers nothing.

use std::mem;
use std::ops::ControlFlow;

use super::code;
use super::header::{self, Fault, Header, LONGEST_READ, OpCode};

/// A message or a control frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    /// A Close, with its code if it has one.
    Close(Option<u16>),
}

/// The longest message and the longest frame that a client may send, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeLimits {
    pub(super) message: usize,
    pub(super) frame: usize,
}

/// The state between two reads: none between messages.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    unfinished: Option<Box<Unfinished>>,
}

/// A frame or a message that has begun.
#[derive(Debug, Default)]
struct Unfinished {
    /// The first bytes of a header.
    header: [u8; LONGEST_READ],
    header_len: u8,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message that has begun: whether it is text.
    is_text: Option<bool>,
    /// The payload of that message so far.
    message: Vec<u8>,
    /// The number of bytes of the message that are known to be UTF-8.
    valid: usize,
    /// The payload of a control frame so far.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    last: bool,
    mask: [u8; 4],
    /// The bytes of the payload that have not arrived.
    left: usize,
}

impl Decoder {
    /// Returns whether a message has begun and not ended.
    pub(super) const fn is_amid(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Takes bytes, and passes what they are to `tell`, in order, until `tell` breaks.
    ///
    /// # Errors
    ///
    /// The client broke the protocol or a limit. The bytes that follow mean nothing.
    pub(super) fn receive(
        &mut self,
        mut input: &mut [u8],
        limits: SizeLimits,
        mut tell: impl FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut work = self
            .unfinished
            .take()
            .map_or_else(Unfinished::default, |work| *work);
        while !input.is_empty() {
            let mut frame = match work.frame.take() {
                Some(frame) => frame,
                None => match work.header(&mut input, limits.frame)? {
                    Some(header) => work.begin(&header, limits.message)?,
                    None => break,
                },
            };
            let here = frame.left.min(input.len());
            let (payload, rest) = mem::take(&mut input).split_at_mut(here);
            input = rest;
            unmask(payload, &mut frame.mask);
            frame.left -= here;
            if frame.left > 0 {
                work.gather(frame, payload)?;
            } else if work.complete(&frame, payload, &mut tell)?.is_break() {
                return Ok(());
            }
        }
        if !work.is_empty() {
            self.unfinished = Some(Box::new(work));
        }
        Ok(())
    }
}

impl Unfinished {
    const fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.is_text.is_none()
    }

    /// Takes the next header from the input; keeps its first bytes while the rest is missing.
    fn header(&mut self, input: &mut &mut [u8], max: usize) -> Result<Option<Header>, Fault> {
        let kept = usize::from(self.header_len);
        let more = input.len().min(LONGEST_READ - kept);
        self.header[kept..kept + more].copy_from_slice(&input[..more]);
        let found = header::read(&self.header[..kept + more], max)?;
        let (taken, header) = match found {
            Some((header, length)) => {
                self.header_len = 0;
                (length - kept, Some(header))
            }
            None => {
                self.header_len = (kept + more) as u8; // at most 14
                (more, None)
            }
        };
        *input = &mut mem::take(input)[taken..];
        Ok(header)
    }

    /// Begins a frame, if its header may stand here (RFC 6455 §5.4).
    fn begin(&mut self, header: &Header, max: usize) -> Result<Frame, Fault> {
        let opcode = header.opcode;
        match (opcode, self.is_text) {
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(Fault::Protocol("a message within another"));
            }
            (OpCode::Continue, None) => {
                return Err(Fault::Protocol("the continuation of nothing"));
            }
            (OpCode::Text | OpCode::Binary, None) => self.is_text = Some(opcode == OpCode::Text),
            _ => {}
        }
        if !opcode.is_control() && header.length > max.saturating_sub(self.message.len()) {
            return Err(Fault::TooBig);
        }
        Ok(Frame {
            opcode,
            last: header.last,
            mask: header.mask,
            left: header.length,
        })
    }

    /// Keeps a part of a payload.
    fn gather(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Fault> {
        if frame.opcode.is_control() {
            self.control.extend_from_slice(payload);
        } else {
            self.message.extend_from_slice(payload);
            self.check_text()?;
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// Ends a frame with the last part of its payload.
    fn complete(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        tell: &mut impl FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Fault> {
        if frame.opcode.is_control() {
            self.control.extend_from_slice(payload);
            let flow = match frame.opcode {
                OpCode::Ping => tell(Piece::Ping(&self.control)),
                OpCode::Close => tell(Piece::Close(close_code(&self.control)?)),
                _ => tell(Piece::Pong),
            };
            self.control.clear();
            return Ok(flow);
        }
        if !frame.last {
            self.message.extend_from_slice(payload);
            self.check_text()?;
            return Ok(ControlFlow::Continue(()));
        }
        let whole = if self.message.is_empty() {
            payload
        } else {
            self.message.extend_from_slice(payload);
            &self.message
        };
        let flow = match self.is_text.take() {
            Some(true) => tell(Piece::Text(str::from_utf8(whole).map_err(|_| Fault::Utf8)?)),
            _ => tell(Piece::Binary(whole)),
        };
        self.message.clear();
        self.valid = 0;
        Ok(flow)
    }

    /// Checks the text so far. The last character may be incomplete.
    fn check_text(&mut self) -> Result<(), Fault> {
        if self.is_text == Some(true) {
            match str::from_utf8(&self.message[self.valid..]) {
                Ok(text) => self.valid += text.len(),
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(Fault::Utf8),
            }
        }
        Ok(())
    }
}

/// Returns the code of a Close (RFC 6455 §5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !code::is_sendable(code) {
                return Err(Fault::Protocol("not a code for a Close"));
            }
            str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
            Ok(Some(code))
        }
        _ => Err(Fault::Protocol("half a code")),
    }
}

/// Unmasks a part of a payload (RFC 6455 §5.3), and rotates the mask to where the next part begins.
///
/// The compiler makes wide vectors of a loop over four bytes.
fn unmask(payload: &mut [u8], mask: &mut [u8; 4]) {
    let key = u32::from_ne_bytes(*mask);
    let (fours, rest) = payload.as_chunks_mut::<4>();
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(&*mask) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SizeLimits = SizeLimits {
        message: 1_000,
        frame: 1_000,
    };
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// Returns a client's frame with this first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        header::write(OpCode::Text, payload.len(), |header| {
            frame.extend_from_slice(header);
        });
        frame[0] = first;
        frame[1] |= 0x80; // masked
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    /// Returns what the decoder tells of bytes that arrive in these parts.
    fn pieces(parts: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut told = Vec::new();
        for part in parts {
            let tell = |piece: Piece<'_>| {
                told.push(match piece {
                    Piece::Text(text) => format!("text {text}"),
                    Piece::Binary(bytes) => format!("binary {bytes:?}"),
                    Piece::Ping(bytes) => format!("ping {bytes:?}"),
                    other => format!("{other:?}"),
                });
                match piece {
                    Piece::Close(_) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            };
            if let Err(fault) = decoder.receive(&mut part.to_vec(), LIMITS, tell) {
                told.push(format!("{fault:?}"));
                return told;
            }
            if told.last().is_some_and(|last| last.starts_with("Close")) {
                return told;
            }
        }
        if decoder.is_amid() {
            told.push("amid".into());
        }
        told
    }

    /// Checks bytes that arrive whole, cut at every offset, and byte by byte.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(pieces(&[bytes]), expected, "whole");
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(pieces(&[first, second]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(pieces(&bytes), expected, "byte by byte");
    }

    const BAD_BIT: &str = r#"Protocol("a reserved bit")"#;

    #[test]
    fn messages_however_they_are_cut() {
        check(&frame(0x81, b"Hello"), &["text Hello"]);
        check(&frame(0x82, b""), &["binary []"]);
        check(&frame(0x81, b""), &["text "]);
        check(
            &frame(0x81, &[b'x'; 300]),
            &[&format!("text {}", "x".repeat(300))],
        );
        let fragments = [frame(0x01, b"Hel"), frame(0x00, b"lo"), frame(0x80, b"")].concat();
        check(&fragments, &["text Hello"]);
        let empty = [frame(0x01, b""), frame(0x00, b""), frame(0x80, b"x")].concat();
        check(&empty, &["text x"]);
        let between = [
            frame(0x02, &[1]),
            frame(0x89, b"?"),
            frame(0x8a, b""),
            frame(0x80, &[2]),
            frame(0x81, b"next"),
        ];
        let expected = ["ping [63]", "Pong", "binary [1, 2]", "text next"];
        check(&between.concat(), &expected);
        check(&frame(0x81, "κόσμε".as_bytes()), &["text κόσμε"]);
    }

    #[test]
    fn what_has_begun_is_known_to_have() {
        check(&[0x81], &["amid"]);
        check(&frame(0x81, b"Hello")[..8], &["amid"]);
        check(&frame(0x01, b"Hello"), &["amid"]);
        check(
            &[frame(0x81, b"a"), vec![0x81]].concat(),
            &["text a", "amid"],
        );
    }

    #[test]
    fn text_is_refused_as_soon_as_it_is_wrong() {
        let bad = [frame(0x01, b"ab\xce\xba\xff"), frame(0x80, b"x")].concat();
        check(&bad, &["Utf8"]);
        check(&frame(0x81, b"\xed\xa0\x80"), &["Utf8"]);
        check(&frame(0x81, b"ab\xce"), &["Utf8"]);
        let cut = [frame(0x01, b"\xce"), frame(0x80, b"\xba")].concat();
        check(&cut, &["text κ"]);
        let mut decoder = Decoder::default();
        let mut bytes = frame(0x01, b"\xf4\x90\x80\x80");
        let first = bytes.len() - 2; // the first two bytes of the character are wrong already
        let receive = decoder.receive(&mut bytes[..first], LIMITS, |_| ControlFlow::Continue(()));
        assert_eq!(receive, Err(Fault::Utf8));
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        for first in [0xc1, 0xa1, 0x91] {
            check(&frame(first, b"x"), &[BAD_BIT]);
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            check(
                &frame(0x80 | opcode, b""),
                &[r#"Protocol("a reserved opcode")"#],
            );
        }
        check(
            &frame(0x09, b""),
            &[r#"Protocol("a fragmented control frame")"#],
        );
        check(
            &frame(0x89, &[0; 126]),
            &[r#"Protocol("a long control frame")"#],
        );
        check(
            &[0x81, 0x01, b'x'],
            &[r#"Protocol("a frame is not masked")"#],
        );
        check(
            &frame(0x80, b"x"),
            &[r#"Protocol("the continuation of nothing")"#],
        );
        let within = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
        check(&within, &[r#"Protocol("a message within another")"#]);
    }

    #[test]
    fn limits_are_known_before_the_bytes_are_there() {
        check(&frame(0x82, &[0; 1_001])[..8], &["TooBig"]);
        check(
            &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &["TooBig"],
        );
        let sum = [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat();
        check(&sum[..sum.len() - 400], &["TooBig"]);
        let fits = [frame(0x01, &[b'x'; 600]), frame(0x80, &[b'x'; 400])].concat();
        check(&fits, &[&format!("text {}", "x".repeat(1_000))]);
    }

    #[test]
    fn a_close_has_a_code_that_may_be_or_none() {
        check(&frame(0x88, b""), &["Close(None)"]);
        check(&frame(0x88, b"\x03\xe8bye"), &["Close(Some(1000))"]);
        check(&frame(0x88, b"\x03"), &[r#"Protocol("half a code")"#]);
        check(
            &frame(0x88, b"\x03\xee"),
            &[r#"Protocol("not a code for a Close")"#],
        );
        check(&frame(0x88, b"\x03\xe8\xff"), &["Utf8"]);
        let behind = [frame(0x88, b""), frame(0x81, b"late")].concat();
        assert_eq!(pieces(&[&behind]), ["Close(None)"]);
    }

    #[test]
    fn a_mask_is_turned_to_where_the_next_part_begins() {
        let plain: Vec<u8> = (0..=255).collect();
        let masked: Vec<u8> = plain
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        for step in 1..20 {
            let (mut bytes, mut mask) = (masked.clone(), MASK);
            for part in bytes.chunks_mut(step) {
                unmask(part, &mut mask);
            }
            assert_eq!(bytes, plain, "in parts of {step}");
        }
    }
}
