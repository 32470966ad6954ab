//! The memory of ten thousand idle WebSockets, as the kernel counts it, and their end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ebbtide_lab::command::PATIENCE;
use ebbtide_lab::command::cost::{anonymous, connections, tell};
use ebbtide_lab::command::served::Served;
use ebbtide_lab::frames::{CLOSE, HANDSHAKE, close, frames, text};

/// The most WebSockets.
const MANY: usize = 10_000;

/// WebSockets before the count. By then the process has allocated all that does not grow with them.
const FEW: usize = 2_000;

/// The most anonymous memory for one, in bytes: 60 for the tracker's entry, 56 for the tunnel's, 40
/// for the allocation of the WebSocket, and half as much again for pages. A debug build has longer
/// entries.
const MOST: f64 = 250.0;

#[test]
fn idle_ones_cost_little_and_leave_with_their_close() {
    let _alone = super::alone();
    let many = connections(MANY);
    let served = Served::start(&["--report", "json"]);
    let handshake = HANDSHAKE.replace("/chat", "/ws");
    let mut clients = Vec::with_capacity(many);
    let mut memory = Vec::new();
    for count in [FEW.min(many / 2), many] {
        while clients.len() < count {
            let mut client = TcpStream::connect(served.addr()).unwrap();
            client.set_nodelay(true).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(handshake.as_bytes()).unwrap();
            let mut response = [0; 1024];
            let n = client.read(&mut response).unwrap();
            assert!(response[..n].starts_with(b"HTTP/1.1 101 "));
            client.write_all(&text("hello")).unwrap();
            let n = client.read(&mut response).unwrap();
            assert_eq!(&response[2..n], b"hello");
            clients.push(client);
        }
        memory.push((count, anonymous(served.pid())));
    }
    let [(few, before), (many, after)] = memory[..] else {
        unreachable!("it was measured twice")
    };
    let each = (after as f64 - before as f64) / (many - few) as f64;
    tell(&format!(
        "{each:.1} bytes for each idle WebSocket from {few} to {many} ({after} in all)"
    ));
    assert!(each <= MOST, "{each} bytes");

    let signalled = Instant::now();
    served.terminate();
    for client in &mut clients {
        let mut bytes = [0; 128];
        let n = client.read(&mut bytes).unwrap();
        let [last] = &frames(&bytes[..n])[..] else {
            panic!("not one frame")
        };
        assert_eq!(last.opcode, CLOSE);
        last.assert_close(1001);
        client.write_all(&close(1001, "")).unwrap();
    }
    let told = signalled.elapsed();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "not a FIN");
    }
    let (exit, report) = served.wait_report(0);
    tell(&format!(
        "{many} were told 1001 and had answered {told:?} after the signal; the exit came after {:?}",
        exit.at.duration_since(signalled)
    ));
    assert_eq!((report.dismissed(), report.aborted()), (0, 0));
    assert!(told < Duration::from_secs(5), "{told:?}");
}
