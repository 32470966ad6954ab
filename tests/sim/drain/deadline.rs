//! The one deadline over everything, and the force at it.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, Manner, Pace, PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, End, Report};

use ebbtide_lab::wire::{GET, get, ok, ok_close, post_head, unavailable};
use ebbtide_lab::{EVERYTHING, Lab, SIGTERM, ms, reluctant, silent};

const SIGNAL: u32 = 1_000;
const LIMIT: u32 = 3_000;
const DEADLINE: u32 = SIGNAL + LIMIT;

fn lab() -> Lab {
    Lab::draining_by(DrainPolicy::new().timeout(ms(u64::from(LIMIT))))
}

/// Signals, and asserts an end at the deadline to the millisecond that cut somebody.
#[track_caller]
fn cut_at_the_deadline(lab: &mut Lab) -> Report {
    if !lab.engine().handle().draining() {
        lab.until(SIGNAL);
        lab.signal();
    }
    lab.until(DEADLINE - 1);
    assert!(!lab.is_over());
    let outcome = lab.ends_at(DEADLINE);
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert_eq!(outcome.report.drain_millis, LIMIT);
    outcome.report
}

#[track_caller]
fn forced(lab: &mut Lab, peer: PeerId) {
    let report = cut_at_the_deadline(lab);
    assert_eq!((report.forced_503, report.cut), (1, 1));
    assert_eq!(lab.got(peer), unavailable());
    lab.finished_at(peer, DEADLINE);
}

#[track_caller]
fn aborted(lab: &mut Lab, peer: PeerId) {
    let report = cut_at_the_deadline(lab);
    assert_eq!((report.aborted, report.cut), (1, 1));
    lab.reset_at(peer, DEADLINE);
}

#[test]
fn r17_a_silent_upload() {
    let mut lab = lab();
    let peer = lab.ask(post_head("/echo", 10) + "half");
    assert_eq!(lab.count(Phase::Body), 1);
    forced(&mut lab, peer);
    assert_eq!(lab.app().runs(), 0);
}

#[test]
fn r17_half_a_head_where_the_heads_limit_is_the_longer() {
    let drain = DrainPolicy::new()
        .timeout(ms(u64::from(LIMIT)))
        .head_timeout(ms(20_000));
    let mut lab = Lab::draining_by(drain);
    let peer = lab.ask("GET / HT");
    forced(&mut lab, peer);
}

#[test]
fn r17_a_handler_that_never_answers() {
    let mut lab = lab();
    let peer = lab.ask(get("/later/x"));
    forced(&mut lab, peer);
    // The response comes too late.
    lab.answer("/later/x", ebbtide::Response::text(200, "x\n"));
    assert_eq!(lab.got(peer), unavailable());
}

#[test]
fn r17_a_sink_that_never_goes_on() {
    let mut lab = lab();
    let basin = lab.app().basin.clone();
    let peer = lab.ask(post_head("/sink", 10));
    basin.borrow_mut().pause_at = Some(1);
    lab.send(peer, "half");
    assert_eq!(basin.borrow().pauses, 1);
    forced(&mut lab, peer);
    assert!(basin.borrow().dropped && !basin.borrow().ended);
}

#[test]
fn r17_a_stream_that_never_goes_on() {
    let mut lab = lab();
    let feed = lab.app().feed("/feed/x");
    feed.push("one");
    let peer = lab.ask(get("/feed/x"));
    aborted(&mut lab, peer);
    assert!(
        lab.got(peer).ends_with("3\r\none\r\n"),
        "no end of the body"
    );
}

#[test]
fn r17_a_reader_that_stops() {
    let mut lab = lab();
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get("/owned/100000"));
    lab.sim().take(peer, 500);
    lab.now();
    assert_eq!(lab.count(Phase::Reply), 1);
    aborted(&mut lab, peer);
}

#[test]
fn r17_a_peer_that_takes_nothing_of_a_response_that_is_with_the_kernel() {
    let mut lab = lab();
    let peer = lab.connect_as(Manner {
        answers: Pace::Never,
        ..reluctant(256 << 10)
    });
    lab.send(peer, get("/close"));
    lab.until(SIGNAL - 10);
    assert_eq!(lab.count(Phase::Linger), 1);
    let report = cut_at_the_deadline(&mut lab);
    assert_eq!((report.undelivered, report.cut), (1, 1));
    assert_eq!(lab.got(peer), "");
}

#[test]
fn r17_also_when_it_has_closed_its_side() {
    let mut lab = lab();
    let peer = lab.connect_as(reluctant(256 << 10));
    lab.until(SIGNAL);
    lab.sim().send(peer, get("/close"));
    lab.sim().fin(peer);
    lab.signal();
    let report = cut_at_the_deadline(&mut lab);
    assert_eq!((report.undelivered, report.cut), (1, 1));
}

#[test]
fn r17_a_peer_that_never_closes_holds_nothing() {
    let mut lab = lab();
    let peer = lab.connect_as(silent());
    lab.send(peer, get("/close"));
    lab.until(SIGNAL);
    lab.signal();
    lab.drains_at(SIGNAL + 250);
    lab.finished_at(peer, 0);
}

#[test]
fn r17_everything_at_once() {
    let mut lab = lab();
    let mut peers = Vec::new();
    for n in 0..200 {
        peers.push(lab.ask(get(&format!("/later/{n}"))));
        peers.push(lab.ask(post_head("/echo", 10)));
        let reader = lab.connect_as(reluctant(1_000));
        lab.send(reader, get("/owned/10000"));
    }
    let report = cut_at_the_deadline(&mut lab);
    assert_eq!((report.forced_503, report.aborted), (400, 200));
    for peer in peers {
        assert_eq!(lab.got(peer), unavailable());
    }
}

#[test]
fn a_request_that_arrives_with_the_deadline_is_answered_or_told() {
    // Only a longer grace lets an idle connection stay until the deadline.
    let drain = DrainPolicy::new().timeout(ms(100)).idle_grace(ms(60_000));
    let mut lab = Lab::draining_by(drain);
    let (asking, silent) = (lab.idle(), lab.idle());
    lab.signal();
    lab.sim().at(100, Act::Send(asking, GET.into()));
    lab.drains_at(100);
    assert_eq!(lab.got_then(asking), ok_close("hello\n"));
    lab.finished_at(asking, 100);
    lab.finished_at(silent, 100);
}

#[test]
fn a_request_of_which_no_event_has_told_at_the_deadline_gets_503() {
    let setup = Setup {
        batch: 1,
        ..Setup::default()
    };
    let config = Config {
        drain: DrainPolicy::new().timeout(ms(100)).idle_grace(ms(60_000)),
        ..Config::default()
    };
    let mut lab = Lab::with(setup, config);
    let (first, asking, silent) = (lab.idle(), lab.idle(), lab.idle());
    lab.signal();
    // The turn of the deadline gets the event of the first alone.
    for peer in [first, asking] {
        lab.sim().at(100, Act::Send(peer, GET.into()));
    }
    let outcome = lab.ends_at(100);
    assert_eq!((outcome.code(), outcome.report.cut), (1, 1));
    assert_eq!(lab.got_then(first), ok_close("hello\n"));
    assert_eq!(lab.got_then(asking), unavailable());
    assert_eq!(lab.got_then(silent), "");
    for peer in [first, asking, silent] {
        lab.finished_at(peer, 100);
    }
}

#[test]
fn a_deadline_that_finds_only_the_idle_has_destroyed_nothing() {
    let drain = DrainPolicy::new().timeout(ms(500)).idle_grace(ms(60_000));
    let mut lab = Lab::draining_by(drain);
    let peer = lab.idle();
    lab.signal();
    let report = lab.drains_at(500);
    assert_eq!((report.closed_idle, report.drain_millis), (1, 500));
    lab.finished_at(peer, 500);
}

/// An endless stream goes through a window that opens every ten milliseconds.
#[track_caller]
fn endless(version: &str) -> String {
    let mut lab = Lab::draining_by(DrainPolicy::new().timeout(ms(300)));
    let peer = lab.connect_as(Manner {
        takes: Pace::After(10),
        ..reluctant(64 << 10)
    });
    let target = format!("/flood/{}", usize::MAX);
    lab.send(peer, format!("GET {target} {version}\r\nHost: a\r\n\r\n"));
    lab.until(SIGNAL);
    lab.signal();
    let outcome = lab.ends_at(SIGNAL + 300);
    assert_eq!((outcome.end, outcome.report.aborted), (End::Deadline, 1));
    lab.reset_at(peer, SIGNAL + 300);
    let got = lab.got(peer);
    assert!(got.len() > 1 << 20);
    got
}

#[test]
fn r12_a_body_up_to_the_close_does_not_look_complete() {
    let got = endless("HTTP/1.0");
    assert!(got.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0000000\n"));
}

#[test]
fn r12_a_chunked_body_gets_no_last_chunk() {
    let got = endless("HTTP/1.1");
    assert!(got.starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n"));
    assert!(!got.contains("\r\n0\r\n"));
}

#[test]
fn r12_a_body_of_known_length_is_reset() {
    let mut lab = lab();
    let feed = lab.app().feed("/sized/100");
    feed.push("half");
    let peer = lab.ask(get("/sized/100"));
    aborted(&mut lab, peer);
    let got = lab.got(peer);
    assert_eq!(got, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
}

#[test]
fn responses_that_were_owed_before_are_not_followed_by_a_503() {
    // The second request waits behind a response that its peer does not take.
    let mut lab = lab();
    let peer = lab.connect_as(reluctant(100));
    lab.send(peer, GET.to_owned() + &get("/later/x"));
    lab.sim().take(peer, EVERYTHING);
    aborted(&mut lab, peer);
    let got = lab.got(peer);
    assert!(!got.is_empty() && ok("hello\n").starts_with(&got));
}

#[test]
fn a_request_that_has_come_is_cut_and_not_idle_though_its_read_is_interrupted() {
    for seed in 0..16 {
        let faults = Faults {
            seed,
            interrupts: 2,
            ..Faults::default()
        };
        let setup = Setup {
            faults,
            ..Setup::default()
        };
        let config = Config {
            drain: DrainPolicy::new().timeout(ms(0)),
            ..Config::default()
        };
        let mut lab = Lab::with(setup, config);
        let peer = lab.sim().peer(0);
        lab.sim().at(10, Act::Connect(peer));
        lab.sim().at(10, Act::Send(peer, GET.into()));
        lab.sim().at(10, Act::Signal(SIGTERM));
        lab.until(100);
        let (_, outcome) = lab.outcome().expect("over");
        lab.aftermath(100);
        assert_eq!(outcome.end, End::Deadline, "seed {seed}");
        assert_eq!(outcome.report.forced_503, 1, "seed {seed}");
        assert_eq!(lab.got(peer), unavailable(), "seed {seed}");
    }
}
