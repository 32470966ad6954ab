//! The floors: loops that are no HTTP servers, written for this bench, to show what the system calls
//! cost, and what httparse adds. Each answers a request head with the same bytes, and on SIGTERM
//! closes everything and ends; one of them waits until its peers have closed too.
//!
//! They know no paths: a request that others delay is answered at once.

mod count;
mod epoll;
mod mio;

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub(crate) use self::epoll::{epoll, epoll_polite};
pub(crate) use self::mio::{mio, mio_httparse};

/// What is answered: no `Date`, for a floor reads no clock.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// Responses in a row, as many as the requests of the bench's sizes in one read. More are written
/// in two goes.
const ROW: usize = 64;

/// What one read takes at most.
const SCRATCH: usize = 64 * 1024;

/// Events taken in one go.
const EVENTS: usize = 1024;

/// Readable once SIGTERM has come, which from here on does nothing else.
fn stop_signal() -> io::Result<SignalFd> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.thread_block()?;
    Ok(SignalFd::with_flags(&stop, SfdFlags::SFD_NONBLOCK)?)
}

/// Writes `count` answers. A peer that does not take them is no peer of this bench: an error.
fn answer(mut stream: impl io::Write, mut count: usize, row: &[u8]) -> io::Result<()> {
    while count > 0 {
        let now = count.min(ROW);
        stream.write_all(&row[..now * ANSWER.len()])?;
        count -= now;
    }
    Ok(())
}
