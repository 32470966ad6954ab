//! Makes the load: clients that send requests, wait for the responses, and repeat, at once or after a
//! pause. A client sends one request at a time or several, and keeps or renews its connection.
//!
//! Runs on one thread, on mio, edge-triggered. Does not know what is measured.

pub(crate) mod links;
mod response;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll};

use self::links::Links;

/// Behaviour of the clients.
#[derive(Clone)]
pub(crate) struct Load {
    /// Requests that a client sends together.
    bytes: Vec<u8>,
    /// Number of requests in `bytes`.
    depth: usize,
    /// Pause of a client between a response and the next request.
    pause: Option<Duration>,
    /// Whether each request has a connection of its own.
    churn: bool,
}

impl Load {
    /// Returns a load that repeats this request.
    pub(crate) fn of(request: &[u8]) -> Self {
        Self {
            bytes: request.to_vec(),
            depth: 1,
            pause: None,
            churn: false,
        }
    }

    /// Sends `depth` requests together.
    pub(crate) fn pipelined(self, depth: usize) -> Self {
        Self {
            bytes: self.bytes.repeat(depth),
            depth,
            ..self
        }
    }

    pub(crate) fn pausing(self, pause: Duration) -> Self {
        Self {
            pause: Some(pause),
            ..self
        }
    }

    pub(crate) fn churning(self) -> Self {
        Self {
            churn: true,
            ..self
        }
    }
}

/// Figures of the clients.
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// Nanoseconds from the first byte written to the last byte read. With `churn`, the time of
    /// connecting is included.
    pub(crate) latency: Histogram<u64>,
}

impl Figures {
    fn new() -> Result<Self, String> {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3);
        Ok(Self {
            requests: 0,
            elapsed: Duration::ZERO,
            latency: latency.map_err(|error| error.to_string())?,
        })
    }
}

/// The clients.
pub(crate) struct Client {
    poll: Poll,
    events: Events,
    links: Links,
    /// Clients that pause, and the ends of their pauses, in this order.
    pausing: VecDeque<(Instant, usize)>,
    at_once: usize,
}

impl Client {
    /// Returns no clients yet; later, `at_once` clients connect to the server together.
    pub(crate) fn new(port: u16, at_once: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            links: Links::new(port, registry),
            pausing: VecDeque::new(),
            at_once,
        })
    }

    /// Returns the connections and their events, for workloads with a loop of their own.
    pub(crate) fn parts(&mut self) -> (&mut Poll, &mut Events, &mut Links) {
        (&mut self.poll, &mut self.events, &mut self.links)
    }

    /// Connects until there are `count` clients, `at_once` at a time; each does one round of `load`.
    pub(crate) fn open(&mut self, count: usize, load: &Load) -> Result<(), String> {
        while self.links.len() < count {
            let first = self.links.len();
            for _ in first..count.min(first + self.at_once) {
                self.links.open().map_err(|error| error.to_string())?;
            }
            self.round(first, load)?;
        }
        Ok(())
    }

    /// Sends the load once for each client from `first` on, and waits for all responses.
    pub(crate) fn round(&mut self, first: usize, load: &Load) -> Result<(), String> {
        let count = self.links.len();
        for key in first..count {
            self.links.send(key, &load.bytes, load.depth);
        }
        let begun = Instant::now();
        let mut figures = Figures::new()?;
        let wanted = ((count - first) * load.depth) as u64;
        while figures.requests < wanted {
            self.turn(load, false, &mut figures)?;
            if begun.elapsed() > PATIENCE {
                let missing = wanted - figures.requests;
                return Err(format!(
                    "{missing} of {wanted} requests got no response in {PATIENCE:?}"
                ));
            }
        }
        Ok(())
    }

    /// Repeats the load on all clients for `time`.
    ///
    /// Requests that are under way at the end count in the next call, which needs the same load.
    pub(crate) fn run(&mut self, load: &Load, time: Duration) -> Result<Figures, String> {
        if self.pausing.is_empty() {
            self.begin(load);
        }
        let mut figures = Figures::new()?;
        let begun = Instant::now();
        while figures.elapsed < time {
            self.turn(load, true, &mut figures)?;
            figures.elapsed = begun.elapsed();
        }
        Ok(figures)
    }

    /// Starts idle clients. Clients that pause start spread over one pause.
    fn begin(&mut self, load: &Load) {
        let now = Instant::now();
        let count = self.links.len() as u32;
        for key in 0..self.links.len() {
            match load.pause {
                Some(pause) => self
                    .pausing
                    .push_back((now + pause * key as u32 / count, key)),
                None if self.links.link(key).waiting == 0 => {
                    self.links.send(key, &load.bytes, load.depth);
                }
                None => {}
            }
        }
    }

    /// Waits for events and handles them, then sends for clients whose pause is over.
    fn turn(&mut self, load: &Load, again: bool, figures: &mut Figures) -> Result<(), String> {
        let timeout = match self.pausing.front() {
            Some((due, _)) => due.saturating_duration_since(Instant::now()).min(TURN),
            None => TURN,
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(error.to_string());
            }
            _ => {}
        }
        for event in &self.events {
            let key = event.token().0;
            if event.is_writable() {
                self.links.flush(key, &load.bytes);
            }
            let began = self.links.link(key).sent;
            let seen = self.links.receive(key);
            let waiting = self.links.link(key).waiting;
            if seen.bad > 0 {
                return Err("a response is not 200".to_owned());
            }
            if seen.responses > 0 {
                figures.requests += seen.responses as u64;
                let nanos = began.elapsed().min(LONGEST).as_nanos() as u64;
                // Recording works: `min` and `max` keep the value within the bounds.
                let _ = figures
                    .latency
                    .record_n(nanos.max(1), seen.responses as u64);
            }
            if waiting > 0 {
                match seen.end {
                    None => continue,
                    Some(end) => return Err(format!("a connection ended under load: {end:?}")),
                }
            }
            let answered = seen.responses > 0;
            if seen.end.is_some() || seen.close || (answered && again && load.churn) {
                self.links.reopen(key).map_err(|error| error.to_string())?;
            }
            if answered && again {
                match load.pause {
                    Some(pause) => self.pausing.push_back((Instant::now() + pause, key)),
                    None => self.links.send(key, &load.bytes, load.depth),
                }
            }
        }
        while let Some((due, key)) = self.pausing.front().copied() {
            if due > Instant::now() {
                break;
            }
            self.pausing.pop_front();
            self.links.send(key, &load.bytes, load.depth);
        }
        Ok(())
    }
}

/// Most events of one wait.
const EVENTS: usize = 1024;

/// Longest wait for an event.
const TURN: Duration = Duration::from_millis(20);

/// Longest round.
const PATIENCE: Duration = Duration::from_secs(20);

/// Greatest latency of the histogram; a longer one counts as this one.
const LONGEST: Duration = Duration::from_secs(60);
