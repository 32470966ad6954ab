//! What requests and connections cost the command in system calls, as strace counts them.
//!
//! A request costs three: the wait, the read, the write. The kernel is asked to watch a connection
//! once in its life. An idle one leaves a drain in four: a last read, our FIN, whether the peer has
//! it, and the close. The difference between runs counts, so that start and stop cancel out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use ebbtide_lab::command::PATIENCE;
use ebbtide_lab::command::child::Child;
use ebbtide_needs::needs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Calls by name, and how often each was made.
type Calls = BTreeMap<String, i64>;

#[needs("strace, and the right to trace", "strace -f -c true")]
#[test]
fn a_request_costs_three_calls_and_a_connection_one_watch() {
    let _alone = super::alone();
    let few = count_calls(4, 100);
    let more_requests = count_calls(4, 600);
    let more_connections = count_calls(24, 100);

    // 500 more requests on each of four connections.
    let requests = difference(&more_requests, &few);
    tell(&format!("2000 requests: {requests:?}"));
    let total: i64 = requests.values().sum();
    assert!(total <= 3 * 2000 + NOISE, "{total} calls: {requests:?}");
    assert_eq!(requests.get("epoll_ctl"), None, "{requests:?}");

    // 20 more connections, with a hundred requests each.
    let connections = difference(&more_connections, &few);
    tell(&format!("20 connections of 100 requests: {connections:?}"));
    assert_eq!(connections.get("epoll_ctl"), Some(&20), "{connections:?}");
}

#[needs("strace, and the right to trace", "strace -f -c true")]
#[test]
fn an_idle_connection_leaves_in_four_calls() {
    let _alone = super::alone();
    let left = difference(&count_calls(204, 1), &count_calls(4, 1));
    tell(&format!("200 connections of one request: {left:?}"));
    // The request is one more read. Many connections leave in one wait.
    let expected = [
        ("recvfrom", 400),
        ("shutdown", 200),
        ("getpeername", 200),
        ("close", 200),
    ];
    for (name, calls) in expected {
        assert_eq!(left.get(name), Some(&calls), "{name}: {left:?}");
    }
    let others = ["getsockname", "ioctl", "setsockopt"];
    for name in others {
        assert_eq!(left.get(name), None, "{name}: {left:?}");
    }
}

/// Calls that two runs may differ by: two connections may arrive in one wait or in two, and a
/// thread may find a lock taken.
const NOISE: i64 = 40;

/// Runs the command under strace, makes connections, sends this number of requests on each, one at
/// a time, and stops the command.
fn count_calls(connections: usize, requests: usize) -> Calls {
    let traced = Traced::start();
    let mut clients: Vec<_> = (0..connections).map(|_| connect(traced.addr)).collect();
    for _ in 0..requests {
        for client in &mut clients {
            ask(client);
        }
    }
    traced.signal();
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "more than was asked for");
    }
    traced.wait();
    parse(&fs::read_to_string(&traced.summary).unwrap())
}

/// strace, and the command under it.
struct Traced {
    strace: Child,
    command: Pid,
    /// The pipe stays open, so that the command can write its report.
    _stderr: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
    summary: PathBuf,
}

impl Traced {
    fn start() -> Self {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let summary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("calls-{run}.txt"));
        let mut strace = Child::start(
            Command::new("strace")
                .args(["-f", "-c", "-o"])
                .arg(&summary)
                .args([env!("CARGO_BIN_EXE_ebbtide"), "serve"])
                .args(["--listen", "127.0.0.1:0"])
                .env_remove("RUST_LOG")
                .stdin(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let mut lines = BufReader::new(strace.stderr.take().expect("it is piped")).lines();
        let mut after = |text: &str| {
            let mut lines = lines.by_ref().map(Result::unwrap);
            let word = lines.find_map(|line| {
                let rest = line.split_once(text)?.1;
                let end = rest.find([' ', ';']).unwrap_or(rest.len());
                Some(rest[..end].to_owned())
            });
            word.unwrap_or_else(|| panic!("no line with {text:?}"))
        };
        let addr = after("listening on http://").parse().unwrap();
        let command = Pid::from_raw(after("pid ").parse().unwrap());
        Self {
            strace,
            command,
            _stderr: lines,
            addr,
            summary,
        }
    }

    fn signal(&self) {
        kill(self.command, Signal::SIGTERM).unwrap();
    }

    fn wait(&self) {
        let exit = self.strace.wait(PATIENCE).expect("an end");
        assert!(exit.status.success(), "{exit:?}");
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // The command would outlive strace.
        if self.strace.is_running() {
            let _ = kill(self.command, Signal::SIGKILL);
        }
    }
}

/// Reads strace's table: share of time, seconds, time of a call, calls, errors if any, and the
/// name.
fn parse(summary: &str) -> Calls {
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let calls = words.get(3)?.parse().ok()?;
        Some((words.last()?.to_string(), calls))
    };
    let mut calls: Calls = summary.lines().filter_map(row).collect();
    calls.remove("total");
    assert!(calls.contains_key("epoll_wait"), "{summary}");
    calls
}

/// Returns what the first has more than the second.
fn difference(more: &Calls, less: &Calls) -> Calls {
    let names = more.keys().chain(less.keys());
    let of = |calls: &Calls, name| calls.get(name).copied().unwrap_or(0);
    names
        .map(|name| (name.clone(), of(more, name) - of(less, name)))
        .filter(|(_, calls)| *calls != 0)
        .collect()
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(client: &mut TcpStream) {
    let request = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\n\r\n";
    client.write_all(request).unwrap();
    let mut response = [0; 1024];
    let n = client.read(&mut response).unwrap();
    assert!(response[..n].starts_with(b"HTTP/1.1 200 "));
}

/// Prints figures past the test harness, which hides the output of tests that pass.
fn tell(line: &str) {
    let line = format!("calls: {line}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}
