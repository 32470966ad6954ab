//! The floor of floors: epoll itself, edge-triggered. On SIGTERM it just closes, or is polite: what
//! it costs to look once more at each connection, say FIN, and wait for the peer's.
//!
//! Counts blank lines; does not know what is between them.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::count::{Count, Lines};
use super::{ANSWER, EVENTS, ROW, SCRATCH, answer, stop_signal};
use crate::net::listen;

/// Serves until SIGTERM, and closes.
pub(crate) fn epoll(port: u16) -> io::Result<()> {
    serve(port, |_, _, _| Ok(()))
}

/// The same, but closes each connection only when its peer has.
pub(crate) fn epoll_polite(port: u16) -> io::Result<()> {
    serve(port, part)
}

type Connections = Slab<(TcpStream, Lines)>;

/// Serves until SIGTERM; `end` sees to the connections then.
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
    let row = ANSWER.repeat(ROW);
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
                    // Level-triggered: the next wait reports what does not fit here.
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

/// Looks at each connection a last time, says FIN, and waits for the peers' within a limit.
fn part(epoll: &Epoll, events: &mut [EpollEvent], mut connections: Connections) -> io::Result<()> {
    let mut scratch = vec![0; SCRATCH];
    let row = ANSWER.repeat(ROW);
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

/// Reads what nobody wants any more. True: the peer has closed too.
fn read_out(mut stream: &TcpStream, scratch: &mut [u8]) -> bool {
    loop {
        match stream.read(scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Reads and answers. False: the peer has gone.
fn receive(stream: &TcpStream, lines: &mut Lines, scratch: &mut [u8], row: &[u8]) -> bool {
    loop {
        match { stream }.read(scratch) {
            Ok(0) => return false,
            Ok(n) => {
                let count = lines.count(&scratch[..n]).unwrap_or(0);
                if answer(stream, count, row).is_err() {
                    return false;
                }
                if n < scratch.len() {
                    return true; // what comes next is another edge
                }
            }
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// How long a peer may take to close after us.
const LINGER: Duration = Duration::from_secs(1);

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
