//! The server under probe, as a process: started or found, frozen, signalled, watched, ended.
//!
//! A server that the probe started leads a process group of its own. The probe kills that whole
//! group at its end, also when a signal interrupts the probe. A server that the probe found gets
//! the one signal and nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// A server.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    server: Server,
    exit: Option<Exit>,
}

#[derive(Debug)]
enum Server {
    /// The probe started the server, whose group has the same id.
    Started {
        child: Child,
        /// The ends of stderr and of stdout.
        words: [Words; 2],
    },
    /// The server ran already; the text is its start time, where the system tells.
    Found { started: Option<String> },
}

/// The end of a server, as far as the probe can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// The time when the probe saw the end: at most a millisecond late, or a turn of the probe.
    pub(super) at: Instant,
    /// Absent if a signal ended the server, or if the probe did not start it.
    pub(super) code: Option<i32>,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
}

impl Process {
    /// Starts a command, in a process group of its own and with `PORT` in its environment.
    pub(super) fn start(command: &[String], port: u16) -> io::Result<Self> {
        let [program, args @ ..] = command else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // The lock stays until the group is known, so that no interrupt comes in between.
        let mut group = current_group();
        let mut child = Command::new(program)
            .args(args)
            .env("PORT", port.to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        *group = Some(pid);
        drop(group);
        let words = [
            child.stderr.take().map(Words::listen),
            child.stdout.take().map(Words::listen),
        ];
        let words = words.map(Option::unwrap_or_default);
        Ok(Self {
            pid,
            server: Server::Started { child, words },
            exit: None,
        })
    }

    /// Finds a process that runs.
    pub(super) fn find(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid);
        kill(pid, None)?;
        Ok(Self {
            pid,
            server: Server::Found {
                started: stat(pid).map(|stat| stat.started),
            },
            exit: None,
        })
    }

    /// Returns whether the probe started the server, and so may freeze and kill it.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.server, Server::Started { .. })
    }

    /// Returns how the server ended, if it has.
    pub(super) fn exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            self.exit = match &mut self.server {
                Server::Started { child, .. } => child.try_wait().ok().flatten().map(Exit::of),
                Server::Found { started } => gone(self.pid, started.as_deref()).then(|| Exit {
                    at: Instant::now(),
                    code: None,
                    signal: None,
                }),
            };
        }
        self.exit
    }

    /// Sends a signal, to the whole group if `group`. A process that has ended gets none, because
    /// another may have its id.
    pub(super) fn signal(&mut self, signal: Signal, group: bool) -> io::Result<()> {
        if self.exit().is_some() {
            return Err(Errno::ESRCH.into());
        }
        let sent = match group && self.is_ours() {
            true => killpg(self.pid, signal),
            false => kill(self.pid, signal),
        };
        Ok(sent?)
    }

    /// Freezes the whole group and waits until each of its processes stands still.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        if !self.is_ours() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.signal(Signal::SIGSTOP, true)?;
        let limit = Instant::now() + PATIENCE;
        while Instant::now() < limit {
            if all_stopped(self.pid) {
                return Ok(());
            }
            // The system tells only a parent about its child, and nobody about a group.
            thread::sleep(TURN);
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Lets the group go on.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        self.signal(Signal::SIGCONT, true)
    }

    /// Returns the last line that the server wrote.
    pub(super) fn last_words(&self) -> String {
        match &self.server {
            Server::Started { words, .. } => {
                let mut last = words.iter().map(Words::last);
                last.find(|line| !line.is_empty()).unwrap_or_default()
            }
            Server::Found { .. } => String::new(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Server::Started { child, .. } = &mut self.server else {
            return;
        };
        let mut group = current_group();
        // The system gives nobody else the id of a group that has members. A group without members
        // makes this call fail: the system gives out ids in turn, and this one was in use a moment
        // ago.
        let _ = killpg(self.pid, Signal::SIGKILL);
        // The handle kills a server that has left its group.
        let _ = child.kill();
        let _ = child.wait();
        *group = None;
    }
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        Self {
            at: Instant::now(),
            code: status.code(),
            signal: status.signal(),
        }
    }
}

/// The living group, which an interrupt of the probe must kill.
static GROUP: Mutex<Option<Pid>> = Mutex::new(None);

fn current_group() -> MutexGuard<'static, Option<Pid>> {
    GROUP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an interrupt of the probe kill the server too, whose group gets no Ctrl-C.
pub(super) fn take_the_server_along() -> io::Result<()> {
    let mut heard = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in heard.forever() {
                // The lock stays to the end, so that no other server starts.
                let group = current_group();
                if let Some(group) = *group {
                    let _ = killpg(group, Signal::SIGKILL);
                }
                let _ = low_level::emulate_default_handler(signal);
            }
        })?;
    Ok(())
}

/// The system's facts about a process.
struct Stat {
    state: char,
    group: i32,
    started: String,
}

/// Reads the facts on Linux; other systems do not tell them.
fn stat(pid: Pid) -> Option<Stat> {
    read_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `pid (name) state ppid pgrp …`, where the name may hold any bytes.
fn read_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        group: fields.nth(1)?.parse().ok()?,
        started: fields.nth(16)?.to_owned(),
    })
}

/// Returns whether the process has ended, waits for its parent to notice, or is another by now.
fn gone(pid: Pid, started: Option<&str>) -> bool {
    match (stat(pid), started) {
        (Some(now), Some(before)) => now.started != before || matches!(now.state, 'Z' | 'X'),
        _ => kill(pid, None) == Err(Errno::ESRCH),
    }
}

/// Returns whether every process of the group stands still; true where the system does not tell.
fn all_stopped(group: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| stat(Pid::from_raw(id)))
        .filter(|stat| stat.group == group.as_raw())
        .all(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X'))
}

/// The output of a server. A thread reads it all the time, so that the server never waits, and
/// keeps the end.
#[derive(Debug, Default)]
struct Words {
    kept: Arc<Mutex<VecDeque<u8>>>,
    /// A channel that disconnects when the last process that could write has ended.
    end: Option<Receiver<Infallible>>,
}

impl Words {
    fn listen(mut from: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let all = Arc::clone(&kept);
        let (until_the_end, end) = mpsc::channel();
        let listen = move || {
            let _until_the_end = until_the_end;
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut chunk) {
                let mut kept = lock(&all);
                kept.extend(&chunk[..len]);
                let surplus = kept.len().saturating_sub(KEPT);
                kept.drain(..surplus);
            }
        };
        Self {
            kept,
            // A thread that cannot start closes the pipe, so the server does not wait either.
            end: thread::Builder::new().spawn(listen).ok().map(|_| end),
        }
    }

    /// Returns the last line. An ended server has written its last line, which the thread may still
    /// have to read.
    fn last(&self) -> String {
        if let Some(end) = &self.end {
            let _ = end.recv_timeout(LAST_WORDS); // the channel disconnects or times out
        }
        let kept: Vec<u8> = lock(&self.kept).iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let mut lines = text.lines().rev().map(str::trim);
        let last = lines.find(|line| !line.is_empty());
        last.unwrap_or_default().to_owned()
    }
}

fn lock(kept: &Mutex<VecDeque<u8>>) -> MutexGuard<'_, VecDeque<u8>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time between two checks whether the group stands still.
const TURN: Duration = Duration::from_millis(1);

/// The longest wait for a group to freeze: the kernel stops a process at its next step.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time to wait for the last line of an ended server, where others still hold its pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The bytes to keep of a server's output.
const KEPT: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_confuse_the_line_of_a_process() {
        let text = "7 (a) R 9 (b) S 1 42 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 9911 5 6";
        let stat = read_stat(text).unwrap();
        assert_eq!((stat.state, stat.group), ('S', 42));
        assert_eq!(stat.started, "9911");
    }

    #[test]
    fn the_last_words_are_the_last_line_that_says_something() {
        let words = Words::default();
        lock(&words.kept).extend(b"one\ntwo \n\n");
        assert_eq!(words.last(), "two");
    }
}
