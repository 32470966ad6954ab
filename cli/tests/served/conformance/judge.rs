//! Decides whether an observation is one of the permitted results.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::case::{Bytes, Ending, Interim, Outcome, Truncated, Wanted};
use super::script::{Ended, Observed};
use ebbtide_lab::response::{End, Framing, Response, brief};

/// The most that a Date may differ from the clock here.
const DATE_SLACK: Duration = Duration::from_secs(10);

/// Checks an observation against an outcome.
pub(crate) fn outcome(outcome: &Outcome, observed: &Observed) -> Result<(), String> {
    if let Some(why) = &observed.failed_step {
        return Err(why.clone());
    }
    if let Some(broken) = &observed.broken
        && !(outcome.raw && broken.not_http)
    {
        return Err(broken.why.clone());
    }
    responses(outcome, observed)?;
    interim(outcome, observed)?;
    end(outcome, observed)
}

/// Checks the responses alone against an outcome.
pub(crate) fn responses(outcome: &Outcome, observed: &Observed) -> Result<(), String> {
    let mut finals = observed.responses.iter().filter(|r| r.is_final());
    let (last, whole) = match (outcome.truncated, &observed.partial) {
        (Truncated::No, None) | (Truncated::May, None) => (None, outcome.responses.as_slice()),
        (Truncated::Must, None) => return Err("the last response was not cut off".to_owned()),
        (Truncated::No, Some(_)) => return Err("a response was cut off".to_owned()),
        (_, Some(partial)) => match outcome.responses.split_last() {
            Some((last, whole)) => (Some((last, partial)), whole),
            None => return Err("a part of a response".to_owned()),
        },
    };
    for wanted in whole {
        let found = finals.next().ok_or("too few responses")?;
        response(wanted, found, observed)?;
    }
    if finals.next().is_some() {
        return Err("too many responses".to_owned());
    }
    if let Some((wanted, partial)) = last {
        // The body may be missing; the head counts.
        let status = partial.status.ok_or("cut off before its status")?;
        check_status(wanted, status)?;
    }
    Ok(())
}

fn interim(outcome: &Outcome, observed: &Observed) -> Result<(), String> {
    let mut waiting = 0;
    for response in &observed.responses {
        match (response.is_final(), outcome.interim) {
            (true, Interim::Required) if waiting == 0 => {
                return Err("no 100 before a final response".to_owned());
            }
            (true, _) => waiting = 0,
            (false, _) if response.status != 100 => {
                return Err(format!("an interim {}", response.status));
            }
            (false, Interim::None) => return Err("a 100 that nobody expects".to_owned()),
            (false, _) => waiting += 1,
        }
    }
    if waiting > 0 {
        return Err("a 100 after the last final response".to_owned());
    }
    Ok(())
}

fn end(outcome: &Outcome, observed: &Observed) -> Result<(), String> {
    if outcome.fin && observed.ended == Ended::Closed(End::Reset) {
        return Err("closed by a reset, not by a FIN".to_owned());
    }
    match (outcome.end, &observed.ended) {
        (Ending::Any, _)
        | (Ending::Closed | Ending::Sync, Ended::Closed(_))
        | (Ending::Open | Ending::Sync, Ended::InStep)
        | (Ending::Waiting, Ended::Open) => Ok(()),
        // Bytes that are not HTTP are a refusal; nothing is left to keep in step.
        (Ending::Closed | Ending::Sync, _) if outcome.raw && observed.broken.is_some() => Ok(()),
        (_, Ended::OutOfStep(why)) => Err(why.clone()),
        (wanted, ended) => Err(format!("end: wanted {wanted:?}, found {ended:?}")),
    }
}

fn response(wanted: &Wanted, found: &Response, observed: &Observed) -> Result<(), String> {
    check_status(wanted, found.status)?;
    if let Some(Bytes(body)) = &wanted.body
        && *body != found.body
    {
        return Err(format!("the body is not {}: {found}", brief(body)));
    }
    if let Some(name) = wanted
        .lacks
        .iter()
        .find(|name| found.field(name).next().is_some())
    {
        return Err(format!("a {name} field that must not be there: {found}"));
    }
    if let Some(ms) = wanted.min_ms
        && found.done - observed.began < Duration::from_millis(ms)
    {
        return Err(format!("sooner than {ms} ms"));
    }
    let failed = wanted.check.iter().find(|check| !passes(check, found));
    failed.map_or(Ok(()), |check| {
        Err(format!("check {check:?} fails: {found}"))
    })
}

fn check_status(wanted: &Wanted, status: u16) -> Result<(), String> {
    if wanted.status.iter().any(|wanted| wanted.is(status)) {
        return Ok(());
    }
    let wanted: Vec<_> = wanted.status.iter().map(ToString::to_string).collect();
    Err(format!("status {status}, wanted {}", wanted.join(" or ")))
}

fn passes(check: &str, found: &Response) -> bool {
    let one = |name: &str| -> Option<Vec<u8>> {
        let mut values = found.field(name);
        values
            .next()
            .filter(|_| values.next().is_none())
            .map(<[u8]>::to_vec)
    };
    let media = |wanted: &str| {
        one("Content-Type").is_some_and(|value| {
            let media = value.split(|byte| *byte == b';').next().unwrap_or_default();
            media.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
        })
    };
    let (check, argument) = check.split_once('=').unwrap_or((check, ""));
    match check {
        "date" => one("Date").is_some_and(|value| date_is_now(&value)),
        // The reader has checked the value.
        "content-length" => one("Content-Length")
            .is_some_and(|value| argument.is_empty() || value == argument.as_bytes()),
        "chunked" => found.framing == Framing::Chunked,
        "not-chunked" => found.framing != Framing::Chunked,
        "connection-close" => found.says_close(),
        "connection-keep-alive" => found.field_has("Connection", "keep-alive"),
        "allow" => found.field("Allow").next().is_some(),
        "allow-has" => found.field_has("Allow", argument),
        "text-plain" => media("text/plain"),
        "content-type" => one("Content-Type").is_some_and(|value| !value.is_empty()),
        "message-http" => media("message/http"),
        "stream" => argument.parse().is_ok_and(|n| is_stream(&found.body, n)),
        "not-in-body" => !contains(&found.body, argument.as_bytes()),
        "server-version-1.1" => found.version_1_1,
        _ => panic!("the runner does not know the check {check:?}"),
    }
}

/// Returns whether a body is that of `/stream/{n}/{ms}`. The contract does not say whether it
/// counts from 0 or from 1.
pub(crate) fn is_stream(body: &[u8], n: usize) -> bool {
    let from =
        |first: usize| -> String { (first..first + n).map(|i| format!("chunk {i}\n")).collect() };
    body == from(0).as_bytes() || body == from(1).as_bytes()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len().max(1))
        .any(|window| window == needle)
}

fn date_is_now(value: &[u8]) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let date = std::str::from_utf8(value).ok().and_then(imf_fixdate);
    date.is_some_and(|date| now.abs_diff(date) <= DATE_SLACK)
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7) as the time since 1970.
pub(crate) fn imf_fixdate(text: &str) -> Option<Duration> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let number = |at: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(at)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    let month = MONTHS
        .iter()
        .position(|month| text.get(8..11) == Some(month))?;
    let (day, year) = (number(5..7)?, number(12..16)?);
    let (hour, minute, second) = (number(17..19)?, number(20..22)?, number(23..25)?);

    // Counts days since 1970-01-01. The year begins in March, so that its last day is the odd one.
    let month = i64::try_from(month).ok()? + 1;
    let years = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * years + years / 4 - years / 100 + years / 400 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;

    let name = DAYS[usize::try_from(days.rem_euclid(7)).ok()?];
    let month = MONTHS[usize::try_from(month).ok()? - 1];
    let same = format!("{name}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    let possible = hour < 24 && minute < 60 && second <= 60;
    (same == text && possible).then(|| u64::try_from(seconds).ok().map(Duration::from_secs))?
}
