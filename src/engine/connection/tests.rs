//! Every cell of the table at the head of this folder, walked on the simulator; and edges that come
//! while a state changes.

use super::*;
use crate::app::{
    Admit, BodyContext, Config, Fill, Flow, Inbox, Reply, Request, Sink, Source, Ticket, Tunnel,
    TunnelAction, TunnelIo,
};
use crate::engine::Engine;
use crate::h1::Head;
use crate::sys::sim::{ALL, Manner, Pace, PeerId, Setup, Sim};

const TABLE: &str = include_str!("mod.rs");
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The application: its paths are the states of the table.
#[derive(Default)]
struct App {
    tickets: Vec<Ticket>,
}

impl Handler for App {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        match head.path() {
            "/sink" => Admit::Stream(Box::new(PausedOnce(false))),
            _ => Admit::Take,
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        match request.path() {
            "/ticket" => {
                let (pending, ticket) = request.later();
                self.tickets.push(ticket);
                pending.into()
            }
            "/source" => Response::new(200).source(IdleOnce(false)).into(),
            "/big" => Response::new(200).body(vec![b'x'; 100_000]).into(),
            "/tunnel" => match request.upgrade("echo") {
                Some(upgrade) => upgrade.to(Echo).into(),
                None => Response::new(400).into(),
            },
            _ => Response::text(200, "hello\n").into(),
        }
    }
}

struct PausedOnce(bool);

impl Sink for PausedOnce {
    fn receive(&mut self, _: &[u8], _: &BodyContext<'_>) -> Flow {
        match mem::replace(&mut self.0, true) {
            false => Flow::Pause,
            true => Flow::Continue,
        }
    }

    fn end(&mut self, _: &Request<'_>) -> Reply {
        Response::text(200, "hello\n").into()
    }
}

struct IdleOnce(bool);

impl Source for IdleOnce {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        match mem::replace(&mut self.0, true) {
            false => Fill::Pending,
            true => {
                out.extend_from_slice(b"more");
                Fill::Done
            }
        }
    }
}

struct Echo;

impl Tunnel for Echo {
    fn receive(&mut self, bytes: &mut [u8], io: &mut TunnelIo<'_>) -> TunnelAction {
        io.send(bytes);
        TunnelAction::Wait
    }

    fn wake(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        io.send(b"called");
        TunnelAction::Wait
    }

    fn time(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        self.wake(io)
    }

    fn draining(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        io.send(b"bye");
        TunnelAction::Close
    }
}

/// An engine with one connection, in a state of the table.
struct Lab {
    engine: Engine<Sim, App>,
    peer: PeerId,
    id: ConnId,
    /// The bytes that the peer had when the state was reached.
    before: usize,
}

impl Lab {
    fn new(manner: Manner) -> Self {
        let mut sim = Sim::new(Setup::default());
        let peer = sim.peer(0);
        sim.behave(peer, manner);
        sim.act(crate::sys::sim::Act::Connect(peer));
        sim.run_until(5);
        let inbox = Inbox::new(sim.waker());
        let mut engine = Engine::new(sim, App::default(), Config::default(), inbox);
        engine.turn().unwrap();
        let (id, _) = engine.tracker.oldest(Phase::Fresh).expect("it connected");
        let before = 0;
        Self {
            engine,
            peer,
            id,
            before,
        }
    }

    /// Returns a laboratory whose connection is in that state.
    fn in_state(state: &str) -> Self {
        let manner = match state {
            "`Linger`" => Manner {
                answers: Pace::Never,
                ..Manner::default()
            },
            "`Active`, responding" => Manner {
                takes: Pace::Never,
                window: 1_000,
                ..Manner::default()
            },
            _ => Manner::default(),
        };
        let mut lab = Self::new(manner);
        let (bytes, phase) = match state {
            "`Fresh`" => ("", Phase::Fresh),
            "`Idle`" => (GET, Phase::Idle),
            "`Handshake`" => {
                let connection = lab.engine.tracker.get_mut(lab.id).unwrap();
                connection.state = State::Handshake;
                let now = lab.engine.core.sys.now();
                lab.engine.tracker.enter(lab.id, Phase::Head, now);
                ("", Phase::Head)
            }
            "`Active`, receiving" => (&GET[..20], Phase::Head),
            "`Active`, sink paused" => (
                "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
                Phase::Handler,
            ),
            "`Active`, awaiting a ticket" => {
                ("GET /ticket HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Handler)
            }
            "`Active`, source idle" => ("GET /source HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Handler),
            "`Active`, responding" => ("GET /big HTTP/1.1\r\nHost: a\r\n\r\n", Phase::Reply),
            "`Tunnel`" => (
                "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
                Phase::Tunnel,
            ),
            "`Linger`" => (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                Phase::Linger,
            ),
            other => panic!("no state {other}"),
        };
        if !bytes.is_empty() {
            lab.engine.sys().send(lab.peer, bytes);
            lab.turn();
        }
        assert_eq!(lab.phase(), Some(phase), "{state}");
        lab.before = lab.engine.core.sys.got(lab.peer).len();
        lab
    }

    fn turn(&mut self) {
        for _ in 0..4 {
            self.engine.turn().unwrap();
        }
    }

    fn phase(&self) -> Option<Phase> {
        self.engine.tracker.phase(self.id)
    }

    fn requests(&self) -> u32 {
        let connection = self.engine.tracker.get(self.id).unwrap();
        connection.requests()
    }

    /// Gives the connection the input of a column.
    fn give(&mut self, input: &str, state: &str) {
        let now = self.engine.core.sys.now();
        let nth = self.requests();
        let input = match input {
            "`Ready`" => return self.make_ready(state),
            "`Respond`" => Input::Respond {
                nth,
                response: Some(Box::new(Response::text(200, "hello\n"))),
            },
            "`Wake`" => Input::Wake { nth },
            "`TimeUp`" => Input::TimeUp,
            "`Timer`" => Input::Timer,
            "`Drain`" => Input::Drain,
            "`GraceOver`" => Input::GraceOver,
            "`Cut`" => Input::Cut,
            other => panic!("no input {other}"),
        };
        self.engine.input(self.id, input, now);
        self.engine.check();
    }

    /// Lets happen what the state waits for, and turns.
    fn make_ready(&mut self, state: &str) {
        let peer = self.peer;
        let sim = self.engine.sys();
        match state {
            "`Active`, receiving" => sim.send(peer, &GET[20..]),
            "`Linger`" => sim.fin(peer),
            "`Active`, responding" => {
                for _ in 0..1_000 {
                    self.engine.sys().take(peer, ALL);
                    self.turn();
                    if self.phase() == Some(Phase::Idle) {
                        return;
                    }
                }
                panic!("it never ended");
            }
            "`Tunnel`" => sim.send(peer, "ping"),
            _ => sim.send(peer, GET),
        }
        self.turn();
    }

    /// Asserts that what followed is what the cell says.
    fn expect(&self, cell: &str, was: Option<Phase>, what: &str) {
        let seen = self.engine.core.sys.seen(self.peer);
        let got = &self.engine.core.sys.got(self.peer)[self.before..];
        let got = String::from_utf8_lossy(got);
        let closed = matches!(self.phase(), None | Some(Phase::Linger));
        let (bytes, end) = cell.split_once(", ").unwrap_or(("", cell));
        let fine = match (bytes, end) {
            ("", "–") => got.is_empty() && self.phase() == was,
            ("", "serves") => got.starts_with("HTTP/1.1 200") && self.phase() == Some(Phase::Idle),
            ("", "writes") => self.phase() == Some(Phase::Idle),
            ("", "resumes") => !got.is_empty() && self.phase() == Some(Phase::Idle),
            ("", "receives") => got == "ping" && self.phase() == was,
            ("", "calls") => got == "called" && self.phase() == was,
            ("", "closes") => self.phase().is_none() && seen.reset.is_none(),
            ("", "reset") => self.phase().is_none() && seen.reset.is_some(),
            ("", "FIN") => closed && seen.fin.is_some() && got.is_empty(),
            ("bye", "FIN") => closed && seen.fin.is_some() && got == "bye",
            (status, "FIN") => {
                let head = format!("HTTP/1.1 {status} ");
                closed && seen.fin.is_some() && got.starts_with(&head)
            }
            other => panic!("no outcome {other:?}"),
        };
        assert!(
            fine,
            "{what}: not {cell}, but {got:?}, {seen:?}, {:?}",
            self.phase()
        );
    }
}

/// Returns the rows of the table: a state and its cells, under the names of the inputs.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = TABLE.lines().filter_map(|line| line.strip_prefix("//! |"));
    rows.map(|row| {
        row.trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect()
    })
    .collect()
}

#[test]
fn every_cell_of_the_table_is_true() {
    let rows = rows();
    let (inputs, states) = (&rows[0], &rows[2..]);
    assert_eq!((inputs.len(), states.len()), (9, 10));
    for state in states {
        for (input, cell) in inputs.iter().zip(state).skip(1) {
            let mut lab = Lab::in_state(state[0]);
            let was = lab.phase();
            lab.give(input, state[0]);
            lab.expect(cell, was, &format!("{} × {input}", state[0]));
        }
    }
}

#[test]
fn bytes_before_the_fin_are_a_request() {
    for state in ["`Fresh`", "`Idle`"] {
        for (input, status) in [(Input::TimeUp, "200"), (Input::Cut, "503")] {
            let mut lab = Lab::in_state(state);
            lab.engine.sys().send(lab.peer, GET);
            let now = lab.engine.core.sys.now();
            lab.engine.input(lab.id, input, now);
            let got = &lab.engine.core.sys.got(lab.peer)[lab.before..];
            let got = String::from_utf8_lossy(got);
            assert!(
                got.starts_with(&format!("HTTP/1.1 {status} ")),
                "{state}: {got}"
            );
        }
    }
}

#[test]
fn a_broken_socket_is_noticed_whatever_state_its_event_finds_and_leads_to() {
    // The reset comes in one event with the bytes, so no later edge says it again.
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ticket HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /source HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody",
        "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        "GET / HT",
    ] {
        for state in ["`Fresh`", "`Idle`"] {
            let mut lab = Lab::in_state(state);
            let event = Ready {
                readable: true,
                read_closed: true,
                gone: true,
                ..Ready::nothing_new(crate::sys::Who::Conn(lab.id))
            };
            lab.engine.sys().send(lab.peer, request);
            let now = lab.engine.core.sys.now();
            lab.engine.socket_ready(lab.id, event, now);
            for _ in 0..4 {
                lab.engine.serve_again(now);
            }
            assert_eq!(lab.phase(), None, "{state}: {request:?}");
            assert_eq!(lab.engine.report().left, 1, "{state}: {request:?}");
            lab.engine.check();
        }
    }
}

#[test]
fn a_broken_socket_is_noticed_also_after_a_full_share() {
    let mut lab = Lab::in_state("`Idle`");
    let event = Ready {
        readable: true,
        gone: true,
        ..Ready::nothing_new(crate::sys::Who::Conn(lab.id))
    };
    let requests = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4);
    lab.engine.sys().send(lab.peer, requests);
    let now = lab.engine.core.sys.now();
    lab.engine.socket_ready(lab.id, event, now);
    for _ in 0..4 {
        lab.engine.serve_again(now);
    }
    assert_eq!(lab.phase(), None);
    assert_eq!(lab.engine.report().left, 1);
}
