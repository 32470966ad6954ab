//! Values on the command line: addresses, durations, sizes, counts, signals.
//!
//! The error of each parser ends a sentence that begins with the flag. The error shows the value
//! and says what to write instead.

use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::low_level;

use ebbtide::{Limits, Timeouts};

/// An option that has a word for no value. clap would take a plain `Option` for a flag that may be
/// left out.
pub(crate) type Maybe<T> = Option<T>;

/// The treatment of requests whose first byte comes during the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LatePolicy {
    /// The server answers them like any other.
    Serve,
    /// The server answers with this status.
    Reject(u16),
    /// The server closes the connection without a response.
    Drop,
}

/// Reads an address with its port. Names are errors, because a server must not wait for DNS to
/// start.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let inner = text.trim_start_matches('[').trim_end_matches(']');
        let port = text.trim_start_matches(':');
        if text.parse::<Ipv6Addr>().is_ok() {
            format!("{text:?} needs brackets and a port; write it as [::1]:8080")
        } else if let Ok(ip) = inner.parse::<IpAddr>() {
            format!("{text:?} has no port; write {}", SocketAddr::new(ip, 8080))
        } else if port.parse::<u16>().is_ok() {
            format!("{text:?} has no address; write 127.0.0.1:{port} or 0.0.0.0:{port}")
        } else {
            format!(
                "{text:?} is not an address and a port; \
                 write 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
            )
        }
    })
}

/// Returns whether two listeners could not have both addresses. `[::]` may take IPv4 as well.
pub(crate) fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    a.port() == b.port() && a.port() != 0 && (covers(one, other) || covers(other, one))
}

/// Reads a number with a unit, from 0s to five days, the longest limit that the loop keeps.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = humantime::parse_duration(text).ok().filter(|_| !bare);
    let Some(duration) = parsed else {
        return Err(format!("{text:?} is not a duration; write 250ms, 2s or 1m"));
    };
    if duration > Timeouts::LONGEST {
        return Err(format!("{text:?} is too long; at most 5days"));
    }
    Ok(duration)
}

/// Reads a limit on the work of the peer or the application. Refuses 0s, which would cut
/// everything, and in other programs often means no limit.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!(
            "{text:?} would cut every request; write 250ms, 2s or 1m"
        )),
        duration => Ok(duration),
    }
}

/// Reads a limit, or `none`.
pub(super) fn duration_or_none(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "none" => Ok(None),
        _ => positive_duration(text)
            .map(Some)
            .map_err(|why| format!("{why}, or none")),
    }
}

/// Reads an interval, or `off`.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => match duration(text) {
            Ok(Duration::ZERO) => Err(format!("{text:?} is no interval; write 10s, 1m or off")),
            Ok(duration) => Ok(Some(duration)),
            Err(why) => Err(format!("{why}, or off")),
        },
    }
}

/// Reads the path of a request: absolute, and without bytes that a request line cannot have.
pub(super) fn path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    if text.starts_with('/') && text.bytes().all(plain) {
        Ok(text.into())
    } else {
        Err(format!("{text:?} is not a path; write it like /health"))
    }
}

/// Reads a number of bytes, alone or with a binary unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    size_within(text, u64::MAX, "18446744073709551615")
}

/// Reads a number of bytes up to a maximum, which the error writes as given.
fn size_within(text: &str, most: u64, written: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        _ if number.is_empty() => None,
        "" | "b" => Some(0),
        "kib" => Some(10),
        "mib" => Some(20),
        "gib" => Some(30),
        _ => None,
    };
    let Some(shift) = shift else {
        return Err(format!(
            "{text:?} is not a size; write 64KiB, 64MiB or 1000 (bytes)"
        ));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| *bytes <= most)
        .ok_or_else(|| format!("{text:?} is too large; at most {written}"))
}

/// Reads the size of a head. The parser's offsets are 32 bits, and no head needs as many.
pub(super) fn head_size(text: &str) -> Result<u32, String> {
    match size_within(text, LONGEST_HEAD.into(), "1GiB")? {
        0 => Err(format!("{text:?} would refuse every request; write 64KiB")),
        bytes => Ok(bytes as u32), // at most `LONGEST_HEAD`
    }
}

/// Reads bytes that count as progress: the loop counts them in 32 bits.
pub(super) fn progress(text: &str) -> Result<u32, String> {
    let bytes = size_within(text, u32::MAX.into(), "4294967295")?;
    Ok(bytes as u32) // at most `u32::MAX`
}

/// Reads how many fields a head may have.
pub(super) fn field_count(text: &str) -> Result<u16, String> {
    count(text, 1..=Limits::MAX_FIELDS)
}

/// Reads how many connections there may be.
pub(super) fn connection_count(text: &str) -> Result<u32, String> {
    count(text, 1..=u32::MAX - 1)
}

/// Reads how many connections to list.
pub(super) fn page_size(text: &str) -> Result<u32, String> {
    count(text, 1..=1_000)
}

/// Reads how many clients a probe has in each state.
pub(super) fn client_count(text: &str) -> Result<u16, String> {
    count(text, 1..=256)
}

fn count<N: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<N>,
) -> Result<N, String> {
    number(text)
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let (first, last) = (range.start(), range.end());
            format!("{text:?} is not a number from {first} to {last}")
        })
}

/// Reads a number of digits only: `parse` alone would take a sign.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Reads a signal by its name, with or without SIG.
pub(super) fn signal(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    Err(match name {
        "KILL" => String::from(
            "KILL cannot be caught: the system ends the process at once, and nothing is drained",
        ),
        "STOP" => String::from(
            "STOP cannot be caught: the system freezes the process, and nothing is drained",
        ),
        _ => {
            let known: Vec<_> = SIGNALS.iter().map(|(name, _)| *name).collect();
            format!(
                "{text:?} is not a signal to stop on; write {}",
                known.join(",")
            )
        }
    })
}

/// Returns the names of signals: `SIGINT or SIGTERM`.
pub(super) fn signal_names(signals: &[i32]) -> String {
    let name = |signal: &i32| match low_level::signal_name(*signal) {
        Some(name) => name.to_owned(),
        None => format!("signal {signal}"),
    };
    let names: Vec<_> = signals.iter().map(name).collect();
    names.join(" or ")
}

/// Reads the treatment of late requests.
pub(super) fn late_requests(text: &str) -> Result<LatePolicy, String> {
    let status = match text {
        "serve" => return Ok(LatePolicy::Serve),
        "drop" => return Ok(LatePolicy::Drop),
        "reject" => return Ok(LatePolicy::Reject(SERVICE_UNAVAILABLE)),
        _ => text.strip_prefix("reject:"),
    };
    match status.map(number) {
        Some(Some(status @ 400..=599)) => Ok(LatePolicy::Reject(status)),
        Some(_) => Err(format!(
            "{text:?}: the status must be from 400 to 599; write reject:503"
        )),
        None => Err(format!(
            "{text:?} is not a policy; write serve, reject, reject:429 or drop"
        )),
    }
}

/// The signals that supervisors and people send to stop a process. Apache and nginx stop gracefully
/// on WINCH, and images made for them send it.
const SIGNALS: &[(&str, i32)] = &[
    ("INT", SIGINT),
    ("TERM", SIGTERM),
    ("HUP", SIGHUP),
    ("QUIT", SIGQUIT),
    ("USR1", SIGUSR1),
    ("USR2", SIGUSR2),
    ("ALRM", SIGALRM),
    ("WINCH", SIGWINCH),
];

const LONGEST_HEAD: u32 = 1 << 30;
const SERVICE_UNAVAILABLE: u16 = 503;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        const CASES: &[(&str, u64)] = &[
            ("0s", 0),
            ("250ms", 250),
            ("2s", 2_000),
            ("1.5s", 1_500),
            ("1m", 60_000),
            ("1m 30s", 90_000),
            ("5days", 5 * 86_400_000),
        ];
        for (text, millis) in CASES {
            assert_eq!(duration(text), Ok(Duration::from_millis(*millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_what_is() {
        for text in [
            "5", "0", "", " ", "s", "-1s", "+1s", "+5", "2x", "1s2", "none",
        ] {
            assert_eq!(
                duration(text).unwrap_err(),
                format!("{text:?} is not a duration; write 250ms, 2s or 1m")
            );
        }
        for text in ["6days", "1year", "5days 1ms"] {
            let expected = format!("{text:?} is too long; at most 5days");
            assert_eq!(duration(text), Err(expected));
        }
    }

    #[test]
    fn nothing_is_not_no_limit() {
        assert_eq!(
            positive_duration("0s").unwrap_err(),
            r#""0s" would cut every request; write 250ms, 2s or 1m"#
        );
        assert_eq!(
            duration_or_none("0ms").unwrap_err(),
            r#""0ms" would cut every request; write 250ms, 2s or 1m, or none"#
        );
        assert_eq!(
            duration_or_off("0s").unwrap_err(),
            r#""0s" is no interval; write 10s, 1m or off"#
        );
        assert_eq!(
            duration_or_off("5").unwrap_err(),
            r#""5" is not a duration; write 250ms, 2s or 1m, or off"#
        );
        assert_eq!(duration_or_none("none"), Ok(None));
        assert_eq!(duration_or_off("off"), Ok(None));
        let second = Some(Duration::from_secs(1));
        assert_eq!(duration_or_none("1s"), Ok(second));
        assert_eq!(duration_or_off("1s"), Ok(second));
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        const CASES: &[(&str, u64)] = &[
            ("0", 0),
            ("1000", 1000),
            ("7B", 7),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("64 MiB", 67_108_864),
            ("2GiB", 2_147_483_648),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in CASES {
            assert_eq!(size(text), Ok(*bytes), "{text}");
        }
    }

    #[test]
    fn a_path_is_absolute_and_fits_a_request_line() {
        assert_eq!(path("/ready/now"), Ok("/ready/now".into()));
        for text in ["", "ready", "/a b", "/a?b", "/a#b", "/é"] {
            let expected = format!("{text:?} is not a path; write it like /health");
            assert_eq!(path(text), Err(expected));
        }
    }

    #[test]
    fn what_is_no_size_is_told_what_is() {
        for text in [
            "", "KiB", "64KB", "64K", "1.5MiB", "-1", "+5", "0x10", "1 000", "64KiB ",
        ] {
            assert_eq!(
                size(text).unwrap_err(),
                format!("{text:?} is not a size; write 64KiB, 64MiB or 1000 (bytes)")
            );
        }
        for text in ["18446744073709551616", "17179869184GiB"] {
            assert!(size(text).unwrap_err().contains("is too large"), "{text}");
        }
        assert!(head_size("0").unwrap_err().contains("every request"));
        for text in ["1073741825", "2GiB", "99999999999GiB"] {
            let error = head_size(text).unwrap_err();
            assert!(error.ends_with("is too large; at most 1GiB"), "{error}");
        }
        assert_eq!(head_size("1GiB"), Ok(1 << 30));
    }

    #[test]
    fn counts_are_within_bounds() {
        assert_eq!(
            (field_count("1"), field_count("1024")),
            (Ok(1), Ok(Limits::MAX_FIELDS))
        );
        for text in [
            "0", "1025", "-1", "+5", " 5", "5 ", "x", "", "1.0", "\u{665}",
        ] {
            let expected = format!("{text:?} is not a number from 1 to 1024");
            assert_eq!(field_count(text), Err(expected));
        }
        assert_eq!(connection_count("19000"), Ok(19_000));
        for text in ["0", "+5", "-5"] {
            assert!(connection_count(text).is_err(), "{text}");
            assert!(page_size(text).is_err(), "{text}");
            assert!(client_count(text).is_err(), "{text}");
        }
        assert_eq!(progress("4294967295"), Ok(u32::MAX));
        assert!(
            progress("4GiB")
                .unwrap_err()
                .ends_with("at most 4294967295")
        );
    }

    #[test]
    fn addresses_are_numbers_with_a_port() {
        for text in [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::1]:8080",
            "[fe80::1%2]:80",
        ] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        const CASES: &[(&str, &str)] = &[
            ("127.0.0.1", "has no port; write 127.0.0.1:8080"),
            ("[::1]", "has no port; write [::1]:8080"),
            ("::1", "needs brackets and a port; write it as [::1]:8080"),
            (
                "::1:80",
                "needs brackets and a port; write it as [::1]:8080",
            ),
            ("80", "has no address; write 127.0.0.1:80 or 0.0.0.0:80"),
            (":80", "has no address; write 127.0.0.1:80 or 0.0.0.0:80"),
            (
                "localhost:80",
                "is not an address and a port; write 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
            ),
            (
                "127.0.0.1:99999",
                "is not an address and a port; write 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
            ),
        ];
        for (text, why) in CASES {
            assert_eq!(address(text), Err(format!("{text:?} {why}")));
        }
    }

    #[test]
    fn addresses_overlap_by_port_family_and_all() {
        let addr = |text: &str| text.parse().unwrap();
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "192.0.2.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(overlap(addr(one), addr(other)), expected, "{one} {other}");
            assert_eq!(overlap(addr(other), addr(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn signals_go_by_name() {
        for text in ["TERM", "SIGTERM", "term", "SigTerm"] {
            assert_eq!(signal(text), Ok(SIGTERM), "{text}");
        }
        for (name, number) in SIGNALS {
            assert_eq!(signal(&format!("SIG{name}")), Ok(*number));
        }
        for text in ["15", "", "SIG", "SEGV", "TERMINATE"] {
            assert_eq!(
                signal(text).unwrap_err(),
                format!(
                    "{text:?} is not a signal to stop on; \
                     write INT,TERM,HUP,QUIT,USR1,USR2,ALRM,WINCH"
                )
            );
        }
    }

    #[test]
    fn kill_and_stop_are_refused_with_the_reason() {
        for name in ["KILL", "STOP"] {
            for text in [name.into(), format!("SIG{name}"), name.to_lowercase()] {
                let why = signal(&text).unwrap_err();
                assert!(
                    why.starts_with(&format!("{name} cannot be caught: ")),
                    "{why}"
                );
            }
        }
    }

    #[test]
    fn late_requests_have_three_policies() {
        const CASES: &[(&str, LatePolicy)] = &[
            ("serve", LatePolicy::Serve),
            ("drop", LatePolicy::Drop),
            ("reject", LatePolicy::Reject(503)),
            ("reject:429", LatePolicy::Reject(429)),
        ];
        for (text, policy) in CASES {
            assert_eq!(late_requests(text), Ok(*policy));
        }
        for text in ["reject:", "reject:200", "reject:600", "reject:x"] {
            let why = late_requests(text).unwrap_err();
            assert!(
                why.ends_with(": the status must be from 400 to 599; write reject:503"),
                "{why}"
            );
        }
        let why = late_requests("refuse").unwrap_err();
        assert_eq!(
            why,
            r#""refuse" is not a policy; write serve, reject, reject:429 or drop"#
        );
    }
}
