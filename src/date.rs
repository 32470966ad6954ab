//! The `Date` line of responses, formatted once a second (RFC 9110, section 6.6.1).
//!
//! Reads no clock: callers pass the time, and the time of day when a second of ticks has passed.

use crate::tick::Tick;

/// The cached line `Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Date(Option<Cached>);

#[derive(Clone, Copy, Debug)]
struct Cached {
    line: [u8; 37],
    since: Tick,
}

impl Date {
    /// Returns the line, at most a second old. Calls `unix_time`, in seconds since 1970, only to
    /// format another.
    #[inline]
    pub(crate) fn line(&mut self, now: Tick, unix_time: impl FnOnce() -> u64) -> &[u8; 37] {
        if !self.since().is_some_and(|since| Self::is_good(since, now)) {
            self.renew(now, unix_time());
        }
        self.0.as_ref().map_or(&EPOCH, |cached| &cached.line)
    }

    /// Returns when the cached line was formatted.
    #[inline]
    pub(crate) fn since(&self) -> Option<Tick> {
        self.0.as_ref().map(|cached| cached.since)
    }

    /// Returns whether a line formatted at `since` is still good at `now`, which is not earlier.
    #[inline]
    pub(crate) const fn is_good(since: Tick, now: Tick) -> bool {
        // `Tick::since` would read an age of weeks as 0.
        now.as_millis().wrapping_sub(since.as_millis()) < 1000
    }

    #[cold]
    fn renew(&mut self, now: Tick, unix_time: u64) {
        self.0 = Some(Cached {
            line: format(unix_time),
            since: now,
        });
    }
}

/// A value for the type system: `line` formats before it returns.
static EPOCH: [u8; 37] = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

/// Formats the line of a moment, in seconds since 1970. The format has no room beyond the year
/// 9999, whose last second stands for every later one.
fn format(unix_time: u64) -> [u8; 37] {
    let unix_time = unix_time.min(LAST_SECOND);
    let (days, second) = (unix_time / 86_400, unix_time % 86_400);
    let (year, month, day) = civil(days);
    let mut line = *b"Date: Thu, 00 Jan 0000 00:00:00 GMT\r\n";
    line[6..9].copy_from_slice(&WEEKDAYS[(days % 7) as usize]);
    put(&mut line[11..13], day);
    line[14..17].copy_from_slice(&MONTHS[(month - 1) as usize]);
    put(&mut line[18..20], year / 100);
    put(&mut line[20..22], year % 100);
    put(&mut line[23..25], second / 3600);
    put(&mut line[26..28], second / 60 % 60);
    put(&mut line[29..31], second % 60);
    line
}

/// Writes a number below 100 in two digits.
fn put(out: &mut [u8], number: u64) {
    out.copy_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}

/// Returns year, month and day in the Gregorian calendar for a count of days since 1970.
///
/// Years begin in March, so the leap day is a year's last. Eras of 400 years all have the same
/// number of days (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of the year 0
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, carry) = match month_from_march {
        0..=9 => (month_from_march + 3, 0),
        _ => (month_from_march - 9, 1),
    };
    (era * 400 + year_of_era + carry, month, day)
}

/// 31 December 9999, 23:59:59.
const LAST_SECOND: u64 = 253_402_300_799;

/// 1 January 1970 was a Thursday.
const WEEKDAYS: [[u8; 3]; 7] = [
    *b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed",
];

const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct",
    *b"Nov", *b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_the_rfc_does() {
        const CASES: &[(u64, &str)] = &[
            (0, "Thu, 01 Jan 1970 00:00:00"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59"),
        ];
        for (unix_time, text) in CASES {
            let line = format(*unix_time);
            let expected = format!("Date: {text} GMT\r\n");
            assert_eq!(str::from_utf8(&line), Ok(expected.as_str()));
        }
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=LAST_SECOND / 86_400 {
            assert_eq!(civil(days), (year, month, day));
            let last = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day == last) {
                (_, false) => (year, month, day + 1),
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
            };
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn the_time_of_day_is_asked_once_a_second() {
        let mut date = Date::default();
        let start = Tick::from_millis(u32::MAX - 300); // the second spans the wrap
        let first = *date.line(start, || 784_111_777);
        let never = || -> u64 { panic!("asked too early") };
        assert_eq!(*date.line(start.after(999), never), first);
        let second = *date.line(start.after(1000), || 784_111_778);
        assert_eq!(&second[29..31], b"38");
        assert_eq!(*date.line(start.after(1999), never), second);
        // A span beyond which ticks compare.
        let weeks = start.after(1000).after(3_000_000_000);
        assert_eq!(&date.line(weeks, || 0)[6..22], b"Thu, 01 Jan 1970");
    }
}
