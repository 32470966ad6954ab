//! Reads the Range field: which bytes of a file a request asks for (RFC 9110 §14).
//!
//! The server ignores a field that is no range of bytes, asks for more bytes than the file has, or
//! has too many ranges (§14.2). The response is then the whole file.

use std::ops::Range;

/// The selection of a Range field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// Everything.
    Whole,
    /// One or more ranges, in the order of the field, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Only bytes that the file does not have: 416.
    Nothing,
}

/// Reads a Range field for a file of `length` bytes.
pub(super) fn select(field: &[u8], length: u64) -> Selected {
    match parse(field, length) {
        None => Selected::Whole,
        Some(parts) if parts.is_empty() => Selected::Nothing,
        Some(parts) => {
            let asked = parts
                .iter()
                .try_fold(0_u64, |sum, part| sum.checked_add(part.end - part.start));
            // Overlapping ranges can ask for more bytes than the file has; the response is then the
            // file.
            if asked.is_none_or(|asked| asked > length) {
                Selected::Whole
            } else {
                Selected::Parts(parts)
            }
        }
    }
}

/// Returns the parts that are in the file; `None` means that the server ignores the field.
fn parse(field: &[u8], length: u64) -> Option<Vec<Range<u64>>> {
    let (unit, set) = field.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut parts = Vec::new();
    let mut specs = 0;
    for spec in set.split(|byte| *byte == b',') {
        let spec = spec.trim_ascii();
        specs += 1;
        if specs > SPECS {
            return None;
        }
        if spec.is_empty() {
            continue; // a list may have empty elements (§5.6.1.2)
        }
        let dash = spec.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        let part = match (first, last) {
            // No Content-Range can name no bytes (§14.4), and some clients ask for `0-` or for a
            // suffix of every file: an empty file is given whole.
            ([], suffix) if length == 0 && number(suffix)? > 0 => return None,
            (first @ [_, ..], _) if length == 0 && number(first)? == 0 => return None,
            ([], suffix) => length.saturating_sub(number(suffix)?)..length,
            (first, []) => number(first)?..length,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                first..last.saturating_add(1).min(length)
            }
        };
        if part.start < part.end {
            parts.push(part);
        }
    }
    // A set has at least one range.
    let any = set.iter().any(|byte| byte.is_ascii_digit());
    any.then_some(parts)
}

/// Reads digits only. A number of more than 64 bits is beyond any file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// The most ranges that one request gets: players and readers of documents ask for a handful.
const SPECS: usize = 16;

#[cfg(test)]
mod tests {
    use super::Selected::{Nothing, Parts, Whole};
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let parts = |parts: &[(u64, u64)]| Parts(parts.iter().map(|(a, b)| *a..*b + 1).collect());
        let cases: &[(&str, Selected)] = &[
            ("bytes=0-499", parts(&[(0, 499)])),
            ("bytes=500-999", parts(&[(500, 999)])),
            ("bytes=-500", parts(&[(9500, 9999)])),
            ("bytes=9500-", parts(&[(9500, 9999)])),
            ("bytes=0-0,-1", parts(&[(0, 0), (9999, 9999)])),
            (
                "bytes= 0-0, 4500-5499, -1000",
                parts(&[(0, 0), (4500, 5499), (9000, 9999)]),
            ),
            ("bytes=500-600,601-999", parts(&[(500, 600), (601, 999)])),
            ("BYTES=1-1", parts(&[(1, 1)])),
            ("bytes=0-99999", parts(&[(0, 9999)])),
            ("bytes=-99999", parts(&[(0, 9999)])),
            (
                "bytes=9999-99999999999999999999999999",
                parts(&[(9999, 9999)]),
            ),
            ("bytes=,,1-1 ,\t", parts(&[(1, 1)])),
            ("bytes=1-1,10000-", parts(&[(1, 1)])),
            ("bytes=10000-", Nothing),
            ("bytes=99999999999999999999999999-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=10000-10001,-0", Nothing),
            ("bytes=0-,0-", Whole),
            ("bytes=0-9,0-9999", Whole),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 10_000), *expected, "{field}");
        }
    }

    #[test]
    fn what_is_no_range_of_bytes_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes= ",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=a-b",
            "bytes=1-a",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes=2-1",
            "bytes=0-1,2-1",
            "bytes=0-1;2-3",
            "bytes=0-1,x",
            "bytes =0-1",
            " bytes=0-1",
            "items=0-1",
            "bytes:0-1",
            "bytes=0x1-2",
            "bytes=1-2-3",
            "bytes=\u{661}-2",
        ] {
            assert_eq!(select(field.as_bytes(), 100), Whole, "{field}");
        }
        let many = |count: usize| format!("bytes={}", vec!["1-1"; count].join(","));
        assert_eq!(select(many(SPECS + 1).as_bytes(), 100), Whole);
        assert!(matches!(select(many(SPECS).as_bytes(), 100), Parts(_)));
    }

    /// §14.1.2, a byte at a time.
    fn naive(first: Option<u64>, last: Option<u64>, length: u64) -> Vec<u64> {
        let asked = |at: u64| match (first, last) {
            (Some(first), Some(last)) => first <= at && at <= last,
            (Some(first), None) => first <= at,
            (None, Some(suffix)) => at + suffix >= length,
            (None, None) => unreachable!("that is no range"),
        };
        (0..length).filter(|at| asked(*at)).collect()
    }

    #[test]
    fn every_small_range_of_every_small_file_is_what_a_naive_reader_takes() {
        let bounds = || (0..9).map(Some).chain([None]);
        let text = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        for length in 0..8 {
            for (first, last) in bounds().flat_map(|first| bounds().map(move |last| (first, last)))
            {
                let field = format!("bytes={}-{}", text(first), text(last));
                let ignored = match (first, last) {
                    (None, None) => true,
                    (Some(first), Some(last)) => last < first || length == 0 && first == 0,
                    (Some(first), None) => length == 0 && first == 0,
                    (None, Some(suffix)) => length == 0 && suffix > 0,
                };
                let got = match select(field.as_bytes(), length) {
                    Whole => {
                        assert!(ignored, "{field} of {length}");
                        continue;
                    }
                    Parts(parts) => parts.into_iter().flatten().collect(),
                    Nothing => Vec::new(),
                };
                assert!(!ignored, "{field} of {length}");
                assert_eq!(got, naive(first, last, length), "{field} of {length}");
            }
        }
    }
}
