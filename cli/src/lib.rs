//! The command: `ebbtide serve`, `ebbtide ctl` to control it, and `ebbtide probe` for any server.
//!
//! The command uses the public interface of the library alone.

mod admin;
mod args;
mod ctl;
mod files;
#[cfg(test)]
mod held;
mod logger;
mod probe;
mod screen;
mod serve;
mod shown;
mod stdout;
mod token;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use self::args::{Command, Exit};
use self::screen::say;
use self::stdout::CANNOT;

/// Runs the command that the arguments name, and returns the exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args::parse(args) {
        Ok(Command::Serve(options)) => match serve::serve(&options) {
            Ok(code) => code,
            Err(error) => {
                say(&format!("ebbtide: {error}"));
                screen::finish(serve::LAST_LINES);
                ExitCode::from(CANNOT)
            }
        },
        Ok(Command::Ctl(options)) => ctl::ctl(&options),
        Ok(Command::Probe(options)) => probe::probe(&options),
        Err(Exit::Told(text)) => {
            stdout::print(&text).map_or_else(|code| code, |()| ExitCode::SUCCESS)
        }
        Err(Exit::Usage(line)) => {
            say(&line);
            ExitCode::from(CANNOT)
        }
    }
}
