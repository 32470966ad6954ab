//! The search for the end of a head that arrives in pieces: each byte once, no bare LF.
//!
//! A head that arrives whole is not scanned: httparse finds its end, and `head` checks the line
//! ends. Parsing a head in pieces at each read would cost the square of its length.

use memchr::memchr;

use super::{RequestError, grammar};

/// The progress of the search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes searched.
    at: u32,
    /// The beginning of the line at `at`.
    line: u32,
    /// Empty lines before the head.
    empty_lines: u8,
}

impl Scan {
    /// Returns whether no byte of the head was searched; empty lines before it do not count.
    #[inline]
    pub(super) const fn is_fresh(self) -> bool {
        self.at == 0
    }

    /// Returns a fresh scan that has skipped that many empty lines.
    #[inline]
    pub(super) const fn after_empty_lines(empty_lines: u8) -> Self {
        Self {
            at: 0,
            line: 0,
            empty_lines,
        }
    }

    /// Returns the number of skipped empty lines.
    #[inline]
    pub(super) const fn empty_lines(self) -> u8 {
        self.empty_lines
    }

    /// Skips empty lines at the front of `bytes`. Returns their length in bytes. RFC 9112 (section
    /// 2.2) asks for it: old clients send one too many after a body.
    ///
    /// A CR without its LF stays, and counts as searched.
    #[inline]
    pub(super) fn skip_empty_lines(&mut self, bytes: &[u8]) -> Result<usize, RequestError> {
        let mut skipped = 0;
        while let [b'\r', rest @ ..] = &bytes[skipped..] {
            match rest {
                [] => {
                    self.at = 1;
                    break;
                }
                [b'\n', ..] => {
                    self.at = 0;
                    self.empty_lines += 1;
                    if self.empty_lines > MAX_EMPTY_LINES {
                        return Err(RequestError::Syntax);
                    }
                    skipped += 2;
                }
                _ => return Err(RequestError::Syntax),
            }
        }
        Ok(skipped)
    }

    /// Returns the length of the head that `bytes` begin with, or `None` before its end has come.
    /// `bytes` only grow between calls; at most `limit` of them are searched.
    pub(super) fn step(&mut self, bytes: &[u8], limit: u32) -> Result<Option<usize>, RequestError> {
        let window = &bytes[..bytes.len().min(limit as usize)];
        if self.at == 0 {
            // The first byte alone refuses a TLS hello on an HTTP port, which may have no line
            // end.
            match window.first() {
                Some(b'\n') => return Err(RequestError::BareLf),
                Some(byte) if !grammar::is_tchar(*byte) => return Err(RequestError::Syntax),
                _ => {}
            }
        }
        while let Some(n) = memchr(b'\n', window.get(self.at as usize..).unwrap_or_default()) {
            let lf = self.at as usize + n;
            if lf == 0 || window[lf - 1] != b'\r' {
                return Err(RequestError::BareLf);
            }
            let empty = lf - 1 == self.line as usize;
            self.at = lf as u32 + 1;
            self.line = self.at;
            if empty {
                return Ok(Some(self.at as usize));
            }
        }
        self.at = window.len() as u32;
        if self.at < limit {
            Ok(None)
        } else if self.line == 0 {
            Err(RequestError::TargetTooLong)
        } else {
            Err(RequestError::HeadTooLarge)
        }
    }
}

/// The RFC's one, and one more: a client may end a body with one and begin the next request with
/// another. No known client sends more.
pub(super) const MAX_EMPTY_LINES: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use RequestError::{BareLf, HeadTooLarge, TargetTooLong};

    #[test]
    fn the_end_is_found_wherever_the_head_is_cut() {
        const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut bytes = HEAD.to_vec();
        bytes.extend_from_slice(b"\r\n\r\nmore");
        for cut in 0..=bytes.len() {
            let mut scan = Scan::default();
            let first = scan.step(&bytes[..cut], 100).unwrap();
            if cut < HEAD.len() {
                assert_eq!(first, None, "{cut}");
                assert_eq!(scan.step(&bytes, 100), Ok(Some(HEAD.len())), "{cut}");
            } else {
                assert_eq!(first, Some(HEAD.len()), "{cut}");
            }
        }
    }

    #[test]
    fn a_byte_is_searched_once() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        while head.len() < 64 * 1024 {
            head.extend_from_slice(b"X: y\r\n");
        }
        let mut scan = Scan::default();
        let mut looked_at = 0;
        for len in 1..=head.len() {
            looked_at += len - scan.at as usize;
            assert_eq!(scan.step(&head[..len], u32::MAX), Ok(None));
        }
        assert_eq!(looked_at, head.len());
    }

    #[test]
    fn the_limit_is_the_last_length_that_passes() {
        const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        let len = HEAD.len() as u32;
        assert_eq!(Scan::default().step(HEAD, len), Ok(Some(HEAD.len())));
        assert_eq!(Scan::default().step(HEAD, len - 1), Err(HeadTooLarge));
        assert_eq!(Scan::default().step(HEAD, 16), Err(HeadTooLarge));
        assert_eq!(Scan::default().step(HEAD, 15), Err(TargetTooLong));
        assert_eq!(Scan::default().step(HEAD, 0), Err(TargetTooLong));
    }

    #[test]
    fn a_bare_lf_is_refused_as_soon_as_it_comes() {
        for bytes in [
            &b"\n"[..],
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nHost: a\n",
            b"GET / HTTP/1.1\r\n\n",
        ] {
            assert_eq!(Scan::default().step(bytes, 100), Err(BareLf));
        }
    }
}
