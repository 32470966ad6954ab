//! Comparisons of eight bytes at once (SIMD within a register). A byte's high bit is its mark.
//!
//! A comparison is one subtraction or addition over the whole word, so a byte may borrow from the
//! next or carry into it. A byte that borrows is marked, and only bytes above ASCII carry. In ASCII
//! the first mark is therefore right, and every mark of `within`. Bytes above ASCII may be marked:
//! `| word` marks them all, `& !word` none, and then the first mark of a subtraction is right for
//! any bytes.

/// Returns the place of the first byte that `marks` marks.
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

/// Loads a word whose first byte is the lowest, so borrows and carries reach later bytes.
#[inline(always)]
pub(super) const fn load(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Returns the place of the first of `marks`, which have no other bits; 8 if there is none.
#[inline(always)]
pub(super) const fn place(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Marks the bytes below a limit.
#[inline(always)]
pub(super) const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(limit as u64 * ONES)
}

/// Marks the bytes equal to `byte`, which is ASCII.
#[inline(always)]
pub(super) const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (byte as u64 * ONES), 1)
}

/// Marks DEL and all bytes above ASCII, also those that carry.
#[inline(always)]
pub(super) const fn from_del_on(word: u64) -> u64 {
    word.wrapping_add(ONES) | word
}

/// Marks the bytes from `first` to `last`, which are ASCII.
#[inline(always)]
pub(super) const fn within(word: u64, first: u8, last: u8) -> u64 {
    let from = word.wrapping_add((0x80 - first as u64) * ONES);
    let beyond = word.wrapping_add((0x7f - last as u64) * ONES);
    from & !beyond
}

/// All marks.
pub(super) const HIGH: u64 = 0x80 * ONES;

const ONES: u64 = u64::from_ne_bytes([1; 8]);

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries every pair of bytes in every place among fillers: a borrow or a carry reaches the
    /// second byte of the pair.
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
