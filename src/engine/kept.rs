//! The head of the last answer, kept: the next one that is like it is one copy.
//!
//! Like it: of the same status, type and length, within the second that its `Date` is good for, to
//! a request that leaves no question. Whatever else a head says, it is written anew. Knows no
//! connection.

use super::output::small;
use crate::app::Content;
use crate::date::Date;
use crate::tick::Tick;

/// A head as it was written, and behind it the body, if that is one of the program's.
#[derive(Debug, Default)]
pub(super) struct Kept {
    like: Like,
    since: Tick,
    bytes: Vec<u8>,
    head: usize,
    body: Option<&'static [u8]>,
}

/// What makes two heads the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Like {
    pub(super) status: u16,
    pub(super) length: usize,
    /// Compared by its place: there is one copy of it in the program.
    pub(super) content_type: Option<&'static str>,
}

impl Kept {
    /// The head of an answer like that, if it is this one and its date is good at `now`; with its
    /// body, if that is `body`. What is left of the body comes second.
    #[inline(always)]
    pub(super) fn get<'b>(
        &self,
        like: Like,
        body: &'b Content,
        now: Tick,
    ) -> Option<(&[u8], &'b [u8])> {
        let place = |text: Option<&'static str>| text.map(|text| (text.as_ptr(), text.len()));
        let same = self.like.status == like.status
            && self.like.length == like.length
            && place(self.like.content_type) == place(like.content_type)
            && Date::is_good(self.since, now);
        if !same {
            return None;
        }
        if let (Content::Static(bytes), Some(kept)) = (body, self.body)
            && bytes.as_ptr() == kept.as_ptr()
        {
            return Some((&self.bytes, &[])); // as long as it is, as `like` says
        }
        Some((self.bytes.get(..self.head)?, small(body)?))
    }

    /// Keeps the head of an answer, whose date is of `since`.
    pub(super) fn keep(&mut self, like: Like, since: Tick, head: &[u8], body: &Content) {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        self.head = head.len();
        self.body = match body {
            Content::Static(bytes) => Some(bytes),
            _ => None,
        };
        self.bytes.extend_from_slice(self.body.unwrap_or_default());
        (self.like, self.since) = (like, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[u8] = b"hello";

    #[test]
    fn only_the_same_head_is_given_back_and_only_for_its_second() {
        let at = Tick::from_millis;
        let like = Like {
            status: 200,
            length: OURS.len(),
            content_type: Some("text/plain"),
        };
        let body = Content::Static(OURS);
        let mut kept = Kept::default();
        assert_eq!(kept.get(like, &body, at(0)), None);
        kept.keep(like, at(100), b"head", &body);
        let whole: (&[u8], &[u8]) = (b"headhello", b"");
        assert_eq!(kept.get(like, &body, at(1099)), Some(whole));
        assert_eq!(kept.get(like, &body, at(1100)), None);
        let other = Content::Bytes(b"HELLO".to_vec());
        let parts: (&[u8], &[u8]) = (b"head", b"HELLO");
        assert_eq!(kept.get(like, &other, at(100)), Some(parts));
        let text = like.content_type.map(|text| &text[..4]);
        for unlike in [
            Like {
                status: 404,
                ..like
            },
            Like { length: 6, ..like },
            Like {
                content_type: None,
                ..like
            },
            Like {
                content_type: text,
                ..like
            },
            Like {
                content_type: Some("text/html"),
                ..like
            },
        ] {
            assert_eq!(kept.get(unlike, &body, at(100)), None, "{unlike:?}");
        }
    }

    #[test]
    fn a_body_that_was_made_for_one_answer_is_not_kept() {
        let mut kept = Kept::default();
        let (like, at) = (
            Like {
                length: 5,
                ..Like::default()
            },
            Tick::from_millis(0),
        );
        kept.keep(like, at, b"head", &Content::Bytes(b"first".to_vec()));
        let second = Content::Bytes(b"after".to_vec());
        let parts: (&[u8], &[u8]) = (b"head", b"after");
        assert_eq!(kept.get(like, &second, at), Some(parts));
    }
}
