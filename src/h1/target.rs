//! The forms and the parts of a request target (RFC 9112, section 3.2).
//!
//! A target is checked with the head, and split on demand. Percent-codes are neither checked nor
//! decoded: routing does that.

use memchr::{memchr, memchr2};

use super::swar::{self, HIGH, equal, load};
use super::{RequestError, grammar};

/// Checks that a method can have this target, which has no blanks and no controls: httparse refuses
/// them.
#[inline]
pub(super) fn check(method: &str, target: &str) -> Result<(), RequestError> {
    if method == "CONNECT" {
        return Err(RequestError::Connect);
    }
    let form = target.starts_with('/') || is_rare_form(method, target);
    if form && is_ascii_without_fragment(target.as_bytes()) {
        Ok(())
    } else {
        Err(RequestError::Target)
    }
}

#[cold]
fn is_rare_form(method: &str, target: &str) -> bool {
    match split_absolute(target) {
        Some((authority, _)) => grammar::is_authority(authority.as_bytes()),
        None => target == "*" && method == "OPTIONS",
    }
}

/// Returns the path of a valid target.
pub(super) fn path(target: &str) -> &str {
    let rest = after_authority(target);
    let path = match question_mark(rest.as_bytes()) {
        Some(at) => &rest[..at],
        None => rest,
    };
    if path.is_empty() { "/" } else { path }
}

/// Returns the query of a valid target, behind its `?`.
pub(super) fn query(target: &str) -> Option<&str> {
    let rest = after_authority(target);
    let at = question_mark(rest.as_bytes())?;
    Some(&rest[at + 1..])
}

/// Returns the place of the first `?`. Searches short targets, the most common, without a call.
#[inline]
fn question_mark(bytes: &[u8]) -> Option<usize> {
    if bytes.len() > 32 {
        return memchr(b'?', bytes);
    }
    let (words, rest) = bytes.as_chunks();
    // `Head` is public, and its target may have bytes above ASCII: clear their marks.
    if let Some(at) = swar::find(words, |word| equal(word, b'?') & !word) {
        return Some(at);
    }
    let at = rest.iter().position(|byte| *byte == b'?')?;
    Some(bytes.len() - rest.len() + at)
}

/// Returns the authority of a valid target in absolute-form.
pub(super) fn authority(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return None;
    }
    Some(split_absolute(target)?.0)
}

#[inline]
fn after_authority(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    split_absolute(target).map_or(target, |(_, rest)| rest)
}

/// Splits an absolute-form into its authority, and the path and query behind it.
fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = memchr2(b'/', b'?', rest.as_bytes()).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Returns whether no byte is above ASCII or `#`, eight at a time: every request needs it.
#[inline]
fn is_ascii_without_fragment(bytes: &[u8]) -> bool {
    let wrong = |bytes: &[u8; 8]| {
        let word = load(bytes);
        (equal(word, b'#') | word) & HIGH != 0
    };
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        if wrong(word) {
            return false;
        }
        rest = after;
    }
    // The last eight bytes cover the rest of a longer target.
    match bytes.last_chunk::<8>() {
        Some(word) => !wrong(word),
        None => rest.iter().all(|byte| *byte < 0x80 && *byte != b'#'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestError::{Connect, Target};

    #[test]
    fn the_first_question_mark_is_found_wherever_it_is() {
        for filler in [b'>', b'@', b'a'] {
            for len in 0..40 {
                let mut bytes = vec![filler; len];
                assert_eq!(question_mark(&bytes), None);
                for at in (0..len).rev() {
                    bytes[at] = b'?';
                    assert_eq!(question_mark(&bytes), Some(at), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_target_has_one_of_four_forms() {
        const CASES: &[(&str, &str, Result<(), RequestError>)] = &[
            ("GET", "/", Ok(())),
            ("GET", "/a/b?c=d&e=%zz", Ok(())),
            ("GET", "//a", Ok(())),
            ("get", "/", Ok(())),
            ("GET", "http://a", Ok(())),
            ("GET", "hTTp://a:80/b?c", Ok(())),
            ("POST", "https://[::1]:443?c", Ok(())),
            ("OPTIONS", "*", Ok(())),
            ("OPTIONS", "/", Ok(())),
            ("GET", "*", Err(Target)),
            ("OPTIONS", "**", Err(Target)),
            ("GET", "a", Err(Target)),
            ("GET", "a:80", Err(Target)),
            ("GET", "?a", Err(Target)),
            ("GET", "http:/a", Err(Target)),
            ("GET", "http:///a", Err(Target)),
            ("GET", "http://?a", Err(Target)),
            ("GET", "http://", Err(Target)),
            ("GET", "http://:80/", Err(Target)),
            ("GET", "http://u@a/", Err(Target)),
            ("GET", "ftp://a/", Err(Target)),
            ("GET", "://a/", Err(Target)),
            ("GET", "/#a", Err(Target)),
            ("GET", "/abcdefghijklmnop#", Err(Target)),
            ("GET", "/abcdef#hijklmnop", Err(Target)),
            ("GET", "http://a/#b", Err(Target)),
            ("GET", "/é", Err(Target)),
            ("GET", "/abcdefghijklmé", Err(Target)),
            ("CONNECT", "a:80", Err(Connect)),
            ("CONNECT", "/", Err(Connect)),
        ];
        for (method, target, expected) in CASES {
            assert_eq!(check(method, target), *expected, "{method} {target}");
        }
    }

    #[test]
    fn every_byte_is_checked_at_every_place() {
        for len in 0..20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut bytes = vec![b'"'; len]; // next to '#', where a borrow would show
                    bytes[at] = byte;
                    let good = byte < 0x80 && byte != b'#';
                    assert_eq!(is_ascii_without_fragment(&bytes), good, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn a_target_has_a_path_and_may_have_a_query() {
        const CASES: &[(&str, &str, Option<&str>, Option<&str>)] = &[
            ("/", "/", None, None),
            ("/a/b", "/a/b", None, None),
            ("/a?", "/a", Some(""), None),
            ("/a?b?c", "/a", Some("b?c"), None),
            ("/a?u=http://b/c", "/a", Some("u=http://b/c"), None),
            ("//a", "//a", None, None),
            ("*", "*", None, None),
            ("http://a", "/", None, Some("a")),
            ("http://a?b", "/", Some("b"), Some("a")),
            ("HTTPS://a:1/b/c?d", "/b/c", Some("d"), Some("a:1")),
        ];
        for (target, the_path, the_query, the_authority) in CASES {
            assert_eq!(path(target), *the_path, "{target}");
            assert_eq!(query(target), *the_query, "{target}");
            assert_eq!(authority(target), *the_authority, "{target}");
        }
    }
}
