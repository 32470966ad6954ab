//! Programs of others that a test drives, and a word where there are none.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::support::PATIENCE;

/// Says that a test was left out, and why, past the test harness.
pub(crate) fn skipped(what: &str, why: &str) {
    let line = format!("websocket: SKIPPED, the test with {what}: {why}\n");
    io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// The lines of a program's output.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(output: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next line; returns `None` at the end.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.0.recv_timeout(3 * PATIENCE) {
            Ok(line) => Some(line),
            Err(Disconnected) => None,
            Err(Timeout) => panic!("the program prints nothing"),
        }
    }
}
