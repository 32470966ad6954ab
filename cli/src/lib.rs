//! The command: `ebbtide serve`, `ebbtide ctl` to talk to it, and `ebbtide probe` for any server.
//!
//! Knows the library only from outside.

mod activation;
mod admin;
mod args;
mod connections;
mod ctl;
mod demo;
mod exit;
mod farewell;
mod files;
#[cfg(test)]
mod held;
mod live;
mod logger;
mod notify;
mod pace;
mod probe;
mod screen;
mod serve;
mod timer;
mod tls;
mod token;
mod values;
mod websocket;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use signal_hook::low_level;

use self::args::{Command, Exit};

/// Exit code: bad usage, or the server could not start.
const CANNOT: u8 = 2;

/// Does what the arguments say, and returns the exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(Command::Serve(options)) => match serve::serve(&options) {
            Ok(code) => code,
            Err(error) => {
                say(&format!("ebbtide: {error}"));
                screen::finish(exit::LAST_LINES);
                ExitCode::from(CANNOT)
            }
        },
        Ok(Command::Ctl(options)) => ctl::ctl(&options),
        Ok(Command::Probe(options)) => probe::probe(&options),
        Err(Exit::Told(text)) => {
            // Piped into a pager that was closed: nothing is left to say.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(Exit::Usage(line)) => {
            say(&line);
            ExitCode::from(CANNOT)
        }
    }
}

/// Writes a line to stderr. Where nobody reads it any more, the exit code still tells.
fn say(line: &str) {
    screen::say(format!("{line}\n").as_bytes());
}

/// Signals by their names.
fn names(signals: &[i32]) -> String {
    let name = |signal: &i32| match low_level::signal_name(*signal) {
        Some(name) => name.to_owned(),
        None => format!("signal {signal}"),
    };
    let names: Vec<_> = signals.iter().map(name).collect();
    names.join(" or ")
}
