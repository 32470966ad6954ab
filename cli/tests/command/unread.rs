//! The command while nobody reads its stderr. A pipe that is full, or a terminal that was stopped,
//! holds up the log and nothing else.

use ebbtide_lab::command as support;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, Read, Write, pipe};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use support::child::Child;
use support::client::Client;
use support::served::{command, wait_refused};
use support::{GET, HELLO, PATIENCE, get, outlast_action, until};

/// `ebbtide serve`, with a pipe for its stderr that is full.
struct Unread {
    child: Child,
    addr: SocketAddr,
    log: BufReader<PipeReader>,
}

impl Unread {
    fn start(flags: &[&str]) -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        let child = Child::start(
            Command::new(command())
                .args(["serve", "--listen", "127.0.0.1:0", "--report", "json"])
                .args(flags)
                .env_remove("RUST_LOG")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(writer.try_clone().expect("a descriptor")),
        );
        let mut log = BufReader::new(reader);
        let mut started = String::new();
        while !started.contains(" a second signal cuts\n") {
            assert!(
                log.read_line(&mut started).expect("a line") > 0,
                "{started}"
            );
        }
        let (_, addr) = started.split_once("listening on http://").expect(&started);
        let addr = addr.lines().next().expect("a line").parse();
        fill(&writer);
        Self {
            child,
            addr: addr.expect("an address"),
            log,
        }
    }

    fn signal(&self, signal: Signal) {
        assert!(self.child.signal(signal), "it has ended");
    }

    /// Returns a client that has had one response, and waits for another.
    fn waiting(&self) -> Client {
        let client = Client::connect(self.addr);
        assert_eq!(client.exchange(0, GET).body, HELLO);
        client.send(&get("/delay/60000"));
        // The response to a later request shows that the server has read this one.
        Client::connect(self.addr).exchange(0, GET);
        client
    }

    /// Waits for the end, and returns the exit code.
    #[track_caller]
    fn end(&self) -> Option<i32> {
        self.child.wait(PATIENCE).expect("it does not end").code
    }
}

/// Fills a pipe with empty lines. The description is the test's own, so that the command's stays as
/// it is.
fn fill(writer: &impl AsRawFd) {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut writer: File = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .expect("the same pipe");
    let error = loop {
        if let Err(error) = writer.write_all(b"\n") {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// The limit for events that come at once, on a busy machine.
const PROMPT: Duration = Duration::from_millis(1500);

#[test]
fn the_deadline_is_kept() {
    let unread = Unread::start(&["--drain-timeout", "1s"]);
    let client = unread.waiting();
    let start = Instant::now();
    unread.signal(Signal::SIGTERM);
    assert_eq!(unread.end(), Some(1));
    let took = start.elapsed();
    println!("a deadline of 1 s: gone after {took:?}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(1) + PROMPT, "{took:?}");
    assert_eq!(client.response(1).status, 503);
}

#[test]
fn a_second_signal_cuts() {
    let unread = Unread::start(&[]);
    let client = unread.waiting();
    unread.signal(Signal::SIGTERM);
    assert_cut_by_the_next_signal(unread, client);
}

#[test]
fn a_third_signal_cuts_where_the_second_ended_the_delay() {
    let unread = Unread::start(&["--drain-delay", "20s"]);
    let client = unread.waiting();
    unread.signal(Signal::SIGTERM);
    // A response that says close shows that the delay has begun.
    until("a response that says close", || {
        let response = Client::connect(unread.addr).exchange(0, GET);
        response.says_close().then_some(())
    });
    outlast_action();
    unread.signal(Signal::SIGTERM);
    assert_cut_by_the_next_signal(unread, client);
}

/// Sends one more signal to a server that drains, and asserts that the cut is prompt and honest.
#[track_caller]
fn assert_cut_by_the_next_signal(unread: Unread, client: Client) {
    wait_refused(unread.addr);
    outlast_action();
    let start = Instant::now();
    unread.signal(Signal::SIGTERM);
    assert_eq!(unread.end(), Some(3));
    let took = start.elapsed();
    println!("gone after {took:?}");
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(client.response(1).status, 503);
}

#[test]
fn it_drains_and_what_it_had_to_say_is_there_for_who_reads_again() {
    let mut unread = Unread::start(&["--exit-delay", "20s"]);
    let client = Client::connect(unread.addr);
    client.exchange(0, GET);
    unread.signal(Signal::SIGTERM);
    client.assert_ends(1);
    wait_refused(unread.addr);
    let mut report = String::new();
    while !report.starts_with('{') {
        report.clear();
        assert!(unread.log.read_line(&mut report).expect("a line") > 0);
    }
    assert!(report.contains("\"end\":\"drained\""), "{report}");
    outlast_action();
    unread.signal(Signal::SIGTERM);
    assert_eq!(unread.end(), Some(0));
    let mut rest = String::new();
    unread.log.read_to_string(&mut rest).expect("the end");
    assert_eq!(rest, "");
}

#[test]
fn an_exit_that_nobody_reads_is_as_prompt_as_any() {
    let unread = Unread::start(&[]);
    let start = Instant::now();
    unread.signal(Signal::SIGTERM);
    assert_eq!(unread.end(), Some(0));
    let took = start.elapsed();
    println!("nobody is there: gone after {took:?}");
    assert!(took < PROMPT, "{took:?}");
}
