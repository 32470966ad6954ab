//! A whole server without a socket: peers, faults, signals and time are a script, and the same
//! script gives the same digest every time.
//!
//! This is what a fuzzer or a benchmark of the event loop drives: `cargo run --example simulated`.
//! (Your own crate needs the feature `sim`.) Three peers send requests, one of them slowly; then a
//! signal comes. Eleven minutes of waiting take no time. Another seed cuts every read and write
//! elsewhere, and the digest is the same.

use ebbtide::internals::engine::{Config, Engine, Inbox, Turn};
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::sim::{Act, Faults, Setup, Sim};
use ebbtide::{Outcome, Request, Response};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SIGTERM: i32 = 15;

fn main() -> std::io::Result<()> {
    for seed in [1, 1, 2] {
        let (outcome, responses, digest) = run(seed)?;
        println!("seed {seed}: {outcome}");
        println!("  {responses:?} bytes for the three peers, digest {digest:016x}");
    }
    Ok(())
}

/// The application: any closure or [`ebbtide::Handler`].
fn answer(request: &Request<'_>) -> Response {
    Response::text(200, format!("hello, {}\n", request.peer()))
}

/// Runs the script in a world whose faults come from this seed. Returns how the drain went, how many
/// bytes each peer got, and the digest of it all.
fn run(seed: u64) -> std::io::Result<(Outcome, [usize; 3], u64)> {
    let mut sim = Sim::new(Setup {
        faults: Faults {
            seed,
            short_reads: 3, // one in three
            short_writes: 3,
            ..Faults::default()
        },
        ..Setup::default()
    });

    // The script, in milliseconds: one peer asks at once, one takes a second for its head, and one
    // connects and asks after ten minutes.
    let peers = [sim.peer(0), sim.peer(0), sim.peer(0)];
    sim.at(0, Act::Connect(peers[0]));
    sim.at(0, Act::Send(peers[0], GET.into()));
    sim.at(0, Act::Connect(peers[1]));
    let (one, two) = GET.split_at(10);
    sim.at(0, Act::Send(peers[1], one.into()));
    sim.at(1_000, Act::Send(peers[1], two.into()));
    sim.at(600_000, Act::Connect(peers[2]));
    sim.at(600_000, Act::Send(peers[2], GET.into()));
    sim.at(660_000, Act::Signal(SIGTERM));
    sim.run_until(700_000);

    let inbox = Inbox::new(sim.waker());
    let mut engine = Engine::new(sim, answer, Config::default(), inbox);
    // Single turns, so that the invariants can be checked between them.
    let outcome = loop {
        engine.check();
        if let Turn::Done(outcome) = engine.turn()? {
            break outcome;
        }
    };
    let sim = engine.sys();
    let responses = peers.map(|peer| sim.got(peer).len());
    Ok((outcome, responses, sim.digest()))
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn everybody_is_answered_and_the_same_seed_is_the_same_world() -> std::io::Result<()> {
        let (outcome, responses, digest) = run(1)?;
        assert_eq!((outcome.code(), outcome.report.answered), (0, 3));
        assert_eq!((outcome.report.opened, outcome.report.closed), (3, 3));
        assert!(responses.iter().all(|bytes| *bytes > 0));
        assert_eq!(run(1)?.2, digest);
        // The digest does not depend on how bytes are cut.
        assert_eq!(run(2)?.2, digest);
        Ok(())
    }
}
