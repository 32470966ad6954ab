//! How many requests the engine serves in a second in the simulator. The figure has no kernel, but
//! it has the simulator and the peers, which are on the same thread.
//!
//! `cargo bench --bench turn`, or `cargo bench --bench turn -- --instructions`, which also prints
//! instructions for a request where valgrind is installed.

mod timer;

use std::env;
use std::fs;
use std::process::{self, Command, Stdio};

use ebbtide::internals::engine::{Config, Engine, Inbox};
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::sim::{PeerId, Setup, Sim};
use ebbtide::{Handler, Request, Response};

/// The connections, and the rounds in which each sends something.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 100;

/// The requests that a pipelining peer sends at once.
const DEEP: usize = 16;

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk/4.2\r\n\r\n";

fn main() {
    let args: Vec<_> = env::args().collect();
    let after = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<usize>().ok()
    };
    if let (Some(nth), Some(rounds)) = (after("--only"), after("--rounds")) {
        serve(&mut connected(), &asks()[nth], rounds);
        return;
    }
    timer::begin();
    let counting = args.iter().any(|arg| arg == "--instructions");
    for (nth, ask) in asks().iter().enumerate() {
        let count = CONNECTIONS * ROUNDS * ask.requests;
        let nanos = timer::nanos_each(count, connected, |world| serve(world, ask, ROUNDS));
        let (what, rate) = (ask.what, 1e9 / nanos);
        print!("{what:<18} {nanos:>7.1} ns  {rate:>10.0} requests/s");
        match counting.then(|| instructions(nth, ask)) {
            None => println!(),
            Some(Ok(each)) => println!("  {each:>7.0} instructions"),
            Some(Err(error)) => println!("  instructions absent: {error}"),
        }
    }
}

/// What each peer sends in a round.
struct Ask {
    what: &'static str,
    bytes: &'static str,
    requests: usize,
}

fn asks() -> [Ask; 3] {
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n";
    let upload = head.to_owned() + &"0123456789abcdef".repeat(64);
    let ask = |what, bytes, requests| Ask {
        what,
        bytes,
        requests,
    };
    [
        ask("GET", GET, 1),
        ask("GET, pipelined", GET.repeat(DEEP).leak(), DEEP),
        ask("POST of 1 KiB", upload.leak(), 1),
    ]
}

fn serve((engine, peers): &mut World<impl Handler>, ask: &Ask, rounds: usize) {
    for _ in 0..rounds {
        for peer in &*peers {
            engine.sys().send(*peer, ask.bytes);
        }
        turn(engine);
    }
    let count = CONNECTIONS * rounds * ask.requests;
    assert_eq!(engine.report().answered, count as u64);
}

/// Returns the instructions for a request: the difference between more rounds and fewer, counted by
/// valgrind.
fn instructions(nth: usize, ask: &Ask) -> Result<f64, String> {
    let less = counted(nth, ROUNDS)?;
    let more = counted(nth, 2 * ROUNDS)?;
    Ok((more - less) / (CONNECTIONS * ROUNDS * ask.requests) as f64)
}

fn counted(nth: usize, rounds: usize) -> Result<f64, String> {
    let out = env::temp_dir().join(format!("ebbtide-turn-{}-{rounds}", process::id()));
    let exe = env::current_exe().map_err(|error| error.to_string())?;
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(exe)
        .args(["--only", &nth.to_string(), "--rounds", &rounds.to_string()])
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind: {error}"))?;
    let profile = fs::read_to_string(&out).map_err(|error| format!("{status}, {error}"))?;
    let _ = fs::remove_file(out); // the folder is for files that may stay behind
    let total = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| "valgrind wrote no total".to_owned())
}

/// An engine, and the peers that it has accepted.
type World<H> = (Engine<Sim, H>, Vec<PeerId>);

fn connected() -> World<impl Handler> {
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
