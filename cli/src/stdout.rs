//! Writes stdout: the result of a command that ends.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::screen::say;
use crate::shown;

/// The exit code of every command for bad usage, a server that could not start, or a result that
/// cannot be written.
pub(crate) const CANNOT: u8 = 2;

/// Prints the text. A reader that has gone, such as a closed pager, has what it wanted.
///
/// # Errors
///
/// The text cannot be written; stderr has the reason. Returns the exit code of the command, which
/// must not be the one of success: its result is lost.
pub(crate) fn print(text: &str) -> Result<(), ExitCode> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(shown::lines(text).as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(&format!("ebbtide: cannot write to stdout: {error}"));
            Err(ExitCode::from(CANNOT))
        }
        _ => Ok(()),
    }
}
