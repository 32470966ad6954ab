//! The log of a drain: at its beginning, each second, on demand, and at its end.
//!
//! The logger keeps every record. Tests run side by side, so each finds its records by a name that
//! only it uses.

use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use ebbtide::{DrainPolicy, End, PROGRESS_LINE, Running, Server, Ticket};
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::{PATIENCE, ask, server, ticketed};

/// A record: its level, its target and its text.
type Line = (Level, String, String);

/// A logger that keeps every record.
struct Kept {
    lines: Mutex<Vec<Line>>,
    changed: Condvar,
}

static KEPT: Kept = Kept {
    lines: Mutex::new(Vec::new()),
    changed: Condvar::new(),
};

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (target, text) = (record.target().to_owned(), record.args().to_string());
        self.lock().push((record.level(), target, text));
        self.changed.notify_all();
    }

    fn flush(&self) {}
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a record that contains all these parts.
    #[track_caller]
    fn wait(&self, parts: &[&str]) -> Line {
        let find = |lines: &[Line]| {
            let has_all = |line: &&Line| parts.iter().all(|part| line.2.contains(part));
            lines.iter().find(has_all).cloned()
        };
        let waiting = |lines: &mut Vec<Line>| find(lines).is_none();
        let (lines, _) = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        find(&lines).unwrap_or_else(|| panic!("no {parts:?} in {lines:#?}"))
    }
}

fn logged() -> Server {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&KEPT).expect("there is no other");
        log::set_max_level(LevelFilter::Debug);
    });
    server()
}

/// Asks for the path, and returns when the server has it.
fn asked(running: &Running, tickets: &Receiver<Ticket>, path: &str) -> (TcpStream, Ticket) {
    let stream = ask(running.local_addr().unwrap(), path);
    (stream, tickets.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn the_oldest_and_the_guards_are_named_from_the_first_line_to_the_last() {
    let limit = Duration::from_millis(1_300);
    let (running, tickets) = ticketed(logged().drain(DrainPolicy::new().timeout(limit)));
    let first = asked(&running, &tickets, "/first?a=b");
    let _second = asked(&running, &tickets, "/second");
    let _guards = ["flush one", "flush one", "mail"].map(|name| running.handle().guard(name));
    let peer = first.0.local_addr().unwrap();
    let outcome = running.shutdown().unwrap();
    assert_eq!(outcome.end, End::Deadline);

    let oldest = format!("oldest: {peer} GET /first?a=b (handler for ");
    let held = r#" 0 bytes in, 0 out); held by "flush one" (2 times), "mail""#;
    let (level, _, text) = KEPT.wait(&["shutdown: draining: 2 handler; at most 1.3 s", held]);
    assert_eq!(level, Level::Info);
    assert!(text.contains(&oldest), "{text}");
    let (level, target, text) = KEPT.wait(&["draining: 2 handler; 0.3 s left", held]);
    assert_eq!((level, &*target), (Level::Info, PROGRESS_LINE));
    assert!(text.contains(&oldest), "{text}");
    let last = r#"the deadline: 2 handler; held by "flush one" (2 times), "mail""#;
    assert_eq!(KEPT.wait(&[last]).0, Level::Warn);
    for path in ["/first?a=b", "/second"] {
        let row = format!(" GET {path} (handler for 1.3 s, 0 bytes in, 0 out)");
        let (_, _, text) = KEPT.wait(&["  127.0.0.1:", &row]);
        assert!(
            text.starts_with("  127.0.0.1:") && text.ends_with(&row),
            "{text}"
        );
    }
}

#[test]
fn a_guard_alone_is_named_too() {
    let (running, _tickets) =
        ticketed(logged().drain(DrainPolicy::new().timeout(Duration::from_millis(50))));
    let _guard = running.handle().guard("alone");
    assert_eq!(running.shutdown().unwrap().end, End::Deadline);
    KEPT.wait(&[r#"shutdown: draining: no connections; at most 0.1 s; held by "alone""#]);
    KEPT.wait(&[r#"the deadline: no connections; held by "alone""#]);
}

#[test]
fn a_delay_is_announced_with_its_time() {
    let drain = DrainPolicy::new()
        .delay(Duration::from_millis(70))
        .timeout(Duration::from_secs(7));
    let (running, _tickets) = ticketed(logged().drain(drain));
    assert_eq!(running.shutdown().unwrap().end, End::Drained);
    let text = "shutdown: draining in 0.1 s, still accepting: no connections; at most 7 s in all";
    assert_eq!(KEPT.wait(&[text]).2, text);
}

#[test]
fn a_hook_that_holds_the_sockets_is_no_delay() {
    let drain = DrainPolicy::new().timeout(Duration::from_millis(8_300));
    let (running, _tickets) = ticketed(logged().drain(drain).on_trigger(|_| ()));
    assert_eq!(running.shutdown().unwrap().end, End::Drained);
    let text = "shutdown: draining: no connections; at most 8.3 s";
    assert_eq!(KEPT.wait(&[text]).2, text);
}

#[test]
fn the_stations_are_in_the_debug_log() {
    let hooks = logged().on_drained(|_| panic!("a panic that the test wants"));
    let (running, _tickets) = ticketed(hooks);
    assert_eq!(running.shutdown().unwrap().end, End::HookFailed);
    for text in [
        "the listeners are closed",
        "every connection is closed, after",
        "runs on_drained",
    ] {
        let (level, target, _) = KEPT.wait(&[text]);
        assert_eq!((level, &target[..15]), (Level::Debug, "ebbtide::engine"));
    }
    assert_eq!(KEPT.wait(&["on_drained panicked"]).0, Level::Error);
}
