//! The exit code of a program that serves.

use std::process::{ExitCode, Termination};

use crate::app::report::Outcome;
use crate::error::Error;

/// Runs a server, and returns the exit code that tells the truth about it: that of the [`Outcome`],
/// or 2 when the server could not start or could not go on. The error is then one line on stderr.
///
/// A `main` that returns a `Result` exits with 1 for every error, and 1 means that the deadline cut
/// connections: a supervisor could not tell an address in use from a drain that was too short.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use ebbtide::{Response, Server};
///
/// fn main() -> ExitCode {
///     ebbtide::main(|| Server::bind("127.0.0.1:8080")?.serve(|_| Response::text(200, "hello\n")))
/// }
/// ```
#[doc(alias = "exit code")]
pub fn main(run: impl FnOnce() -> Result<Outcome, Error>) -> ExitCode {
    match run() {
        Ok(outcome) => outcome.report(),
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::from(COULD_NOT_START)
        }
    }
}

const COULD_NOT_START: u8 = 2;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::app::report::{End, Report};

    /// `ExitCode` has no other way to be compared.
    fn shown(code: ExitCode) -> String {
        format!("{code:?}")
    }

    #[test]
    fn an_error_is_2_and_an_outcome_says_its_own() {
        let failed = || Err(Error::new("listen", io::ErrorKind::AddrInUse.into()));
        assert_eq!(shown(main(failed)), shown(ExitCode::from(2)));
        let end = End::Deadline;
        let report = Report::default();
        let cut = || Ok(Outcome { end, report });
        assert_eq!(shown(main(cut)), shown(ExitCode::from(1)));
    }
}
