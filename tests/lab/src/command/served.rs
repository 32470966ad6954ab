//! The command as a child process, which never outlives its test.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::child::{Child, Exit, output};
use super::report::Report;
use super::{PATIENCE, until};

/// Names another build of the command to test, such as a release build or one with a sanitizer.
const OTHER_BUILD: &str = "EBBTIDE_COMMAND";

/// The text before the address of each listener in the log.
const LISTENING: &str = "listening on http";

/// A running `ebbtide serve`.
#[derive(Debug)]
pub struct Served {
    addrs: Vec<SocketAddr>,
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
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
        let mut child = Child::start(&mut command);
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Log::default());
        let filled = Arc::clone(&log);
        Self {
            addrs: Vec::new(),
            child,
            log,
            reader: Some(thread::spawn(move || filled.fill(BufReader::new(stderr)))),
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
        self.child.pid().as_raw()
    }

    /// Returns the lines on stderr.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        assert!(
            self.child.signal(signal),
            "{signal} to a process that is gone"
        );
    }

    /// Sends SIGTERM: the drain begins.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Runs `arrange` while all threads of the process stand still. The process then meets what was
    /// arranged at once.
    pub fn while_stopped<T>(&self, arrange: impl FnOnce() -> T) -> T {
        self.child.stop();
        let arranged = arrange();
        self.child.go_on();
        arranged
    }

    /// Runs `arrange` and sends SIGTERM while the process stands still. The process meets the
    /// signal and the events of its sockets in one batch.
    pub fn terminate_after<T>(&self, arrange: impl FnOnce() -> T) -> T {
        self.while_stopped(|| {
            let arranged = arrange();
            self.terminate();
            arranged
        })
    }

    /// Returns whether the process has not ended yet.
    pub fn is_running(&self) -> bool {
        self.child.is_running()
    }

    /// Waits for the end of the process and of its log.
    pub fn wait_exit(&self, within: Duration) -> Exit {
        let exit = self.child.wait(within);
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
        self.child.signal(Signal::SIGKILL);
        // The panic of the thread has been printed; another one here would abort the run.
        let _ = self.reader.take().map(JoinHandle::join);
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
