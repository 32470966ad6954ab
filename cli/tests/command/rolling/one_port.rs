//! One port, two processes: the successor starts, the old one is told to stop.
//!
//! With SO_REUSEPORT each process has a backlog of its own. When a listener closes, the kernel
//! resets handshakes that are half way; in Linux only `net.ipv4.tcp_migrate_req` moves them to the
//! other. A drain first drops new handshakes by a filter, and accepts those that complete, so
//! nothing is lost here. The client sends a dropped SYN again after a second, to the successor. A
//! handshake over a slow link may take longer than the drain's last call. SO_REUSEPORT cannot save
//! it; a socket that a supervisor passes on can.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::panic;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;

use super::load::{Connections, Load};
use super::support::served::{Served, command};
use super::{assert_nothing_lost, stop};

const CLIENTS: [(usize, Connections); 2] = [(4, Connections::New), (4, Connections::Kept)];

/// How often the process is replaced.
const ROUNDS: usize = 10;

/// Responses between one event and the next.
const BETWEEN: u64 = 500;

#[test]
fn r32_a_successor_on_a_shared_port() {
    let start = |addr: &str| Served::start(&["--listen", addr, "--reuse-port", "--report", "json"]);
    let first = start("127.0.0.1:0");
    let addr = first.addr();
    replace("SO_REUSEPORT", addr, first, || start(&addr.to_string()));
}

#[test]
fn r32_a_successor_on_a_socket_that_was_passed_on() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("an address");
    let start = || {
        let passed: OwnedFd = socket.try_clone().expect("a descriptor").into();
        let mut shell = Command::new("sh");
        let line = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" serve --report json";
        shell.args(["-c", line]).arg(command());
        let mapping = FdMapping {
            parent_fd: passed,
            child_fd: 3,
        };
        shell.fd_mappings(vec![mapping]).expect("one descriptor");
        Served::launch_and_wait(shell, 1)
    };
    let first = start();
    replace("socket activation", addr, first, start);
}

/// Proves that the counter counts: the old process is killed. Its kept connections are older than
/// the successor, so their losses are certain.
#[test]
fn a_process_that_is_killed_is_counted_as_lost() {
    let start = |addr: &str| Served::start(&["--listen", addr, "--reuse-port"]);
    let first = start("127.0.0.1:0");
    let load = Load::start(first.addr(), &CLIENTS);
    load.wait_more(BETWEEN);
    let successor = start(&first.addr().to_string());
    first.signal(Signal::SIGKILL);
    // The wait ends early when a request has failed.
    load.wait_more(10 * BETWEEN);
    let seen = load.stop();
    println!(
        "killed: {} answered, {} failed",
        seen.answered,
        seen.failed.len()
    );
    assert!(
        !seen.failed.is_empty(),
        "the counter counts nothing: {seen:?}"
    );
    let blind = panic::catch_unwind(|| assert_nothing_lost("killed", &seen, 0));
    assert!(blind.is_err(), "the check lets a loss pass");
    assert!(successor.is_running());
}

/// Replaces the process again and again under load.
fn replace(name: &str, addr: SocketAddr, first: Served, start: impl Fn() -> Served) {
    let load = Load::start(addr, &CLIENTS);
    let mut served = first;
    let mut answered = 0;
    for _ in 0..ROUNDS {
        load.wait_more(BETWEEN);
        let successor = start();
        load.wait_more(BETWEEN);
        answered += stop(&served);
        served = successor;
    }
    load.wait_more(BETWEEN);
    let seen = load.stop();
    answered += stop(&served);
    assert_nothing_lost(name, &seen, ROUNDS as u64 * 2 * BETWEEN);
    assert_eq!(
        answered, seen.answered as i64,
        "no response on its way was lost"
    );
}
