//! Sends the signal in the middle of a storm, and counts what became of the requests.
//!
//! Before each request, a client checks whether its connection has ended. If so, or if the last
//! response said close, the client takes a new connection: a server is not blamed for an end that a
//! client can see, nor for a slow client. A refused client stops, because another server would take
//! that client. Counts begin with the signal:
//!
//! * answered: got any response, even a refusal;
//! * lost: written in full on a connection that had answered before and showed no end, and got no
//!   byte;
//! * late: lost, but written more than 25 ms after the previous response had come, by the kernel's
//!   clock. No client here wants such a pause, but the system may hold a client up;
//! * torn: got a part of a response;
//! * backlog: written on a new connection, which the kernel had established, and got no byte.
//!
//! The time between check and write is shorter than the way of a FIN on a real network. No server
//! can close an idle connection without that risk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::event::Event;

use super::{SMALL, Scale};
use crate::client::links::{End, Links};
use crate::client::{Client, Load};
use crate::cpu::Cpus;
use crate::peers::Peer;
use crate::process::Served;
use crate::sheet::{Column, Fate, Sheet, Storm};

/// Runs the three storms, each on a process of its own.
pub(super) fn storms(
    peer: &Peer,
    scale: &Scale,
    cpus: Cpus,
    sheet: &mut Sheet,
) -> Result<(), String> {
    let storms = [
        (Storm::Busy, scale.busy, None, 0),
        (Storm::Pausing, scale.busy, Some(PAUSE), 0),
        (Storm::Anew, scale.staying, None, scale.anew),
    ];
    for (storm, staying, pause, anew) in storms {
        match run(peer, staying, pause, anew, cpus) {
            Ok(fates) => {
                for (fate, count) in fates {
                    sheet.add(&peer.name, Column::Storm(storm, fate), count as f64);
                }
            }
            Err(error) => sheet.note(&peer.name, format!("storm {storm:?}: {error}")),
        }
    }
    Ok(())
}

fn run(
    peer: &Peer,
    staying: usize,
    pause: Option<Duration>,
    anew: usize,
    cpus: Cpus,
) -> Result<[(Fate, u64); 5], String> {
    let mut served = Served::start(peer, 0, cpus)?;
    let mut client = Client::new(served.port, peer.at_once).map_err(|error| error.to_string())?;
    client.open(staying + anew, &Load::of(SMALL))?;
    let (poll, events, links) = client.parts();
    links.ask_for_times().map_err(|error| error.to_string())?;
    let mut clients = Clients::new(links, staying, pause);
    clients.begin();
    let begun = Instant::now();
    let mut ended = None;
    loop {
        let timeout = clients.next_due().unwrap_or(TURN).min(TURN);
        poll.poll(events, Some(timeout))
            .map_err(|error| error.to_string())?;
        for event in &*events {
            clients.see(event)?;
        }
        clients.go_on()?;
        match clients.signalled {
            None if begun.elapsed() > BEFORE => {
                served.stop();
                clients.signalled = Some(Instant::now());
            }
            Some(at) if clients.all_out() || at.elapsed() > CAP => break,
            // All bytes of an ended process have arrived after `SETTLED`.
            Some(_) if events.is_empty() && ended.is_some_and(is_over) => break,
            Some(_) if ended.is_none() && events.is_empty() => {
                ended = served.ended().map(|_| Instant::now());
            }
            _ => {}
        }
    }
    Ok(clients.fates())
}

fn is_over(since: Instant) -> bool {
    since.elapsed() > SETTLED
}

/// Clients of a storm.
struct Clients<'a> {
    links: &'a mut Links,
    /// Number of clients that keep their connections: the first ones.
    staying: usize,
    pause: Option<Duration>,
    /// Ends of pauses and their clients, the earliest end first.
    pausing: BTreeSet<(Instant, usize)>,
    /// Whether each client has stopped: refused, or left without a response.
    out: Vec<bool>,
    signalled: Option<Instant>,
    answered: u64,
    lost: u64,
    late: u64,
    torn: u64,
    backlog: u64,
}

impl<'a> Clients<'a> {
    fn new(links: &'a mut Links, staying: usize, pause: Option<Duration>) -> Self {
        let out = vec![false; links.len()];
        Self {
            links,
            staying,
            pause,
            pausing: BTreeSet::new(),
            out,
            signalled: None,
            answered: 0,
            lost: 0,
            late: 0,
            torn: 0,
            backlog: 0,
        }
    }

    /// Starts all clients; clients that pause start one after the other.
    fn begin(&mut self) {
        let count = self.links.len();
        let now = Instant::now();
        for key in 0..count {
            match self.pause {
                Some(pause) => {
                    let due = now + pause * key as u32 / count as u32;
                    self.pausing.insert((due, key));
                }
                None => self.links.send(key, SMALL, 1),
            }
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let (due, _) = self.pausing.first()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Sends for each client whose pause is over.
    fn go_on(&mut self) -> Result<(), String> {
        while let Some((due, key)) = self.pausing.first().copied() {
            if due > Instant::now() {
                break;
            }
            self.pausing.pop_first();
            self.ask(key)?;
        }
        Ok(())
    }

    fn see(&mut self, event: &Event) -> Result<(), String> {
        let key = event.token().0;
        if self.out[key] {
            return Ok(());
        }
        if event.is_writable() {
            self.links.flush(key, SMALL);
        }
        let seen = self.links.receive(key);
        if seen.bad > 0 && self.signalled.is_none() {
            return Err("a response before the signal is not 200".to_owned());
        }
        if self.signalled.is_some() {
            self.answered += seen.responses as u64;
        }
        if let Some(end) = seen.end {
            return self.ended(key, &end);
        }
        if seen.responses == 0 {
            return Ok(());
        }
        let last_of_connection = seen.close || key >= self.staying;
        if last_of_connection {
            self.renew(key)?;
        }
        match self.pause {
            // The pause begins when the response came, not when the client read it.
            Some(pause) => {
                let ago = self.links.link(key).came.elapsed().unwrap_or_default();
                let due = Instant::now() + pause.saturating_sub(ago);
                self.pausing.insert((due, key));
            }
            None if last_of_connection => self.links.send(key, SMALL, 1),
            None => self.ask(key)?,
        }
        Ok(())
    }

    /// Checks the connection, and sends on it, or on a new one after an end.
    fn ask(&mut self, key: usize) -> Result<(), String> {
        if self.out[key] || self.links.link(key).waiting > 0 {
            return Ok(()); // the connection ended in the pause, and the client has sent on a new one
        }
        match self.links.receive(key).end {
            Some(end) => self.ended(key, &end),
            None => {
                self.links.send(key, SMALL, 1);
                Ok(())
            }
        }
    }

    /// Handles the end of a connection.
    fn ended(&mut self, key: usize, end: &End) -> Result<(), String> {
        let link = self.links.link(key);
        let is_waiting = link.waiting > 0 && link.sent_in_full();
        match end {
            End::Nonsense(what) => return Err(what.clone()),
            End::Refused => self.out(key),
            _ if !is_waiting => {
                self.renew(key)?;
                self.links.send(key, SMALL, 1);
            }
            _ if self.signalled.is_none() => {
                return Err(format!("a connection ended before the signal: {end:?}"));
            }
            _ => {
                self.unanswered(key);
                self.out(key);
            }
        }
        Ok(())
    }

    /// Counts a request without a response.
    fn unanswered(&mut self, key: usize) {
        let link = self.links.link(key);
        let count = if link.torn() {
            &mut self.torn
        } else if link.answered == 0 {
            &mut self.backlog
        } else if link.idle > LATE {
            &mut self.late
        } else {
            &mut self.lost
        };
        *count += 1;
    }

    fn out(&mut self, key: usize) {
        self.links.give_up(key);
        self.out[key] = true;
    }

    fn renew(&mut self, key: usize) -> Result<(), String> {
        self.links.reopen(key).map_err(|error| error.to_string())
    }

    fn all_out(&self) -> bool {
        self.out.iter().all(|out| *out)
    }

    /// Returns the counts; a client that still waits has lost its request.
    fn fates(mut self) -> [(Fate, u64); 5] {
        for key in 0..self.out.len() {
            let link = self.links.link(key);
            if !self.out[key] && link.waiting > 0 && link.sent_in_full() {
                self.unanswered(key);
            }
        }
        [
            (Fate::Answered, self.answered),
            (Fate::Lost, self.lost),
            (Fate::Late, self.late),
            (Fate::Torn, self.torn),
            (Fate::Backlog, self.backlog),
        ]
    }
}

/// Time from the start of a storm to the signal.
const BEFORE: Duration = Duration::from_millis(400);

/// Pause of a client between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// Idle time above which the system held the client up.
const LATE: Duration = Duration::from_millis(25);

/// Longest wait for an event.
const TURN: Duration = Duration::from_millis(5);

/// Longest watch after the signal.
const CAP: Duration = Duration::from_secs(8);

/// Time for which the clients go on after the end of the process: the kernel repeats a refused SYN
/// after a second.
const SETTLED: Duration = Duration::from_millis(1_500);
