//! The system itself: mio for events, sockets of the kernel, signals, and the clock.
//!
//! Always edge-triggered. A connection is registered once, for reading and writing, and its mio
//! token is its [`ConnId`], so that an event needs no look-up to say who it is about. The tokens
//! of the listeners, of the waker and of the signals are among those that no connection can have.
//!
//! The only file that names mio, and the only one that reads the monotonic clock.

mod filter;

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::{debug, error};
use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use signal_hook::low_level;
use socket2::SockRef;

use self::filter::drop_new_handshakes;
use crate::error::Error;
use crate::peer::Peer;
use crate::sys::delivered::Delivered;
use crate::sys::errno::{EBADF, EINVAL, ENOTSOCK, is_exhausted};
use crate::sys::listen::{Listener, Listens};
use crate::sys::signals::Signals;
use crate::sys::unix::SocketFile;
use crate::sys::{AcceptError, Ready, Sys, Who};
use crate::tick::Tick;
use crate::tracker::ConnId;

#[cfg(not(unix))]
compile_error!("ebbtide needs a Unix: signals and sockets as POSIX has them");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("ebbtide needs a 64-bit target: a connection's name of 64 bits is its mio token");

/// The kernel, through mio.
pub struct Real {
    poll: Poll,
    events: Events,
    start: Instant,
    now: Tick,
    /// Empty once we have stopped listening.
    listeners: Vec<Listening>,
    signals: Option<Signals>,
    waker: Arc<dyn Fn() + Send + Sync>,
    delivered: Delivered,
}

#[derive(Debug)]
enum Listening {
    Tcp {
        socket: TcpListener,
        /// It came from outside, so others may be listening on this very socket.
        inherited: bool,
    },
    Unix {
        /// Before the socket, so that it is dropped first.
        _file: SocketFile,
        socket: UnixListener,
    },
}

impl Real {
    /// A system that listens on these sockets and, if it is the loop that hears them, hears
    /// signals.
    ///
    /// # Errors
    ///
    /// A want of descriptors or memory.
    pub fn new(listeners: Vec<Listener>, signals: Option<Signals>) -> Result<Self, Error> {
        Self::open(listeners, signals).map_err(|error| Error::new("set up the event loop", error))
    }

    fn open(listeners: Vec<Listener>, mut signals: Option<Signals>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        if let Some(Signals { pipe, .. }) = &mut signals {
            registry.register(pipe, SIGNAL, Interest::READABLE)?;
        }
        let waker = waker(registry)?;
        let mut listening = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.into_iter().enumerate() {
            let inherited = listener.is_inherited();
            let token = listener_token(index);
            listening.push(match listener.into_socket() {
                Listens::Tcp(socket) => {
                    let mut socket = TcpListener::from_std(socket);
                    if NODELAY_IS_INHERITED {
                        SockRef::from(&socket).set_tcp_nodelay(true)?;
                    }
                    registry.register(&mut socket, token, Interest::READABLE)?;
                    Listening::Tcp { socket, inherited }
                }
                Listens::Unix(bound) => {
                    let mut socket = UnixListener::from_std(bound.socket);
                    registry.register(&mut socket, token, Interest::READABLE)?;
                    let _file = bound.file;
                    Listening::Unix { _file, socket }
                }
            });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            start: clock(),
            now: Tick::default(),
            listeners: listening,
            signals,
            waker,
            delivered: Delivered::new(),
        })
    }
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Real")
            .field("now", &self.now)
            .field("listeners", &self.listeners)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}

impl Sys for Real {
    type Io = TcpStream;

    /// Of epoll and kqueue, which mio uses on these systems. On the others it uses `poll(2)`, and
    /// asks it again for a socket only after a read that would have blocked.
    const SHORT_READ_DRAINS: bool = cfg!(any(
        target_os = "linux",
        target_os = "android",
        target_os = "illumos",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
        target_vendor = "apple",
    ));

    fn now(&self) -> Tick {
        self.now
    }

    fn update_clock(&mut self) -> Tick {
        let since = clock().duration_since(self.start);
        self.now = Tick::from_millis(since.as_millis() as u32); // ticks wrap
        self.now
    }

    fn unix_time(&self) -> u64 {
        // A clock set before 1970 gives a Date of 1970.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }

    fn wait(&mut self, timeout: Option<u32>, events: &mut Vec<Ready>) -> io::Result<bool> {
        let timeout = timeout.map(|millis| Duration::from_millis(millis.into()));
        let waited = self.poll.poll(&mut self.events, timeout);
        self.update_clock();
        let all = match waited {
            Ok(()) => {
                let before = events.len();
                events.extend(self.events.iter().map(ready));
                events.len() - before < EVENTS
            }
            // A signal handler ran on this thread, and what is ready was not asked for.
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) => return Err(error),
        };
        if self.signals.as_ref().is_some_and(Signals::came) {
            events.push(SIGNALLED);
        }
        Ok(all)
    }

    fn listeners(&self) -> usize {
        self.listeners.len()
    }

    fn accept(&mut self, listener: usize) -> Result<(TcpStream, Peer), AcceptError> {
        let socket = match self.listeners.get(listener) {
            Some(Listening::Tcp { socket, .. }) => socket,
            Some(Listening::Unix { socket, .. }) => {
                let (io, _) = socket.accept().map_err(classify)?;
                return Ok((as_stream(io.into()), Peer::UNIX));
            }
            None => return Err(AcceptError::Closed(ErrorKind::NotConnected.into())),
        };
        let (io, addr) = socket.accept().map_err(classify)?;
        if !NODELAY_IS_INHERITED && let Err(error) = io.set_nodelay(true) {
            // The peer may be gone already, which a read will tell.
            debug!("{addr}: TCP_NODELAY: {error}");
        }
        Ok((io, addr.into()))
    }

    fn register(&mut self, io: &mut TcpStream, id: ConnId) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(io, conn_token(id), both)
    }

    fn read(&mut self, io: &mut TcpStream, buf: &mut [u8]) -> io::Result<usize> {
        io.read(buf)
    }

    fn write(&mut self, io: &mut TcpStream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [buf] => io.write(buf),
            _ => io.write_vectored(bufs),
        }
    }

    fn finish(&mut self, io: &mut TcpStream) -> io::Result<()> {
        io.shutdown(Shutdown::Write)
    }

    fn unacknowledged(&mut self, io: &TcpStream) -> Option<u32> {
        self.delivered.unacknowledged(&SockRef::from(io))
    }

    fn close(&mut self, io: TcpStream) {
        // Closing the last descriptor of a socket also takes it out of epoll and kqueue.
        drop(io);
    }

    fn abort(&mut self, io: TcpStream) {
        if let Err(error) = SockRef::from(&io).set_linger(Some(Duration::ZERO)) {
            debug!("a connection was closed and not reset: {error}");
        }
    }

    /// With a filter on each listener that drops new SYNs: their clients send them again after a
    /// second, and are then refused, or served by a successor. Linux only.
    ///
    /// An inherited socket is left alone: the filter would stay on the socket for all who hold it,
    /// and a supervisor hands the very socket to the next process. While another holds it, closing
    /// ours resets nobody anyway. A Unix socket has no handshakes: a connect is complete when it
    /// returns. Where there are no others, the answer is no.
    fn stop_handshakes(&mut self) -> bool {
        let mut all = None;
        for listening in &self.listeners {
            if let Listening::Tcp {
                socket,
                inherited: false,
            } = listening
            {
                all = Some(drop_new_handshakes(socket) && all.unwrap_or(true));
            }
        }
        all.unwrap_or(false)
    }

    fn stop_listening(&mut self) {
        for mut listening in self.listeners.drain(..) {
            // Closing alone leaves a socket in the selector that others hold as well: every
            // connection that comes to them would wake us.
            if let Listening::Tcp {
                socket,
                inherited: true,
            } = &mut listening
                && let Err(error) = self.poll.registry().deregister(socket)
            {
                debug!("a listener could not be taken out of the selector: {error}");
            }
        }
    }

    fn signals(&mut self, numbers: &mut Vec<i32>) {
        if let Some(Signals { pipe, .. }) = &mut self.signals {
            numbers.extend(pipe.pending());
        }
    }

    fn signal_name(number: i32) -> String {
        low_level::signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::clone(&self.waker)
    }
}

/// The one place that reads the clock.
fn clock() -> Instant {
    Instant::now()
}

/// A stream socket of any family as the one type of them all: reading, writing, shutting down and
/// registering are the same system calls. Asked for its addresses, it answers with an error.
fn as_stream(socket: OwnedFd) -> TcpStream {
    TcpStream::from_std(net::TcpStream::from(socket))
}

fn waker(registry: &Registry) -> io::Result<Arc<dyn Fn() + Send + Sync>> {
    let waker = Waker::new(registry, INBOX)?;
    Ok(Arc::new(move || {
        if let Err(error) = waker.wake() {
            // Not expected: the kernel takes eight bytes into a counter or a pipe of ours.
            error!("the event loop could not be woken: {error}");
        }
    }))
}

/// A signal came.
const SIGNALLED: Ready = Ready {
    who: Who::Signal,
    readable: true,
    writable: false,
    read_closed: false,
    gone: false,
};

fn ready(event: &mio::event::Event) -> Ready {
    Ready {
        who: who(event.token()),
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        // Not `is_write_closed`, which is also said when both sides have finished in good order.
        gone: event.is_error(),
    }
}

fn classify(error: io::Error) -> AcceptError {
    match error.raw_os_error() {
        _ if error.kind() == ErrorKind::WouldBlock => AcceptError::Empty,
        _ if is_exhausted(&error) => AcceptError::Exhausted(error),
        Some(EBADF | EINVAL | ENOTSOCK) => AcceptError::Closed(error),
        // ECONNABORTED, EPROTO, EPERM of a firewall, and on Linux whatever error the network had
        // for the new connection (accept(2)): none of them says anything about the next.
        _ => AcceptError::Failed(error),
    }
}

/// The inverse of the three below and of the two constants.
fn who(token: Token) -> Who {
    let bits = token.0 as u64;
    if bits as u32 != NO_KEY {
        return Who::Conn(ConnId::from_bits(bits));
    }
    match token {
        INBOX => Who::Inbox,
        SIGNAL => Who::Signal,
        Token(bits) => Who::Listener(bits >> 32),
    }
}

const fn conn_token(id: ConnId) -> Token {
    Token(id.to_bits() as usize)
}

const fn listener_token(index: usize) -> Token {
    Token(index << 32 | NO_KEY as usize)
}

/// The lower half of a token that is not a connection's: a key that the tracker never gives.
const NO_KEY: u32 = u32::MAX;

const INBOX: Token = listener_token(u32::MAX as usize);
const SIGNAL: Token = listener_token(u32::MAX as usize - 1);

/// How many events one wait can bring; the rest comes with the next. 12 KiB.
const EVENTS: usize = 1024;

/// Whether an accepted socket has `TCP_NODELAY` from its listener, which saves a system call a
/// connection. So it is on Linux; POSIX does not say.
const NODELAY_IS_INHERITED: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(test)]
mod tests;
