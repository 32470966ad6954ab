//! Eight bytes in one register: each is compared at once, and its answer is its high bit, a mark.
//!
//! A comparison is one subtraction or addition over the whole word, so a byte may borrow from the
//! next or carry into it. A byte borrows only if it is less than what is taken from it, and then it
//! is marked; and it carries only if it is above ASCII. So where all is ASCII, marks are right up to
//! and with the first, and those of `within` everywhere. A byte above ASCII may be marked or not:
//! `| word` marks it, `& !word` does not, and then the first mark is right whatever the bytes are,
//! but for the additions.
//!
//! Knows no grammar.

/// The place of the first byte of whole words that `marks` marks.
#[inline(always)]
pub(super) fn find(words: &[[u8; 8]], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let mut at = 0;
    for word in words {
        let marks = marks(load(word)) & HIGH;
        if marks != 0 {
            return Some(at + place(marks));
        }
        at += 8;
    }
    None
}

/// A word whose first byte is the lowest: what borrows and carries is the later for it.
#[inline(always)]
pub(super) const fn load(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The place of the first mark, where there are only marks; 8 if there is none.
#[inline(always)]
pub(super) const fn place(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Marks the bytes below a limit.
#[inline(always)]
pub(super) const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(limit as u64 * ONES)
}

/// Marks the bytes that are this one of ASCII.
#[inline(always)]
pub(super) const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (byte as u64 * ONES), 1)
}

/// Marks DEL and all above ASCII: what would carry is marked by itself.
#[inline(always)]
pub(super) const fn from_del_on(word: u64) -> u64 {
    word.wrapping_add(ONES) | word
}

/// Marks the bytes from one of ASCII to another.
#[inline(always)]
pub(super) const fn within(word: u64, first: u8, last: u8) -> u64 {
    let from = word.wrapping_add((0x80 - first as u64) * ONES);
    let beyond = word.wrapping_add((0x7f - last as u64) * ONES);
    from & !beyond
}

/// All marks there can be.
pub(super) const HIGH: u64 = 0x80 * ONES;

const ONES: u64 = u64::from_ne_bytes([1; 8]);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte in every place, beside the fillers, and every byte behind it: what a borrow or a
    /// carry would reach.
    fn words(fillers: &[u8], mut check: impl FnMut(&[u8; 8])) {
        for filler in fillers {
            for at in 0..8 {
                for pair in 0..=u16::MAX {
                    let mut bytes = [*filler; 8];
                    let [byte, after] = pair.to_le_bytes();
                    bytes[at] = byte;
                    if let Some(next) = bytes.get_mut(at + 1) {
                        *next = after;
                    }
                    check(&bytes);
                }
            }
        }
    }

    #[test]
    fn the_first_mark_is_right() {
        words(b"\0!#~", |bytes| {
            let word = load(bytes);
            let first = |marks| find(&[*bytes], |_| marks);
            let is = |what: &dyn Fn(u8) -> bool| bytes.iter().position(|byte| what(*byte));
            assert_eq!(first(below(word, b'!') & !word), is(&|byte| byte < b'!'));
            assert_eq!(first(equal(word, b'#') & !word), is(&|byte| byte == b'#'));
            assert_eq!(first(from_del_on(word)), is(&|byte| byte >= 0x7f));
            let either = is(&|byte| !(b'!'..0x80).contains(&byte));
            assert_eq!(first(below(word, b'!') | word), either);
        });
    }

    #[test]
    fn what_is_within_is_marked_wherever_it_is() {
        words(b"/09:", |bytes| {
            if bytes.is_ascii() {
                let digits = bytes.map(|byte| u8::from(byte.is_ascii_digit()) << 7);
                let marks = within(load(bytes), b'0', b'9') & HIGH;
                assert_eq!(marks, load(&digits), "{bytes:?}");
            }
        });
    }

    #[test]
    fn the_first_of_several_words_with_a_mark_counts() {
        let words = [*b"aaaaaaaa", *b"aaab#aaa", *b"#aaaaaaa"];
        assert_eq!(find(&words, |word| equal(word, b'#')), Some(12));
        assert_eq!(find(&words[..1], |word| equal(word, b'#')), None);
        assert_eq!(find(&[], |word| word), None);
    }
}
