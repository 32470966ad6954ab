//! How many requests the engine serves in a second, on the simulator: no kernel is in the figure,
//! but the simulator is, and so are the peers, who are on the same thread.
//!
//! `cargo bench --bench turn`

mod timer;

use ebbtide::config::Config;
use ebbtide::engine::Engine;
use ebbtide::handler::Handler;
use ebbtide::later::Inbox;
use ebbtide::sys::Sys;
use ebbtide::sys::sim::{PeerId, Setup, Sim};
use ebbtide::{Request, Response};

/// Connections, and rounds in which each sends something.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 100;

/// Requests that a pipelining peer sends at once.
const DEEP: usize = 16;

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk/4.2\r\n\r\n";

fn main() {
    timer::begin();
    let deep = GET.repeat(DEEP).leak();
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n";
    let upload = (head.to_owned() + &"0123456789abcdef".repeat(64)).leak();
    let asks = [
        ("GET", GET, 1),
        ("GET, pipelined", &*deep, DEEP),
        ("POST of 1 KiB", &*upload, 1),
    ];
    for (what, bytes, requests) in asks {
        let count = CONNECTIONS * ROUNDS * requests;
        let nanos = timer::nanos_each(count, connected, |(engine, peers)| {
            for _ in 0..ROUNDS {
                for peer in &*peers {
                    engine.sys().send(*peer, bytes);
                }
                turn(engine);
            }
            assert_eq!(engine.report().answered, count as u64);
        });
        println!(
            "{what:<18} {nanos:>7.1} ns  {:>10.0} requests/s",
            1e9 / nanos
        );
    }
}

/// An engine, and peers that it has accepted.
fn connected() -> (Engine<Sim, impl Handler>, Vec<PeerId>) {
    let sim = Sim::new(Setup {
        record: false,
        ..Setup::default()
    });
    let inbox = Inbox::new(sim.waker());
    let hello = |_: &Request<'_>| {
        Response::new(200)
            .content_type("text/plain")
            .body("Hello, World!")
    };
    let mut engine = Engine::new(sim, hello, Config::default(), inbox);
    let peers = (0..CONNECTIONS).map(|_| engine.sys().connect(0)).collect();
    turn(&mut engine);
    turn(&mut engine); // their first events
    assert_eq!(engine.report().opened, CONNECTIONS as u64);
    (engine, peers)
}

fn turn(engine: &mut Engine<Sim, impl Handler>) {
    engine.turn().expect("the simulator's wait does not fail");
}
