//! One client: a connection that writes what its script says, and notes what it sees and when.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::response::{Response, Responses};
use super::script::{Kind, Script};
use super::seen::{End, Phase, Tally};
use super::state::State;

/// A client, and everything that it saw.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) state: State,
    pub(super) script: Script,
    stream: Option<TcpStream>,
    connected: bool,
    /// Bytes that the kernel has not taken yet.
    out: Vec<u8>,
    responses: Responses,
    /// Requests of which a byte was sent on this connection.
    asked: u64,
    /// The fate of the requests after the warm one.
    pub(super) tally: Tally,
    /// The last complete response.
    pub(super) last: Option<Response>,
    /// The script has begun; everything before only warmed the connection.
    begun: bool,
    /// The script's last part is under way.
    sent_all: bool,
    /// The signal found the client in its state.
    pub(super) ready: bool,
    /// The time of the next connection of a client that connects anew.
    due: Option<Instant>,
    /// The number of connections so far.
    connects: u32,
    pub(super) end: Option<(End, Instant)>,
    /// Each phase and the time of its beginning.
    pub(super) marks: Vec<(Phase, Instant)>,
    /// The time of the last byte.
    pub(super) last_byte: Option<Instant>,
}

impl Client {
    pub(super) const fn new(state: State, script: Script) -> Self {
        Self {
            state,
            script,
            stream: None,
            connected: false,
            out: Vec::new(),
            responses: Responses::new(),
            asked: 0,
            tally: Tally {
                asked: 0,
                answered: 0,
                torn: 0,
                lost: 0,
            },
            last: None,
            begun: false,
            sent_all: false,
            ready: false,
            due: None,
            connects: 0,
            end: None,
            marks: Vec::new(),
            last_byte: None,
        }
    }

    /// Starts to connect.
    pub(super) fn connect(&mut self, addr: SocketAddr, registry: &Registry, token: Token) {
        self.connects += 1;
        self.connected = false;
        self.responses = Responses::new();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let connecting = TcpStream::connect(addr).and_then(|mut stream| {
            registry.register(&mut stream, token, interest)?;
            Ok(stream)
        });
        match connecting {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => self.ended(refused_or_reset(&error)),
        }
        self.mark();
    }

    /// Sends one request, so that the connection has served one.
    pub(super) fn warm(&mut self, request: &[u8]) {
        self.send(request, 1);
    }

    /// Begins the script.
    pub(super) fn begin(&mut self) {
        let first = self.script.first.clone();
        self.last = None;
        self.tally = Tally::default();
        self.begun = true;
        self.sent_all = self.script.rest.is_empty();
        let requests = match self.loops() {
            true => 1,
            false => self.script.requests,
        };
        self.send(&first, requests);
    }

    /// Sends the rest of a half-sent request.
    pub(super) fn finish(&mut self) {
        if !self.sent_all && self.asked > 0 && self.end.is_none() {
            self.sent_all = true;
            let rest = self.script.rest.clone();
            self.send(&rest, 0);
        }
    }

    /// Returns whether the client asks again and again.
    pub(super) const fn loops(&self) -> bool {
        matches!(self.script.kind, Kind::Busy | Kind::Connecting)
    }

    /// Returns whether the client is connected and has all its responses.
    pub(super) const fn is_answered(&self) -> bool {
        self.connected && self.asked == 0
    }

    /// Returns whether the state is made, as far as the client can tell.
    pub(super) fn is_ready(&self) -> bool {
        match self.script.kind {
            Kind::Streaming => self.responses.in_body(),
            Kind::Busy | Kind::Connecting => self.tally.answered >= WARM,
            _ => self.connected && self.out.is_empty() && self.tally.answered == 0,
        }
    }

    /// Returns whether a request was begun and has no response.
    pub(super) const fn is_owed(&self) -> bool {
        self.asked > 0
    }

    /// Returns whether a part of a response is here.
    pub(super) const fn is_torn(&self) -> bool {
        self.responses.partial()
    }

    /// Returns whether the server still holds the connection, or would accept a new one.
    pub(super) const fn is_held(&self) -> bool {
        self.connected && self.end.is_none()
    }

    /// Connects anew, if it is time.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        registry: &Registry,
        token: Token,
    ) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.connect(addr, registry, token);
        }
    }

    /// Continues after an event, until nothing can be written or read.
    pub(super) fn go_on(&mut self) {
        if self.end.is_some() || !self.connect_goes_on() {
            return;
        }
        if let Err(error) = self.flush() {
            // The server may have answered earlier bytes, so the client still reads.
            self.read();
            self.ended(refused_or_reset(&error));
        } else {
            self.read();
        }
        self.mark();
    }

    /// Returns whether the connection is made by now.
    fn connect_goes_on(&mut self) -> bool {
        if self.connected {
            return true;
        }
        let Some(stream) = &self.stream else {
            return false;
        };
        match connected(stream) {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                self.ended(refused_or_reset(&error));
                return false;
            }
        }
        self.connected = true;
        if self.script.kind == Kind::Connecting && self.begun {
            self.ask_again();
        }
        true
    }

    fn send(&mut self, bytes: &[u8], requests: u64) {
        self.asked += requests;
        self.tally.asked += requests;
        self.out.extend_from_slice(bytes);
        // The mark is made even when nothing is left to write.
        self.go_on();
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        while !self.out.is_empty() {
            match stream.write(&self.out) {
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) {
        let mut chunk = [0; 16 * 1024];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut chunk) {
                Ok(0) => self.fin(),
                Ok(len) => self.take(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended(End::Reset),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.last_byte = Some(now);
        let mut count = 0;
        let last = &mut self.last;
        let fed = self.responses.feed(bytes, now, |response| {
            count += 1;
            *last = Some(response);
        });
        self.answered(count);
        self.mark();
        if fed.is_err() {
            return self.ended(End::Left);
        }
        let closes = self.last.is_some_and(|response| response.close);
        match self.script.kind {
            _ if count == 0 || closes || !self.begun => {}
            Kind::Busy => self.ask_again(),
            // The client asked for a close, and the response denies it.
            Kind::Connecting => self.ended(End::Left),
            _ => {}
        }
    }

    fn answered(&mut self, count: u64) {
        self.asked = self.asked.saturating_sub(count);
        self.tally.answered += count;
    }

    /// Sends the next request of a client that asks again and again, unless the end was seen.
    fn ask_again(&mut self) {
        let open = match self.stream.as_ref().map(|stream| stream.peek(&mut [0])) {
            Some(Ok(0)) | None => false,
            Some(Ok(_)) => true,
            Some(Err(error)) => error.kind() == ErrorKind::WouldBlock,
        };
        if open {
            self.asked += 1;
            self.tally.asked += 1;
            self.out.extend_from_slice(&self.script.first);
            if let Err(error) = self.flush() {
                self.ended(refused_or_reset(&error));
            }
        }
    }

    fn fin(&mut self) {
        if let Some(response) = self.responses.fin(Instant::now()) {
            self.last = Some(response);
            self.answered(1);
        }
        self.ended(End::Fin);
    }

    /// Ends the connection on this side too, as clients do.
    fn ended(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        let now = Instant::now();
        self.stream = None;
        self.out.clear();
        if self.loops() && self.connected && self.asked > 0 {
            match self.is_torn() {
                true => self.tally.torn += 1,
                false => self.tally.lost += 1,
            }
        }
        let again = self.script.kind == Kind::Connecting
            && self.connected
            && self.asked == 0
            && self.connects < MOST_CONNECTS;
        match again {
            true => self.due = Some(now + PACE),
            false => {
                self.mark();
                self.end = Some((end, now));
            }
        }
    }

    /// Notes the phase if it has changed.
    fn mark(&mut self) {
        if self.end.is_some() {
            return;
        }
        let over = self.asked == 0 && self.last.is_some_and(|response| response.close);
        let phase = if self.begun
            && (self.script.kind == Kind::Connecting || self.script.kind == Kind::Busy && !over)
        {
            Phase::Looping
        } else if !self.connected {
            Phase::Connecting
        } else if self.responses.partial() {
            Phase::Answering
        } else if self.asked == 0 {
            Phase::Silent
        } else if self.sent_all || !self.begun {
            Phase::Waiting
        } else {
            Phase::Sending
        };
        if self.marks.last().is_none_or(|(last, _)| *last != phase) {
            self.marks.push((phase, Instant::now()));
        }
    }
}

/// Returns whether the connection is made, or why it failed.
fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

fn refused_or_reset(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            End::Reset
        }
        _ => End::Refused,
    }
}

/// Responses after which a client counts as busy.
const WARM: u64 = 5;

/// The pause between two connections of a client that connects anew; the ports would otherwise run
/// out.
const PACE: Duration = Duration::from_millis(5);

/// The most connections of one client, so that all clients together do not use up the ports of a
/// minute.
const MOST_CONNECTS: u32 = 1_000;
