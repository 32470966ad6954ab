//! One run: brings connections into their states, sends the signal, and watches until everything
//! has ended or the deadline is over.
//!
//! One thread plays all clients, so that it notes each event soon. Another thread only watches the
//! listener.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use nix::sys::signal::Signal;

use super::client::Client;
use super::door::Door;
use super::failure::Failure;
use super::process::{Exit, Process};
use super::script::{Kind, Requests};
use super::state::State;

/// The settings of every run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) requests: Requests,
    pub(super) signal: Signal,
    pub(super) group: bool,
    pub(super) connections: u16,
    pub(super) settle: Duration,
    pub(super) pause: Duration,
    pub(super) deadline: Duration,
    pub(super) start_timeout: Duration,
}

/// The observations of a run.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) clients: Vec<Client>,
    /// The moment from which the server could know of the signal.
    pub(super) signalled: Instant,
    /// The time of the first refused connection, or of an earlier exit.
    pub(super) door_closed: Option<Instant>,
    pub(super) exit: Option<Exit>,
    /// The probe started the process, so that its listener must end with it. The listener of a
    /// server that ran already may belong to its supervisor, or have a successor.
    pub(super) ours: bool,
    /// All processes of the group got the signal.
    pub(super) group: bool,
    /// The end of the watch.
    pub(super) until: Instant,
}

/// Brings clients into these states, sends the signal, and watches.
///
/// # Errors
///
/// The server ended before the signal, or this machine has no more sockets or threads.
pub(super) fn run(
    plan: &Plan,
    process: &mut Process,
    addr: SocketAddr,
    states: &[State],
) -> Result<Seen, Failure> {
    let mut world = World::new(plan, addr, states)?;
    world.prepare(plan, process)?;
    let freeze = states.iter().any(|state| state.needs_freeze());
    if freeze {
        process.freeze().map_err(Failure::Freeze)?;
        world.write_to_the_frozen(process)?;
    }
    for client in &mut world.clients {
        client.ready = client.is_ready() && client.end.is_none();
    }
    let mut signalled = Instant::now();
    let sent = process.signal(plan.signal, plan.group);
    if freeze {
        signalled = Instant::now();
        process.thaw().map_err(Failure::Signal)?;
    }
    sent.map_err(|error| match process.exit() {
        Some(exit) => Failure::ended(exit, process),
        None => Failure::Signal(error),
    })?;
    let door = Door::watch(addr)?;
    let ours = process.is_ours();
    // A server may outlive the command that started it: then the listener is open.
    let over = |clients: &[Client], process: &mut Process| {
        // `exit` also dates the exit, so every turn calls it.
        process.exit().is_some()
            && (door.is_closed() || !ours)
            && clients.iter().all(|client| client.end.is_some())
    };
    world.drive(process, signalled + plan.pause, over)?;
    world.clients.iter_mut().for_each(Client::finish);
    world.drive(process, signalled + plan.deadline, over)?;
    let exit = process.exit();
    Ok(Seen {
        clients: world.clients,
        signalled,
        door_closed: door.closed().map(|knocks| knocks.closed(exit)),
        exit,
        ours,
        group: plan.group,
        until: Instant::now(),
    })
}

/// Returns whether the client writes while the server is frozen.
fn writes_to_the_frozen(client: &Client) -> bool {
    client.state.needs_freeze()
}

/// The clients and their event loop.
#[derive(Debug)]
struct World {
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
}

impl World {
    fn new(plan: &Plan, addr: SocketAddr, states: &[State]) -> Result<Self, Failure> {
        let with_clients = states.iter().filter(|state| **state != State::Empty);
        let clients = with_clients.flat_map(|state| {
            let count = match state {
                State::Connecting => plan.connections.min(MOST_CONNECTING),
                _ => plan.connections,
            };
            let client = || Client::new(*state, plan.requests.script(*state));
            std::iter::repeat_with(client).take(count.into())
        });
        Ok(Self {
            addr,
            poll: Poll::new().map_err(Failure::System)?,
            events: Events::with_capacity(1024),
            clients: clients.collect(),
        })
    }

    /// Does everything that comes before the signal while the server runs.
    fn prepare(&mut self, plan: &Plan, process: &mut Process) -> Result<(), Failure> {
        let limit = Instant::now() + plan.start_timeout;
        self.connect(|kind| kind != Kind::Backlog);
        let warm = plan.requests.get(&plan.requests.path);
        let warmed = self.clients.iter_mut().filter(|client| client.script.warm);
        warmed.for_each(|client| client.warm(&warm));
        let is_there = |client: &Client| {
            let later = client.script.kind == Kind::Backlog;
            later || client.end.is_some() || client.is_answered()
        };
        self.drive_alive(process, limit, |clients| clients.iter().all(is_there))?;
        self.drive_alive(process, Instant::now() + plan.settle, |_| false)?;
        // The slow requests come last, so that the server still works on them when the signal
        // comes.
        for takes_time in [false, true] {
            let mine = |client: &Client| {
                !writes_to_the_frozen(client) && client.state.takes_time() == takes_time
            };
            self.begin(mine);
            let is_made =
                |client: &Client| !mine(client) || client.end.is_some() || client.is_ready();
            self.drive_alive(process, limit, |clients| clients.iter().all(is_made))?;
        }
        self.drive_alive(process, Instant::now() + plan.settle / 2, |_| false)
    }

    /// Lets clients write while the server is frozen.
    fn write_to_the_frozen(&mut self, process: &mut Process) -> Result<(), Failure> {
        self.connect(|kind| kind == Kind::Backlog);
        self.begin(writes_to_the_frozen);
        let is_made = |client: &Client| {
            !writes_to_the_frozen(client) || client.end.is_some() || client.is_ready()
        };
        self.drive(process, Instant::now() + HANDSHAKE, |clients, _| {
            clients.iter().all(is_made)
        })
    }

    fn connect(&mut self, which: impl Fn(Kind) -> bool) {
        for (n, client) in self.clients.iter_mut().enumerate() {
            if which(client.script.kind) {
                client.connect(self.addr, self.poll.registry(), Token(n));
            }
        }
    }

    fn begin(&mut self, which: impl Fn(&Client) -> bool) {
        let chosen = self.clients.iter_mut().filter(|client| which(client));
        chosen.for_each(Client::begin);
    }

    /// Drives the clients while the server must not end.
    fn drive_alive(
        &mut self,
        process: &mut Process,
        limit: Instant,
        done: impl Fn(&[Client]) -> bool,
    ) -> Result<(), Failure> {
        self.drive(process, limit, |clients, process| {
            process.exit().is_some() || done(clients)
        })?;
        match process.exit() {
            Some(exit) => Err(Failure::ended(exit, process)),
            None => Ok(()),
        }
    }

    /// Plays the clients until `done`, or until `limit`.
    fn drive(
        &mut self,
        process: &mut Process,
        limit: Instant,
        mut done: impl FnMut(&[Client], &mut Process) -> bool,
    ) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            if done(&self.clients, process) || now >= limit {
                return Ok(());
            }
            let registry = self.poll.registry();
            for (n, client) in self.clients.iter_mut().enumerate() {
                client.tick(now, self.addr, registry, Token(n));
            }
            match self.poll.poll(&mut self.events, Some(TURN)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.map_err(Failure::System)?,
            }
            for event in &self.events {
                self.clients[event.token().0].go_on();
            }
        }
    }
}

/// The pause between two checks whether the server has ended.
const TURN: Duration = Duration::from_millis(1);

/// The longest wait for a handshake: a kernel completes a local one sooner, unless its backlog is
/// full.
const HANDSHAKE: Duration = Duration::from_millis(500);

/// The most clients that connect anew: enough to find a gap, without using up the ports.
const MOST_CONNECTING: u16 = 16;
