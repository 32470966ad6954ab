//! Reads the command line: a command, or one line that explains a mistake.
//!
//! This module neither prints nor exits.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::ctl::args::Ctl;
use crate::probe::args::Probe;
use crate::serve::args::Serve;

/// The command to run.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one, and it is made once"
)]
pub(crate) enum Command {
    Serve(Serve),
    Ctl(Ctl),
    Probe(Probe),
}

/// The text to print instead of running a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Help or the version, for stdout: exit code 0.
    Told(String),
    /// A mistake, as one line without a line end, for stderr: exit code 2.
    Usage(String),
}

/// Reads the arguments, the first of which is the program's name.
///
/// # Errors
///
/// Returns what to print instead: help, the version, or a mistake.
pub(crate) fn parse<I>(args: I) -> Result<Command, Exit>
where
    I: IntoIterator<Item = OsString>,
{
    let args: Vec<_> = args.into_iter().collect();
    let cli = Cli::try_parse_from(&args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Told(error.to_string()),
        _ => mistake(&explain(&error, args.get(1).and_then(|arg| arg.to_str()))),
    })?;
    match cli.command {
        Some(Command::Serve(mut serve)) => {
            serve.check().map_err(|why| mistake(&why))?;
            serve.stopping.signals.sort_unstable();
            serve.stopping.signals.dedup();
            Ok(Command::Serve(serve))
        }
        Some(Command::Probe(probe)) => {
            (probe.checked().map(Command::Probe)).map_err(|why| mistake(&why))
        }
        Some(ctl @ Command::Ctl(_)) => Ok(ctl),
        None => Err(Exit::Told(Cli::command().render_help().to_string())),
    }
}

#[derive(Debug, Parser)]
#[command(
    name = "ebbtide",
    bin_name = "ebbtide",
    version,
    about = "An HTTP/1.1 server that stops without losing a request",
    after_help = FIRST_HELP,
    max_term_width = 100,
    mut_subcommands(let_numbers_begin_with_a_dash),
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// Lets the parser of a value explain what is wrong with `-5`, which clap would take for a flag; the
/// parser of a number also explains `-1s`.
fn let_numbers_begin_with_a_dash(command: clap::Command) -> clap::Command {
    const NUMBERS: [&str; 4] = ["DURATION", "SIZE", "N", "PID"];
    let is_number = |arg: &clap::Arg| {
        let name = arg.get_value_names()?.first()?;
        Some(NUMBERS.contains(&name.split('|').next()?))
    };
    let command = command.mut_args(|arg| match is_number(&arg) {
        Some(true) => arg.allow_hyphen_values(true),
        _ if arg.get_action().takes_values() => arg.allow_negative_numbers(true),
        _ => arg,
    });
    command.mut_subcommands(let_numbers_begin_with_a_dash)
}

fn mistake(what: &str) -> Exit {
    Exit::Usage(format!("ebbtide: {what}"))
}

/// Returns one line that names the flag and the value, and says what would be right.
fn explain(error: &clap::Error, first: Option<&str>) -> String {
    let named = first.filter(|first| matches!(*first, "ctl" | "probe"));
    let (command, is_ctl) = (named.unwrap_or("serve"), named == Some("ctl"));
    let context = |kind| {
        let text = error.get(kind).map(ToString::to_string);
        text.filter(|text| !text.is_empty())
    };
    let invalid = context(ContextKind::InvalidArg).unwrap_or_default();
    // clap names a flag together with its value: `--listen <ADDR:PORT>`.
    let (flag, form) = invalid.split_once(' ').unwrap_or((&invalid, "a value"));
    let value = context(ContextKind::InvalidValue);
    match (error.kind(), value) {
        (ErrorKind::ValueValidation, _) => {
            // Only the parsers of this crate fail here, and they always give a reason.
            let why = error.source().map(ToString::to_string);
            format!("{flag}: {}", why.unwrap_or_default())
        }
        (ErrorKind::InvalidValue, Some(value)) => {
            let valid = context(ContextKind::ValidValue).unwrap_or_default();
            format!("{flag}: {value:?} is not one of {valid}")
        }
        (ErrorKind::InvalidValue, None) => format!("{flag}: needs a value: {flag} {form}"),
        (ErrorKind::TooManyValues, Some(value)) => {
            format!("{flag}: takes no value, and was given {value:?}")
        }
        (ErrorKind::ArgumentConflict, _) => conflict(flag, context(ContextKind::PriorArg)),
        (ErrorKind::UnknownArgument, _) if !invalid.starts_with('-') => {
            format!("{invalid:?} is not expected here; see ebbtide {command} --help")
        }
        (ErrorKind::UnknownArgument, _) => {
            let help = match context(ContextKind::SuggestedArg) {
                Some(like) => format!("did you mean {like}?"),
                None => match command_with(flag).filter(|_| named.is_none()) {
                    Some(command) => format!("write ebbtide {command} {flag}"),
                    None => format!("see ebbtide {command} --help"),
                },
            };
            format!("{invalid:?} is not a flag here; {help}")
        }
        (ErrorKind::InvalidSubcommand, _) => {
            let name = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let known = if is_ctl {
                ASKS
            } else {
                "ebbtide serve, ebbtide ctl or ebbtide probe"
            };
            format!("{name:?} is not a command; write {known}")
        }
        (ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            format!("ctl: a command is missing; write {ASKS}")
        }
        (ErrorKind::InvalidUtf8, _) => String::from("an argument is not UTF-8"),
        // These flags cause no other known error. The first line of clap explains any other.
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            String::from(line.strip_prefix("error: ").unwrap_or(line))
        }
    }
}

/// Explains why a flag cannot stand beside `prior`, which is the same flag or others.
fn conflict(flag: &str, prior: Option<String>) -> String {
    let prior = prior.unwrap_or_default();
    let prior = prior.split([' ', ',']).next().unwrap_or_default();
    match (flag, prior) {
        ("--dev", other) | (other, "--dev") if flag != prior => {
            format!("{other}: has no effect with --dev")
        }
        _ => format!("{flag}: may be given only once"),
    }
}

/// Returns the command that has this flag, for a line that names no command.
fn command_with(flag: &str) -> Option<String> {
    let name = flag.strip_prefix("--")?;
    let command = Cli::command();
    let has = |command: &&clap::Command| {
        let mut flags = command.get_arguments().filter_map(clap::Arg::get_long);
        flags.any(|long| long == name)
    };
    let found = command.get_subcommands().find(has)?;
    Some(found.get_name().to_owned())
}

/// The commands of `ctl`.
const ASKS: &str = "status, connections, shutdown, cut or wait";

const FIRST_HELP: &str = "\
Examples:
  ebbtide serve
      Listens on http://127.0.0.1:8080 until Ctrl-C
  ebbtide probe -- node server.js
      Shows how a server drains that listens on $PORT

Each command has a --help of its own, with its flags, examples and exit codes.";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::args::{Flags as AdminFlags, Place};
    use crate::ctl::args::Ask;
    use crate::files::args::{FileFlags, Symlinks};
    use crate::serve::args::{DRAIN, Limits, Listening, Output, Report, Stopping, Timeouts};
    use crate::serve::tls::TlsFlags;
    use crate::values::LatePolicy;

    fn parse_line(line: &str) -> Result<Command, Exit> {
        let words = line.split_whitespace().map(OsString::from);
        parse(std::iter::once("ebbtide".into()).chain(words))
    }

    #[track_caller]
    fn serve(line: &str) -> Serve {
        match parse_line(&format!("serve {line}")) {
            Ok(Command::Serve(serve)) => serve,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn told(line: &str) -> String {
        match parse_line(line) {
            Err(Exit::Told(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        let expected = Serve {
            listening: Listening::default(),
            tls: TlsFlags::default(),
            stopping: Stopping {
                drain_timeout: secs(25),
                drain_delay: secs(0),
                drain_quiet: None,
                health_path: "/health".into(),
                drain_head_timeout: secs(2),
                late_requests: LatePolicy::Serve,
                idle_grace: millis(25),
                close_spread: secs(0),
                linger: millis(250),
                signals: vec![2, 15],
                tunnel_grace: secs(10),
                exit_delay: secs(0),
                dev: false,
            },
            timeouts: Timeouts {
                head_timeout: secs(10),
                body_timeout: secs(30),
                write_timeout: secs(30),
                min_progress: 8 << 10,
                idle_timeout: secs(75),
                handler_timeout: None,
            },
            admin: AdminFlags::default(),
            files: FileFlags::default(),
            limits: Limits {
                max_head: 64 << 10,
                max_headers: 100,
                max_body: 64 << 20,
                max_connections: None,
            },
            output: Output {
                log_connections: None,
                report: Report::Text,
            },
        };
        assert_eq!(serve(""), expected);
    }

    #[test]
    fn every_flag_is_heard() {
        let expected = Serve {
            listening: Listening {
                listen: vec!["0.0.0.0:80".parse().unwrap(), "[::1]:8080".parse().unwrap()],
                reuse_port: true,
            },
            tls: TlsFlags::default(),
            stopping: Stopping {
                drain_timeout: secs(60),
                drain_delay: secs(5),
                drain_quiet: Some(secs(1)),
                health_path: "/ready".into(),
                drain_head_timeout: millis(1),
                late_requests: LatePolicy::Reject(429),
                idle_grace: millis(2),
                close_spread: millis(3),
                linger: millis(4),
                signals: vec![1, 2, 3],
                tunnel_grace: millis(16),
                exit_delay: millis(15),
                dev: false,
            },
            timeouts: Timeouts {
                head_timeout: millis(5),
                body_timeout: millis(6),
                write_timeout: millis(7),
                min_progress: 15 << 10,
                idle_timeout: millis(8),
                handler_timeout: Some(millis(9)),
            },
            admin: AdminFlags {
                admin: Some(Place::Unix("/a".into())),
                admin_token_file: Some("/b".into()),
            },
            files: FileFlags {
                root: Some("/c".into()),
                symlinks: Some(Symlinks::Any),
                dot_files: true,
            },
            limits: Limits {
                max_head: 1 << 10,
                max_headers: 11,
                max_body: 12,
                max_connections: Some(13),
            },
            output: Output {
                log_connections: Some(secs(14)),
                report: Report::Json,
            },
        };
        let heard = serve(
            "--listen 0.0.0.0:80 --listen=[::1]:8080 --reuse-port --drain-timeout 1m \
             --drain-delay 5s --drain-quiet 1s --health-path /ready --drain-head-timeout 1ms --late-requests reject:429 \
             --idle-grace 2ms --close-spread 3ms --linger 4ms --tunnel-grace 16ms --signals HUP,SIGQUIT,int,HUP --exit-delay 15ms \
             --head-timeout 5ms --body-timeout 6ms --write-timeout 7ms --min-progress 15KiB --idle-timeout 8ms \
             --handler-timeout 9ms --admin unix:/a --admin-token-file /b \
             --root /c --symlinks any --dot-files --max-head 1KiB --max-headers 11 --max-body 12 \
             --max-connections 13 --log-connections 14s --report json",
        );
        assert_eq!(heard, expected);
        assert!(
            serve("--dev --exit-delay 15ms --health-path /ready")
                .stopping
                .dev
        );
    }

    #[test]
    fn a_flag_of_the_drain_is_a_mistake_with_dev() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for name in DRAIN {
            let arg = serve.get_arguments().find(|arg| arg.get_id() == name);
            let flag = arg.and_then(clap::Arg::get_long).unwrap();
            // Also where the value is the default.
            let default = arg.unwrap().get_default_values()[0].to_str().unwrap();
            for line in [
                format!("serve --dev --{flag} {default}"),
                format!("serve --{flag}={default} --dev"),
                format!("serve --{flag}={default} --dev --{flag}={default}"),
            ] {
                let expected = format!("ebbtide: --{flag}: has no effect with --dev");
                let once = format!("ebbtide: --{flag}: may be given only once");
                let Err(Exit::Usage(why)) = parse_line(&line) else {
                    panic!("{line}");
                };
                assert!(
                    why == expected || line.matches(flag).count() > 1 && why == once,
                    "{why}"
                );
            }
        }
    }

    #[test]
    fn a_negative_number_is_a_value_of_every_flag_that_takes_one() {
        fn visit(command: &clap::Command, words: &str) {
            for arg in command
                .get_arguments()
                .filter(|arg| arg.get_long().is_some())
            {
                if arg.get_action().takes_values() {
                    let flag = arg.get_long().unwrap();
                    match parse_line(&format!("{words} --{flag} -5")) {
                        Err(Exit::Usage(line)) => {
                            assert!(!line.contains("is not a flag here"), "{words}: {line}");
                        }
                        Err(Exit::Told(text)) => panic!("{text}"),
                        Ok(_) => {} // a file may have this name
                    }
                }
            }
            for command in command.get_subcommands() {
                visit(command, &format!("{words} {}", command.get_name()));
            }
        }
        visit(&Cli::command(), "");
    }

    #[test]
    fn a_flag_is_known_by_its_earlier_name() {
        let limit = |line| serve(line).stopping.tunnel_grace;
        assert_eq!(limit("--drain-farewell 5s"), limit("--tunnel-grace 5s"));
    }

    #[test]
    fn ctl_takes_its_flags_before_and_after_what_it_is_told() {
        let expected = Command::Ctl(Ctl {
            admin: Some(Place::Unix("/a".into())),
            token_file: Some("/b".into()),
            json: true,
            ask: Ask::Connections { all: true, take: 7 },
        });
        for line in [
            "ctl --admin unix:/a --token-file /b --json connections --all --take 7",
            "ctl connections --take=7 --all --json --admin=unix:/a --token-file=/b",
        ] {
            assert_eq!(parse_line(line).as_ref(), Ok(&expected), "{line}");
        }
    }

    #[test]
    fn what_follows_the_command_of_a_probe_is_its_own() {
        let line = "probe --json --states idle,busy node --json server.js -- --port {port}";
        let Ok(Command::Probe(probe)) = parse_line(line) else {
            panic!("not taken");
        };
        assert!(probe.output.json);
        assert_eq!(probe.course.states.len(), 2);
        let command = "node --json server.js -- --port {port}";
        assert_eq!(probe.command.join(" "), command);
        let Ok(Command::Probe(own)) = parse_line("probe -- -odd --json") else {
            panic!("not taken");
        };
        assert_eq!(
            (own.command.join(" "), own.output.json),
            ("-odd --json".into(), false)
        );
    }

    #[test]
    fn the_help_of_ctl_is_complete() {
        let help = told("ctl --help");
        for text in [
            "--admin",
            "--token-file",
            "--json",
            "EBBTIDE_ADMIN",
            "Exit codes:",
        ] {
            assert!(help.contains(text), "{text}");
        }
        for ask in ["status", "connections", "shutdown", "cut", "wait"] {
            assert!(help.contains(&format!("\n  {ask} ")), "{ask}: {help}");
        }
    }

    #[test]
    fn a_mistake_is_one_line_that_says_what_would_be_right() {
        const CASES: &[(&str, &str)] = &[
            (
                "serve --drain-timeout 5",
                r#"--drain-timeout: "5" is not a duration; write 250ms, 2s or 1m"#,
            ),
            (
                "serve --listen 8080",
                r#"--listen: "8080" has no address; write 127.0.0.1:8080 or 0.0.0.0:8080"#,
            ),
            (
                "serve --signals INT,SIGKILL",
                "--signals: KILL cannot be caught: \
                 the system ends the process at once, and nothing is drained",
            ),
            (
                "serve --max-headers=0",
                r#"--max-headers: "0" is not a number from 1 to 1024"#,
            ),
            (
                "serve --report xml",
                r#"--report: "xml" is not one of text, json, none"#,
            ),
            (
                "serve --report",
                "--report: needs a value: --report <FORMAT>",
            ),
            (
                "serve --late-requests",
                "--late-requests: needs a value: --late-requests <serve|reject[:STATUS]|drop>",
            ),
            (
                "serve --listen",
                "--listen: needs a value: --listen <ADDR:PORT>",
            ),
            (
                "serve --linger= --dev",
                r#"--linger: "" is not a duration; write 250ms, 2s or 1m"#,
            ),
            (
                "serve --dev=yes",
                r#"--dev: takes no value, and was given "yes""#,
            ),
            (
                "serve --linger 1s --linger 2s",
                "--linger: may be given only once",
            ),
            ("serve --dev --dev", "--dev: may be given only once"),
            (
                "serve --drian-timeout 5s",
                r#""--drian-timeout" is not a flag here; did you mean --drain-timeout?"#,
            ),
            (
                "serve --frobnicate",
                r#""--frobnicate" is not a flag here; see ebbtide serve --help"#,
            ),
            (
                "serve -x",
                r#""-x" is not a flag here; see ebbtide serve --help"#,
            ),
            (
                "serve 8080",
                r#""8080" is not expected here; see ebbtide serve --help"#,
            ),
            (
                "--listen 127.0.0.1:80",
                r#""--listen" is not a flag here; write ebbtide serve --listen"#,
            ),
            (
                "--max-body=7",
                r#""--max-body" is not a flag here; write ebbtide serve --max-body"#,
            ),
            (
                "sreve",
                r#""sreve" is not a command; write ebbtide serve, ebbtide ctl or ebbtide probe"#,
            ),
            (
                "serve --admin 0.0.0.0:9000",
                "--admin: other machines can reach 0.0.0.0:9000; \
                 give --admin-token-file, or listen on 127.0.0.1 or a Unix socket",
            ),
            (
                "ctl",
                "ctl: a command is missing; \
                 write status, connections, shutdown, cut or wait",
            ),
            (
                "ctl --json",
                "ctl: a command is missing; \
                 write status, connections, shutdown, cut or wait",
            ),
            (
                "ctl stop",
                r#""stop" is not a command; write status, connections, shutdown, cut or wait"#,
            ),
            (
                "ctl status --dev",
                r#""--dev" is not a flag here; see ebbtide ctl --help"#,
            ),
            (
                "ctl connections --take 1001",
                r#"--take: "1001" is not a number from 1 to 1000"#,
            ),
            (
                "--json",
                r#""--json" is not a flag here; write ebbtide ctl --json"#,
            ),
            (
                "probe --jsn",
                r#""--jsn" is not a flag here; did you mean --json?"#,
            ),
            (
                "probe --pause 5s",
                "--pause: must be shorter than --deadline, which covers it",
            ),
            (
                "serve --drain-timeout 5s --drain-delay 6s",
                "--drain-delay: is longer than --drain-timeout, which covers it; \
                 lengthen that one too",
            ),
            (
                "serve --drain-timeout 5s --close-spread 6s",
                "--close-spread: is longer than --drain-timeout, which covers it; \
                 lengthen that one too",
            ),
            (
                "serve --drain-quiet 1s",
                "--drain-quiet: has no effect without --drain-delay, which it ends",
            ),
            (
                "serve --drain-quiet 5s --drain-delay 5s",
                "--drain-quiet: has no effect unless it is shorter than --drain-delay",
            ),
            (
                "serve --listen -5",
                r#"--listen: "-5" is not an address and a port; write 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"#,
            ),
            (
                "serve --late-requests reject:+503",
                r#"--late-requests: "reject:+503": the status must be from 400 to 599; write reject:503"#,
            ),
            (
                "serve --max-headers +5",
                r#"--max-headers: "+5" is not a number from 1 to 1024"#,
            ),
            (
                "serve --drain-timeout 5s --exit-delay 6s",
                "--exit-delay: is longer than --drain-timeout, which covers it; \
                 lengthen that one too",
            ),
        ];
        for (line, expected) in CASES {
            let expected = Exit::Usage(format!("ebbtide: {expected}"));
            assert_eq!(parse_line(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn a_value_cannot_break_the_line() {
        for args in [["serve", "--linger=a\nb"], ["serve", "--a\nb"]] {
            let args = ["ebbtide"].into_iter().chain(args).map(OsString::from);
            let Err(Exit::Usage(line)) = parse(args) else {
                panic!("taken");
            };
            assert_eq!(line.lines().count(), 1, "{line}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_text_is_a_mistake() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"--linger=\xff".to_vec());
        assert_eq!(
            parse(["ebbtide".into(), "serve".into(), odd]),
            Err(Exit::Usage("ebbtide: an argument is not UTF-8".into()))
        );
    }

    #[test]
    fn alone_it_prints_help() {
        let help = told("");
        assert!(help.contains("Usage: ebbtide"), "{help}");
        for command in ["serve", "ctl", "probe"] {
            assert!(help.contains(&format!("\n  {command} ")), "{help}");
        }
    }

    #[test]
    fn it_says_its_version() {
        let expected = format!("ebbtide {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(told("--version"), expected);
    }

    #[test]
    fn help_is_complete() {
        let help = told("serve --help");
        for heading in [
            "Listening",
            "TLS",
            "Stopping",
            "Timeouts",
            "Admin",
            "Files",
            "Limits",
            "Output",
            "Exit codes",
        ] {
            assert!(help.contains(&format!("\n{heading}:\n")), "{heading}");
        }
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let flags = serve.get_arguments().filter(|arg| arg.get_id() != "help");
        for arg in flags {
            let flag = format!("--{}", arg.get_long().unwrap());
            assert!(help.contains(&flag), "{flag}");
            assert!(arg.get_help_heading().is_some(), "{flag}: under no heading");
            // The help says what the flag does, and why the default is what it is.
            let text = arg.get_help().unwrap().to_string();
            assert!(text.len() > 50, "{flag}: {text}");
            if let [default, ..] = arg.get_default_values() {
                let default = format!("[default: {}]", default.to_string_lossy());
                assert!(
                    !arg.get_action().takes_values() || help.contains(&default),
                    "{flag} {default}"
                );
            }
        }
        assert_eq!(
            help.matches("  ebbtide serve --").count(),
            2,
            "two examples"
        );
        for code in 0..=4 {
            assert!(help.contains(&format!("\n  {code}  ")), "exit code {code}");
        }
    }
}
