//! The command as a child process, which never outlives its test.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::report::Report;
use super::{PATIENCE, until};

/// Names another build of the command to test, such as a release build or one with a sanitizer.
const OTHER_BUILD: &str = "EBBTIDE_COMMAND";

/// The text before the address of each listener in the log.
const LISTENING: &str = "listening on http";

/// A running `ebbtide serve`, killed by its id when dropped.
#[derive(Debug)]
pub struct Served {
    addrs: Vec<SocketAddr>,
    process: Arc<Process>,
    log: Arc<Log>,
    threads: Vec<JoinHandle<()>>,
}

/// How and when the command ended.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The exit code; `None` when a signal killed it.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The moment of the kernel's notice.
    pub at: Instant,
}

impl Served {
    /// Starts the command on a free port of 127.0.0.1, unless the flags say `--listen`, and waits
    /// until it listens.
    pub fn start(flags: &[&str]) -> Self {
        let mut served = Self::spawn(flags);
        let listeners = flags.iter().filter(|flag| **flag == "--listen").count();
        served.addrs = served.log.wait_for(listeners.max(1), LISTENING, PATIENCE);
        served
    }

    /// Starts the command and does not wait; it has no address yet.
    pub fn spawn(flags: &[&str]) -> Self {
        let mut command = Command::new(command());
        command.arg("serve");
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(flags);
        Self::launch(command)
    }

    /// Starts a command line that ends as `ebbtide serve`, and waits until it has announced this
    /// number of addresses.
    pub fn launch_and_wait(command: Command, listeners: usize) -> Self {
        let mut served = Self::launch(command);
        served.addrs = served.log.wait_for(listeners, LISTENING, PATIENCE);
        served
    }

    fn launch(mut command: Command) -> Self {
        raise_descriptor_limit();
        command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id is an i32"));

        let log = Arc::new(Log::default());
        let process = Arc::new(Process {
            pid,
            state: Mutex::new((child, None)),
            ended: Condvar::new(),
        });
        let threads = vec![
            thread::spawn({
                let log = Arc::clone(&log);
                move || log.fill(BufReader::new(stderr))
            }),
            thread::spawn({
                let process = Arc::clone(&process);
                move || process.watch()
            }),
        ];
        Self {
            addrs: Vec::new(),
            process,
            log,
            threads,
        }
    }

    /// Returns the address of the first listener.
    pub fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    /// Returns the addresses of all listeners, in the order of the log.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Returns the process id.
    pub fn pid(&self) -> i32 {
        self.process.pid.as_raw()
    }

    /// Returns the lines on stderr.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        assert!(
            self.process.signal(signal),
            "{signal} to a process that is gone"
        );
    }

    /// Sends SIGTERM: the drain begins.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Stops the process and waits until all its threads stand still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        waitid(Id::Pid(self.process.pid), WaitPidFlag::WSTOPPED).expect("the process stops");
    }

    /// Continues a stopped process, which meets everything that was arranged meanwhile at once.
    pub fn cont(&self) {
        self.signal(Signal::SIGCONT);
        waitid(Id::Pid(self.process.pid), WaitPidFlag::WCONTINUED).expect("the process goes on");
    }

    /// Stops the process, runs `arrange`, sends SIGTERM and continues the process. It meets the
    /// signal and the events of its sockets in one batch.
    pub fn terminate_after<T>(&self, arrange: impl FnOnce() -> T) -> T {
        self.stop();
        let arranged = arrange();
        self.terminate();
        self.cont();
        arranged
    }

    /// Returns whether the process has not ended yet.
    pub fn is_running(&self) -> bool {
        self.process.lock().1.is_none()
    }

    /// Waits for the end of the process and of its log.
    pub fn wait_exit(&self, within: Duration) -> Exit {
        let exit = self.process.wait(within);
        let exit = exit.unwrap_or_else(|| panic!("no exit within {within:?}; {:?}", self.log));
        self.log.wait_closed();
        exit
    }

    /// Waits for the first line of progress, a second after the signal: the server has outlived the
    /// idle grace and the linger.
    pub fn wait_progress(&self) {
        self.log.wait_line(" s left", PATIENCE);
    }

    /// Waits until connections are refused.
    #[track_caller]
    pub fn wait_refused(&self) {
        wait_refused(self.addr());
    }

    /// Waits for the end, and asserts the exit code and the books of the report, for which the
    /// flags must have asked with `--report json`.
    pub fn wait_report(&self, code: i32) -> (Exit, Report) {
        let exit = self.wait_exit(PATIENCE);
        assert_eq!(exit.code, Some(code), "{exit:?}; {:?}", self.log);
        let report = Report::parse(&self.log.lines());
        assert_eq!(report.exit_code(), i64::from(code), "{report:?}");
        assert_eq!(report.opened(), report.closed(), "{report:?}");
        (exit, report)
    }

    /// Returns when the server has dealt with everything that reached it before.
    #[track_caller]
    pub fn settle(&self) {
        settle(self.addr());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.signal(Signal::SIGKILL);
        for thread in self.threads.drain(..) {
            // The panic of such a thread has been printed; another one here would abort the run.
            let _ = thread.join();
        }
    }
}

/// Waits until connections are refused. Nothing else shows from outside that the drain has begun.
#[track_caller]
pub fn wait_refused(addr: SocketAddr) {
    // A listener that is about to close may leave a SYN without an answer: the timeout is short.
    let short = Duration::from_millis(50);
    until("a refused connection", || {
        let error = TcpStream::connect_timeout(&addr, short).err()?;
        (error.kind() == io::ErrorKind::ConnectionRefused).then_some(())
    });
}

/// Returns when a server has dealt with everything that reached it before. The server answers a
/// request on a new connection, and serves events in the order of arrival.
#[track_caller]
pub fn settle(addr: SocketAddr) {
    let mut stream = TcpStream::connect(addr).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("write");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("read");
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{response:?}");
}

/// Runs the command with these arguments to its end.
#[track_caller]
pub fn run(args: &[&str]) -> Output {
    let mut command = Command::new(command());
    command.args(args).env_remove("RUST_LOG");
    output(command.stdin(Stdio::null()))
}

/// Runs a program to its end.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("the program starts"))
}

/// Waits for the end of a child and of its output; kills a child that does not end.
#[track_caller]
pub fn finish(child: Child) -> Output {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id is an i32"));
    let (sender, ended) = channel();
    // The thread ends with the child, also after the test has stopped listening.
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(6 * PATIENCE) else {
        // Only the thread reaps the child, so the id is still the child's.
        let _ = kill(pid, Signal::SIGKILL);
        panic!("no end in {:?}", 6 * PATIENCE);
    };
    output.expect("its output")
}

/// Returns the path of the command, which Cargo puts beside the folder of its tests.
pub fn command() -> OsString {
    env::var_os(OTHER_BUILD).unwrap_or_else(|| {
        let test = env::current_exe().expect("the path of this program");
        let command = test.ancestors().nth(2).expect("a folder").join("ebbtide");
        assert!(
            command.exists(),
            "{command:?} is not there: only tests of the command have it"
        );
        command.into()
    })
}

/// Raises the usual limit of 1,024 descriptors, because storms need more; children inherit the
/// limit.
fn raise_descriptor_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let wanted = hard.min(16 * 1024);
        if soft < wanted {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).expect("below the hard limit");
        }
    });
}

/// The child. Only a thread that holds the lock reaps it, so that no signal under the lock can
/// reach another process with the same id.
#[derive(Debug)]
struct Process {
    pid: Pid,
    state: Mutex<(Child, Option<Exit>)>,
    ended: Condvar,
}

impl Process {
    /// Waits for the end without reaping, notes the time, then reaps.
    fn watch(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid), flags) == Err(nix::Error::EINTR) {}
        let at = Instant::now();
        let mut state = self.lock();
        let status: ExitStatus = state.0.wait().expect("the child can be reaped");
        state.1 = Some(Exit {
            code: status.code(),
            signal: status.signal(),
            at,
        });
        self.ended.notify_all();
    }

    /// Sends a signal. Returns false if the process has ended.
    fn signal(&self, signal: Signal) -> bool {
        let state = self.lock();
        state.1.is_none() && kill(self.pid, signal).is_ok()
    }

    fn wait(&self, within: Duration) -> Option<Exit> {
        let state = self.lock();
        let (state, _) = self
            .ended
            .wait_timeout_while(state, within, |state| state.1.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.1
    }

    fn lock(&self) -> MutexGuard<'_, (Child, Option<Exit>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of stderr so far.
#[derive(Default)]
pub struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    closed: bool,
}

impl Log {
    /// Returns all lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_line(&self, text: &str, within: Duration) -> String {
        let found = |state: &LogState| state.lines.iter().find(|l| l.contains(text)).cloned();
        let state = self.wait_until(within, |state| state.closed || found(state).is_some());
        let line = found(&state);
        drop(state);
        line.unwrap_or_else(|| panic!("no line with {text:?} within {within:?}; {self:?}"))
    }

    /// Waits for `count` addresses that follow `text`.
    fn wait_for(&self, count: usize, text: &str, within: Duration) -> Vec<SocketAddr> {
        let found = |state: &LogState| -> Vec<SocketAddr> {
            let after = |line: &String| {
                let rest = line.split_once(text)?.1.split_once("://")?.1;
                rest.split_whitespace().next()?.parse().ok()
            };
            state.lines.iter().filter_map(after).collect()
        };
        let state = self.wait_until(within, |state| state.closed || found(state).len() >= count);
        let addrs = found(&state);
        drop(state);
        assert!(
            addrs.len() >= count,
            "{count} lines with {text:?} expected; {self:?}"
        );
        addrs
    }

    fn wait_closed(&self) {
        let closed = self.wait_until(PATIENCE, |state| state.closed).closed;
        assert!(closed, "stderr is still open after the exit");
    }

    fn wait_until(
        &self,
        within: Duration,
        done: impl Fn(&LogState) -> bool,
    ) -> MutexGuard<'_, LogState> {
        self.changed
            .wait_timeout_while(self.lock(), within, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn fill(&self, stderr: impl BufRead) {
        // Lines need not be UTF-8.
        for line in stderr.split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            self.lock().lines.push(line);
            self.changed.notify_all();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stderr:\n{}", self.lines().join("\n"))
    }
}
