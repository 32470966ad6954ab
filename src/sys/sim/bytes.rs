//! Bytes on their way to us, shared: a million peers send a request that exists once.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that a peer sends.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// A literal of the program.
    Static(&'static [u8]),
    /// Shared between peers.
    Shared(Arc<[u8]>),
}

impl Bytes {
    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Bytes {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Static(bytes)
    }
}

impl From<&'static str> for Bytes {
    fn from(text: &'static str) -> Self {
        Self::Static(text.as_bytes())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Shared(bytes.into())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

/// Bytes that a peer has sent and we have not read.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: VecDeque<Bytes>,
    /// The read part of the first slice, in bytes.
    at: usize,
    len: u64,
}

impl Inbox {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Adds at most `limit` of the bytes.
    pub(super) fn push(&mut self, bytes: Bytes, limit: u64) {
        let bytes = match usize::try_from(limit) {
            Ok(limit) if limit < bytes.as_slice().len() => {
                Bytes::Shared(bytes.as_slice()[..limit].into())
            }
            _ => bytes,
        };
        if !bytes.as_slice().is_empty() {
            self.len += bytes.as_slice().len() as u64;
            self.queue.push_back(bytes);
        }
    }

    /// Fills `buf` as far as there are bytes.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buf.len() {
            let Some(first) = self.queue.front() else {
                // Most peers are idle: give the queue's memory back.
                *self = Self::default();
                return filled;
            };
            let rest = &first.as_slice()[self.at..];
            let n = rest.len().min(buf.len() - filled);
            buf[filled..filled + n].copy_from_slice(&rest[..n]);
            (filled, self.at, self.len) = (filled + n, self.at + n, self.len - n as u64);
            if self.at == first.as_slice().len() {
                self.queue.pop_front();
                self.at = 0;
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_read_in_order_at_any_cut() {
        for size in 1..12 {
            let mut inbox = Inbox::default();
            inbox.push("abc".into(), 9);
            inbox.push("".into(), 9);
            inbox.push(vec![b'd', b'e', b'f'].into(), 2);
            inbox.push("ghi".to_owned().into(), 0);
            inbox.push(b"xyz".into(), 3);
            assert_eq!(inbox.len(), 8);
            let (mut all, mut buf) = (Vec::new(), vec![0; size]);
            while inbox.len() > 0 {
                let n = inbox.read(&mut buf);
                assert!(n == size || inbox.len() == 0);
                all.extend_from_slice(&buf[..n]);
            }
            assert_eq!(all, b"abcdexyz");
            assert_eq!(inbox.read(&mut buf), 0);
        }
    }
}
