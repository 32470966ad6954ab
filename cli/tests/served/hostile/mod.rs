//! Hostile peers on real sockets, against the spawned command: kind peers are served all along, and
//! hostile ones are gone in time.
//!
//! Flags shorten the timeouts; all else is as usual. The simulator's tests have the same by the
//! thousand and to the millisecond. `EBBTIDE_SOAK=10m` sets the length of the soak.

mod aborts;
mod descriptors;
mod endless;
mod silent;
mod slow;
mod slowhttptest;
mod soak;
use ebbtide_lab::command as support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use support::served::Served;
use support::{GET, HELLO, PATIENCE};

/// Starts the command with a report that the tests can read.
fn serve(flags: &[&str]) -> Served {
    Served::start(&[&["--report", "json"], flags].concat())
}

/// Stops the command, and asserts that it drained and that its counts agree. Returns how many
/// connections it had.
#[track_caller]
fn stop(served: &Served) -> i64 {
    served.terminate();
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    report.opened()
}

/// Returns a number of the report, by its name, once the command has ended.
#[track_caller]
fn counted(served: &Served, name: &str) -> i64 {
    let lines = served.log().lines();
    let report: serde_json::Value = serde_json::from_str(lines.last().expect("a report"))
        .unwrap_or_else(|error| panic!("{error}: {lines:#?}"));
    let number = report[name].as_i64();
    number.unwrap_or_else(|| panic!("no {name:?} in {report}"))
}

/// A well-behaved client: one connection that it keeps, and a new one for each request.
#[derive(Debug)]
struct Kind {
    addr: SocketAddr,
    kept: TcpStream,
    /// How often it was served on either, and how long that took at most.
    served: usize,
    slowest: Duration,
}

impl Kind {
    fn new(addr: SocketAddr) -> Self {
        let kept = connect(addr);
        Self {
            addr,
            kept,
            served: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Asks on both connections, and asserts the responses.
    #[track_caller]
    fn is_served(&mut self) {
        self.is_served_on_the_kept();
        let begun = Instant::now();
        let mut new = connect(self.addr);
        ask(&mut new);
        self.note(begun);
    }

    #[track_caller]
    fn is_served_on_the_kept(&mut self) {
        let begun = Instant::now();
        ask(&mut self.kept);
        self.note(begun);
    }

    fn note(&mut self, begun: Instant) {
        self.served += 1;
        self.slowest = self.slowest.max(begun.elapsed());
    }

    /// Prints the figures, and returns how many connections there were.
    fn sum(self, title: &str) -> usize {
        println!(
            "{title}: {} kind requests, slowest {:?}",
            self.served, self.slowest
        );
        1 + self.served
    }
}

/// Makes one small request and reads its whole response.
#[track_caller]
fn ask(stream: &mut TcpStream) {
    stream.write_all(GET).expect("write");
    let mut response = [0; 512];
    let mut length = 0;
    while !response[..length].ends_with(HELLO) {
        let n = stream
            .read(&mut response[length..])
            .expect("a response in time");
        assert_ne!(n, 0, "closed: {}", response[..length].escape_ascii());
        length += n;
    }
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    let zero = Some(Duration::ZERO);
    SockRef::from(&stream).set_linger(zero).expect("linger");
}

/// The state of a connection after a read without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Open,
    Finished,
    Reset,
}

/// Reads at most that many bytes, as far as they have arrived.
fn read_some(stream: &mut TcpStream, most: usize, got: &mut Vec<u8>) -> Stands {
    // A reset shows at once, also before unread bytes.
    if stream.take_error().expect("asked").is_some() {
        return Stands::Reset;
    }
    stream.set_nonblocking(true).expect("nonblocking");
    let mut buffer = vec![0; most];
    let read = stream.read(&mut buffer);
    stream.set_nonblocking(false).expect("blocking");
    match read {
        Ok(0) => Stands::Finished,
        Ok(n) => {
            got.extend_from_slice(&buffer[..n]);
            Stands::Open
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Stands::Open,
        Err(_) => Stands::Reset,
    }
}

/// Writes without waiting; bytes that do not fit, or come too late, do not matter.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nonblocking(true).expect("nonblocking");
    let _ = stream.write(bytes);
    stream.set_nonblocking(false).expect("blocking");
}

/// Returns the anonymous memory of a process, in bytes.
fn memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

/// Returns how many files a process has open.
fn open_files(pid: i32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    files.expect("it runs").count()
}

/// Returns how many files the command has open without a connection.
fn files_at_rest(served: &Served) -> usize {
    let mut client = connect(served.addr());
    ask(&mut client);
    open_files(served.pid()) - 1
}

/// Waits until a process has at most this number of files open, because the last FINs may be on
/// their way. One more file is the socket that asks the kernel what was delivered.
#[track_caller]
fn wait_for_files(pid: i32, count: usize) {
    let begun = Instant::now();
    loop {
        let open = open_files(pid);
        if open == count || open == count + 1 && begun.elapsed() > PATIENCE / 10 {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{open} files are open, not {count}"
        );
        thread::yield_now();
    }
}
