//! Decides whether a client has a file already: entity tags, dates and preconditions (RFC 9110 §8.8
//! and §13).
//!
//! The validators come from the file's time and length, not from its bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebbtide::Header;

/// The validators of one state of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// The entity tag with its quotes, without a `W/`.
    tag: String,
    /// The second of the last change; absent where the date of a response cannot name the second.
    modified: Option<u64>,
    /// The second of the response.
    now: u64,
    /// The file is old enough that any change gives it another tag: a strong validator (§8.8.1).
    strong: bool,
}

/// The time of a file's last change, before or after 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modified {
    pub(super) seconds: i64,
    /// Nanoseconds after that second, also before 1970.
    pub(super) nanos: u32,
}

impl Modified {
    /// Returns whether the file has kept this state for so long that a further change would show.
    fn is_settled(self, now: Duration) -> bool {
        let nanos = |seconds: i128, nanos: u32| seconds * 1_000_000_000 + i128::from(nanos);
        let then = nanos(self.seconds.into(), self.nanos);
        let now = nanos(now.as_secs().into(), now.subsec_nanos());
        now - then >= nanos(TICK.as_secs().into(), 0)
    }
}

/// The result of a request's preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// No precondition prevents the response.
    Met,
    /// The client has the file: 304.
    NotModified,
    /// A precondition failed: 412.
    Failed,
}

impl Validators {
    /// Makes the validators of a file with this length and time, as of `now`.
    ///
    /// The tag depends on time and length alone, so machines with the same files agree. The tag is
    /// weak for the first two seconds: a file system's clock may tick that slowly, and hide a
    /// second change within the tick.
    pub(super) fn new(length: u64, modified: Modified, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let Modified { seconds, nanos } = modified;
        let (sign, size) = (if seconds < 0 { "-" } else { "" }, seconds.unsigned_abs());
        Self {
            tag: format!("\"{sign}{size:x}.{nanos:x}-{length:x}\""),
            modified: u64::try_from(seconds).ok().filter(|s| *s <= LAST_SECOND),
            now: now.as_secs().min(LAST_SECOND),
            strong: modified.is_settled(now),
        }
    }

    /// Returns the value of ETag.
    pub(super) fn etag(&self) -> String {
        let weak = if self.strong { "" } else { "W/" };
        format!("{weak}{}", self.tag)
    }

    /// Returns the value of Last-Modified, never in the future (§8.8.2.1). A time before 1970 or
    /// after 9999 has none: one date for all such times would make different states look equal.
    pub(super) fn last_modified(&self) -> Option<String> {
        let seconds = self.modified?.min(self.now);
        let date = UNIX_EPOCH + Duration::from_secs(seconds);
        Some(httpdate::fmt_http_date(date))
    }

    /// Evaluates the preconditions of a GET or HEAD, in the order of §13.2.2.
    pub(super) fn check(&self, fields: &[Header<'_>]) -> Condition {
        if has(fields, "if-match") {
            // The comparison is strong: a weak tag matches nothing (§13.1.1).
            let is_this = |tag: &Tag<'_>| tag.is_any || self.strong && !tag.weak && self.is(tag);
            if !tags(fields, "if-match").any(|tag| is_this(&tag)) {
                return Condition::Failed;
            }
        } else if let Some((modified, date)) = self.dates(fields, "if-unmodified-since")
            && modified > date
        {
            return Condition::Failed;
        }
        if has(fields, "if-none-match") {
            if tags(fields, "if-none-match").any(|tag| tag.is_any || self.is(&tag)) {
                return Condition::NotModified;
            }
        } else if let Some((modified, date)) = self.dates(fields, "if-modified-since")
            && modified <= date
        {
            return Condition::NotModified;
        }
        Condition::Met
    }

    /// Returns the date of the last change and the date of a field. A server ignores the field
    /// where it has no date (§13.1.3, §13.1.4).
    fn dates(&self, fields: &[Header<'_>], name: &str) -> Option<(u64, u64)> {
        self.modified.zip(date(fields, name))
    }

    /// Returns whether the response may be a part: the request names no state, or names this state
    /// by a strong tag (§13.1.5).
    ///
    /// A date never names a state. A date is strong only if the response that carried the date came
    /// well after the change (§8.8.2.2), and no later request shows when that response came. Every
    /// response has a tag, which is then the field's only valid form.
    pub(super) fn range_holds(&self, fields: &[Header<'_>]) -> bool {
        if has(fields, "if-range") {
            let value = single(fields, "if-range").and_then(tag);
            return value.is_some_and(|(tag, rest)| {
                rest.is_empty() && self.strong && !tag.weak && self.is(&tag)
            });
        }
        has(fields, "if-match") || !has(fields, "if-unmodified-since")
    }

    fn is(&self, tag: &Tag<'_>) -> bool {
        tag.opaque == self.tag.as_bytes()
    }
}

/// An entity tag of a request, or `*`, which matches any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'f> {
    opaque: &'f [u8],
    weak: bool,
    is_any: bool,
}

/// Returns the entity tag at the beginning of some bytes, and what follows it.
fn tag(bytes: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let (weak, rest) = match bytes.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let inside = rest.strip_prefix(b"\"")?;
    let end = inside.iter().position(|byte| *byte == b'"')?;
    let (opaque, rest) = rest.split_at(end + 2);
    // An etagc is neither a blank nor a control (§8.8.3).
    let good = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let tag = Tag {
        opaque,
        weak,
        is_any: false,
    };
    good.then_some((tag, rest))
}

/// Returns the tags of all fields of that name, up to the first malformed one.
fn tags<'f>(fields: &'f [Header<'f>], name: &'f str) -> impl Iterator<Item = Tag<'f>> {
    values(fields, name).flat_map(|value| {
        let mut rest = value;
        let mut begins = true;
        std::iter::from_fn(move || {
            let after = skip(rest);
            let separated = begins || rest[..rest.len() - after.len()].contains(&b',');
            if after == b"*" && begins {
                (rest, begins) = (&[], false);
                return Some(Tag {
                    opaque: b"*",
                    weak: false,
                    is_any: true,
                });
            }
            let (tag, behind) = tag(after).filter(|_| separated)?;
            (rest, begins) = (behind, false);
            Some(tag)
        })
    })
}

/// Returns what follows blanks and commas.
fn skip(bytes: &[u8]) -> &[u8] {
    let at = bytes.iter().position(|byte| !b" \t,".contains(byte));
    &bytes[at.unwrap_or(bytes.len())..]
}

/// Returns the date of a field that occurs once, in seconds since 1970. Ignores malformed dates
/// (§13.1.3) and dates before 1970.
fn date(fields: &[Header<'_>], name: &str) -> Option<u64> {
    let text = str::from_utf8(single(fields, name)?).ok()?;
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// Returns the value of a field that occurs once.
pub(super) fn single<'f>(fields: &'f [Header<'_>], name: &str) -> Option<&'f [u8]> {
    let mut values = values(fields, name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn has(fields: &[Header<'_>], name: &str) -> bool {
    values(fields, name).next().is_some()
}

fn values<'f>(fields: &'f [Header<'_>], name: &str) -> impl Iterator<Item = &'f [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// The longest time that a change may leave a file's time as it was: FAT's clock ticks every two
/// seconds.
const TICK: Duration = Duration::from_secs(2);

/// 31 December 9999, 23:59:59: the last date in this form.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Condition::{Failed, Met, NotModified};
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, and a quarter of a second.
    const MODIFIED: Modified = Modified {
        seconds: 784_111_777,
        nanos: 250_000_000,
    };
    const TAG: &str = "\"2ebc98a1.ee6b280-a\"";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn settled() -> Validators {
        at(Duration::from_secs(2))
    }

    fn at(age: Duration) -> Validators {
        let then = UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        Validators::new(10, MODIFIED, then + age)
    }

    fn check(fields: &[(&str, &str)]) -> Condition {
        settled().check(&headers(fields))
    }

    fn headers<'f>(fields: &[(&'f str, &'f str)]) -> Vec<Header<'f>> {
        let header = |(name, value): &(&'f str, &'f str)| Header {
            name,
            value: value.as_bytes(),
        };
        fields.iter().map(header).collect()
    }

    #[test]
    fn validators_are_written_as_the_rfc_does() {
        assert_eq!(settled().etag(), TAG);
        assert_eq!(settled().last_modified().as_deref(), Some(THEN));
        let fresh = at(Duration::from_millis(1_999));
        assert_eq!(fresh.etag(), format!("W/{TAG}"));
        // A clock went back: no date lies in the future, and no validator is strong.
        let future = Validators::new(10, MODIFIED, UNIX_EPOCH);
        let epoch = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(future.last_modified().as_deref(), Some(epoch));
        assert!(future.etag().starts_with("W/"));
        // The date that the response had is none that the file has.
        let fields = [("If-Modified-Since", epoch)];
        assert_eq!(future.check(&headers(&fields)), Met);
    }

    #[test]
    fn times_that_no_date_names_have_tags_of_their_own_and_no_date() {
        let second = |seconds| Modified { seconds, nanos: 7 };
        let last = LAST_SECOND as i64;
        let times = [i64::MIN, -86_400, -2, -1, last + 1, i64::MAX].map(second);
        let now = UNIX_EPOCH + Duration::from_secs(1 << 40);
        let states = times.map(|time| Validators::new(3, time, now));
        let tags: HashSet<_> = states.iter().map(Validators::etag).collect();
        assert_eq!(tags.len(), states.len(), "{tags:?}");
        for (state, time) in states.iter().zip(times) {
            let old = time.seconds < 1 << 40;
            assert_eq!(state.etag().starts_with('"'), old, "{time:?}");
            assert_eq!(state.last_modified(), None, "{time:?}");
            for name in ["If-Modified-Since", "If-Unmodified-Since"] {
                for date in [THEN, "Fri, 31 Dec 9999 23:59:59 GMT"] {
                    assert_eq!(state.check(&headers(&[(name, date)])), Met, "{time:?}");
                }
            }
            let own = state.etag();
            let held = state.check(&headers(&[("If-None-Match", &own)]));
            assert_eq!(held, NotModified);
        }
        // The seconds on both sides of 1970 and of the last date.
        for (seconds, has) in [(-1, false), (0, true), (last, true), (last + 1, false)] {
            let state = Validators::new(3, second(seconds), now);
            assert_eq!(state.last_modified().is_some(), has, "{seconds}");
        }
    }

    #[test]
    fn preconditions_come_in_the_order_of_the_rfc() {
        let weak = &format!("W/{TAG}")[..];
        let list = &format!("\"x\", {weak} ,\t\"y\"")[..];
        let strong_list = &format!(", \"x,y\",{TAG}")[..];
        let cases: &[(&[(&str, &str)], Condition)] = &[
            (&[], Met),
            (&[("If-None-Match", TAG)], NotModified),
            (&[("if-none-match", weak)], NotModified),
            (&[("If-None-Match", list)], NotModified),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", "\"x\"")], Met),
            (&[("If-None-Match", "")], Met),
            (&[("If-None-Match", "x, \"y")], Met),
            (
                &[("If-None-Match", "\"x\""), ("If-None-Match", TAG)],
                NotModified,
            ),
            (&[("If-Modified-Since", THEN)], NotModified),
            (&[("If-Modified-Since", AFTER)], NotModified),
            (&[("If-Modified-Since", BEFORE)], Met),
            (
                &[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")],
                NotModified,
            ),
            (
                &[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")],
                NotModified,
            ),
            (&[("If-Modified-Since", "yesterday")], Met),
            (
                &[("If-Modified-Since", THEN), ("If-Modified-Since", THEN)],
                Met,
            ),
            // If-None-Match takes the place of If-Modified-Since.
            (
                &[("If-None-Match", "\"x\""), ("If-Modified-Since", THEN)],
                Met,
            ),
            (
                &[("If-None-Match", TAG), ("If-Modified-Since", BEFORE)],
                NotModified,
            ),
            (&[("If-Match", TAG)], Met),
            (&[("If-Match", strong_list)], Met),
            (&[("If-Match", "*")], Met),
            (&[("If-Match", weak)], Failed),
            (&[("If-Match", "\"x\"")], Failed),
            (&[("If-Match", "garbage")], Failed),
            (&[("If-Unmodified-Since", THEN)], Met),
            (&[("If-Unmodified-Since", AFTER)], Met),
            (&[("If-Unmodified-Since", BEFORE)], Failed),
            (&[("If-Unmodified-Since", "never")], Met),
            // If-Match takes the place of If-Unmodified-Since, and comes before the others.
            (&[("If-Match", TAG), ("If-Unmodified-Since", BEFORE)], Met),
            (&[("If-Match", "\"x\""), ("If-None-Match", TAG)], Failed),
            (
                &[("If-Unmodified-Since", BEFORE), ("If-None-Match", TAG)],
                Failed,
            ),
            (&[("If-Match", TAG), ("If-None-Match", TAG)], NotModified),
        ];
        for (fields, expected) in cases {
            assert_eq!(check(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn tags_stand_apart_and_a_star_alone() {
        for value in [format!("\"x\"{TAG}"), format!("x{TAG}"), "\"x\", *".into()] {
            assert_eq!(check(&[("If-None-Match", &value)]), Met, "{value}");
        }
    }

    #[test]
    fn a_fresh_file_has_no_strong_tag() {
        let fresh = at(Duration::ZERO);
        let fields = [("If-Match", TAG)];
        assert_eq!(fresh.check(&headers(&fields)), Failed);
        let fields = [("If-None-Match", TAG)];
        assert_eq!(fresh.check(&headers(&fields)), NotModified);
        for value in [TAG, &fresh.etag(), THEN] {
            assert!(
                !fresh.range_holds(&headers(&[("If-Range", value)])),
                "{value}"
            );
        }
    }

    #[test]
    fn if_range_wants_exactly_this_state() {
        let weak = format!("W/{TAG}");
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("If-Range", TAG)], true),
            (&[("If-Range", THEN)], false),
            (&[("If-Range", AFTER)], false),
            (&[("If-Range", BEFORE)], false),
            (&[("If-Range", &weak)], false),
            (&[("If-Range", "\"x\"")], false),
            (&[("If-Range", "*")], false),
            (&[("If-Range", "")], false),
            (&[("If-Range", TAG), ("If-Range", TAG)], false),
            // A part that only a date ties to the state of before may be of another state.
            (&[("If-Unmodified-Since", THEN)], false),
            (&[("If-Unmodified-Since", THEN), ("If-Range", TAG)], true),
            (&[("If-Unmodified-Since", THEN), ("If-Match", TAG)], true),
            (&[("If-Modified-Since", BEFORE)], true),
        ];
        for (fields, expected) in cases {
            assert_eq!(
                settled().range_holds(&headers(fields)),
                *expected,
                "{fields:?}"
            );
        }
    }
}
