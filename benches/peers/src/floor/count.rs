//! Counts the requests in received bytes, by their blank lines or with httparse.
//!
//! Knows neither sockets nor bodies.

use std::mem::MaybeUninit;

use httparse::Status;
use memchr::memmem;

/// Counts requests, and remembers a request that a read cut in two.
pub(super) trait Count: Default {
    /// Returns how many requests end in these bytes, which continue the previous ones. Returns `None`
    /// for bytes that are no request.
    fn count(&mut self, bytes: &[u8]) -> Option<usize>;
}

/// Counts blank lines.
#[derive(Default)]
pub(super) struct Lines {
    /// Bytes of a blank line at the end of the last read.
    begun: usize,
}

impl Count for Lines {
    fn count(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let mut count = 0;
        while self.begun > 0 {
            let [byte, rest @ ..] = bytes else {
                return Some(count);
            };
            bytes = rest;
            if *byte == BLANK[self.begun] {
                self.begun += 1;
            } else {
                self.begun = usize::from(*byte == BLANK[0]);
            }
            if self.begun == BLANK.len() {
                count += 1;
                self.begun = 0;
            }
        }
        // Most reads are whole requests, so this search takes most bytes.
        let mut end = 0;
        for at in memmem::find_iter(bytes, BLANK) {
            count += 1;
            end = at + BLANK.len();
        }
        let tail = &bytes[end..];
        self.begun = (1..BLANK.len())
            .rev()
            .find(|n| tail.ends_with(&BLANK[..*n]))
            .unwrap_or(0);
        Some(count)
    }
}

/// Parses each head.
#[derive(Default)]
pub(super) struct Heads {
    /// Beginning of an incomplete head.
    begun: Vec<u8>,
}

impl Count for Heads {
    fn count(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.begun.is_empty() {
            let (count, rest) = parse(bytes)?;
            if !rest.is_empty() {
                self.begun = rest.to_vec();
            }
            return Some(count);
        }
        self.begun.extend_from_slice(bytes);
        let (count, rest) = parse(&self.begun)?;
        self.begun = rest.to_vec();
        Some(count)
    }
}

/// Returns the number of heads, and the bytes after the last.
fn parse(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(n)) => {
                bytes = &bytes[n..];
                count += 1;
            }
            Ok(Status::Partial) => break,
            Err(_) => return None,
        }
    }
    Some((count, bytes))
}

const BLANK: &[u8] = b"\r\n\r\n";

/// Most fields of a head.
const FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &[u8] =
        b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n";

    /// Counts with a cut at every offset, and byte by byte.
    fn counts<C: Count>() {
        for cut in 0..=THREE.len() {
            let mut counter = C::default();
            let first = counter.count(&THREE[..cut]).unwrap();
            let second = counter.count(&THREE[cut..]).unwrap();
            assert_eq!(first + second, 3, "cut at {cut}");
        }
        let mut counter = C::default();
        let count = |byte: &u8| counter.count(&[*byte]).unwrap();
        assert_eq!(THREE.iter().map(count).sum::<usize>(), 3, "byte by byte");
    }

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        counts::<Lines>();
    }

    #[test]
    fn heads_are_counted_however_they_are_cut() {
        counts::<Heads>();
    }

    #[test]
    fn what_is_no_head_is_none() {
        assert_eq!(Heads::default().count(b"no\0 head\r\n\r\n"), None);
    }
}
