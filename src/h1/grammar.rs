//! The bytes of tokens, field values and hosts.

use std::net::Ipv6Addr;

use super::swar::{HIGH, below, equal, find, load, within};

/// Returns whether a name is a token, as the name of a field must be (RFC 9110, section 5.1).
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// Returns whether a value can be sent in a field: no CR, LF, NUL or other control except tabs (RFC
/// 9110, section 5.5).
pub fn is_field_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks();
    let controls = |word| (below(word, b' ') | equal(word, 0x7f)) & !word;
    // Tabs are marked too. They are rare.
    let unsure = find(words, controls).map_or(rest, |at| &value[at..]);
    unsure.iter().copied().all(is_value_char)
}

/// Returns whether a byte may stand in a token (RFC 9110, section 5.6.2).
#[inline]
pub(super) const fn is_tchar(byte: u8) -> bool {
    CLASS[byte as usize] & TOKEN != 0
}

/// Returns whether a byte may stand in a field value, in a quoted string or behind a backslash: a
/// tab, a space, a visible character or a byte above ASCII.
#[inline]
pub(super) const fn is_value_char(byte: u8) -> bool {
    CLASS[byte as usize] & VALUE != 0
}

/// Returns whether a byte is optional whitespace: a space or a tab.
#[inline]
pub(super) const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Returns whether a value is `uri-host [ ":" port ]` (RFC 9110, section 7.2) with a host that is
/// not empty.
///
/// An empty `Host` is for targets without an authority. An http target always has one: a recipient
/// must reject an http URI with an empty host (RFC 9110, section 4.2.1). User information is an
/// error in a target (section 4.2.4), and no part of `Host`.
#[inline]
pub(super) fn is_authority(value: &[u8]) -> bool {
    is_usual_authority(value).unwrap_or_else(|| is_any_authority(value))
}

/// Accepts a host of at least eight small letters, digits, hyphens and dots, eight bytes at a time:
/// every request needs it. `None` for any other.
#[inline]
fn is_usual_authority(value: &[u8]) -> Option<bool> {
    let last = load(value.last_chunk()?);
    let digits = (!within(last, b'0', b'9') & HIGH).leading_zeros() as usize / 8;
    let before = value.split_at_checked(value.len() - digits)?.0;
    let host = match before.split_last() {
        Some((b':', host)) => host,
        _ => value, // no port: the digits belong to the host
    };
    let usual = |word: &[u8; 8]| {
        let word = load(word);
        let letters = within(word, b'a', b'z');
        let others = within(word, b'-', b'9') & !within(word, b'/', b'/');
        (letters | others) & !word & HIGH == HIGH
    };
    let (words, _) = host.as_chunks();
    (words.iter().all(usual) && usual(host.last_chunk()?)).then_some(true)
}

#[inline(never)]
fn is_any_authority(value: &[u8]) -> bool {
    let mut host = value;
    while let [before @ .., b'0'..=b'9'] = host {
        host = before;
    }
    host = match host {
        [before @ .., b':'] => before,
        _ => value, // no port: the digits belong to the host
    };
    !host.is_empty() && (all_of_host(host) || is_rare_authority(value))
}

/// Returns whether all bytes may stand in a host, four at a time: every request needs it.
#[inline]
fn all_of_host(bytes: &[u8]) -> bool {
    let class = |byte: u8| CLASS[byte as usize];
    let (fours, rest) = bytes.as_chunks::<4>();
    fours
        .iter()
        .all(|[a, b, c, d]| class(*a) & class(*b) & class(*c) & class(*d) & HOST != 0)
        && rest.iter().all(|byte| class(*byte) & HOST != 0)
}

/// Checks rare hosts: IP literals and percent-encoding.
#[cold]
fn is_rare_authority(value: &[u8]) -> bool {
    let port = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        if !is_ip_literal(&literal[..end]) {
            return false;
        }
        &literal[end + 1..]
    } else {
        let end = value.iter().position(|byte| *byte == b':');
        let (host, port) = value.split_at(end.unwrap_or(value.len()));
        if !is_reg_name(host) {
            return false;
        }
        port
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Checks an IP literal without its brackets (RFC 3986, section 3.2.2), which has no zone.
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = future.iter().position(|byte| *byte == b'.') else {
            return false;
        };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address
                .iter()
                .all(|byte| *byte == b':' || CLASS[*byte as usize] & HOST != 0);
    }
    str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_reg_name(mut host: &[u8]) -> bool {
    if host.is_empty() {
        return false;
    }
    loop {
        host = match host {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if CLASS[*byte as usize] & HOST != 0 => rest,
            _ => return false,
        }
    }
}

/// `tchar`.
const TOKEN: u8 = 1;
/// `unreserved / sub-delims` of RFC 3986.
const HOST: u8 = 2;
/// `field-vchar / SP / HTAB`.
const VALUE: u8 = 4;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            class[byte] |= TOKEN | HOST;
        }
        if matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
        ) || matches!(b, b'`' | b'|' | b'~')
        {
            class[byte] |= TOKEN;
        }
        if matches!(
            b,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
        ) || matches!(b, b',' | b';' | b'=')
        {
            class[byte] |= HOST;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class[byte] |= VALUE;
        }
        byte += 1;
    }
    class
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        const GOOD: &[&str] = &["a", "X-A", "!#$%&'*+-.^_`|~0Zz"];
        const BAD: &[&str] = &[
            "", "a b", "a:", "a\r", "a\0", "é", "a(b", "a\"b", "a/b", "a@",
        ];
        for name in GOOD {
            assert!(is_field_name(name), "{name:?}");
        }
        for name in BAD {
            assert!(!is_field_name(name), "{name:?}");
        }
    }

    #[test]
    fn values_have_no_controls_but_the_tab() {
        assert!(is_field_value(b""));
        for (length, filler) in (1..=18).flat_map(|length| b"a\t \x80\xff".map(|f| (length, f))) {
            for (at, byte) in (0..length).flat_map(|at| (0..=255u8).map(move |byte| (at, byte))) {
                let mut value = vec![filler; length];
                value[at] = byte;
                let good = byte == b'\t' || !byte.is_ascii_control();
                assert_eq!(is_field_value(&value), good, "{value:x?}");
            }
        }
    }

    #[test]
    fn a_host_is_what_rfc_3986_says() {
        const GOOD: &[&str] = &[
            "a",
            "a.example:80",
            "a:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "[::ffff:1.2.3.4]:",
            "[v1f.a:b]",
            "foo-bar_baz.example.",
            "a%2Fb:1",
            "!$&'()*+,;=~",
        ];
        const BAD: &[&str] = &[
            "",
            ":80",
            "a b",
            "a/x",
            "a?x",
            "a#x",
            "u@a",
            "a:80:90",
            "a:8x",
            "a:-1",
            "a\x01b",
            "é",
            "%",
            "a%2",
            "a%zz",
            "a%2g:1",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:x",
            "[:::]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "[v1a]",
            "a[::1]",
            "[1.2.3.4]",
            "a\\b",
        ];
        for value in GOOD {
            assert!(is_authority(value.as_bytes()), "{value:?}");
        }
        for value in BAD {
            assert!(!is_authority(value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn what_is_taken_eight_bytes_at_a_time_is_what_is_taken_one_by_one() {
        for usual in [
            "localhost:8080",
            "www.example.com",
            "12345678:",
            "a-b.c-d.e:1",
        ] {
            assert_eq!(is_usual_authority(usual.as_bytes()), Some(true), "{usual}");
            for at in 0..usual.len() {
                for pair in 0..=u16::MAX {
                    let mut value = usual.as_bytes().to_vec();
                    let [byte, after] = pair.to_le_bytes();
                    value[at] = byte;
                    if let Some(next) = value.get_mut(at + 1) {
                        *next = after; // what a carry would reach
                    }
                    if is_usual_authority(&value) == Some(true) {
                        assert!(is_any_authority(&value), "{value:?}");
                    }
                }
            }
        }
        for short in ["", "a", "a.b:8080", "1234567", ":12345678", "a:123456789"] {
            assert_eq!(is_usual_authority(short.as_bytes()), None, "{short}");
        }
    }
}
