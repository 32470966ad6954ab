//! A loop whose thread is held up between two turns, on the simulator.

use std::time::Duration;

use super::*;
use crate::app::{DrainPolicy, Request};
use crate::sys::sim::{Act, Sim};

const SIGTERM: i32 = 15;
const TICKET: &str = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";

/// Never answers a request.
struct Silent(Vec<crate::app::Ticket>);

impl Handler for Silent {
    fn handle(&mut self, request: &Request<'_>) -> crate::app::Reply {
        let (pending, ticket) = request.later();
        self.0.push(ticket);
        pending.into()
    }

    fn admit(&mut self, _: &crate::h1::Head<'_, '_>) -> crate::app::Admit {
        crate::app::Admit::Buffer(0)
    }
}

fn engine(drain: DrainPolicy) -> Engine<Sim, Silent> {
    let sim = Sim::default();
    let inbox = Inbox::new(sim.waker());
    let config = Config {
        drain,
        ..Config::default()
    };
    Engine::new(sim, Silent(Vec::new()), config, inbox)
}

/// Gives the signal, and returns when.
fn signalled(engine: &mut Engine<Sim, Silent>) -> u32 {
    engine.sys().run_until(10);
    for _ in 0..4 {
        engine.turn().unwrap();
    }
    engine.sys().signal(SIGTERM);
    engine.turn().unwrap();
    engine.sys().millis()
}

/// Turns until shortly before a moment of the drain, and lets the moment pass between two turns.
fn held_up(engine: &mut Engine<Sim, Silent>, before: u32) {
    engine.sys().at(before, Act::Wake);
    engine.sys().run_until(before);
    while !engine.sys().resting() {
        engine.turn().unwrap();
    }
    engine.sys().run_until(before + 2);
    engine.sys().wait(Some(2), &mut Vec::new()).unwrap();
}

/// Turns to the end, and returns when it came.
fn ended(engine: &mut Engine<Sim, Silent>) -> u32 {
    engine.sys().run_until(60_000);
    for _ in 0..1_000 {
        if let Turn::Done(_) = engine.turn().unwrap() {
            return engine.sys().millis();
        }
    }
    panic!("no end");
}

#[test]
fn a_last_call_that_passes_between_two_turns_is_not_slept_over() {
    let mut engine = engine(DrainPolicy::new());
    let at = signalled(&mut engine);
    engine.sys().run_until(at + 5);
    engine.sys().wait(Some(5), &mut Vec::new()).unwrap();
    assert_eq!(ended(&mut engine), at + 5);
}

#[test]
fn a_deadline_that_passes_between_two_turns_is_not_slept_over() {
    let timeout = Duration::from_millis(1_500);
    let mut engine = engine(DrainPolicy::new().timeout(timeout));
    let peer = engine.sys().connect(0);
    engine.sys().send(peer, TICKET);
    let at = signalled(&mut engine);
    held_up(&mut engine, at + 1_499);
    assert_eq!(ended(&mut engine), at + 1_501);
}

#[test]
fn a_delay_that_ends_between_two_turns_is_not_slept_over() {
    let delay = Duration::from_millis(1_500);
    let mut engine = engine(DrainPolicy::new().delay(delay));
    let at = signalled(&mut engine);
    held_up(&mut engine, at + 1_499);
    let end = ended(&mut engine);
    assert!((at + 1_501..at + 1_510).contains(&end), "{end}");
}
