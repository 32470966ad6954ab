//! The reasons to stop: signals, the handle, and a second reason.

use std::thread;

use ebbtide::internals::engine::Config;
use ebbtide::{DrainPolicy, End, Response};

use ebbtide_lab::wire::{get, ok, ok_close, post_head, unavailable};
use ebbtide_lab::{Lab, SIGTERM, ms, reluctant};

const SIGINT: i32 = 2;

#[test]
fn a_second_signal_cuts_with_the_same_honesty() {
    let mut lab = Lab::new();
    let waiting = lab.ask(get("/later/x"));
    let uploading = lab.ask(post_head("/echo", 10));
    let half = lab.ask("GET / HT");
    let reader = lab.connect_as(reluctant(1_000));
    lab.send(reader, get("/owned/100000"));
    let feed = lab.app().feed("/feed/x");
    feed.push("one");
    let streaming = lab.ask(get("/feed/x"));
    lab.until(100);
    lab.signal();
    lab.until(777);
    lab.sim().signal(SIGINT);
    let outcome = lab.ends_at(777);
    assert_eq!((outcome.end, outcome.code()), (End::Cut, 3));
    for peer in [waiting, uploading, half] {
        assert_eq!(lab.got(peer), unavailable());
        lab.finished_at(peer, 777);
    }
    for peer in [reader, streaming] {
        lab.reset_at(peer, 777);
    }
    let report = outcome.report;
    assert_eq!((report.forced_503, report.aborted), (3, 2));
    assert_eq!(report.drain_millis, 677);
}

#[test]
fn two_signals_in_one_batch_are_one_reason() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.until(100);
    lab.sim().signal(SIGTERM);
    lab.sim().signal(SIGINT);
    lab.sim().signal(SIGTERM);
    lab.now();
    assert!(!lab.is_over());
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.drains_at(102);
    assert_eq!(lab.got(peer), ok_close("x\n"));
}

#[test]
fn signals_within_50_ms_are_one_action_whichever_they_are() {
    for other in [SIGTERM, SIGINT] {
        for apart in [1, 7, 49, 50] {
            let mut lab = Lab::new();
            let peer = lab.ask(get("/later/x"));
            lab.until(100);
            lab.signal();
            lab.until(100 + apart);
            lab.sim().signal(other);
            lab.until(400);
            lab.still_open(peer);
            lab.answer("/later/x", Response::text(200, "x\n"));
            lab.drains_at(400);
            assert_eq!(lab.got(peer), ok_close("x\n"));
        }
    }
}

#[test]
fn an_action_counts_from_its_first_signal() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    for at in [100, 140, 151] {
        lab.until(at);
        lab.signal();
    }
    assert_eq!(lab.ends_at(151).code(), 3);
    assert_eq!(lab.got(peer), unavailable());
}

#[test]
fn each_action_counts_once_where_the_second_ends_a_delay() {
    let mut lab = Lab::draining_by(DrainPolicy::new().delay(ms(5_000)));
    let (idle, waiting) = (lab.idle(), lab.ask(get("/later/x")));
    for at in [100, 110] {
        lab.until(at);
        lab.signal();
    }
    lab.until(170);
    lab.still_open(idle);
    for at in [200, 220] {
        lab.until(at);
        lab.signal();
        lab.finished_at(idle, 200);
    }
    lab.until(300);
    lab.still_open(waiting);
    lab.signal();
    assert_eq!(lab.ends_at(300).code(), 3);
}

#[test]
fn signals_after_a_shutdown_are_one_action_too() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.engine().handle().shutdown();
    for at in [100, 103] {
        lab.until(at);
        lab.signal();
    }
    lab.until(500);
    lab.still_open(peer);
    lab.signal();
    assert_eq!(lab.ends_at(500).code(), 3);
}

#[test]
fn an_explicit_cut_is_a_cut_however_soon_it_follows() {
    for apart in [0, 1, 49] {
        let mut lab = Lab::new();
        let peer = lab.ask(get("/later/x"));
        lab.until(100);
        lab.signal();
        lab.until(100 + apart);
        lab.engine().handle().shutdown();
        lab.engine().handle().cut();
        assert_eq!(lab.ends_at(100 + apart).code(), 3);
        assert_eq!(lab.got(peer), unavailable());
    }
}

#[test]
fn a_second_signal_ends_the_notice_and_a_third_cuts() {
    let mut lab = Lab::draining_by(DrainPolicy::new().delay(ms(5_000)));
    let (idle, waiting) = (lab.idle(), lab.ask(get("/later/x")));
    lab.until(100);
    lab.signal();
    lab.until(200);
    lab.still_open(idle);
    let last = lab.ask(get("/say/last"));
    assert_eq!(lab.got(last), ok_close("last\n"));
    lab.signal();
    lab.finished_at(idle, 200);
    lab.until(300);
    let refused = lab.sim().connect(0);
    lab.until(400);
    assert_eq!(lab.seen(refused).refused, Some(300));
    lab.still_open(waiting);
    lab.signal();
    let outcome = lab.ends_at(400);
    assert_eq!((outcome.code(), outcome.report.forced_503), (3, 1));
    assert_eq!(outcome.report.drain_millis, 300);
    assert_eq!(lab.got(waiting), unavailable());
}

#[test]
fn shutdown_from_a_handler_drains() {
    let mut lab = Lab::new();
    let (idle, waiting) = (lab.idle(), lab.ask(get("/later/x")));
    lab.until(1_000);
    let asking = lab.ask(get("/shutdown"));
    // The response was written before the loop knew of the shutdown.
    assert_eq!(lab.got(asking), ok("stopping\n"));
    lab.finished_at(idle, 1_000);
    lab.until(1_026);
    lab.finished_at(asking, 1_026);
    lab.until(2_000);
    lab.answer("/later/x", Response::text(200, "x\n"));
    assert_eq!(lab.drains_at(2_000).drain_millis, 1_000);
    assert_eq!(lab.got(waiting), ok_close("x\n"));
}

#[test]
fn shutdown_from_threads_is_one_reason_however_often() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    let handle = lab.engine().handle().clone();
    assert!(!handle.draining());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| handle.shutdown());
        }
    });
    lab.now();
    assert!(handle.draining());
    lab.until(500);
    handle.shutdown();
    lab.until(600);
    lab.still_open(peer);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.drains_at(600);
    assert_eq!(lab.got(peer), ok_close("x\n"));
    handle.shutdown(); // the server has ended
}

#[test]
fn the_first_signal_after_a_shutdown_does_not_cut() {
    // A hook of the supervisor asks for the drain, and then the supervisor sends its usual signal.
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.engine().handle().shutdown();
    lab.until(100);
    lab.signal();
    lab.until(500);
    lab.still_open(peer);
    lab.answer("/later/x", Response::text(200, "x\n"));
    assert_eq!(lab.drains_at(500).drain_millis, 500);
    assert_eq!(lab.got(peer), ok_close("x\n"));
}

#[test]
fn the_second_signal_after_a_shutdown_does() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.engine().handle().shutdown();
    lab.until(100);
    lab.signal();
    lab.until(200);
    lab.signal();
    let outcome = lab.ends_at(200);
    assert_eq!((outcome.end, outcome.report.forced_503), (End::Cut, 1));
    assert_eq!(lab.got(peer), unavailable());
}

#[test]
fn shutdown_after_a_signal_changes_nothing() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.signal();
    lab.engine().handle().shutdown();
    lab.until(500);
    lab.still_open(peer);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.drains_at(500);
}

#[test]
fn cut_ends_a_drain_at_once() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.signal();
    lab.until(300);
    lab.engine().handle().cut();
    let outcome = lab.ends_at(300);
    assert_eq!((outcome.code(), outcome.report.drain_millis), (3, 300));
    assert_eq!(lab.got(peer), unavailable());
}

#[test]
fn cut_without_a_drain_ends_at_once_and_is_told() {
    let mut lab = Lab::new();
    let (waiting, idle) = (lab.ask(get("/later/x")), lab.idle());
    lab.until(300);
    let asking = lab.ask(get("/cut"));
    let outcome = lab.ends_at(300);
    assert_eq!((outcome.end, outcome.report.cut), (End::Cut, 1));
    assert_eq!(lab.got(waiting), unavailable());
    assert_eq!(lab.got(asking), ok("cutting\n"));
    lab.finished_at(idle, 300);
    // Threads can see that they should not go on.
    assert!(lab.engine().handle().draining());
    let ticket = lab.app().ticket("/later/x");
    assert!(ticket.draining());
}

#[test]
fn without_a_drain_the_first_signal_cuts() {
    let mut lab = Lab::configured(Config {
        no_drain: true,
        ..Config::default()
    });
    let (waiting, idle) = (lab.ask(get("/later/x")), lab.idle());
    lab.until(300);
    lab.signal();
    let outcome = lab.ends_at(300);
    assert_eq!((outcome.code(), outcome.report.forced_503), (3, 1));
    assert_eq!(lab.got(waiting), unavailable());
    lab.finished_at(idle, 300);
    assert!(lab.engine().handle().draining());
}

#[test]
fn draining_is_seen_by_requests_and_tickets() {
    let mut lab = Lab::new();
    let before = lab.ask(get("/draining"));
    let waiting = lab.ask(get("/later/x"));
    assert_eq!(lab.got(before), ok("false\n"));
    lab.signal();
    lab.send(before, get("/draining"));
    assert_eq!(lab.got(before), ok("false\n") + &ok_close("true\n"));
    let ticket = lab.app().ticket("/later/x");
    assert!(ticket.draining());
    ticket.send(Response::text(200, "x\n"));
    lab.drains_at(2);
    assert_eq!(lab.got(waiting), ok_close("x\n"));
}

#[test]
fn the_outcome_has_a_line_for_people() {
    let mut lab = Lab::new();
    lab.idle();
    lab.until(1_000);
    lab.signal();
    let outcome = lab.ends_at(1_002);
    let line = outcome.to_string();
    assert_eq!(
        line,
        "drained in 0.002 s, nothing cut: 1 connection, 1 request, 1 answered, 1 closed idle"
    );
}

#[test]
fn a_guard_holds_the_end_until_it_is_dropped() {
    let mut lab = Lab::new();
    let idle = lab.idle();
    let guard = lab.engine().handle().guard("queue");
    lab.until(100);
    lab.signal();
    lab.until(7_000);
    lab.finished_at(idle, 100);
    assert_eq!((lab.open(), lab.is_over()), (0, false));
    drop(guard);
    let report = lab.drains_at(7_000);
    assert!(report.held.is_empty());
}

#[test]
fn a_guard_does_not_hold_the_deadline() {
    let mut lab = Lab::new();
    let guard = lab.engine().handle().guard("queue");
    lab.until(100);
    lab.signal();
    let outcome = lab.ends_at(25_100);
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert_eq!(outcome.report.held, ["queue"]);
    drop(guard);
}
