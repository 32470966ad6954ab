//! The reasons why a probe found nothing, in one line each.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::process::{Exit, Process};
use crate::values::signal_names;

/// The reason why the probe found nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command cannot be started.
    Start(String, io::Error),
    /// The process is missing, or belongs to another user.
    Find(i32, io::Error),
    /// The server ended before the signal; the text is the last line of its output.
    Ended(Exit, String),
    /// The address accepts no connections; the text is the last line of the server's output.
    Silent {
        addr: SocketAddr,
        patience: Duration,
        words: String,
        /// The probe has started the server.
        ours: bool,
    },
    /// Something accepted connections before the server was started.
    Taken(SocketAddr),
    /// The process that answers is no HTTP server.
    NoHttp {
        what: String,
        addr: SocketAddr,
        why: String,
    },
    Freeze(io::Error),
    Signal(io::Error),
    /// This machine has no more sockets, threads or ports.
    System(io::Error),
    /// A file cannot be read or written.
    File(String, io::Error),
}

impl Failure {
    pub(super) fn ended(exit: Exit, process: &Process) -> Self {
        Self::Ended(exit, process.last_words())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |f: &mut fmt::Formatter<'_>, words: &str| match words.is_empty() {
            true => Ok(()),
            false => write!(f, "; its last words: {words}"),
        };
        match self {
            Self::Start(program, error) => write!(f, "cannot start {program:?}: {error}"),
            Self::Find(pid, error) => write!(f, "cannot reach process {pid}: {error}"),
            Self::Ended(exit, words) => {
                f.write_str("the server ended before the signal, ")?;
                match (exit.code, exit.signal) {
                    (Some(code), _) => write!(f, "with exit code {code}")?,
                    (_, Some(signal)) => write!(f, "by {}", signal_names(&[signal]))?,
                    (None, None) => f.write_str("by itself")?,
                }
                if exit.code == Some(0) {
                    f.write_str("; it must stay in the foreground")?;
                }
                last(f, words)
            }
            Self::Silent {
                addr,
                patience,
                words,
                ours,
            } => {
                let patience = humantime::format_duration(*patience);
                write!(f, "nothing listens on {addr} after {patience}; ")?;
                f.write_str(match ours {
                    true => "use {port} or $PORT in the command, or give --url",
                    false => "is --url where the process of --pid listens?",
                })?;
                last(f, words)
            }
            Self::Taken(addr) => write!(f, "something listens on {addr} already"),
            Self::NoHttp { what, addr, why } => {
                write!(f, "the server on {addr} does not answer {what}: {why}")
            }
            Self::Freeze(error) => write!(f, "cannot freeze the server: {error}"),
            Self::Signal(error) => write!(f, "cannot send the signal: {error}"),
            Self::System(error) => write!(f, "out of sockets, threads or ports: {error}"),
            Self::File(name, error) => write!(f, "{name}: {error}"),
        }
    }
}
