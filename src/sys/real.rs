//! The real system: events through mio, the kernel's sockets, signals, and the clock.
//!
//! Always edge-triggered. A connection is registered once, for reading and writing. Its mio token
//! is its [`ConnId`], so an event needs no look-up. Listeners, waker and signals have tokens that
//! no connection can have.
//!
//! The only file that reads the monotonic clock.

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
compile_error!("ebbtide needs a 64-bit target: the 64 bits of a connection's id are its mio token");

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
        /// Another process opened it, and may listen on the same socket.
        inherited: bool,
    },
    Unix {
        /// Stands before the socket to be dropped first. Gone once new clients are turned away.
        file: Option<SocketFile>,
        socket: UnixListener,
    },
}

impl Real {
    /// Returns a system with these listeners and, if the loop handles them, signals.
    ///
    /// # Errors
    ///
    /// Descriptors or memory are used up.
    pub fn new(listeners: Vec<Listener>, signals: Option<Signals>) -> Result<Self, Error> {
        Self::open(listeners, signals).map_err(|error| Error::new("set up the event loop", error))
    }

    /// Unblocks in this thread, which runs the loop, the signals that the loop handles.
    pub(crate) fn unblock_signals(&self) -> io::Result<()> {
        self.signals.as_ref().map_or(Ok(()), Signals::unblock)
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
                    let file = Some(bound.file);
                    Listening::Unix { file, socket }
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

    /// mio uses epoll or kqueue on these systems. On others mio uses `poll(2)`, and asks for a
    /// socket again only after a read that would have blocked.
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
            // A signal handler ran on this thread, so mio did not collect events.
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
            // The peer may be gone already; a read will tell.
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
        // Closing the last descriptor of a socket also removes it from epoll and kqueue.
        drop(io);
    }

    fn abort(&mut self, io: TcpStream) {
        if let Err(error) = SockRef::from(&io).set_linger(Some(Duration::ZERO)) {
            debug!("a connection was closed and not reset: {error}");
        }
    }

    /// Attaches a filter to each listener that drops new SYNs. Clients send them again after a
    /// second; then they are refused, or a successor serves them. Linux only.
    ///
    /// Inherited sockets get no filter: it would stay on the socket, which a supervisor hands to
    /// the next process. While another process holds the socket, closing ours resets no connection.
    /// A Unix socket gives its path up: new clients find none there, or a successor. Without other
    /// listeners the result is false.
    fn stop_handshakes(&mut self) -> bool {
        let mut all = None;
        for listening in &mut self.listeners {
            let stopped = match listening {
                Listening::Tcp {
                    inherited: true, ..
                } => continue,
                Listening::Tcp { socket, .. } => drop_new_handshakes(socket),
                Listening::Unix { file, .. } => {
                    drop(file.take());
                    true
                }
            };
            all = Some(stopped && all.unwrap_or(true));
        }
        all.unwrap_or(false)
    }

    fn stop_listening(&mut self) {
        for mut listening in self.listeners.drain(..) {
            // A close alone leaves an inherited socket in the selector while others hold it: each
            // of their connections would wake us.
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
        if let Some(signals) = &mut self.signals {
            signals.take(numbers);
        }
    }

    fn signal_name(number: i32) -> String {
        low_level::signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::clone(&self.waker)
    }
}

/// Reads the clock; nothing else does.
fn clock() -> Instant {
    Instant::now()
}

/// Wraps a stream socket of any family in one type: reading, writing, shutting down and
/// registering are the same system calls. Its addresses are errors.
fn as_stream(socket: OwnedFd) -> TcpStream {
    TcpStream::from_std(net::TcpStream::from(socket))
}

fn waker(registry: &Registry) -> io::Result<Arc<dyn Fn() + Send + Sync>> {
    let waker = Waker::new(registry, INBOX)?;
    Ok(Arc::new(move || {
        if let Err(error) = waker.wake() {
            // Not expected: the kernel adds eight bytes to a counter or a pipe of ours.
            error!("the event loop could not be woken: {error}");
        }
    }))
}

/// The event of a signal.
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
        // `is_write_closed` is also true after both sides have finished in good order.
        gone: event.is_error(),
    }
}

fn classify(error: io::Error) -> AcceptError {
    match error.raw_os_error() {
        _ if error.kind() == ErrorKind::WouldBlock => AcceptError::Empty,
        _ if is_exhausted(&error) => AcceptError::Exhausted(error),
        Some(EBADF | EINVAL | ENOTSOCK) => AcceptError::Closed(error),
        // ECONNABORTED, EPROTO, EPERM of a firewall, and on Linux any network error of the new
        // connection (accept(2)). They concern that connection alone.
        _ => AcceptError::Failed(error),
    }
}

/// Returns the subject of a token: the inverse of the functions and constants below.
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

/// The lower half of a token that is no connection's: a key that the tracker never gives.
const NO_KEY: u32 = u32::MAX;

const INBOX: Token = listener_token(u32::MAX as usize);
const SIGNAL: Token = listener_token(u32::MAX as usize - 1);

/// The most events of one wait, in 12 KiB; the next wait brings the rest.
const EVENTS: usize = 1024;

/// Whether an accepted socket inherits `TCP_NODELAY` from its listener, as on Linux, which saves a
/// system call a connection. POSIX does not say.
const NODELAY_IS_INHERITED: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(test)]
mod tests;
