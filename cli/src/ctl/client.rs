//! A small HTTP/1.1 client for the admin listener: one request at a time, over TCP or a Unix
//! socket.
//!
//! Small client crates do not speak to Unix sockets, and the library uses httparse already. This
//! client understands only what the admin listener sends: bodies with a length, no chunks.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::admin::INTENT;
use crate::admin::args::Place;
use crate::token::Token;

/// A client of one admin listener.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) place: Place,
    pub(super) token: Option<Token>,
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection<'c> {
    client: &'c Client,
    socket: Socket,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// The reason for a missing response.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// The place has no server.
    Gone(io::Error),
    /// The place may have a server.
    Silent(io::Error),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(error) => write!(f, "{error}; is the server running?"),
            Self::Silent(error) => error.fmt(f),
        }
    }
}

impl Client {
    pub(super) fn connect(&self) -> Result<Connection<'_>, Unreachable> {
        self.open()
            .map(|socket| Connection {
                client: self,
                socket,
            })
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Unreachable::Gone(error),
                _ => Unreachable::Silent(error),
            })
    }

    fn open(&self) -> io::Result<Socket> {
        let (domain, addr) = match &self.place {
            Place::Unix(path) => (Domain::UNIX, unix(path)?),
            Place::Tcp(addr) => (Domain::for_address(*addr), (*addr).into()),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.connect_timeout(&addr, PATIENCE)?;
        Ok(socket)
    }
}

impl Connection<'_> {
    /// Sends a request, and reads the response.
    pub(super) fn ask(&mut self, method: &str, target: &str) -> Result<Response, Unreachable> {
        self.exchange(method, target)
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => Unreachable::Silent(silence()),
                _ => Unreachable::Silent(error),
            })
    }

    fn exchange(&mut self, method: &str, target: &str) -> io::Result<Response> {
        let deadline = Instant::now() + PATIENCE;
        self.socket.set_write_timeout(Some(PATIENCE))?;
        let host = match &self.client.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Tcp(addr) => addr.to_string(),
        };
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        let (name, value) = INTENT;
        head += &format!("{name}: {value}\r\n");
        if let Some(token) = &self.client.token {
            head += &format!("Authorization: Bearer {}\r\n", token.as_str());
        }
        head += "\r\n";
        self.socket.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        loop {
            if let Some(response) = parse(&bytes)? {
                return Ok(response);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(silence());
            }
            self.socket.set_read_timeout(Some(left))?;
            let room = LONGEST.saturating_sub(bytes.len() as u64);
            let mut chunk = [0; 16 * 1024];
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) if len as u64 > room => return Err(not_ours("the response is too long")),
                Ok(len) => bytes.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns whether the server closes the connection by the deadline.
    pub(super) fn closes(&mut self, deadline: Option<Instant>) -> bool {
        loop {
            let left = deadline.map(|moment| moment.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            // Fails only for a timeout of 0.
            let _ = self.socket.set_read_timeout(left);
            match self.socket.read(&mut [0; 64]) {
                Ok(0) => return true,
                Ok(_) => {} // bytes before the close
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    _ => return true,
                },
            }
        }
    }
}

/// Returns the address of a path, with an explanation for one that is too long.
fn unix(path: &Path) -> io::Result<SockAddr> {
    SockAddr::unix(path).map_err(|error| {
        // Each system has its own limit, which only a refusal shows.
        let fits = |bytes: &usize| SockAddr::unix("x".repeat(*bytes)).is_ok();
        let bytes = path.as_os_str().len();
        match (0..bytes).rev().find(fits) {
            Some(most) if !fits(&bytes) => {
                let why = format!("the path has {bytes} bytes, and {most} are possible");
                io::Error::new(error.kind(), why)
            }
            _ => error,
        }
    })
}

/// Returns the response, once it is complete.
fn parse(bytes: &[u8]) -> io::Result<Option<Response>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes);
    let parsed = parsed.map_err(|_| not_ours("no HTTP server listens there"))?;
    let (httparse::Status::Complete(head), Some(status)) = (parsed, response.code) else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| str::from_utf8(field.value).ok()?.parse::<usize>().ok())
        .ok_or_else(|| not_ours("no ebbtide server listens there"))?;
    let body = bytes[head..].get(..length);
    Ok(body.map(|body| Response {
        status,
        body: body.to_vec(),
    }))
}

fn not_ours(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn silence() -> io::Error {
    let text = format!("no response within {} s", PATIENCE.as_secs());
    io::Error::new(ErrorKind::TimedOut, text)
}

/// The time for connecting, and then for a response. The server gives its loop a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest response, in bytes: a page of 1,000 connections is below 1 MiB.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_or_not_yet() {
        let bytes = b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nabc";
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]).unwrap(), None, "{len}");
        }
        let response = parse(bytes).unwrap().unwrap();
        assert_eq!((response.status, &*response.body), (202, &b"abc"[..]));
    }

    #[test]
    fn what_is_no_answer_of_ours_is_said_to_be_none() {
        let say = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(say(b"SSH-2.0-x\r\n"), "no HTTP server listens there");
        let other = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(say(other), "no ebbtide server listens there");
    }
}
