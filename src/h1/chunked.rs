//! A strict decoder of the chunked coding (RFC 9112, section 7.1).
//!
//! httparse's `parse_chunk_size` accepts an empty size and a bare LF inside an extension, so it is
//! not used. Bytes of framing step a state machine; data is passed on in slices. Extensions and
//! trailers are checked and dropped. Their total length, with the leading zeros of sizes, is
//! limited over the whole body; otherwise a peer could send them for ever.

use super::{RequestError, grammar};

/// The position in a chunked body. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chunked {
    /// The size of a chunk while its digits come, then the bytes of its data that are missing.
    left: u64,
    /// Bytes of extensions and trailers so far, and digits of sizes beyond [`FREE_DIGITS`].
    extras: u32,
    /// Digits of the size so far, counted up to [`FREE_DIGITS`].
    digits: u8,
    state: State,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'b> {
    /// Data of the body; never empty.
    Data(&'b [u8]),
    /// The end, behind the trailers.
    End,
    /// More bytes are needed; all were consumed.
    NeedMore,
}

/// The part of the body to which the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum State {
    #[default]
    Size,
    /// Blanks after the size or after an extension; only another extension may follow.
    Gap,
    /// Behind a `;`.
    BeforeName,
    Name,
    AfterName,
    /// Behind a `=`.
    BeforeValue,
    Value,
    Quoted,
    /// Behind a backslash.
    QuotedPair,
    /// Behind a quoted string's end: like the size's end.
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Chunked {
    /// Reads on. Returns the number of bytes consumed, and the result. `max_extras` limits the
    /// bytes of extensions, trailers and superfluous digits in the whole body.
    pub(super) fn step<'b>(
        &mut self,
        bytes: &'b [u8],
        max_extras: u32,
    ) -> Result<(usize, Step<'b>), RequestError> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let rest = &bytes[at..];
                let n = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                self.left -= n as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok((at + n, Step::Data(&rest[..n])));
            }
            let byte = bytes[at];
            at += 1;
            if self.state == State::EndLf && byte == b'\n' {
                return Ok((at, Step::End));
            }
            self.frame(byte, max_extras)?;
        }
        Ok((at, Step::NeedMore))
    }

    /// Takes a byte of framing, except the last of the body.
    #[inline]
    fn frame(&mut self, byte: u8, max_extras: u32) -> Result<(), RequestError> {
        use State::*;
        self.state = match (self.state, byte) {
            (Size, b'0'..=b'9') => return self.digit(byte - b'0', max_extras),
            (Size, b'a'..=b'f') => return self.digit(byte - b'a' + 10, max_extras),
            (Size, b'A'..=b'F') => return self.digit(byte - b'A' + 10, max_extras),
            (Size, _) if self.digits == 0 => return Err(RequestError::Chunk),
            (Size | Name | Value | AfterQuoted, b'\r') => SizeLf,
            (SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { Trailer } else { Data }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size,
            (Trailer, b'\r') => EndLf,
            (TrailerLf, b'\n') => Trailer,
            (state, byte) => {
                self.charge(max_extras)?;
                extra(state, byte)?
            }
        };
        Ok(())
    }

    /// Takes a digit of a size. RFC 9112, section 7.1, does not limit their number: only a value
    /// that overflows is refused.
    #[inline]
    fn digit(&mut self, digit: u8, max_extras: u32) -> Result<(), RequestError> {
        if self.digits < FREE_DIGITS {
            self.digits += 1;
        } else if self.left >> (u64::BITS - 4) != 0 {
            return Err(RequestError::Chunk);
        } else {
            self.charge(max_extras)?; // a leading zero made room for it
        }
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    /// Counts a byte towards the limit.
    #[inline]
    fn charge(&mut self, max_extras: u32) -> Result<(), RequestError> {
        if self.extras >= max_extras {
            return Err(RequestError::ChunkExtras);
        }
        self.extras += 1;
        Ok(())
    }
}

/// Returns the state after a byte of an extension or of a trailer.
fn extra(state: State, byte: u8) -> Result<State, RequestError> {
    use State::*;
    let blank = grammar::is_blank(byte);
    let token = grammar::is_tchar(byte);
    Ok(match (state, byte) {
        (Size | Gap | Name | AfterName | Value | AfterQuoted, b';') => BeforeName,
        (Size | Gap | Value | AfterQuoted, _) if blank => Gap,
        (BeforeName, _) if blank => BeforeName,
        (BeforeName | Name, _) if token => Name,
        (Name | AfterName, b'=') => BeforeValue,
        (Name | AfterName, _) if blank => AfterName,
        (BeforeValue, b'"') => Quoted,
        (BeforeValue, _) if blank => BeforeValue,
        (BeforeValue | Value, _) if token => Value,
        (Quoted, b'"') => AfterQuoted,
        (Quoted, b'\\') => QuotedPair,
        (Quoted | QuotedPair, _) if grammar::is_value_char(byte) => Quoted,
        (Trailer | TrailerName, _) if token => TrailerName,
        (TrailerName, b':') => TrailerValue,
        (TrailerValue, b'\r') => TrailerLf,
        (TrailerValue, _) if grammar::is_value_char(byte) => TrailerValue,
        _ => return Err(RequestError::Chunk),
    })
}

/// The hex digits of 64 bits: no size needs more, and none of that length overflows.
const FREE_DIGITS: u8 = 16;

const _: () = assert!(size_of::<Chunked>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and the number of bytes behind it.
    type Outcome = Result<(Vec<u8>, usize), RequestError>;

    /// Reads pieces with a fresh decoder; returns `None` without an end.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max_extras: u32) -> Option<Outcome> {
        let mut chunked = Chunked::default();
        let mut body = Vec::new();
        let mut pieces = pieces.into_iter();
        while let Some(mut piece) = pieces.next() {
            loop {
                match chunked.step(piece, max_extras) {
                    Err(bad) => return Some(Err(bad)),
                    Ok((n, Step::Data(data))) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(data);
                        piece = &piece[n..];
                    }
                    Ok((n, Step::NeedMore)) => {
                        assert_eq!(n, piece.len());
                        break;
                    }
                    Ok((n, Step::End)) => {
                        let left = piece.len() - n + pieces.map(<[u8]>::len).sum::<usize>();
                        return Some(Ok((body, left)));
                    }
                }
            }
        }
        None
    }

    /// Returns the outcome of bytes, after asserting that it is the same for every cut.
    #[track_caller]
    fn outcome(bytes: &[u8]) -> Option<Outcome> {
        const MAX: u32 = 60;
        let whole = read([bytes], MAX);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(read([a, b], MAX), whole, "cut at {cut}: {bytes:?}");
        }
        assert_eq!(read(bytes.chunks(1), MAX), whole, "in bytes: {bytes:?}");
        whole
    }

    #[test]
    fn good_bodies_are_read() {
        const CASES: &[(&[u8], &str)] = &[
            (b"0\r\n\r\n", ""),
            (b"5\r\nhello\r\n0\r\n\r\n", "hello"),
            (b"3\r\nabc\r\n1\r\nd\r\n00\r\n\r\n", "abcd"),
            (
                b"A\r\n0123456789\r\na\r\nabcdefghij\r\n0\r\n\r\n",
                "0123456789abcdefghij",
            ),
            (b"0000000000000001\r\nx\r\n0\r\n\r\n", "x"),
            (b"00000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
            (
                b"0000000000000000000000005;a\r\nhello\r\n0\r\n\r\n",
                "hello",
            ),
            (b"1\r\nx\r\n00000000000000000000\r\n\r\n", "x"),
            (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
            (b"1;a\r\nx\r\n0;b\r\n\r\n", "x"),
            (b"1;a=b;c=d\r\nx\r\n0\r\n\r\n", "x"),
            (b"1;a=\"b c;d\"\r\nx\r\n0\r\n\r\n", "x"),
            (b"1;a=\"\\\"\\\\\";b\r\nx\r\n0\r\n\r\n", "x"),
            (b"1;a=\"\"\r\nx\r\n0\r\n\r\n", "x"),
            (b"1 ;\ta = b ; c\t=\t\"d\" ;e\r\nx\r\n0\r\n\r\n", "x"),
            (b"0\r\nX-T: v\r\nX-U:\r\n\r\n", ""),
            (b"0\r\nX: \tcaf\xc3\xa9 \r\n\r\n", ""),
        ];
        for (bytes, body) in CASES {
            assert_eq!(outcome(bytes), Some(Ok((body.as_bytes().to_vec(), 0))));
            let more = [bytes, &b"GET"[..]].concat();
            assert_eq!(outcome(&more), Some(Ok((body.as_bytes().to_vec(), 3))));
            for len in 0..bytes.len() {
                assert_eq!(outcome(&bytes[..len]), None, "{:?}", &bytes[..len]);
            }
        }
    }

    #[test]
    fn bad_bodies_are_refused() {
        const CASES: &[&[u8]] = &[
            b"\r\n\r\n",
            b";a\r\n",
            b"g\r\n",
            b" 5\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"5.\r\n",
            b"5,5\r\n",
            b"5\0\r\n",
            b"10000000000000005\r\n",
            b"010000000000000000\r\n",
            b"0000fffffffffffffffff\r\n",
            b"5\n",
            b"5\r\r\n",
            b"5 \r\n",
            b"5 5\r\n",
            b"5;\r\n",
            b"5;;\r\n",
            b"5;=a\r\n",
            b"5;a=\r\n",
            b"5;a =\r\n",
            b"5;a \r\n",
            b"5;a b\r\n",
            b"5;a=b \r\n",
            b"5;a=b c\r\n",
            b"5;a=b=c\r\n",
            b"5;a=\"b\"c\r\n",
            b"5;a=\"b\r\n",
            b"5;a=\"b\\\r\n",
            b"5;a=\"\x01\"\r\n",
            b"5;a\n",
            b"5;a\0\r\n",
            b"1\r\nx0\r\n\r\n",
            b"1\r\nxx\r\n0\r\n\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nx\rx0\r\n\r\n",
            b"2\r\nx\r\n0\r\n\r\n",
            b"0\r\nWord\r\n\r\n",
            b"0\r\n: v\r\n\r\n",
            b"0\r\nX : v\r\n\r\n",
            b"0\r\nX: v\r\n folded\r\n\r\n",
            b"0\r\nX: \0\r\n\r\n",
            b"0\r\nX: v\n\r\n",
            b"0\r\nX: v\rw\r\n\r\n",
            b"0\r\n\rx",
            b"0\r\n\n",
        ];
        for bytes in CASES {
            assert_eq!(outcome(bytes), Some(Err(RequestError::Chunk)), "{bytes:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_share_a_limit_over_the_whole_body() {
        // Two bytes of ";a", two of ";b", three of "X:\r": the LF of a line is not counted.
        let body = b"1;a\r\nx\r\n1;b\r\ny\r\n0\r\nX:\r\n\r\n";
        assert_eq!(read([&body[..]], 7), Some(Ok((b"xy".to_vec(), 0))));
        assert_eq!(read([&body[..]], 6), Some(Err(RequestError::ChunkExtras)));
        assert_eq!(
            read([&b"1;aaaaaaaaa"[..]], 9),
            Some(Err(RequestError::ChunkExtras))
        );
    }

    #[test]
    fn digits_beyond_sixteen_share_that_limit() {
        // Two digits of "01", four of "0000", ";" and "a".
        let body = b"000000000000000001\r\nx\r\n00000000000000000000;a\r\n\r\n";
        assert_eq!(read([&body[..]], 8), Some(Ok((b"x".to_vec(), 0))));
        assert_eq!(read([&body[..]], 7), Some(Err(RequestError::ChunkExtras)));
        assert_eq!(outcome(&[b'0'; 16 + 60]), None);
        assert_eq!(
            outcome(&[b'0'; 16 + 61]),
            Some(Err(RequestError::ChunkExtras))
        );
    }

    #[test]
    fn the_largest_size_is_a_size() {
        for zeros in [0, 1, 5] {
            let mut chunked = Chunked::default();
            let bytes = [&vec![b'0'; zeros], &b"ffffffffffffffff\r\nab"[..]].concat();
            let (n, step) = chunked.step(&bytes, 5).unwrap();
            assert_eq!((n, step), (bytes.len(), Step::Data(b"ab")));
            assert_eq!(chunked.left, u64::MAX - 2);
        }
    }
}
