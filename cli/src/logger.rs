//! The command's log: one line a record, to stderr.
//!
//! A line at a terminal is short, `12:34:56.789Z INFO  listening on …`, with the time in UTC. Lines
//! elsewhere carry the date as well, because they are kept. Records of `debug` and `trace` name the
//! module that wrote them. The log leaves out lines that repeat the live line of a drain.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anstream::AutoStream;
use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter, Record};

use super::screen;
use super::shown::one_line;
use ebbtide::PROGRESS_LINE;

/// Starts logging: `info` and above, unless the environment variable `RUST_LOG` says otherwise.
/// `watched` says that a live line stands below the log. A logger that is already installed stays.
pub(crate) fn init(watched: bool) {
    let short = io::stderr().is_terminal();
    let asked = env::var_os(FILTER).unwrap_or_default();
    let asked = asked.to_string_lossy();
    let filter = Some(&*asked).filter(|asked| is_usable(asked));
    let mut builder = Builder::new();
    builder
        .parse_filters(filter.unwrap_or(DEFAULT))
        .format(move |out, record| {
            if watched && record.target() == PROGRESS_LINE {
                return Ok(());
            }
            let time = timestamp(SystemTime::now());
            let time = if short { time_of_day(&time) } else { &time };
            let style = out.default_level_style(record.level());
            let level = format!("{style}{:<5}{style:#}", record.level());
            write_line(out, time, &level, record)
        })
        .target(Target::Pipe(Box::new(ToScreen)));
    match env::var("RUST_LOG_STYLE").as_deref() {
        Ok(style @ ("always" | "never")) => builder.parse_write_style(style),
        _ => builder.write_style(colours()),
    };
    if let Err(error) = builder.try_init() {
        log::debug!("{error}");
    }
    if filter.is_none() && !asked.is_empty() {
        log::warn!(
            "{FILTER}: {asked:?} is no level and names no module that logs; the log uses \
             {DEFAULT}; write debug or ebbtide=debug"
        );
    }
}

/// Returns whether a filter has a level, or names a module that logs here. Any other filter would
/// silence everything, even the address of the server; only `off` asks for that.
fn is_usable(filter: &str) -> bool {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    // A filter may name the beginning of a module.
    let logs_here = |target: &str| {
        let part = |name: &&str| {
            let within = target.strip_prefix(name);
            name.starts_with(target) || within.is_some_and(|rest| rest.starts_with("::"))
        };
        !target.is_empty() && CRATES.iter().any(part)
    };
    let (names, expression) = filter.split_once('/').unwrap_or((filter, ""));
    let mut directives = names.split(',').map(str::trim);
    !expression.contains('/')
        && directives.any(|directive| match directive.split_once('=') {
            Some((target, level)) => {
                let level = level.trim();
                logs_here(target.trim()) && (level.is_empty() || is_level(level))
            }
            None => is_level(directive) || logs_here(directive),
        })
}

/// Returns whether the log has colours when `RUST_LOG_STYLE` does not say: stderr, NO_COLOR and
/// similar variables decide. A terminal without colours gets none, even in a build service (`CI`),
/// unless `CLICOLOR_FORCE` asks for colours.
fn colours() -> WriteStyle {
    let forced = env::var_os("CLICOLOR_FORCE").is_some();
    if forced || screen::obeys() {
        AutoStream::choice(&io::stderr()).into()
    } else {
        WriteStyle::Never
    }
}

/// Writes each record as a whole.
struct ToScreen;

impl Write for ToScreen {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        screen::write(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_line(
    out: &mut impl Write,
    time: &str,
    level: &str,
    record: &Record<'_>,
) -> io::Result<()> {
    write!(out, "{time} {level} ")?;
    if record.level() >= Level::Debug {
        write!(out, "{}: ", record.target())?;
    }
    writeln!(out, "{}", one_line(&record.args().to_string()))
}

/// Returns a time as RFC 3339 writes it. The format has no room beyond the year 9999; its first and
/// last moment stand for every one before and after.
fn timestamp(time: SystemTime) -> String {
    let last = UNIX_EPOCH + LAST;
    humantime::format_rfc3339_millis(time.clamp(UNIX_EPOCH, last)).to_string()
}

/// Returns what follows the `T` of an RFC 3339 time.
fn time_of_day(time: &str) -> &str {
    time.split_once('T').map_or(time, |(_, time)| time)
}

/// 31 December 9999, 23:59:59.999.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

/// The environment variable with the filter of the log.
const FILTER: &str = "RUST_LOG";

/// The filter where the variable is not set.
const DEFAULT: &str = "info";

/// The crates of this program that log.
const CRATES: [&str; 4] = ["ebbtide", "ebbtide_cli", "mio", "rustls"];

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    fn line(level: Level, message: fmt::Arguments<'_>) -> String {
        let record = Record::builder()
            .level(level)
            .target("ebbtide::engine")
            .args(message)
            .build();
        let mut out = Vec::new();
        write_line(&mut out, "12:34:56.789Z", "LEVEL", &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_filter_must_leave_something_or_say_off() {
        for filter in [
            "debug",
            "OFF",
            "ebbtide",
            "ebbtide=debug",
            "ebbtide::engine",
            "ebbtide::engine = trace, bogus",
            "hyper=debug,warn",
            "rustls=",
            "info/draining",
        ] {
            assert!(is_usable(filter), "{filter}");
        }
        for filter in [
            "",
            " ",
            ",",
            "bogus",
            "hyper=debug",
            "ebbtide=loud",
            "ebbtides",
            "ebbtide:engine",
            "=info",
            "info/a/b",
            "/listening",
        ] {
            assert!(!is_usable(filter), "{filter}");
        }
    }

    #[test]
    fn a_line_is_time_level_and_message() {
        assert_eq!(
            line(Level::Info, format_args!("listening on {}", 80)),
            "12:34:56.789Z LEVEL listening on 80\n"
        );
    }

    #[test]
    fn only_debug_and_trace_name_the_module() {
        for level in [Level::Error, Level::Warn, Level::Info] {
            assert!(!line(level, format_args!("x")).contains("engine"));
        }
        for level in [Level::Debug, Level::Trace] {
            assert!(line(level, format_args!("x")).ends_with(" ebbtide::engine: x\n"));
        }
    }

    #[test]
    fn a_record_is_one_line() {
        assert_eq!(
            line(
                Level::Info,
                format_args!("a\nb\r\n\u{1b}[31m{} é\n\u{9b}2J\u{202e}", "c\0")
            ),
            "12:34:56.789Z LEVEL a\\nb\\r\\n\\u{1b}[31mc\\u{0} é\\n\\u{9b}2J\\u{202e}\n"
        );
    }

    #[test]
    fn a_clock_that_is_wrong_by_ages_stops_no_log() {
        let at = |millis| timestamp(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(at(784_111_777_250), "1994-11-06T08:49:37.250Z");
        assert_eq!(at(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(at(253_402_300_800_000), "9999-12-31T23:59:59.999Z");
        assert_eq!(at(1 << 62), "9999-12-31T23:59:59.999Z");
        let before = UNIX_EPOCH - Duration::from_secs(86_400 * 365 * 3_000);
        assert_eq!(timestamp(before), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_time_of_day_is_what_follows_the_date() {
        assert_eq!(time_of_day("2026-01-02T12:34:56.789Z"), "12:34:56.789Z");
        assert_eq!(time_of_day("noon"), "noon");
    }
}
