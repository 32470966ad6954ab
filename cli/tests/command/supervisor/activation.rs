//! Socket activation: listeners that outlive the process which serves them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use command_fds::{CommandFdExt, FdMapping};

use super::support::child::output;
use super::support::client::Client;
use super::support::served::Served;
use super::support::{GET, HELLO, PATIENCE};
use super::{Scratch, after};

/// Returns the command with these descriptors from 3 on, as a supervisor starts it. The shell runs
/// `first` before.
fn activated(first: &str, passed: Vec<OwnedFd>, flags: &[&str]) -> Command {
    let first = format!("export LISTEN_FDS={} LISTEN_PID=$$; {first}", passed.len());
    let mut command = after(&first, flags);
    let mappings = passed
        .into_iter()
        .zip(3..)
        .map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
    command
        .fd_mappings(mappings.collect())
        .expect("each descriptor once");
    command
}

/// Opens a listener of the supervisor's, and returns its address too.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

fn passed(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a descriptor").into()
}

const REPORT: [&str; 2] = ["--report", "json"];

#[test]
fn the_socket_outlives_its_processes_and_nobody_is_refused() {
    let (socket, addr) = listener();
    for _ in 0..3 {
        // No process runs: the request waits in the backlog for the next.
        let early = Client::connect(addr);
        early.send(GET);
        let served = Served::launch_and_wait(activated(":", vec![passed(&socket)], &REPORT), 1);
        assert_eq!(served.addrs(), [addr]);
        assert_eq!(early.response(0).body, HELLO);
        let later = Client::connect(addr);
        assert_eq!(later.exchange(0, GET).body, HELLO);

        served.terminate();
        early.assert_ends(1);
        later.assert_ends(1);
        let (_, report) = served.wait_report(0);
        assert_eq!((report.opened(), report.answered()), (2, 2));
    }
}

#[test]
fn what_waits_at_the_signal_is_answered_by_this_process_or_the_next() {
    let (socket, addr) = listener();
    let first = Served::launch_and_wait(activated(":", vec![passed(&socket)], &REPORT), 1);
    let clients: Vec<_> = first.terminate_after(|| {
        let connect = |_| {
            let client = Client::connect(addr);
            client.send(GET);
            client
        };
        (0..50).map(connect).collect()
    });
    let (_, report) = first.wait_report(0);
    assert_eq!(report.opened(), 50, "the backlog is taken along");
    let after: Vec<_> = (0..50).map(|_| Client::connect(addr)).collect();
    for client in &after {
        client.send(GET);
    }
    let second = Served::launch_and_wait(activated(":", vec![passed(&socket)], &REPORT), 1);
    for client in clients.iter().chain(&after) {
        assert_eq!(client.response(0).body, HELLO);
    }
    second.terminate();
    second.wait_report(0);
}

#[test]
fn names_are_logged_and_descriptors_are_not_passed_on() {
    let ((one, first), (two, second)) = (listener(), listener());
    let names = "export LISTEN_FDNAMES=http:";
    let command = activated(names, vec![passed(&one), passed(&two)], &REPORT);
    let served = Served::launch_and_wait(command, 2);
    assert_eq!(served.addrs(), [first, second]);
    let log = served.log();
    log.wait_line(&format!("descriptor 3 (http) listens on {first}"), PATIENCE);
    log.wait_line(
        &format!("descriptor 4 (unnamed) listens on {second}"),
        PATIENCE,
    );
    for addr in [first, second] {
        assert_eq!(Client::connect(addr).exchange(0, GET).body, HELLO);
    }
    for fd in [3, 4] {
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", served.pid()));
        let info = info.expect("the descriptor is open");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.expect("flags").trim();
        let flags = u32::from_str_radix(flags, 8).expect("octal");
        assert_ne!(flags & 0o2_000_000, 0, "close on exec: {info}");
    }
}

#[test]
fn addresses_that_are_asked_for_are_added() {
    let (socket, addr) = listener();
    let flags = ["--listen", "127.0.0.1:0"];
    let served = Served::launch_and_wait(activated(":", vec![passed(&socket)], &flags), 2);
    assert_eq!(served.addrs()[0], addr);
    assert_ne!(served.addrs()[1], addr);
    for addr in served.addrs() {
        assert_eq!(Client::connect(*addr).exchange(0, GET).body, HELLO);
    }
}

#[test]
fn descriptors_for_another_process_are_left_alone() {
    let (socket, addr) = listener();
    for first in ["LISTEN_PID=1", "unset LISTEN_PID", "LISTEN_FDS=0"] {
        let flags = ["--listen", "127.0.0.1:0"];
        let command = activated(first, vec![passed(&socket)], &flags);
        let served = Served::launch_and_wait(command, 1);
        served.settle();
        assert_ne!(served.addr(), addr, "{first}");
        served.terminate();
        assert_eq!(served.wait_exit(PATIENCE).code, Some(0));
        assert_eq!(served.addrs().len(), 1);
    }
}

#[test]
fn what_cannot_be_served_is_one_line_and_exit_code_2() {
    let scratch = Scratch::new();
    let (socket, addr) = listener();
    let connected = TcpStream::connect(addr).expect("connect");
    let wrong: [(&str, OwnedFd); 4] = [
        (
            "no TCP socket",
            File::open("/dev/null").expect("a file").into(),
        ),
        (
            "no TCP socket",
            UdpSocket::bind("127.0.0.1:0").expect("a port").into(),
        ),
        (
            "no TCP socket",
            UnixListener::bind(scratch.path().join("s"))
                .expect("a path")
                .into(),
        ),
        ("Accept=no", connected.into()),
    ];
    for (why, fd) in wrong {
        let passed = vec![passed(&socket), fd];
        assert_refused(
            activated("export LISTEN_FDNAMES=a:b", passed, &[]),
            "descriptor 4 (b)",
            why,
        );
    }
    // One descriptor too many, and a malformed number.
    let missing = activated("LISTEN_FDS=2", vec![passed(&socket)], &[]);
    assert_refused(missing, "descriptor 4 (unnamed)", "no TCP socket");
    let nonsense = activated("LISTEN_FDS=many", vec![passed(&socket)], &[]);
    assert_refused(nonsense, "LISTEN_FDS", "\"many\"");
}

#[track_caller]
fn assert_refused(mut command: Command, what: &str, why: &str) {
    command.env("RUST_LOG", "warn").stdin(Stdio::null());
    let Output { status, stderr, .. } = output(&mut command);
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("ebbtide: LISTEN_FDS: "), "{stderr}");
    assert!(stderr.contains(what) && stderr.contains(why), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// Asserts that a drain goes on while the next process serves the same socket: neither process
/// takes the other's connections.
#[test]
fn the_next_process_may_start_before_the_last_has_drained() {
    let (socket, addr) = listener();
    let old = Served::launch_and_wait(activated(":", vec![passed(&socket)], &REPORT), 1);
    let slow = Client::connect(addr);
    slow.send(b"GET /delay/1000 HTTP/1.1\r\nHost: t.example\r\n\r\n");
    old.settle();
    old.terminate();
    old.log().wait_line("draining", PATIENCE);
    let new = Served::launch_and_wait(activated(":", vec![passed(&socket)], &REPORT), 1);
    for _ in 0..100 {
        let mut stream = TcpStream::connect(addr).expect("connect");
        let request = b"GET /plaintext HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("write");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("read");
        assert!(response.ends_with(HELLO));
    }
    assert_eq!(slow.response(0).status, 200);
    drop(slow);
    let (_, report) = old.wait_report(0);
    let by_old = report.answered();
    new.terminate();
    let (_, report) = new.wait_report(0);
    assert_eq!(by_old + report.answered(), 102);
}
