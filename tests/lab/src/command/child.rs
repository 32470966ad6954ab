//! Processes that a test starts. None outlives its test, and each wait for one has a limit.

use std::io::Read;
use std::process::{
    self, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio,
};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::{PATIENCE, until};

/// How long a program may run that a test only waits for.
const LIMIT: Duration = PATIENCE.saturating_mul(6);

/// A process, killed by its id and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    process: Arc<Process>,
    watcher: Option<JoinHandle<()>>,
}

/// How and when a process ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub status: ExitStatus,
    /// The exit code; `None` when a signal killed the process.
    pub code: Option<i32>,
    /// The moment of the kernel's notice.
    pub at: Instant,
}

impl Child {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let started = command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Arc::new(Process {
            pid: Pid::from_raw(i32::try_from(child.id()).expect("a process id is an i32")),
            state: Mutex::new((child, None)),
            ended: Condvar::new(),
        });
        let watched = Arc::clone(&process);
        Self {
            stdin,
            stdout,
            stderr,
            process,
            watcher: Some(thread::spawn(move || watched.watch())),
        }
    }

    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    pub fn is_running(&self) -> bool {
        self.process.lock().1.is_none()
    }

    /// Sends a signal. Returns false if the process has ended.
    pub fn signal(&self, signal: Signal) -> bool {
        let state = self.process.lock();
        state.1.is_none() && kill(self.process.pid, signal).is_ok()
    }

    /// Kills and reaps the process, unless it has ended.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // The panic of the thread has been printed; another one here would abort the run.
        let _ = self.watcher.take().map(JoinHandle::join);
    }

    /// Stops the process and waits until all its threads stand still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        self.changes("the process stops", WaitPidFlag::WSTOPPED);
    }

    /// Continues a stopped process.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
        self.changes("the process goes on", WaitPidFlag::WCONTINUED);
    }

    fn changes(&self, what: &str, to: WaitPidFlag) {
        until(what, || {
            let state = waitid(Id::Pid(self.process.pid), to | WaitPidFlag::WNOHANG);
            (state.expect(what) != WaitStatus::StillAlive).then_some(())
        });
    }

    /// Waits for the end; returns `None` if it does not come within this time.
    pub fn wait(&self, within: Duration) -> Option<Exit> {
        let ended = &self.process.ended;
        let (state, _) = ended
            .wait_timeout_while(self.process.lock(), within, |state| state.1.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.1
    }

    /// Waits for the end of the process and of its output. Kills a process that does not end, and
    /// panics with what that process printed.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        drop(self.stdin.take());
        let printed = [collect(self.stdout.take()), collect(self.stderr.take())];
        let exit = self.wait(LIMIT);
        self.kill();
        let [(stdout, whole), (stderr, whole_too)] = printed.map(gathered);
        match exit {
            Some(Exit { status, .. }) if whole && whole_too => Output {
                status,
                stdout,
                stderr,
            },
            _ => panic!(
                "no end in {LIMIT:?}; it printed:\n{}\n{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            ),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Child::start(command).finish()
}

/// Collects what a pipe gives.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, pieces) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                // The test may have stopped listening.
                let _ = sender.send(buffer[..n].to_vec());
            }
        });
    }
    pieces
}

/// Returns what was collected, and whether the pipe has ended: a child of the process may hold it.
fn gathered(pieces: Receiver<Vec<u8>>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match pieces.recv_timeout(PATIENCE) {
            Ok(piece) => bytes.extend(piece),
            Err(end) => return (bytes, end == RecvTimeoutError::Disconnected),
        }
    }
}

/// The process. Only a thread that holds the lock reaps it, so that no signal under the lock can
/// reach another process with the same id.
#[derive(Debug)]
struct Process {
    pid: Pid,
    state: Mutex<(process::Child, Option<Exit>)>,
    ended: Condvar,
}

impl Process {
    /// Waits for the end without reaping, notes the time, then reaps.
    fn watch(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid), flags) == Err(nix::Error::EINTR) {}
        let at = Instant::now();
        let mut state = self.lock();
        let status = state.0.wait().expect("the child can be reaped");
        let code = status.code();
        state.1 = Some(Exit { status, code, at });
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, (process::Child, Option<Exit>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
