//! The loop sleeps when nothing is due, and a clock that wraps does no harm.

use std::time::Duration;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{PeerId, Setup};
use ebbtide::internals::tick::{MAX_LIMIT, Tick};
use ebbtide::{Fill, Response, Timeouts};

use ebbtide_lab::wire::{CHUNKED, GET, LAST_CHUNK, chunk, get, ok, unavailable};
use ebbtide_lab::{Lab, reluctant};

const DAY: u32 = 24 * 3_600_000;

/// Returns a loop whose clock wraps after this number of milliseconds.
fn wraps_in(millis: u32) -> Lab {
    let setup = Setup {
        start: Tick::from_millis(0_u32.wrapping_sub(millis)),
        ..Setup::default()
    };
    Lab::with(setup, Config::default())
}

#[test]
fn a_server_without_connections_sleeps_until_there_is_one() {
    let mut lab = Lab::new();
    lab.until(40 * DAY);
    assert!(lab.turns <= 2, "{} turns of nothing", lab.turns);
    // The loop serves as before.
    let idle = lab.idle();
    lab.until(40 * DAY + 75_000);
    lab.finished_at(idle, 40 * DAY + 75_000);
    lab.signal();
    lab.drains_at(40 * DAY + 75_002);
}

#[test]
fn a_wait_without_a_limit_costs_a_turn_a_day() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    let (waiting, streaming) = (lab.ask(get("/later/x")), lab.ask(get("/feed/x")));
    let turns = lab.turns;
    lab.until(45 * DAY);
    assert!(
        lab.turns - turns <= 46,
        "{} turns in 45 days",
        lab.turns - turns
    );
    lab.answer("/later/x", Response::text(200, "x\n"));
    feed.push("at last");
    feed.end(Fill::Done);
    lab.now();
    assert_eq!(lab.got(waiting), ok("x\n"));
    let body = chunk("at last");
    assert_eq!(lab.got(streaming), format!("{CHUNKED}{body}{LAST_CHUNK}"));
}

#[test]
fn waits_of_every_age_stay_in_order_and_a_drain_cuts_them_all() {
    let mut lab = wraps_in(20 * DAY);
    let mut peers: Vec<PeerId> = Vec::new();
    for n in 0..47 {
        lab.until(n * DAY);
        peers.push(lab.ask(get(&format!("/later/{n}"))));
        let idle = lab.idle();
        lab.pass(75_000);
        lab.finished_at(idle, n * DAY + 75_000);
    }
    // A response in between is served too.
    lab.answer("/later/10", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.got(peers[10]), ok("x\n"));
    lab.until(47 * DAY);
    lab.signal();
    let outcome = lab.ends_at(47 * DAY + 25_000);
    assert_eq!((outcome.code(), outcome.report.forced_503), (1, 46));
    for (n, peer) in peers.into_iter().enumerate() {
        if n != 10 {
            assert_eq!(lab.got(peer), unavailable());
        }
    }
}

#[test]
fn the_oldest_stays_so_after_longer_than_clocks_compare() {
    let mut lab = Lab::new();
    lab.ask(get("/later/first"));
    lab.until(26 * DAY); // longer than half of what a clock counts
    lab.ask(get("/later/second"));
    lab.until(45 * DAY);
    lab.ask(get("/later/third"));
    lab.now();
    let blockers = lab.engine().blockers(3);
    let requests: Vec<&str> = blockers.iter().map(|b| b.request.as_str()).collect();
    let targets = ["first", "second", "third"].map(|name| format!("GET /later/{name}"));
    assert_eq!(requests, targets);
}

#[test]
fn the_longest_limit_that_can_be_set_is_kept() {
    let times = Timeouts::new()
        .handler(Some(Duration::MAX))
        .write(Duration::from_secs(3_600 * 24 * 365));
    let mut lab = Lab::timed_by(times);
    let waiting = lab.ask(get("/later/x"));
    let reader = lab.connect_as(reluctant(10));
    lab.send(reader, GET);
    lab.until(MAX_LIMIT - 1);
    assert_eq!((lab.open(), lab.report().timed_out), (2, 0));
    lab.until(MAX_LIMIT);
    assert_eq!(lab.got(waiting), unavailable());
    lab.finished_at(waiting, MAX_LIMIT);
    lab.reset_at(reader, MAX_LIMIT);
}

#[test]
fn limits_and_the_drain_hold_across_the_wrap() {
    for before in [0, 1, 500, 9_999, 25_000, 74_999] {
        let mut lab = wraps_in(before);
        let (idle, head) = (lab.idle(), lab.ask("GET / HT"));
        let waiting = lab.ask(get("/later/x"));
        lab.until(10_000);
        lab.finished_at(head, 10_000);
        lab.until(75_000);
        lab.finished_at(idle, 75_000);
        let idle = lab.idle();
        lab.until(76_000);
        lab.signal();
        lab.finished_at(idle, 76_000);
        let outcome = lab.ends_at(101_000);
        assert_eq!((outcome.code(), outcome.report.drain_millis), (1, 25_000));
        assert_eq!(lab.got(waiting), unavailable());
    }
    // A drain goes across the wrap.
    let mut lab = wraps_in(80_000);
    let waiting = lab.ask(get("/later/x"));
    lab.until(70_000);
    lab.signal();
    let outcome = lab.ends_at(95_000);
    assert_eq!(outcome.report.drain_millis, 25_000);
    assert_eq!(lab.got(waiting), unavailable());
}
