//! The floor of floors: epoll itself, edge-triggered.
//!
//! Counts blank lines; does not know what is between them.

use std::io::{self, Read};
use std::net::TcpStream;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use slab::Slab;

use super::count::{Count, Lines};
use super::{ANSWER, EVENTS, ROW, SCRATCH, answer, stop_signal};
use crate::net::listen;

/// Serves until SIGTERM.
pub(crate) fn epoll(port: u16) -> io::Result<()> {
    let listener = listen(port)?;
    let stop = stop_signal()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
    let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    let row = ANSWER.repeat(ROW);
    let mut connections: Slab<(TcpStream, Lines)> = Slab::new();
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut scratch = vec![0; SCRATCH];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                STOP => return Ok(()),
                LISTENER => {
                    // Not an edge: whoever does not fit in here is told of again.
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
                    if !serve(stream, lines, &mut scratch, &row) {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

/// Reads and answers. False: the peer has gone.
fn serve(stream: &TcpStream, lines: &mut Lines, scratch: &mut [u8], row: &[u8]) -> bool {
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

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
