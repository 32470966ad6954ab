//! Requests under way: half a head, half a body, a pipeline, a response that is awaited.

use ebbtide::Response;
use ebbtide::internals::sys::sim::{Act, PeerId};
use ebbtide::internals::tracker::Phase;

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{GET, get, ok, ok_close, post, post_head, text_close, timed_out};

/// Connects a peer with half a head at 0 ms, of the first or the second request of its connection.
fn half_a_head(lab: &mut Lab, reused: bool) -> PeerId {
    let peer = if reused { lab.idle() } else { lab.connect() };
    lab.send(peer, "GET / HT");
    assert_eq!(lab.count(Phase::Head), 1);
    peer
}

fn first_response(reused: bool) -> String {
    if reused { ok("hello\n") } else { String::new() }
}

#[test]
fn r05_r06_half_a_head_may_be_completed() {
    for reused in [false, true] {
        let mut lab = Lab::new();
        let peer = half_a_head(&mut lab, reused);
        lab.until(100);
        lab.signal();
        lab.until(400);
        lab.still_open(peer);
        lab.send(peer, "TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(lab.got(peer), first_response(reused) + &ok_close("hello\n"));
        lab.finished_at(peer, 400);
        let report = lab.drains_at(400);
        assert_eq!((report.timed_out, report.closed_idle), (0, 0));
    }
}

#[test]
fn r05_r06_half_a_head_that_is_never_completed_gets_408_at_the_drains_limit() {
    for reused in [false, true] {
        let mut lab = Lab::new();
        let peer = half_a_head(&mut lab, reused);
        lab.until(100);
        lab.signal();
        lab.until(2_099);
        lab.still_open(peer);
        let report = lab.drains_at(2_100);
        assert_eq!(lab.got(peer), first_response(reused) + &timed_out());
        lab.finished_at(peer, 2_100);
        assert_eq!(
            (report.timed_out, report.answered),
            (1, 1 + u64::from(reused))
        );
    }
}

#[test]
fn r18_dripping_does_not_hold_the_drain() {
    let mut lab = Lab::new();
    let peer = half_a_head(&mut lab, false);
    lab.until(100);
    lab.signal();
    for second in 0..20 {
        lab.sim()
            .at(150 + second * 100, Act::Send(peer, "x".into()));
    }
    lab.drains_at(2_100);
    assert_eq!(lab.got(peer), timed_out());
    lab.finished_at(peer, 2_100);
}

#[test]
fn a_head_that_begins_in_the_drain_has_the_drains_limit_from_its_first_byte() {
    let mut lab = Lab::new();
    lab.until(90);
    let peer = lab.connect();
    lab.until(100);
    lab.signal();
    lab.until(110);
    lab.send(peer, "G");
    lab.drains_at(2_110);
    assert_eq!(lab.got(peer), timed_out());
}

#[test]
fn r08_of_a_pipeline_what_has_begun_is_answered_and_the_rest_never_run() {
    let mut lab = Lab::new();
    let all = get("/later/1") + &get("/say/2") + &get("/say/3");
    let peer = lab.ask(all);
    lab.until(100);
    lab.signal();
    lab.until(300);
    lab.answer("/later/1", Response::text(200, "1\n"));
    lab.drains_at(300);
    assert_eq!(lab.got(peer), ok_close("1\n"));
    lab.finished_at(peer, 300);
    assert_eq!(*lab.app().ran.borrow(), ["/later/1"]);
}

#[test]
fn r08_close_is_said_on_the_last_response_only() {
    let mut lab = Lab::new();
    let all = get("/say/1") + &get("/later/2") + &get("/say/3");
    let peer = lab.ask(all);
    lab.until(100);
    lab.signal();
    lab.until(300);
    assert_eq!(lab.got(peer), ok("1\n"));
    lab.answer("/later/2", Response::text(200, "2\n"));
    lab.drains_at(300);
    assert_eq!(lab.got(peer), ok("1\n") + &ok_close("2\n"));
    lab.finished_at(peer, 300);
    assert_eq!(*lab.app().ran.borrow(), ["/say/1", "/later/2"]);
}

#[test]
fn r08_a_pipeline_that_comes_in_the_drain_has_one_response() {
    let mut lab = Lab::new();
    let peer = half_a_head(&mut lab, false);
    lab.until(100);
    lab.signal();
    lab.send(peer, format!("TP/1.1\r\nHost: a\r\n\r\n{GET}{GET}"));
    assert_eq!(lab.got(peer), ok_close("hello\n"));
    lab.drains_at(102);
    lab.finished_at(peer, 100);
    assert_eq!(lab.app().runs(), 1);
}

#[test]
fn r15_a_busy_client_is_answered_once_more() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    for millis in 1..200 {
        lab.sim().at(millis, Act::Send(peer, GET.into()));
    }
    lab.until(100);
    lab.signal();
    let report = lab.drains_at(102);
    assert_eq!(
        lab.got(peer),
        ok("hello\n").repeat(101) + &ok_close("hello\n")
    );
    lab.finished_at(peer, 101);
    assert_eq!(report.requests, 102);
}

#[test]
fn r10_an_upload_goes_on() {
    let mut lab = Lab::new();
    let peer = lab.ask(post_head("/echo", 10));
    lab.send(peer, "01234");
    lab.until(100);
    lab.signal();
    lab.until(20_000);
    assert_eq!((lab.got(peer).as_str(), lab.count(Phase::Body)), ("", 1));
    lab.send(peer, "56789");
    lab.drains_at(20_000);
    assert_eq!(lab.got(peer), ok_close("0123456789"));
    lab.finished_at(peer, 20_000);
}

#[test]
fn r10_the_response_to_an_upload_that_is_not_taken_is_not_destroyed() {
    for d in 0..100 {
        let mut lab = Lab::new();
        let peer = lab.connect();
        lab.sim().send(peer, post_head("/echo", 8 << 20));
        for millis in 0..10 {
            let piece = vec![b'x'; 800 << 10];
            lab.sim().at(100 + millis, Act::Send(peer, piece.into()));
        }
        lab.until(95 + d / 5);
        lab.signal();
        lab.until(400);
        let why = "the body is longer than 1048576 bytes\n";
        assert_eq!(lab.got(peer), text_close("413 Content Too Large", why));
        let seen = lab.seen(peer);
        assert_eq!((seen.fin, seen.reset), (Some(0), None));
        assert!(lab.outcome().is_some());
    }
}

#[test]
fn r22_an_upload_that_is_paused_at_the_signal_completes() {
    let mut lab = Lab::new();
    let basin = lab.app().basin.clone();
    let peer = lab.ask(post_head("/sink", 100_000));
    basin.borrow_mut().pause_at = Some(1);
    lab.send(peer, "x".repeat(50_000));
    assert_eq!(lab.count(Phase::Handler), 1);
    lab.until(100);
    lab.signal();
    // The rest arrives before the next read, and its edge was reported long ago.
    lab.send(peer, "y".repeat(50_000));
    lab.until(500);
    assert_eq!(
        (basin.borrow().bytes.len(), basin.borrow().pauses),
        (50_000, 1)
    );
    basin.borrow_mut().pause_at = None;
    let waker = basin.borrow().waker.clone().expect("it was asked");
    waker.wake();
    lab.drains_at(500);
    assert_eq!(lab.got(peer), ok_close("100000\n"));
    assert!(basin.borrow().ended && basin.borrow().bytes.ends_with(b"yy"));
    lab.finished_at(peer, 500);
}

const EXPECTING: &str =
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn r26_a_client_that_waits_for_100_gets_it_in_the_drain() {
    for before in [true, false] {
        let mut lab = Lab::new();
        let peer = lab.connect();
        lab.until(100);
        if before {
            lab.sim().send(peer, EXPECTING);
            lab.signal();
        } else {
            lab.sim().send(peer, "P");
            lab.signal();
            lab.send(peer, &EXPECTING[1..]);
        }
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(lab.got(peer), interim);
        lab.until(900);
        lab.send(peer, "body");
        lab.drains_at(900);
        assert_eq!(lab.got(peer), interim.to_owned() + &ok_close("body"));
        lab.finished_at(peer, 900);
    }
}

#[test]
fn r26_or_a_final_response() {
    let mut lab = Lab::new();
    let peer = lab.connect();
    lab.until(100);
    lab.sim().send(peer, EXPECTING.replace("/echo", "/refuse"));
    lab.signal();
    assert_eq!(lab.got(peer), text_close("403 Forbidden", "no\n"));
    lab.finished_at(peer, 100);
    lab.drains_at(102);
    assert_eq!(lab.app().runs(), 0);
}

#[test]
fn r27_a_client_that_has_closed_its_side_gets_its_response() {
    let mut lab = Lab::new();
    let (at_once, later) = (lab.connect(), lab.connect());
    lab.until(100);
    lab.sim().send(at_once, GET);
    lab.sim().fin(at_once);
    lab.sim().send(later, get("/later/x"));
    lab.sim().fin(later);
    lab.signal();
    assert!(lab.got(at_once).ends_with("hello\n"));
    lab.finished_at(at_once, 100);
    lab.until(700);
    lab.still_open(later);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.drains_at(700);
    assert_eq!(lab.got(later), ok_close("x\n"));
    lab.finished_at(later, 700);
    assert_eq!(lab.report().left, 0);
}

#[test]
fn r30_every_response_says_close_once_and_never_keep_alive() {
    let requests = [
        (GET.to_owned(), ok_close("hello\n")),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(),
            ok_close("hello\n"),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".into(),
            ok_close("hello\n"),
        ),
        (get("/close"), ok_close("bye\n")),
        (
            get("/empty"),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into(),
        ),
        (get("/nothing"), text_close("404 Not Found", "not here\n")),
        (post("/echo", "b"), ok_close("b")),
    ];
    for (request, expected) in requests {
        let mut lab = Lab::new();
        let (first, rest) = request.split_at(1);
        let peer = lab.ask(first.to_owned());
        lab.signal();
        lab.send(peer, rest.to_owned());
        assert_eq!(lab.got(peer), expected, "{request}");
        lab.drains_at(2);
    }
}
