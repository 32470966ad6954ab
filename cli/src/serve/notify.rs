//! Tells the supervisor the state of the command: ready, stopping, progress, alive.
//!
//! The protocol is that of sd_notify(3): datagrams of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names. This module uses no crate: the protocol is short, and its crates lack
//! abstract sockets, which containers use.
//!
//! One thread sends everything in order, and exists only where such a socket exists. The thread
//! asks the loop for its status, and says that the process is alive only if the loop answered.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ebbtide::{Handle, Outcome, Phases, Status, StatusQuery, Trigger};

/// The supervisor, as long as the command runs.
#[derive(Debug)]
pub(super) struct Supervisor {
    news: Sender<News>,
    /// The server has stopped: no message is worth waiting for any more.
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The news for the supervisor.
#[derive(Debug)]
enum News {
    /// Every socket listens.
    Ready { status: String, handle: Handle },
    /// The server was told to stop.
    Stopping(Trigger),
    /// The server has stopped.
    Ended(String),
}

impl Supervisor {
    /// Finds the supervisor that the environment names, if it can be reached. `limit` is the
    /// deadline of a drain.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn from_env(limit: Duration) -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Ok(None);
        };
        let socket = match connect(&name) {
            Ok(socket) => socket,
            Err(error) => {
                log::warn!("NOTIFY_SOCKET: {}: {error}", name.display());
                return Ok(None);
            }
        };
        let variable = |name| env::var(name).ok();
        let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        let watchdog = watchdog(usec.as_deref(), pid.as_deref(), process::id());
        let (news, heard) = channel();
        let speaker = Speaker::new(socket, watchdog, limit);
        let ended = Arc::clone(&speaker.ended);
        let thread = thread::Builder::new()
            .name("supervisor".into())
            .spawn(move || speaker.run(&heard))?;
        Ok(Some(Self {
            news,
            ended,
            thread,
        }))
    }

    /// Tells that every socket listens and the loop is about to run.
    pub(super) fn ready(&self, status: String, handle: Handle) {
        self.tell(News::Ready { status, handle });
    }

    /// Returns the hook for the beginning of a drain. The hook returns at once: the drain does not
    /// wait for the supervisor.
    pub(super) fn on_trigger(&self) -> impl FnOnce(&Trigger) + Send + 'static {
        let news = self.news.clone();
        move |trigger| {
            // The error means the same as in `tell`.
            let _ = news.send(News::Stopping(trigger.clone()));
        }
    }

    /// Tells that the server has stopped. Returns when the socket has taken all messages for which
    /// it has room.
    pub(super) fn ended(self, outcome: &Outcome) {
        self.ended.store(true, Ordering::Relaxed);
        self.tell(News::Ended(outcome.to_string()));
        if self.thread.join().is_err() {
            log::error!("the thread that speaks to the supervisor panicked");
        }
    }

    fn tell(&self, news: News) {
        // A thread that panicked is gone, and its panic has been printed.
        let _ = self.news.send(news);
    }
}

/// The state of the thread.
#[derive(Debug)]
struct Speaker {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
    limit: Duration,
    ended: Arc<AtomicBool>,
    /// The time of the next message that the loop is alive.
    alive_due: Option<Instant>,
    /// The time of the next message about the drain.
    progress_due: Option<Instant>,
}

impl Speaker {
    fn new(socket: UnixDatagram, watchdog: Option<Duration>, limit: Duration) -> Self {
        Self {
            socket,
            watchdog,
            limit,
            ended: Arc::default(),
            alive_due: None,
            progress_due: None,
        }
    }

    fn run(mut self, news: &Receiver<News>) {
        let Ok(News::Ready { status, handle }) = news.recv() else {
            return; // the exit code says that the server did not start
        };
        self.say(&["READY=1".into(), format!("STATUS={status}")]);
        self.alive_due = self.next_alive();
        loop {
            match self.wait(news) {
                Ok(News::Ready { .. }) => {}
                Ok(News::Stopping(trigger)) => {
                    let limit = humantime::format_duration(self.limit);
                    let status = format!("STATUS={trigger}: draining in at most {limit}");
                    self.say(&["STOPPING=1".into(), status, extend(self.limit)]);
                    self.progress_due = Some(Instant::now() + PROGRESS);
                }
                Ok(News::Ended(how)) => return self.say(&[format!("STATUS={how}")]),
                Err(RecvTimeoutError::Timeout) => self.report(&handle),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits for news, until a message is due.
    fn wait(&self, news: &Receiver<News>) -> Result<News, RecvTimeoutError> {
        match self.alive_due.into_iter().chain(self.progress_due).min() {
            Some(due) => news.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Asks the loop for its status, and sends what is due.
    fn report(&mut self, handle: &Handle) {
        let now = Instant::now();
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let (alive, progress) = (is_due(self.alive_due), is_due(self.progress_due));
        // A loop that answers this late still counts as alive in time: at three quarters of what
        // the supervisor allows.
        let patience = self.watchdog.map_or(PROGRESS, |limit| limit / 4);
        let status = handle.status(StatusQuery::default(), patience);
        let mut lines = Vec::new();
        if alive {
            self.alive_due = self.next_alive();
            match status {
                Some(_) => lines.push("WATCHDOG=1".into()),
                None => {
                    log::warn!("the loop does not answer; the watchdog is not told it is alive")
                }
            }
        }
        if progress {
            self.progress_due = Some(now + PROGRESS);
            if let Some(status) = &status {
                let left = Duration::from_millis(status.left_millis.unwrap_or(0).into());
                lines.push(format!("STATUS={}", describe(status)));
                lines.push(extend(left));
            }
        }
        if !lines.is_empty() {
            self.say(&lines);
        }
    }

    /// Returns half of the time after which the supervisor takes the process for dead, as
    /// sd_notify(3) recommends.
    fn next_alive(&self) -> Option<Instant> {
        self.watchdog.map(|limit| Instant::now() + limit / 2)
    }

    fn say(&self, lines: &[String]) {
        let message = lines.join("\n");
        log::debug!("to the supervisor: {message}");
        if let Err(error) = self.send(message.as_bytes()) {
            log::warn!("NOTIFY_SOCKET: {error}");
        }
    }

    /// Sends a message, and waits for room in the socket while time is left.
    fn send(&self, message: &[u8]) -> io::Result<usize> {
        let until = Instant::now() + SEND_PATIENCE;
        loop {
            match self.socket.send(message) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !self.ended.load(Ordering::Relaxed)
                        && Instant::now() < until => {}
                sent => return sent,
            }
        }
    }
}

/// Connects a socket to the supervisor's.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes() {
        [b'/', ..] => socket.connect(name)?,
        [b'@', rest @ ..] => socket.connect_addr(&abstract_name(rest)?)?,
        _ => {
            let what = "neither a path nor an abstract name";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
    }
    // A supervisor that does not read must not hold the thread, and with it the exit.
    socket.set_write_timeout(Some(SEND_STEP))?;
    Ok(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns the supervisor's interval for messages of the process `own`, if it has one.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| ours && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

/// Returns the message with the time left and a margin, so that the supervisor steps in only after
/// the deadline.
fn extend(left: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", (left + MARGIN).as_micros())
}

/// Describes a drain in one line: `draining: 3 handler, 1 reply; 24 s left`.
fn describe(status: &Status) -> String {
    let mut waits = Vec::new();
    if status.phases != Phases::default() || status.guards.is_empty() {
        waits.push(status.phases.to_string());
    }
    waits.extend(status.guards.iter().map(|guard| format!("{guard:?}")));
    let left = status.left_millis.unwrap_or(0).div_ceil(1000);
    format!("{}: {}; {left} s left", status.stage, waits.join(", "))
}

/// The time between two messages about the drain, and the longest wait for the loop's status.
const PROGRESS: Duration = Duration::from_secs(1);

/// The margin after the drain's deadline: enough for a busy machine, and for a lost status or two.
const MARGIN: Duration = Duration::from_secs(5);

/// The longest time that a supervisor may leave its socket full.
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// The time that a message waits for room before the thread checks whether it still should. Three
/// messages may wait at the end: the progress, the beginning, and the end of the drain.
const SEND_STEP: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Held;

    /// Returns the lines that the other end gets next, within that time.
    fn hear(socket: &UnixDatagram, within: Duration) -> Option<String> {
        let mut buffer = [0; 1024];
        socket.set_read_timeout(Some(within)).unwrap();
        let length = socket.recv(&mut buffer).ok()?;
        Some(str::from_utf8(&buffer[..length]).unwrap().to_owned())
    }

    #[test]
    fn the_watchdog_is_not_told_that_a_held_loop_is_alive() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let watchdog = Duration::from_millis(40);
        let mut held = Held::start();
        let (theirs, ours) = UnixDatagram::pair().unwrap();
        let speaker = Speaker::new(ours, Some(watchdog), PATIENCE);
        let (news, heard) = channel();
        let thread = thread::spawn(move || speaker.run(&heard));
        let (status, handle) = ("up".into(), held.handle());
        news.send(News::Ready { status, handle }).unwrap();
        let next = || hear(&theirs, PATIENCE).unwrap();
        assert_eq!(next(), "READY=1\nSTATUS=up");
        assert_eq!(next(), "WATCHDOG=1");

        held.hold();
        // An earlier message may still be on its way. Silence follows, for ten times the
        // interval.
        let said = (0..10).take_while(|_| hear(&theirs, 10 * watchdog).is_some());
        assert!(said.count() < 10, "it is told all the same");
        held.release();
        assert_eq!(next(), "WATCHDOG=1");
        news.send(News::Ended("gone".into())).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn the_watchdog_is_for_one_process() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), Some("77"), 77), second);
        assert_eq!(watchdog(Some("1000000"), None, 77), second);
        assert_eq!(watchdog(Some("1000000"), Some("78"), 77), None);
        assert_eq!(watchdog(Some("1000000"), Some("x"), 77), None);
        assert_eq!(watchdog(Some("0"), None, 77), None);
        assert_eq!(watchdog(Some("soon"), None, 77), None);
        assert_eq!(watchdog(None, Some("77"), 77), None);
    }

    #[test]
    fn the_margin_is_added_to_what_is_left() {
        assert_eq!(
            extend(Duration::from_millis(1_500)),
            "EXTEND_TIMEOUT_USEC=6500000"
        );
    }

    #[test]
    fn a_drain_is_told_in_one_line() {
        let mut status = Status::default();
        status.stage = "draining";
        status.left_millis = Some(23_001);
        status.phases.handler = 3;
        status.phases.reply = 1;
        status.guards.push("flush".into());
        let line = "draining: 3 handler, 1 reply, \"flush\"; 24 s left";
        assert_eq!(describe(&status), line);
        status.phases = Phases::default();
        status.guards.clear();
        assert_eq!(describe(&status), "draining: no connections; 24 s left");
    }

    #[test]
    fn names_that_are_no_sockets_are_refused() {
        for name in ["", "relative", "vsock:2:1234", "/nowhere/at/all"] {
            assert!(connect(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
