//! The heads that nearly everybody sends, eight bytes at a time; every other is httparse's.
//!
//! Takes a part of what `head` takes, and that as `head` does: wherever something is wrong, rare or
//! not there yet, it says nothing, and `head` and `scan` have the word. So there is one grammar,
//! and two ways through its middle: debug builds, the tests and the fuzz targets hold each head
//! that was taken here against what httparse makes of it.
//!
//! Knows nothing of the bytes behind the head.

use httparse::Header;

use super::framing::{Conclusion, Gathered};
use super::{Head, grammar};

/// The head that `bytes` begin with, and its length, if it is plain: one of the usual methods, a
/// path, HTTP/1.1, all of it ASCII without tabs, no more fields than there is room for, and
/// nothing amiss.
#[inline(never)] // it needs every register there is
pub(super) fn parse<'h, 'b>(
    bytes: &'b [u8],
    fields: &'h mut [Header<'b>],
) -> Option<(usize, Head<'h, 'b>)> {
    let method = method(bytes)?;
    let mut at = method.len() + 1;
    let target = bytes.get(at..find(bytes, at, |word| ends_target(word))?)?;
    if target.first() != Some(&b'/') {
        return None;
    }
    let target = str::from_utf8(target).ok()?;
    at += target.len();
    if bytes.get(at..)?.first_chunk() != Some(b" HTTP/1.1\r\n") {
        return None;
    }
    at += b" HTTP/1.1\r\n".len();
    let mut gathered = Gathered::default();
    let mut count = 0;
    loop {
        let end = find(bytes, at, |word| ends_name(word))?;
        let name = bytes.get(at..end)?;
        if name.is_empty() {
            break;
        }
        if bytes.get(end) != Some(&b':') {
            return None;
        }
        at = end + 1;
        while bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        let end = find(bytes, at, |word| ends_value(word))?;
        let mut value = bytes.get(at..end)?;
        while let [before @ .., b' '] = value {
            value = before;
        }
        if bytes.get(end..)?.first_chunk() != Some(b"\r\n") {
            return None;
        }
        at = end + 2;
        let name = match usual(name) {
            Some(name) => name,
            None if name.iter().all(|byte| grammar::is_tchar(*byte)) => {
                str::from_utf8(name).ok()?
            }
            None => return None,
        };
        let field = Header { name, value };
        gathered.take(&field).ok()?;
        *fields.get_mut(count)? = field;
        count += 1;
    }
    if bytes.get(at..)?.first_chunk() != Some(b"\r\n") {
        return None;
    }
    let Conclusion {
        framing,
        keep_alive,
        expects_continue,
    } = gathered.conclude(1).ok()?;
    let head = Head {
        method,
        target,
        minor: 1,
        fields: fields.get(..count)?,
        framing,
        keep_alive,
        expects_continue,
    };
    Some((at + 2, head))
}

/// The method, if it is one of those that are seen every day.
#[inline]
fn method(bytes: &[u8]) -> Option<&'static str> {
    let four = bytes.first_chunk::<4>()?;
    if four == b"GET " {
        return Some("GET");
    }
    let five = bytes.first_chunk::<5>()?;
    match () {
        () if five == b"POST " => Some("POST"),
        () if five == b"HEAD " => Some("HEAD"),
        () if four == b"PUT " => Some("PUT"),
        () => None,
    }
}

/// The names that most requests have, as most write them: they need no look at each byte.
#[inline]
fn usual(name: &[u8]) -> Option<&'static str> {
    let among = |names: &[&'static str]| {
        let mut names = names.iter().copied();
        names.find(|known| known.as_bytes() == name)
    };
    // One length after the other, so that a comparison is one of words.
    match name.len() {
        4 => among(&["Host"]),
        6 => among(&["Accept", "Cookie"]),
        7 => among(&["Referer"]),
        8 => among(&["Priority"]),
        10 => among(&["User-Agent", "Connection"]),
        12 => among(&["Content-Type"]),
        14 => among(&[
            "Sec-Fetch-Dest",
            "Sec-Fetch-Mode",
            "Sec-Fetch-Site",
            "Content-Length",
        ]),
        15 => among(&["Accept-Encoding", "Accept-Language"]),
        25 => among(&["Upgrade-Insecure-Requests"]),
        _ => None,
    }
}

/// The place of the first byte from `at` on that `ends` marks by its high bit; of those above the
/// first the marks may be wrong. Behind the last byte there may be one.
#[inline(always)]
fn find(bytes: &[u8], at: usize, ends: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.get(at..)?.as_chunks::<8>();
    let mut at = at;
    for word in words {
        let marks = ends(u64::from_le_bytes(*word)) & HIGH;
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    // The last few, with zeros behind them, which end everything.
    let word = u64::from_le_bytes(*bytes.last_chunk()?);
    let marks = ends(word.checked_shr(64 - 8 * rest.len() as u32)?) & HIGH;
    Some(at + marks.trailing_zeros() as usize / 8)
}

/// Marks what a target of ASCII without a fragment does not have.
#[inline(always)]
const fn ends_target(word: u64) -> u64 {
    below(word, b'!') | from_del_on(word) | equal(word, b'#')
}

/// Marks what a value of ASCII without tabs does not have.
#[inline(always)]
const fn ends_value(word: u64) -> u64 {
    below(word, b' ') | from_del_on(word)
}

/// Marks a colon, and some of what a name does not have.
#[inline(always)]
const fn ends_name(word: u64) -> u64 {
    below(word, b'!') | from_del_on(word) | equal(word, b':')
}

// What these mark is right up to the first byte that any of them marks: none before it borrows or
// carries. All but the second take that there is nothing above ASCII for granted, which that marks.

#[inline(always)]
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(limit as u64 * ONES)
}

#[inline(always)]
const fn from_del_on(word: u64) -> u64 {
    word.wrapping_add(ONES) | word
}

#[inline(always)]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (byte as u64 * ONES), 1)
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = 0x80 * ONES;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte in each place, behind bytes that do not end it.
    #[track_caller]
    fn check(ends: impl Fn(u64) -> u64, filler: u8, ended_by: impl Fn(u8) -> bool) {
        for len in 8..20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut bytes = vec![filler; len];
                    bytes[at] = byte;
                    let within = |begin| find(&bytes, begin, &ends).filter(|end| *end < len);
                    assert_eq!(within(0), ended_by(byte).then_some(at), "{bytes:?}");
                    assert_eq!(within(at + 1), None, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn what_ends_a_part_is_found_wherever_it_is() {
        check(ends_target, b'!', |byte| {
            !byte.is_ascii_graphic() || byte == b'#'
        });
        check(ends_value, b' ', |byte| !(b' '..0x7f).contains(&byte));
        check(ends_name, b'!', |byte| {
            !byte.is_ascii_graphic() || byte == b':'
        });
    }

    #[test]
    fn plain_heads_are_taken() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /a?b HTTP/1.1\r\nHost:a\r\nAccept: */*\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a \r\ncontent-length: 5\r\nX-1:\r\n\r\n",
            "PUT /a HTTP/1.1\r\nHost: a\r\nX_.!: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut fields = [httparse::EMPTY_HEADER; 3];
            let whole = parse(head.as_bytes(), &mut fields).map(|(len, _)| len);
            assert_eq!(whole, Some(head.len()), "{head:?}");
            for cut in 0..head.len() {
                assert_eq!(parse(&head.as_bytes()[..cut], &mut fields), None);
            }
        }
    }

    #[test]
    fn others_are_left_to_httparse() {
        for head in [
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX:\ta\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX/Y: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n",
        ] {
            let mut fields = [httparse::EMPTY_HEADER; 2];
            assert_eq!(parse(head.as_bytes(), &mut fields), None, "{head:?}");
        }
    }
}
