//! Runs the floor of a server on mio: a loop that counts blank lines or parses each head with
//! httparse.
//!
//! Ignores what a request asks for.

use std::io::{self, Read};
use std::os::fd::AsRawFd;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::count::{Count, Heads, Lines};
use super::{EVENTS, RESPONSE, ROW, SCRATCH, respond, stop_signal};
use crate::net::listen;

/// Serves until SIGTERM; counts blank lines.
pub(crate) fn mio(port: u16) -> io::Result<()> {
    serve::<Lines>(port)
}

/// Serves until SIGTERM; parses each head.
pub(crate) fn mio_httparse(port: u16) -> io::Result<()> {
    serve::<Heads>(port)
}

fn serve<C: Count>(port: u16) -> io::Result<()> {
    let mut listener = TcpListener::from_std(listen(port)?);
    let stop = stop_signal()?;
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    registry.register(&mut SourceFd(&stop.as_raw_fd()), STOP, Interest::READABLE)?;
    let row = RESPONSE.repeat(ROW);
    let mut connections: Slab<(TcpStream, C)> = Slab::new();
    let mut events = Events::with_capacity(EVENTS);
    let mut scratch = vec![0; SCRATCH];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                STOP => return Ok(()),
                LISTENER => {
                    while let Ok((mut stream, _)) = listener.accept() {
                        stream.set_nodelay(true)?;
                        let entry = connections.vacant_entry();
                        registry.register(&mut stream, Token(entry.key()), Interest::READABLE)?;
                        entry.insert((stream, C::default()));
                    }
                }
                Token(key) => {
                    let (stream, counter) = &mut connections[key];
                    if !receive(stream, counter, &mut scratch, &row) {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

/// Reads and responds; returns whether the peer is still there and sends requests.
fn receive(stream: &TcpStream, counter: &mut impl Count, scratch: &mut [u8], row: &[u8]) -> bool {
    loop {
        match { stream }.read(scratch) {
            Ok(0) => return false,
            Ok(n) => {
                let Some(count) = counter.count(&scratch[..n]) else {
                    return false;
                };
                if respond(stream, count, row).is_err() {
                    return false;
                }
                if n < scratch.len() {
                    return true;
                }
            }
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);
