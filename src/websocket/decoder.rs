//! Frames of a client into messages.
//!
//! Bytes are unmasked where they lie. A message that is there as a whole is given as it lies; what
//! comes in pieces is gathered, and its text checked as it comes. Between messages there is no
//! state at all. Knows no connection, and answers nothing.

use std::mem;
use std::ops::ControlFlow;

use super::frame::is_code;
use super::header::{self, Fault, Header, LONGEST_READ, OpCode};

/// What a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    /// Its Close, with the code if it had one.
    Close(Option<u16>),
}

/// What a client may send, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) message: usize,
    pub(super) frame: usize,
}

/// Where a client's frames stand: nothing between messages.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    work: Option<Box<Work>>,
}

/// What is there of a frame or a message that has begun.
#[derive(Debug, Default)]
struct Work {
    /// The beginning of a header.
    header: [u8; LONGEST_READ],
    header_len: u8,
    /// The frame whose payload is coming.
    frame: Option<Frame>,
    /// Whether the message that has begun is text.
    message: Option<bool>,
    /// What there is of that message.
    bytes: Vec<u8>,
    /// How much of it is known to be UTF-8.
    valid: usize,
    /// What there is of a control frame's payload.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    last: bool,
    mask: [u8; 4],
    left: usize,
}

impl Decoder {
    /// Whether a message has begun and not ended.
    pub(super) const fn is_amid(&self) -> bool {
        self.work.is_some()
    }

    /// Takes bytes and tells what they are, in order, until told to stop. After a fault the bytes
    /// that follow mean nothing.
    pub(super) fn receive(
        &mut self,
        mut input: &mut [u8],
        limits: Limits,
        mut tell: impl FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut work = self.work.take().map_or_else(Work::default, |work| *work);
        while !input.is_empty() {
            let mut frame = match work.frame.take() {
                Some(frame) => frame,
                None => match work.header(&mut input, limits)? {
                    Some(header) => work.begin(&header, limits)?,
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
        if !work.is_blank() {
            self.work = Some(Box::new(work));
        }
        Ok(())
    }
}

impl Work {
    const fn is_blank(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// The next header, if it is there as a whole; takes it, or what there is of it.
    fn header(&mut self, input: &mut &mut [u8], limits: Limits) -> Result<Option<Header>, Fault> {
        let kept = usize::from(self.header_len);
        let more = input.len().min(LONGEST_READ - kept);
        self.header[kept..kept + more].copy_from_slice(&input[..more]);
        let found = header::read(&self.header[..kept + more], limits.frame)?;
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

    /// A header that may stand here (RFC 6455 §5.1, §5.4).
    fn begin(&mut self, header: &Header, limits: Limits) -> Result<Frame, Fault> {
        let opcode = header.opcode;
        match (opcode, self.message) {
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(Fault::Protocol("a message within another"));
            }
            (OpCode::Continue, None) => {
                return Err(Fault::Protocol("the continuation of nothing"));
            }
            (OpCode::Text | OpCode::Binary, None) => self.message = Some(opcode == OpCode::Text),
            _ => {}
        }
        if !opcode.is_control() && header.length > limits.message.saturating_sub(self.bytes.len()) {
            return Err(Fault::TooBig);
        }
        Ok(Frame {
            opcode,
            last: header.last,
            mask: header.mask,
            left: header.length,
        })
    }

    /// Keeps what there is of a frame.
    fn gather(&mut self, frame: Frame, payload: &[u8]) -> Result<(), Fault> {
        if frame.opcode.is_control() {
            self.control.extend_from_slice(payload);
        } else {
            self.bytes.extend_from_slice(payload);
            self.check_text()?;
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// A frame is complete; `payload` is the rest of it.
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
                OpCode::Close => tell(Piece::Close(close(&self.control)?)),
                _ => tell(Piece::Pong),
            };
            self.control.clear();
            return Ok(flow);
        }
        if !(frame.last && self.bytes.is_empty()) {
            self.bytes.extend_from_slice(payload);
        }
        if !frame.last {
            self.check_text()?;
            return Ok(ControlFlow::Continue(()));
        }
        let whole = if self.bytes.is_empty() {
            payload
        } else {
            &self.bytes
        };
        let flow = match self.message.take() {
            Some(true) => tell(Piece::Text(str::from_utf8(whole).map_err(|_| Fault::Utf8)?)),
            _ => tell(Piece::Binary(whole)),
        };
        self.bytes.clear();
        self.valid = 0;
        Ok(flow)
    }

    /// Text must be good as far as it goes; its last character may be cut.
    fn check_text(&mut self) -> Result<(), Fault> {
        if self.message == Some(true) {
            match str::from_utf8(&self.bytes[self.valid..]) {
                Ok(text) => self.valid += text.len(),
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(Fault::Utf8),
            }
        }
        Ok(())
    }
}

/// The code of a Close (RFC 6455 §5.5.1).
fn close(payload: &[u8]) -> Result<Option<u16>, Fault> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_code(code) {
                return Err(Fault::Protocol("not a code for a Close"));
            }
            str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
            Ok(Some(code))
        }
        _ => Err(Fault::Protocol("half a code")),
    }
}

/// Takes the mask off a part of a payload, and turns the mask to where the next part begins.
///
/// Four bytes at a time, which the compiler makes many more of.
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

    const LIMITS: Limits = Limits {
        message: 1_000,
        frame: 1_000,
    };
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame of a client: the first byte as it is, then the masked payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        frame
    }

    /// What bytes mean that come in these pieces.
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

    /// The same whole, cut at every offset, and byte by byte.
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
        let first = bytes.len() - 2; // the rest of the character is not needed to know
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
