//! The signal in the middle of a storm: what became of the requests.
//!
//! The client is honest. Before each request it looks whether the connection has ended, and if so
//! it asks on a new one, as it does when an answer said close; nothing that it could have known is
//! held against the server, nor how long the client took. A client whose connection is refused is
//! content: another server would take it. After the signal is counted:
//!
//! * answered: by whatever answer, a refusal too;
//! * lost: written in full on a connection that had answered before and showed no end, and no byte
//!   came back before it ended, or none at all;
//! * late: the same, but written more than 25 ms after the answer before it had come: no client here
//!   wants to pause so long, but the system may hold it up. When an answer came, its kernel says;
//! * torn: a part of an answer came;
//! * backlog: on a new connection, which the kernel had established, no byte came back.
//!
//! What is left between the look and the write is less than what the way of a FIN takes on a real
//! network: no server can close an idle connection without that.

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

/// The three storms, each on a process of its own.
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
        match blow(peer, staying, pause, anew, cpus) {
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

fn blow(
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
            // What a process that is gone has sent, has arrived.
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

/// Those who ask.
struct Clients<'a> {
    links: &'a mut Links,
    /// The first of them stay on their connections.
    staying: usize,
    pause: Option<Duration>,
    /// Until when; the first to ask first.
    pausing: BTreeSet<(Instant, usize)>,
    /// Who has nothing more to do: refused, or its request was lost.
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

    /// All begin; those that pause, one after the other.
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

    /// Who has paused long enough asks again.
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
            return Err("an answer is not 200, before the signal".to_owned());
        }
        if self.signalled.is_some() {
            self.answered += seen.answers as u64;
        }
        if let Some(end) = seen.end {
            return self.ended(key, &end);
        }
        if seen.answers == 0 {
            return Ok(());
        }
        let last_of_connection = seen.close || key >= self.staying;
        if last_of_connection {
            self.renew(key)?;
        }
        match self.pause {
            // From when the answer came, not from when it is read.
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

    /// Looks, and asks: on a new connection, if this one has ended.
    fn ask(&mut self, key: usize) -> Result<(), String> {
        if self.out[key] || self.links.link(key).waiting > 0 {
            return Ok(()); // an end came in the pause, and it has asked anew since
        }
        match self.links.receive(key).end {
            Some(end) => self.ended(key, &end),
            None => {
                self.links.send(key, SMALL, 1);
                Ok(())
            }
        }
    }

    /// A connection has ended.
    fn ended(&mut self, key: usize, end: &End) -> Result<(), String> {
        let link = self.links.link(key);
        let owed = link.waiting > 0 && link.sent_in_full();
        match end {
            End::Nonsense(what) => return Err(what.clone()),
            End::Refused => self.out(key),
            _ if !owed => {
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

    /// Its request has no answer.
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

    /// What became of them; who still waits has lost its request.
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

/// How long the storm blows before the signal.
const BEFORE: Duration = Duration::from_millis(400);

/// What a client that pauses does between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// Who asks after so long an idleness was held up.
const LATE: Duration = Duration::from_millis(25);

/// The longest wait for an event.
const TURN: Duration = Duration::from_millis(5);

/// How long the clients are watched after the signal.
const CAP: Duration = Duration::from_secs(8);

/// For how long the clients go on after the server's process has ended: handshakes whose SYN was
/// turned away try again after a second.
const SETTLED: Duration = Duration::from_millis(1_500);
