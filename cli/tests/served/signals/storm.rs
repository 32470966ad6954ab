//! The signal under load: hundreds of clients are writing their next request when it comes.
//!
//! One thread plays all clients, so little time passes between the check of a connection and the
//! write on it. The signal may cost no client anything: the server answers a written request in
//! full, and a connection takes a request or shows its end before the write.
//!
//! The rule holds for clients that ask within the idle grace. A single thread reads a response
//! milliseconds late, so a pause counts from the kernel's time of arrival. A client that was held
//! up beyond the grace may cross the FIN; on any network, a request that leaves while a FIN is on
//! its way is lost. The test counts those apart.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;

use super::support::{GET, PATIENCE};
use super::{runs, serve};
use ebbtide_lab::response::Conversation;

const ROUNDS: usize = 3;
/// Clients that ask again at once.
const BUSY: usize = 256;
/// Clients that pause in between, for a little less than the idle grace.
const PAUSING: usize = 256;
const PAUSE: Duration = Duration::from_millis(20);
/// The idle grace: the default of `--idle-grace`.
const GRACE: Duration = Duration::from_millis(25);
/// Clients that connect anew for each request.
const ANEW: usize = 16;
/// The number of responses before the signal.
const WARM: usize = 4_000;

#[test]
fn storm_costs_no_request() {
    for _ in 0..runs(ROUNDS) {
        let served = serve(&[]);
        let mut storm = Storm::new(served.addr());
        storm.run(|tally| tally.responses >= WARM);
        served.terminate();
        let deadline = Instant::now() + PATIENCE;
        storm.run(|_| Instant::now() > deadline);
        let Tally {
            responses,
            lost,
            torn,
            reset,
            backlog,
            late,
        } = storm.tally;
        let open = storm
            .callers
            .iter()
            .filter(|c| !matches!(c.state, State::Done))
            .count();
        println!(
            "{responses} responses; lost {lost}, torn {torn}, reset {reset}, backlog {backlog}, \
             late {late}, still open {open}"
        );
        assert_eq!(
            (lost, torn, reset, backlog, open),
            (0, 0, 0, 0, 0),
            "{:?}",
            served.log()
        );
        drop(storm);
        // r07: the handler, the report and the clients count the same responses.
        let (_, report) = served.wait_report(0);
        let responses = responses as i64;
        assert_eq!(
            (report.requests(), report.answered()),
            (responses, responses)
        );
    }
}

/// The fate of all requests.
#[derive(Debug, Default)]
struct Tally {
    responses: usize,
    /// Written in full within the grace, on a connection that was open then, and never answered.
    lost: usize,
    /// The same, when the connection had been idle for longer than the grace.
    late: usize,
    /// Answered in part.
    torn: usize,
    /// Reset between two requests.
    reset: usize,
    /// Accepted by the kernel, and then reset or closed without a response.
    backlog: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    Pausing,
    Anew,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Connecting,
    /// The request is written.
    Waiting,
    Pausing,
    /// The response announced the close.
    Leaving,
    Done,
}

#[derive(Debug)]
struct Caller {
    kind: Kind,
    state: State,
    stream: TcpStream,
    got: Vec<u8>,
    /// When the last bytes came, by the kernel's clock.
    came: SystemTime,
    /// How long the connection had been idle, at most, when the request left.
    idle: Duration,
}

#[derive(Debug)]
struct Storm {
    addr: SocketAddr,
    poll: Poll,
    callers: Vec<Caller>,
    /// The clients that pause, by the end of the pause.
    pauses: BTreeSet<(SystemTime, usize)>,
    tally: Tally,
}

impl Storm {
    fn new(addr: SocketAddr) -> Self {
        let kinds = [
            (Kind::Busy, BUSY),
            (Kind::Pausing, PAUSING),
            (Kind::Anew, ANEW),
        ];
        let poll = Poll::new().expect("a poll");
        let callers = kinds
            .iter()
            .flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count))
            .enumerate()
            .map(|(n, kind)| Caller {
                kind,
                state: State::Connecting,
                stream: connect(&poll, addr, n).expect("it listens"),
                got: Vec::new(),
                came: SystemTime::now(),
                idle: Duration::ZERO,
            })
            .collect();
        Self {
            addr,
            poll,
            callers,
            pauses: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Plays on until `enough`, or until every client is done.
    fn run(&mut self, enough: impl Fn(&Tally) -> bool) {
        let mut events = Events::with_capacity(1024);
        let limit = Instant::now() + 2 * PATIENCE;
        while !enough(&self.tally) && self.callers.iter().any(|c| !matches!(c.state, State::Done)) {
            assert!(
                Instant::now() < limit,
                "the server does not answer: {:?}",
                self.tally
            );
            let due = self.pauses.first().map(|(until, _)| *until);
            let pause = due.map(|due| due.duration_since(SystemTime::now()).unwrap_or_default());
            match self.poll.poll(&mut events, Some(pause.unwrap_or(PAUSE))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("poll"),
            }
            for event in &events {
                self.ready(event.token().0);
                self.end_pauses();
            }
            self.end_pauses();
        }
    }

    /// Lets clients whose pause is over ask.
    fn end_pauses(&mut self) {
        while let Some((until, n)) = self.pauses.first().copied()
            && until <= SystemTime::now()
        {
            self.pauses.pop_first();
            if matches!(self.callers[n].state, State::Pausing) {
                self.ask(n);
            }
        }
    }

    fn ready(&mut self, n: usize) {
        if matches!(self.callers[n].state, State::Connecting) {
            match connected(&self.callers[n].stream) {
                Ok(true) => self.ask(n),
                Ok(false) => return,
                Err(error) => {
                    if error.kind() != ErrorKind::ConnectionRefused {
                        self.tally.backlog += 1;
                    }
                    self.callers[n].state = State::Done;
                }
            }
        }
        let mut buffer = [0; 4096];
        loop {
            if matches!(self.callers[n].state, State::Done | State::Connecting) {
                return;
            }
            match self.callers[n].read(&mut buffer) {
                Ok(0) => self.ended(n, false),
                Ok(length) => self.take(n, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended(n, true),
            }
        }
    }

    /// Writes a request, unless the connection shows its end.
    fn ask(&mut self, n: usize) {
        let caller = &mut self.callers[n];
        caller.got.clear();
        match look(&caller.stream) {
            Look::Open => {}
            Look::Fin => return self.ended_idle(n, false),
            Look::Reset => return self.ended_idle(n, true),
        }
        caller.state = State::Waiting;
        match caller.stream.write(GET) {
            Ok(length) => assert_eq!(length, GET.len(), "an empty buffer takes a request"),
            Err(_) => return self.ended_idle(n, true),
        }
        caller.idle = caller.came.elapsed().unwrap_or_default();
        if matches!(look(&caller.stream), Look::Fin) {
            self.ended(n, false);
        }
    }

    /// Takes bytes of a response, and goes on when it is whole.
    fn take(&mut self, n: usize, bytes: &[u8]) {
        let caller = &mut self.callers[n];
        caller.got.extend_from_slice(bytes);
        let mut conversation = Conversation::default();
        conversation.advance(&caller.got, None, Instant::now());
        assert!(conversation.broken.is_none(), "{conversation:?}");
        let Some(response) = conversation.finals().next() else {
            return;
        };
        assert_eq!(response.status, 200, "{response}");
        caller.got.clear();
        self.tally.responses += 1;
        match caller.kind {
            Kind::Anew => self.connect_anew(n),
            _ if response.says_close() => caller.state = State::Leaving,
            Kind::Busy => self.ask(n),
            Kind::Pausing => {
                caller.state = State::Pausing;
                self.pauses.insert((caller.came + PAUSE, n));
            }
        }
    }

    fn connect_anew(&mut self, n: usize) {
        match connect(&self.poll, self.addr, n) {
            Ok(stream) => {
                self.callers[n].stream = stream;
                self.callers[n].state = State::Connecting;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
                self.callers[n].state = State::Done;
            }
        }
    }

    /// Notes that the server ended the connection.
    fn ended(&mut self, n: usize, reset: bool) {
        let caller = &mut self.callers[n];
        match caller.state {
            State::Waiting if !caller.got.is_empty() => self.tally.torn += 1,
            State::Waiting if caller.kind == Kind::Anew => self.tally.backlog += 1,
            State::Waiting if caller.idle > GRACE => self.tally.late += 1,
            State::Waiting => self.tally.lost += 1,
            _ => return self.ended_idle(n, reset),
        }
        caller.state = State::Done;
    }

    /// Notes that the server ended the connection while no request was open.
    fn ended_idle(&mut self, n: usize, reset: bool) {
        self.tally.reset += usize::from(reset);
        self.callers[n].state = State::Done;
        // A client that is done closes.
        let _ = self.callers[n].stream.shutdown(std::net::Shutdown::Write);
    }
}

impl Caller {
    /// Reads, and notes when the bytes came.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = cmsg_space!(TimeSpec);
        let mut buffers = [IoSliceMut::new(buffer)];
        let fd = self.stream.as_raw_fd();
        let read = recvmsg::<()>(fd, &mut buffers, Some(&mut space), MsgFlags::empty())?;
        for message in read.cmsgs()? {
            if let ControlMessageOwned::ScmTimestampns(came) = message {
                self.came = UNIX_EPOCH + Duration::from(came);
            }
        }
        Ok(read.bytes)
    }
}

enum Look {
    Open,
    Fin,
    Reset,
}

/// What a client can see before it writes.
fn look(stream: &TcpStream) -> Look {
    match stream.peek(&mut [0]) {
        Ok(0) => Look::Fin,
        Ok(_) => Look::Open,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Look::Open,
        Err(_) => Look::Reset,
    }
}

fn connect(poll: &Poll, addr: SocketAddr, n: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr)?;
    setsockopt(&stream, ReceiveTimestampns, &true)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut stream, Token(n), interest)?;
    Ok(stream)
}

/// Returns whether the connection is made; an error if it cannot be.
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
