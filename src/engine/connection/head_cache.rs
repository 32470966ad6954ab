//! The head of the last response, kept so that a response like it is one copy.
//!
//! Two responses are alike if status, type and length are equal, and both fall into the second of
//! one `Date`. Any other head is written anew. Knows no connection.

use super::output::small;
use crate::app::Content;
use crate::date::Date;
use crate::tick::Tick;

/// A head as it was written, and behind it the body, if the body is a constant of the program.
#[derive(Debug, Default)]
pub(in crate::engine) struct HeadCache {
    key: CacheKey,
    since: Tick,
    bytes: Vec<u8>,
    head: usize,
    body: Option<&'static [u8]>,
}

/// What makes two heads the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CacheKey {
    pub(super) status: u16,
    pub(super) length: usize,
    /// Compared by its address: the program has one copy.
    pub(super) content_type: Option<&'static str>,
}

impl HeadCache {
    /// Returns the kept head, if `key` is its key and its date is good at `now`. The kept body
    /// follows the head, if it is `body`; otherwise `body` comes second.
    #[inline(always)]
    pub(super) fn get<'b>(
        &self,
        key: CacheKey,
        body: &'b Content,
        now: Tick,
    ) -> Option<(&[u8], &'b [u8])> {
        let place = |text: Option<&'static str>| text.map(|text| (text.as_ptr(), text.len()));
        let same = self.key.status == key.status
            && self.key.length == key.length
            && place(self.key.content_type) == place(key.content_type)
            && Date::is_good(self.since, now);
        if !same {
            return None;
        }
        if let (Content::Static(bytes), Some(kept)) = (body, self.body)
            && bytes.as_ptr() == kept.as_ptr()
        {
            return Some((&self.bytes, &[])); // of the same length, as `key` says
        }
        Some((self.bytes.get(..self.head)?, small(body)?))
    }

    /// Keeps the head of a response, whose date is of `since`.
    pub(super) fn keep(&mut self, key: CacheKey, since: Tick, head: &[u8], body: &Content) {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        self.head = head.len();
        self.body = match body {
            Content::Static(bytes) => Some(bytes),
            _ => None,
        };
        self.bytes.extend_from_slice(self.body.unwrap_or_default());
        (self.key, self.since) = (key, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[u8] = b"hello";

    #[test]
    fn only_the_same_head_is_given_back_and_only_for_its_second() {
        let at = Tick::from_millis;
        let key = CacheKey {
            status: 200,
            length: OURS.len(),
            content_type: Some("text/plain"),
        };
        let body = Content::Static(OURS);
        let mut kept = HeadCache::default();
        assert_eq!(kept.get(key, &body, at(0)), None);
        kept.keep(key, at(100), b"head", &body);
        let whole: (&[u8], &[u8]) = (b"headhello", b"");
        assert_eq!(kept.get(key, &body, at(1099)), Some(whole));
        assert_eq!(kept.get(key, &body, at(1100)), None);
        let other = Content::Bytes(b"HELLO".to_vec());
        let parts: (&[u8], &[u8]) = (b"head", b"HELLO");
        assert_eq!(kept.get(key, &other, at(100)), Some(parts));
        let text = key.content_type.map(|text| &text[..4]);
        for other in [
            CacheKey { status: 404, ..key },
            CacheKey { length: 6, ..key },
            CacheKey {
                content_type: None,
                ..key
            },
            CacheKey {
                content_type: text,
                ..key
            },
            CacheKey {
                content_type: Some("text/html"),
                ..key
            },
        ] {
            assert_eq!(kept.get(other, &body, at(100)), None, "{other:?}");
        }
    }

    #[test]
    fn a_body_that_was_made_for_one_answer_is_not_kept() {
        let mut kept = HeadCache::default();
        let (key, at) = (
            CacheKey {
                length: 5,
                ..CacheKey::default()
            },
            Tick::from_millis(0),
        );
        kept.keep(key, at, b"head", &Content::Bytes(b"first".to_vec()));
        let second = Content::Bytes(b"after".to_vec());
        let parts: (&[u8], &[u8]) = (b"head", b"after");
        assert_eq!(kept.get(key, &second, at), Some(parts));
    }
}
