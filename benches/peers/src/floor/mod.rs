//! The floors: loops that are no HTTP servers and show what system calls cost, and what httparse adds.
//!
//! A floor sends the same bytes for every request head. SIGTERM closes all connections and ends the
//! floor; the polite one waits until its peers have closed too. Floors ignore paths: a response that
//! other servers delay leaves at once.

mod count;
mod epoll;
mod mio;

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

pub(crate) use self::epoll::{epoll, epoll_polite};
pub(crate) use self::mio::{mio, mio_httparse};

/// The only response, without `Date`: a floor reads no clock.
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// Most responses of one write: a client of this bench sends fewer requests together.
const ROW: usize = 64;

/// Most bytes of one read.
const SCRATCH: usize = 64 * 1024;

/// Most events of one wait.
const EVENTS: usize = 1024;

/// Blocks SIGTERM, and returns a descriptor that becomes readable with this signal.
fn stop_signal() -> io::Result<SignalFd> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.thread_block()?;
    Ok(SignalFd::with_flags(&stop, SfdFlags::SFD_NONBLOCK)?)
}

/// Writes `count` responses. Fails if the peer does not take all at once: every client here does.
fn respond(mut stream: impl io::Write, mut count: usize, row: &[u8]) -> io::Result<()> {
    while count > 0 {
        let now = count.min(ROW);
        stream.write_all(&row[..now * RESPONSE.len()])?;
        count -= now;
    }
    Ok(())
}
