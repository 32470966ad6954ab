//! The listener: which connections it still accepts, which it refuses, and the delay before it
//! closes.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, PeerId, Setup};
use ebbtide::{DrainPolicy, Fill, LateRequests, Response};

use ebbtide_lab::wire::{CHUNKED, GET, LAST_CHUNK, get, ok_close, post, text_close};
use ebbtide_lab::{Lab, SIGTERM, ms};

fn filtered(filter: bool) -> Lab {
    let setup = Setup {
        filter,
        ..Setup::default()
    };
    Lab::with(setup, Config::default())
}

/// Returns when the listener of a drain closes, after the signal.
const fn last_call(filter: bool) -> u32 {
    if filter { 2 } else { 0 }
}

#[test]
fn r03_a_peer_in_the_backlog_with_a_request_is_answered() {
    for filter in [true, false] {
        // The second count is more than one turn accepts.
        for count in [50, 600] {
            let mut lab = filtered(filter);
            lab.until(1_000);
            let peers: Vec<PeerId> = (0..count).map(|_| lab.sim().connect(0)).collect();
            for peer in &peers {
                lab.sim().send(*peer, GET);
            }
            lab.signal();
            for peer in &peers {
                assert_eq!(lab.got(*peer), ok_close("hello\n"));
                lab.finished_at(*peer, 1_000);
            }
            // The delay applies without a filter too when one pass does not empty the backlog.
            let report = lab.drains_at(1_000 + last_call(filter || count > 256));
            assert_eq!(report.answered, count);
        }
    }
}

#[test]
fn r03_a_peer_in_the_backlog_and_silent_gets_an_end() {
    for filter in [true, false] {
        let mut lab = filtered(filter);
        lab.until(1_000);
        let peers: Vec<PeerId> = (0..50).map(|_| lab.sim().connect(0)).collect();
        lab.signal();
        lab.drains_at(1_025);
        for peer in peers {
            lab.finished_at(peer, 1_025);
            assert_eq!(lab.got(peer), "");
        }
    }
}

#[test]
fn r13_a_connect_after_the_signal_is_refused_at_once() {
    for filter in [true, false] {
        let mut lab = filtered(filter);
        let busy = lab.ask(get("/later/x"));
        lab.until(100);
        lab.signal();
        // A connection of the same moment waits for a millisecond, if the filter works, and is then
        // refused.
        let at_once = lab.sim().connect(0);
        lab.now();
        let after = lab.sim().peer(0);
        lab.sim().at(105, Act::Connect(after));
        lab.until(200);
        assert_eq!(lab.seen(at_once).refused, Some(100 + last_call(filter)));
        assert_eq!(lab.seen(after).refused, Some(105));
        assert!(!lab.seen(at_once).connected && !lab.seen(after).connected);
        lab.still_open(busy);
        lab.answer("/later/x", Response::text(200, "x\n"));
        lab.drains_at(200);
    }
}

#[test]
fn r14_nobody_is_accepted_and_then_destroyed() {
    for filter in [true, false] {
        for d in 0..10 {
            let mut lab = filtered(filter);
            let busy = lab.ask(get("/later/x"));
            let peer = lab.sim().peer(0);
            lab.sim().at(95 + d, Act::Connect(peer));
            lab.sim().at(95 + d, Act::Send(peer, GET.into()));
            lab.sim().at(100, Act::Signal(SIGTERM));
            lab.until(200);
            let seen = lab.seen(peer);
            assert_eq!(seen.reset, None);
            if seen.connected {
                assert!(d <= 5, "after the signal nobody comes in");
                assert!(lab.got(peer).starts_with("HTTP/1.1 200 OK"), "{d}");
            } else {
                assert!(d > 5 && seen.refused.is_some(), "{d}");
            }
            lab.answer("/later/x", Response::text(200, "x\n"));
            lab.drains_at(200);
            lab.finished_at(busy, 200);
        }
    }
}

#[test]
fn a_backlog_that_cannot_be_emptied_holds_the_listener_for_a_second_and_no_longer() {
    let setup = Setup {
        faults: Faults {
            exhausted: 50..u32::MAX,
            ..Faults::default()
        },
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    lab.until(100);
    let outside = lab.sim().connect(0);
    lab.signal();
    lab.until(1_099);
    assert!(!lab.is_over());
    lab.drains_at(1_100);
    assert_eq!(lab.seen(outside).reset, Some(1_100));
    assert!(lab.turns < 40, "{} turns of a second of waiting", lab.turns);
}

#[test]
fn a_notice_goes_on_accepting_and_says_close() {
    let mut lab = Lab::draining_by(DrainPolicy::new().delay(ms(5_000)));
    let idle = lab.idle();
    let asking = lab.idle();
    lab.until(1_000);
    lab.signal();
    assert!(lab.engine().handle().draining());
    lab.until(3_000);
    lab.still_open(idle);
    // New connections see that the server is not ready, and every response moves its client on.
    let ready = lab.ask(get("/draining"));
    assert_eq!(lab.got(ready), ok_close("true\n"));
    lab.finished_at(ready, 3_000);
    lab.send(asking, GET);
    assert_eq!(lab.got_then(asking), ok_close("hello\n"));
    lab.finished_at(asking, 3_000);
    lab.until(5_999);
    lab.still_open(idle);
    let last = lab.ask(GET);
    assert_eq!(lab.got(last), ok_close("hello\n"));
    lab.until(6_000);
    lab.finished_at(idle, 6_000);
    let report = lab.drains_at(6_002);
    assert_eq!((report.drain_millis, report.closed_idle), (5_002, 1));
}

#[test]
fn a_notice_is_within_the_limit() {
    let drain = DrainPolicy::new().delay(ms(5_000)).timeout(ms(2_000));
    let mut lab = Lab::draining_by(drain);
    let idle = lab.idle();
    lab.signal();
    let report = lab.drains_at(2_000);
    lab.finished_at(idle, 2_000);
    assert_eq!(report.drain_millis, 2_000);
}

fn late(late: LateRequests) -> Lab {
    let mut lab = Lab::configured(Config {
        late_requests: late,
        drain: DrainPolicy::new().idle_grace(ms(1_000)),
        ..Config::default()
    });
    lab.until(100);
    lab
}

#[test]
fn late_requests_are_rejected_where_that_is_asked_for() {
    let mut lab = late(LateRequests::Reject(Response::text(503, "leaving\n")));
    let (before, after) = (lab.idle(), lab.idle());
    let begun = lab.ask("GET /say/begun HT");
    let pending = lab.ask(get("/later/x"));
    lab.sim().send(before, GET); // a request of the turn of the signal does not come after it
    lab.signal();
    assert_eq!(lab.got_then(before), ok_close("hello\n"));
    lab.until(150);
    lab.send(after, GET);
    assert_eq!(
        lab.got_then(after),
        text_close("503 Service Unavailable", "leaving\n")
    );
    lab.finished_at(after, 150);
    lab.send(begun, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(
        lab.got(begun),
        ok_close("begun\n"),
        "its first byte came before"
    );
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.got(pending), ok_close("x\n"));
    let report = lab.drains_at(150);
    assert_eq!((report.late, report.closed_idle), (1, 0));
    assert_eq!(lab.app().runs(), 5);
}

#[test]
fn requests_from_before_the_signal_are_not_late_however_many_they_are() {
    // Each batch is small, and serving it takes time.
    let setup = Setup {
        batch: 3,
        faults: Faults {
            held_up: 1,
            ..Faults::default()
        },
        ..Setup::default()
    };
    let config = Config {
        late_requests: LateRequests::Drop,
        drain: DrainPolicy::new().idle_grace(ms(1_000)),
        ..Config::default()
    };
    let mut lab = Lab::with(setup, config);
    let peers: Vec<_> = (0..20).map(|_| lab.idle()).collect();
    lab.sim().signal(SIGTERM);
    for peer in &peers {
        lab.sim().send(*peer, GET);
    }
    lab.pass(10_000);
    for peer in peers {
        assert_eq!(lab.got_then(peer), ok_close("hello\n"));
    }
    assert!(lab.is_over());
    assert_eq!(lab.report().late, 0);
}

#[test]
fn a_request_that_was_read_behind_a_stream_is_not_late() {
    let mut lab = late(LateRequests::Drop);
    let feed = lab.app().feed("/feed/x");
    let peer = lab.ask(get("/feed/x") + GET);
    lab.signal();
    lab.until(150);
    feed.end(Fill::Done);
    let report = lab.drains_at(150);
    let response = ok_close("hello\n");
    assert_eq!(lab.got(peer), format!("{CHUNKED}{LAST_CHUNK}{response}"));
    assert_eq!(report.late, 0);
}

#[test]
fn late_requests_are_dropped_where_that_is_asked_for() {
    let mut lab = late(LateRequests::Drop);
    let peer = lab.idle();
    lab.signal();
    lab.until(150);
    lab.send(peer, post("/echo", "unheard"));
    assert_eq!(lab.got_then(peer), "");
    lab.finished_at(peer, 150);
    let report = lab.drains_at(150);
    assert_eq!((report.late, report.answered), (1, 1));
    assert_eq!(lab.app().runs(), 1);
}

#[test]
fn late_requests_are_served_with_close_by_default() {
    let mut lab = late(LateRequests::Serve);
    let peer = lab.idle();
    lab.signal();
    lab.until(150);
    lab.send(peer, GET);
    assert_eq!(lab.got_then(peer), ok_close("hello\n"));
    assert_eq!(lab.drains_at(150).late, 0);
}
