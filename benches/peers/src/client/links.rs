//! Opens, writes and reads the client's connections, and records what happened on each.
//!
//! Does not decide what is sent next.

use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;

use super::response::Response;
use crate::net::connect;

/// Connections to one server, by number.
pub(crate) struct Links {
    port: u16,
    registry: Registry,
    links: Vec<Link>,
    /// Connections opened so far, including replaced ones.
    opened: usize,
    scratch: Vec<u8>,
    /// Whether the kernel says when bytes came, which makes reading dearer.
    timed: bool,
}

/// One connection.
pub(crate) struct Link {
    stream: TcpStream,
    /// Beginning of an incomplete response.
    begun: Vec<u8>,
    /// Bytes of the requests that the kernel has not taken yet.
    unsent: usize,
    /// Error of a write, which the kernel reports only once.
    failed: Option<End>,
    /// Responses that are still to come.
    pub(crate) waiting: usize,
    /// Responses that have come.
    pub(crate) answered: u64,
    /// Time at which the requests were written.
    pub(crate) sent: Instant,
    /// Time at which the last bytes came, by the kernel's clock, after `ask_for_times` only.
    pub(crate) came: SystemTime,
    /// Time from `came` to the writing of the requests, after `ask_for_times` only.
    pub(crate) idle: Duration,
    /// Whether the connection has ended or was given up.
    pub(crate) gone: bool,
}

/// Result of reading from a connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Responses that are now complete.
    pub(crate) responses: usize,
    /// Complete responses other than 200.
    pub(crate) bad: usize,
    /// Whether the last response announced the end of the connection.
    pub(crate) close: bool,
    pub(crate) end: Option<End>,
}

/// Reasons why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer's FIN.
    Fin,
    /// No listener.
    Refused,
    /// A reset, or any other error of the kernel.
    Reset,
    /// Bytes other than responses to the requests.
    Nonsense(String),
}

impl End {
    /// Returns the end that an error means, or `None` if the call is to be repeated.
    fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            // The kernel reports `NotConnected` before the handshake is over.
            ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected => None,
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            _ => Some(Self::Reset),
        }
    }
}

impl Links {
    pub(crate) fn new(port: u16, registry: Registry) -> Self {
        Self {
            port,
            registry,
            links: Vec::new(),
            opened: 0,
            scratch: vec![0; SCRATCH],
            timed: false,
        }
    }

    /// Asks the kernel to say from now on when bytes came.
    pub(crate) fn ask_for_times(&mut self) -> io::Result<()> {
        self.timed = true;
        for link in &mut self.links {
            setsockopt(&link.stream, ReceiveTimestampns, &true)?;
            link.came = SystemTime::now(); // unknown before
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn link(&self, key: usize) -> &Link {
        &self.links[key]
    }

    /// Begins another connection, and returns its number.
    pub(crate) fn open(&mut self) -> io::Result<usize> {
        let key = self.links.len();
        let link = self.begin(key)?;
        self.links.push(link);
        Ok(key)
    }

    /// Drops a connection and begins another in its place.
    pub(crate) fn reopen(&mut self, key: usize) -> io::Result<()> {
        self.links[key] = self.begin(key)?;
        Ok(())
    }

    /// Ends a connection from this side.
    pub(crate) fn give_up(&mut self, key: usize) {
        let link = &mut self.links[key];
        link.gone = true;
        // A connection that was reset meanwhile has nothing to shut down.
        let _ = self.registry.deregister(&mut link.stream);
        let _ = link.stream.shutdown(std::net::Shutdown::Both);
    }

    fn begin(&mut self, key: usize) -> io::Result<Link> {
        let mut stream = connect(self.port, self.opened)?;
        self.opened += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut stream, Token(key), interest)?;
        if self.timed {
            setsockopt(&stream, ReceiveTimestampns, &true)?;
        }
        Ok(Link {
            stream,
            begun: Vec::new(),
            unsent: 0,
            failed: None,
            waiting: 0,
            answered: 0,
            sent: Instant::now(),
            came: SystemTime::now(),
            idle: Duration::ZERO,
            gone: false,
        })
    }

    /// Sends `count` requests, all in `bytes`, as far as the kernel takes them now.
    pub(crate) fn send(&mut self, key: usize, bytes: &[u8], count: usize) {
        let link = &mut self.links[key];
        link.waiting += count;
        link.unsent = bytes.len();
        link.sent = Instant::now();
        self.flush(key, bytes);
        if self.timed {
            let link = &mut self.links[key];
            link.idle = link.came.elapsed().unwrap_or_default();
        }
    }

    /// Sends the rest of the requests.
    pub(crate) fn flush(&mut self, key: usize, bytes: &[u8]) {
        let link = &mut self.links[key];
        while link.unsent > 0 && link.failed.is_none() {
            let rest = &bytes[bytes.len() - link.unsent..];
            match link.stream.write(rest) {
                Ok(count) => link.unsent -= count,
                Err(error) => {
                    link.failed = End::of(&error);
                    return; // an event follows when the kernel takes more
                }
            }
        }
    }

    /// Reads everything that has come.
    pub(crate) fn receive(&mut self, key: usize) -> Seen {
        let link = &mut self.links[key];
        let mut seen = Seen::default();
        while seen.end.is_none() {
            let read = match self.timed {
                true => read_timed(link, &mut self.scratch),
                false => link.stream.read(&mut self.scratch),
            };
            match read {
                Ok(0) => seen.end = Some(End::Fin),
                Ok(count) => {
                    link.take(&self.scratch[..count], &mut seen);
                    if count < self.scratch.len() {
                        break; // later bytes are another edge
                    }
                }
                Err(error) => match End::of(&error) {
                    None => break,
                    end => seen.end = end,
                },
            }
        }
        if seen.end.is_some()
            && let Some(failed) = link.failed.take()
        {
            seen.end = Some(failed);
        }
        seen
    }
}

/// Reads, and records when the bytes came.
fn read_timed(link: &mut Link, scratch: &mut [u8]) -> io::Result<usize> {
    let mut space = cmsg_space!(TimeSpec);
    let mut buffers = [IoSliceMut::new(scratch)];
    let fd = link.stream.as_raw_fd();
    let read = recvmsg::<()>(fd, &mut buffers, Some(&mut space), MsgFlags::empty())?;
    for message in read.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(came) = message {
            link.came = UNIX_EPOCH + Duration::from(came);
        }
    }
    Ok(read.bytes)
}

impl Link {
    /// Returns whether the requests were written in full.
    pub(crate) const fn sent_in_full(&self) -> bool {
        self.unsent == 0
    }

    /// Returns whether a part of a response has come.
    pub(crate) const fn torn(&self) -> bool {
        !self.begun.is_empty()
    }

    fn take(&mut self, bytes: &[u8], seen: &mut Seen) {
        if self.begun.is_empty() {
            let rest = self.count_responses(bytes, seen);
            if rest < bytes.len() {
                self.begun = bytes[rest..].to_vec();
            }
        } else {
            let mut whole = std::mem::take(&mut self.begun);
            whole.extend_from_slice(bytes);
            let rest = self.count_responses(&whole, seen);
            whole.drain(..rest);
            self.begun = whole;
        }
    }

    /// Counts complete responses, and returns where the last one ends.
    fn count_responses(&mut self, bytes: &[u8], seen: &mut Seen) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match Response::first(&bytes[at..]) {
                Ok(Some(response)) if self.waiting > 0 => {
                    at += response.length;
                    self.waiting -= 1;
                    self.answered += 1;
                    seen.responses += 1;
                    seen.bad += usize::from(!response.good);
                    seen.close = response.close;
                }
                Ok(Some(_)) => {
                    seen.end = Some(End::Nonsense("a response without a request".to_owned()));
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    seen.end = Some(End::Nonsense(error));
                    break;
                }
            }
        }
        at
    }
}

/// Most bytes of one read.
const SCRATCH: usize = 64 * 1024;
