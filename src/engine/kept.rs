//! The head of the last answer, kept: the next one that is like it is one copy.
//!
//! Like it: of the same status, type and length, within the second that its `Date` is good for, to
//! a request that leaves no question. Whatever else a head says, it is written anew. Knows no
//! connection.

use crate::date::Date;
use crate::tick::Tick;

/// A head as it was written.
#[derive(Debug, Default)]
pub(super) struct Kept {
    status: u16,
    length: u64,
    /// Where the type lies, of which there is one copy in the program.
    content_type: Option<&'static str>,
    since: Tick,
    bytes: Vec<u8>,
}

impl Kept {
    /// The head of an answer with these three, if it is this one and its date is good at `now`.
    #[inline]
    pub(super) fn get(
        &self,
        status: u16,
        content_type: Option<&'static str>,
        length: usize,
        now: Tick,
    ) -> Option<&[u8]> {
        let place = |text: Option<&'static str>| text.map(|text| (text.as_ptr(), text.len()));
        let same = self.status == status
            && self.length == length as u64
            && place(self.content_type) == place(content_type)
            && Date::is_good(self.since, now);
        same.then_some(&self.bytes)
    }

    /// Keeps one, whose date is of `since`.
    pub(super) fn keep(
        &mut self,
        status: u16,
        content_type: Option<&'static str>,
        length: usize,
        since: Tick,
        bytes: &[u8],
    ) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        (self.status, self.length) = (status, length as u64);
        (self.content_type, self.since) = (content_type, since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_head_is_given_back_and_only_for_its_second() {
        let mut kept = Kept::default();
        let at = Tick::from_millis;
        assert_eq!(kept.get(200, None, 0, at(0)), None);
        kept.keep(200, Some("text/plain"), 5, at(100), b"head");
        let text: &'static str = "text/plain";
        assert_eq!(kept.get(200, Some(text), 5, at(1099)), Some(&b"head"[..]));
        assert_eq!(kept.get(200, Some(text), 5, at(1100)), None);
        assert_eq!(kept.get(404, Some(text), 5, at(100)), None);
        assert_eq!(kept.get(200, None, 5, at(100)), None);
        assert_eq!(kept.get(200, Some("text/html"), 5, at(100)), None);
        assert_eq!(kept.get(200, Some(&text[..4]), 5, at(100)), None);
        assert_eq!(kept.get(200, Some(text), 6, at(100)), None);
    }
}
