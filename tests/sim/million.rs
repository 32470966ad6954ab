//! A million connections: connect, request, idle, signal, drain.

use std::time::Instant;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Bytes, Manner, PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{End, Outcome, Request, Response};

use ebbtide_lab::wire::{GET, ok};
use ebbtide_lab::{Lab, SIGTERM};

/// A debug build checks more in every turn.
const COUNT: u32 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

const SIGNAL: u32 = 60_000;

/// Returns how a million went, and the digest of everything that happened to them.
fn run() -> (Outcome, u32, u64) {
    let setup = Setup {
        backlog: COUNT as usize,
        record: false,
        manner: Manner {
            window: 4_096,
            ..Manner::default()
        },
        ..Setup::default()
    };
    let hello = |_: &Request<'_>| Response::text(200, "hello\n");
    let mut lab = Lab::run(setup, Config::default(), hello);
    lab.patience = u64::from(COUNT);
    let request = Bytes::from(GET);
    for n in 0..COUNT {
        let peer = lab.sim().peer(0);
        let millis = n % 30_000;
        lab.sim().at(millis, Act::Connect(peer));
        lab.sim().at(millis, Act::Send(peer, request.clone()));
        // One peer in a hundred is in the middle of a second request at the signal.
        if n % 100 == 0 {
            let half = SIGNAL - 1 - n % 50;
            lab.sim()
                .at(half, Act::Send(peer, "GET / HTTP/1.1\r\n".into()));
            lab.sim()
                .at(half + 100, Act::Send(peer, "Host: a\r\n\r\n".into()));
        }
    }
    lab.sim().at(SIGNAL, Act::Signal(SIGTERM));
    lab.until(SIGNAL - 1);
    assert_eq!((lab.open(), lab.count(Phase::Head)), (COUNT, COUNT / 100));
    lab.until(SIGNAL);
    assert_eq!(
        lab.open(),
        COUNT / 100,
        "the idle leave in the moment of the signal"
    );
    lab.until(SIGNAL + 1_000);
    let (at, outcome) = lab.outcome().expect("nobody is left");
    let response = ok("hello\n").len() as u64 + 37; // with its Date
    for n in 0..COUNT {
        let peer = PeerId::of(n);
        let again = n % 100 == 0;
        let close = "Connection: close\r\n".len() as u64;
        let expected = response + if again { response + close } else { 0 };
        assert_eq!(lab.sim().taken(peer), expected);
        let seen = lab.seen(peer);
        assert!(seen.fin.is_some() && seen.reset.is_none());
    }
    (outcome, at, lab.sim().digest())
}

#[test]
fn a_million_connections_drain_with_none_lost_and_the_same_each_time() {
    let begin = Instant::now();
    let (outcome, at, digest) = run();
    println!(
        "{COUNT} connections in {:?}, digest {digest:x}: {outcome}",
        begin.elapsed()
    );
    assert_eq!((outcome.end, outcome.code()), (End::Drained, 0));
    assert_eq!(at, SIGNAL + 99, "as soon as the last head was completed");
    let report = &outcome.report;
    let again = u64::from(COUNT / 100);
    assert_eq!((report.opened, report.closed), (COUNT.into(), COUNT.into()));
    assert_eq!(report.requests, u64::from(COUNT) + again);
    assert_eq!(report.answered, report.requests);
    assert_eq!(report.closed_idle, u64::from(COUNT) - again);
    assert_eq!((report.cut, report.left, report.timed_out), (0, 0, 0));
    let (again, at_again, digest_again) = run();
    assert_eq!((again, at_again, digest_again), (outcome, at, digest));
}
