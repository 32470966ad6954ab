//! What connections cost the command as the kernel sees it, and how they leave: 18,000 real ones.
//!
//! The client is this process and the server another, because each has its own limit of open files.
//! A lower limit allows fewer connections, and the test prints it.

use ebbtide_lab::command as support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use support::cost::{anonymous, connections, tell};
use support::served::Served;
use support::{GET, HELLO, PATIENCE, get};

/// The most connections.
const MANY: usize = 18_000;

/// Connections before the count. By then the process has allocated all that does not grow with
/// them.
const FEW: usize = 2_000;

/// Listeners of the command. The client's kernel needs the longer to find a free port the more
/// connections lead to the same listener.
const LISTENERS: usize = 8;

/// The most anonymous memory for a connection, in bytes: 64 for the entry, and half as much again
/// for pages and the allocator. In a debug build mio's stream is 12 bytes longer and the entry 80.
const MOST: f64 = 96.0;

/// Idle connections when the signal comes, and requests that are under way.
const IDLE: usize = 5_000;
const UNDER_WAY: usize = 50;

#[test]
fn idle_connections_cost_little_and_leave_at_once() {
    let _alone = super::alone();
    let many = connections(MANY);
    let listeners = ["--listen", "127.0.0.1:0"].repeat(LISTENERS);
    let flags = ["--report", "json", "--idle-timeout", "10m"];
    let served = Served::start(&[&flags[..], &listeners].concat());
    let mut clients = Vec::with_capacity(many);
    let mut memory = Vec::new();
    for count in [FEW.min(many / 2), many] {
        while clients.len() < count {
            let mut client = connect(served.addrs()[clients.len() % LISTENERS]);
            ask(&mut client, GET);
            assert_answered(&mut client);
            clients.push(client);
        }
        memory.push((count, anonymous(served.pid())));
    }
    clients.iter_mut().for_each(|client| ask(client, GET));
    clients.iter_mut().for_each(assert_answered);
    memory.push((many, anonymous(served.pid())));

    let [(few, least), later @ ..] = &memory[..] else {
        unreachable!("it was measured three times")
    };
    for ((_, bytes), after) in later.iter().zip(["one request each", "two requests each"]) {
        let each = (*bytes as f64 - *least as f64) / (many - few) as f64;
        tell(&format!(
            "{each:.1} bytes a connection from {few} to {many}, after {after} ({bytes} in all)"
        ));
        assert!(each <= MOST, "{each} bytes, after {after}");
    }

    clients.truncate((IDLE + UNDER_WAY).min(many));
    let busy = clients.split_off(clients.len() - UNDER_WAY);
    leave(&served, clients, busy);
}

/// Drains: each idle connection gets a FIN and no reset, each request under way its response.
fn leave(served: &Served, mut idle: Vec<TcpStream>, mut busy: Vec<TcpStream>) {
    for client in &mut busy {
        ask(client, &get("/delay/1500"));
    }
    served.settle(); // they have arrived

    let signalled = Instant::now();
    served.signal(Signal::SIGINT);
    for client in &mut idle {
        let read = client.read(&mut [0; 64]);
        assert!(matches!(read, Ok(0)), "no FIN: {read:?}");
    }
    let last = signalled.elapsed();
    tell(&format!(
        "{} idle connections had their FIN {last:?} after the signal",
        idle.len()
    ));
    assert!(last < Duration::from_secs(1), "{last:?}");
    drop(idle);

    for client in &mut busy {
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{response:?}");
        assert!(head.contains("\r\nConnection: close"), "{response:?}");
        assert_eq!(body, "done");
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    assert_eq!(report.requests(), report.answered());
    assert_eq!(report.aborted(), 0);
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(client: &mut TcpStream, request: &[u8]) {
    client.write_all(request).unwrap();
}

/// Reads one response of `/plaintext`, which comes in one piece.
fn assert_answered(client: &mut TcpStream) {
    let mut response = [0; 1024];
    let n = client.read(&mut response).unwrap();
    assert!(response[..n].ends_with(HELLO), "{:?}", &response[..n]);
}
