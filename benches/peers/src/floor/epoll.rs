//! Runs the lowest floor: bare epoll, edge-triggered. SIGTERM closes all connections at once.
//!
//! The polite variant first reads each connection once more, sends FIN, and waits for the peer's FIN,
//! to show what that costs. Counts blank lines; does not know what stands between them.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::count::{Count, Lines};
use super::{EVENTS, RESPONSE, ROW, SCRATCH, respond, stop_signal};
use crate::net::listen;

/// Serves until SIGTERM, then closes all connections.
pub(crate) fn epoll(port: u16) -> io::Result<()> {
    serve(port, |_, _, _| Ok(()))
}

/// Serves until SIGTERM, then closes each connection after its peer.
pub(crate) fn epoll_polite(port: u16) -> io::Result<()> {
    serve(port, close_politely)
}

type Connections = Slab<(TcpStream, Lines)>;

/// Serves until SIGTERM, then passes the connections to `end`.
fn serve(
    port: u16,
    end: fn(&Epoll, &mut [EpollEvent], Connections) -> io::Result<()>,
) -> io::Result<()> {
    let listener = listen(port)?;
    let stop = stop_signal()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
    let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    let row = RESPONSE.repeat(ROW);
    let mut connections = Connections::new();
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut scratch = vec![0; SCRATCH];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                STOP => {
                    drop(listener);
                    return end(&epoll, &mut events, connections);
                }
                LISTENER => {
                    // The listener is level-triggered: another event follows for connections left.
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true)?;
                        stream.set_nodelay(true)?;
                        let entry = connections.vacant_entry();
                        epoll.add(&stream, EpollEvent::new(edge, entry.key() as u64))?;
                        entry.insert((stream, Lines::default()));
                    }
                }
                key => {
                    let key = key as usize;
                    let (stream, lines) = &mut connections[key];
                    if !receive(stream, lines, &mut scratch, &row) {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

/// Reads each connection once more, sends FIN, and waits for the peers' FINs within a limit.
fn close_politely(
    epoll: &Epoll,
    events: &mut [EpollEvent],
    mut connections: Connections,
) -> io::Result<()> {
    let mut scratch = vec![0; SCRATCH];
    let row = RESPONSE.repeat(ROW);
    connections.retain(|_, (stream, lines)| {
        receive(stream, lines, &mut scratch, &row) && stream.shutdown(Shutdown::Write).is_ok()
    });
    let limit = Instant::now() + LINGER;
    while !connections.is_empty() && Instant::now() < limit {
        let count = epoll.wait(events, 10_u8)?;
        for event in &events[..count] {
            let key = event.data() as usize;
            let over = |(stream, _): &(TcpStream, Lines)| read_out(stream, &mut scratch);
            if connections.get(key).is_some_and(over) {
                connections.remove(key);
            }
        }
    }
    Ok(())
}

/// Discards what the peer sends; returns whether the peer has closed too.
fn read_out(mut stream: &TcpStream, scratch: &mut [u8]) -> bool {
    loop {
        match stream.read(scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Reads and responds; returns whether the peer is still there.
fn receive(stream: &TcpStream, lines: &mut Lines, scratch: &mut [u8], row: &[u8]) -> bool {
    loop {
        match { stream }.read(scratch) {
            Ok(0) => return false,
            Ok(n) => {
                let count = lines.count(&scratch[..n]).unwrap_or(0);
                if respond(stream, count, row).is_err() {
                    return false;
                }
                if n < scratch.len() {
                    return true; // later bytes are another edge
                }
            }
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Longest wait for the peers to close.
const LINGER: Duration = Duration::from_secs(1);

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
