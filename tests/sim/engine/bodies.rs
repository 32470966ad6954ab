//! Bodies in both directions: limits, back-pressure, large bodies, and what breaks in the middle.

use ebbtide::internals::sys::sim::{Manner, Pace};
use ebbtide::internals::tracker::Phase;
use ebbtide::{Fill, Limits};

use ebbtide_lab::wire::{
    self, CHUNKED, GET, LAST_CHUNK, chunk, get, mistake_close, ok, pattern, post, post_head,
    text_close,
};
use ebbtide_lab::{EVERYTHING, Lab, reluctant};

const CHUNKED_POST: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn too_large(limit: u64) -> String {
    let why = format!("the body is longer than {limit} bytes\n");
    text_close("413 Content Too Large", &why)
}

#[test]
fn a_body_is_buffered_up_to_its_limit_and_not_beyond() {
    // The limit of the route is ten.
    let mut lab = Lab::new();
    let fits = lab.ask(post("/small", "0123456789"));
    assert_eq!(lab.got(fits), ok("0123456789"));
    let long = lab.ask(post_head("/small", 11));
    assert_eq!(lab.got(long), too_large(10), "known before it comes");
    lab.finished_at(long, 0);
    let none = lab.ask(post("/nobody", "x"));
    assert_eq!(lab.got(none), too_large(0));
    let empty = lab.ask(post("/nobody", ""));
    assert_eq!(lab.got(empty), ok(""));
    // The limit of the server applies.
    let mut lab = Lab::limited_by(Limits::new().body(5));
    let fits = lab.ask(post("/echo", "01234"));
    assert_eq!(lab.got(fits), ok("01234"));
    let long = lab.ask(post("/echo", "012345"));
    assert_eq!(lab.got(long), too_large(5));
    let own = lab.ask(post("/small", "0123456789"));
    assert_eq!(lab.got(own), ok("0123456789"));
}

#[test]
fn a_chunked_body_is_limited_by_what_has_come() {
    let mut lab = Lab::limited_by(Limits::new().body(10));
    let fits = lab.ask(CHUNKED_POST.to_owned() + &chunk("01234") + &chunk("56789") + LAST_CHUNK);
    assert_eq!(lab.got(fits), ok("0123456789"));
    let long = lab.ask(CHUNKED_POST.to_owned() + &chunk("01234"));
    lab.send(long, chunk("56789"));
    assert_eq!(lab.got(long), "");
    lab.send(long, chunk("x"));
    assert_eq!(lab.got(long), too_large(10));
    lab.finished_at(long, 0);
    assert_eq!(lab.app().runs(), 1);
}

#[test]
fn a_sink_that_pauses_stops_the_reading() {
    let mut lab = Lab::new();
    let basin = lab.app().basin.clone();
    let peer = lab.ask(post_head("/sink", 1_000_000));
    basin.borrow_mut().pause_at = Some(1_000);
    lab.send(peer, "x".repeat(500));
    assert_eq!((basin.borrow().pauses, lab.count(Phase::Body)), (0, 1));
    lab.send(peer, "x".repeat(500));
    assert_eq!((basin.borrow().pauses, lab.count(Phase::Handler)), (1, 1));
    // The kernel holds the body, and the loop sleeps.
    lab.send(peer, "x".repeat(999_000) + GET);
    let turns = lab.turns;
    lab.pass(10_000);
    assert!(lab.turns <= turns + 1);
    assert_eq!(lab.sim().unread(peer), 999_000 + GET.len() as u64);
    assert_eq!(basin.borrow().bytes.len(), 1_000);
    // Once woken, the sink takes a piece and pauses again.
    let waker = basin.borrow().waker.clone().expect("it was asked");
    waker.wake();
    lab.now();
    assert_eq!(basin.borrow().pauses, 2);
    let taken = basin.borrow().bytes.len();
    assert!(taken > 1_000 && taken <= 1_000 + (64 << 10), "{taken}");
    basin.borrow_mut().pause_at = None;
    waker.wake();
    lab.now();
    assert!(basin.borrow().ended);
    assert_eq!(lab.got(peer), ok("1000000\n") + &ok("hello\n"));
}

#[test]
fn a_sink_that_pauses_at_the_last_byte_is_asked_for_its_response_when_it_is_woken() {
    for chunked in [false, true] {
        let mut lab = Lab::new();
        let basin = lab.app().basin.clone();
        let head = if chunked {
            CHUNKED_POST.replace("/echo", "/sink")
        } else {
            post_head("/sink", 4)
        };
        let peer = lab.ask(head);
        basin.borrow_mut().pause_at = Some(4);
        let body = if chunked {
            chunk("body") + LAST_CHUNK
        } else {
            "body".into()
        };
        lab.send(peer, body);
        assert_eq!((lab.got(peer).as_str(), basin.borrow().pauses), ("", 1));
        let waker = basin.borrow().waker.clone().expect("it was asked");
        waker.wake();
        lab.now();
        assert_eq!(lab.got(peer), ok("4\n"));
    }
}

#[test]
fn a_sink_gets_a_body_in_order_and_is_dropped_with_its_request() {
    let mut lab = Lab::new();
    let basin = lab.app().basin.clone();
    let body = pattern(300_000);
    let peer = lab.ask(post("/sink", &body));
    assert_eq!(lab.got(peer), ok("300000\n"));
    assert!(basin.borrow().bytes == body.as_bytes());
    assert!(basin.borrow().ended && basin.borrow().dropped);
    // The handler of a request without a body runs at once.
    let none = lab.ask(get("/sink"));
    assert_eq!(lab.got(none), ok("0\n"));
    // The peer leaves.
    let gone = lab.ask(post_head("/sink", 10) + "half");
    assert!(!basin.borrow().dropped);
    lab.sim().reset(gone);
    lab.now();
    assert!(basin.borrow().dropped && !basin.borrow().ended);
    assert_eq!(lab.report().left, 1);
}

#[test]
fn a_sink_may_refuse_the_rest() {
    let mut lab = Lab::new();
    let peer = lab.ask(post_head("/sink/refuse", 100) + "one");
    lab.send(peer, "two");
    assert_eq!(lab.got(peer), text_close("409 Conflict", "enough\n"));
    lab.finished_at(peer, 0);
    assert!(lab.app().basin.borrow().dropped);
}

#[test]
fn a_sink_that_panics_is_answered_500() {
    let mut lab = Lab::new();
    let middle = lab.ask(post_head("/sink/panic", 100) + "one");
    lab.send(middle, "two");
    assert_eq!(lab.got(middle), mistake_close());
    lab.finished_at(middle, 0);
    let end = lab.ask(post("/sink/panic-end", "one"));
    assert_eq!(lab.got(end), mistake_close());
    assert_eq!(lab.report().panics, 2);
    let next = lab.idle();
    lab.still_open(next);
}

#[test]
fn a_source_is_not_asked_while_its_peer_does_not_take() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    let piece = pattern(16 << 10);
    for _ in 0..100 {
        feed.push(&piece);
    }
    feed.end(Fill::Done);
    let peer = lab.connect_as(reluctant(10_000));
    lab.send(peer, get("/feed/x"));
    let asked = feed.fills();
    assert!((4..=6).contains(&asked), "{asked} pieces for 64 KiB");
    lab.pass(1_000);
    assert_eq!(feed.fills(), asked);
    let mut last = asked;
    for _ in 0..400 {
        lab.sim().take(peer, EVERYTHING);
        lab.pass(1);
        assert!(feed.fills() - last <= 5, "it runs ahead of its peer");
        last = feed.fills();
    }
    let expected = CHUNKED.to_owned() + &chunk(&piece).repeat(100) + LAST_CHUNK;
    assert!(lab.got(peer) == expected);
    assert_eq!(feed.fills(), 100);
}

#[test]
fn a_source_sleeps_until_it_is_woken() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    let peer = lab.ask(get("/feed/x"));
    assert_eq!((lab.got(peer).as_str(), feed.fills()), (CHUNKED, 1));
    let turns = lab.turns;
    lab.pass(3_600_000);
    assert_eq!((feed.fills(), lab.turns - turns), (1, 1));
    feed.nudge();
    lab.now();
    assert_eq!((lab.got(peer).as_str(), feed.fills()), (CHUNKED, 2));
    feed.push("one");
    feed.push("two");
    lab.now();
    let body = chunk("one") + &chunk("two");
    assert_eq!(lab.got(peer), CHUNKED.to_owned() + &body);
    feed.end(Fill::Done);
    lab.send(peer, GET);
    let response = ok("hello\n");
    assert_eq!(
        lab.got(peer),
        format!("{CHUNKED}{body}{LAST_CHUNK}{response}")
    );
    feed.nudge(); // the stream is gone
    lab.now();
    lab.still_open(peer);
}

#[test]
fn a_body_of_known_length_is_as_long_as_it_said() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let mut lab = Lab::new();
    let feed = lab.app().feed("/sized/10");
    feed.push("01234");
    feed.push("56789 and more");
    let peer = lab.ask(get("/sized/10") + GET);
    assert_eq!(lab.got(peer), format!("{head}0123456789{}", ok("hello\n")));
    // A stream that ends early cannot look complete.
    let mut lab = Lab::new();
    let feed = lab.app().feed("/sized/10");
    feed.push("0123");
    let peer = lab.ask(get("/sized/10"));
    lab.until(5);
    feed.end(Fill::Done);
    lab.now();
    assert_eq!(lab.got(peer), format!("{head}0123"));
    lab.reset_at(peer, 5);
    assert_eq!(lab.open(), 0);
}

#[test]
fn a_source_that_fails_does_not_take_the_responses_before_it() {
    for failing in ["/panic/source", "/feed/x"] {
        let mut lab = Lab::new();
        lab.app().feed("/feed/x").end(Fill::Failed);
        let peer = lab.ask(GET.to_owned() + GET + &get(failing));
        let (whole, rest) = wire::responses(lab.sim().got(peer));
        let statuses: Vec<_> = whole.iter().map(|response| response.status).collect();
        assert_eq!(statuses, [200, 200, 500], "{failing}: {rest:?}");
        assert!(
            whole[..2]
                .iter()
                .all(|response| response.text() == "hello\n")
        );
        lab.finished_at(peer, 0);
        assert_eq!((lab.report().answered, lab.report().aborted), (3, 0));
    }
}

#[test]
fn a_source_that_fails_in_the_middle_resets() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("half");
    let failing = lab.ask(get("/feed/x"));
    feed.end(Fill::Failed);
    lab.now();
    assert_eq!(lab.got(failing), CHUNKED.to_owned() + &chunk("half"));
    lab.reset_at(failing, 0);
    let panicking = lab.ask(get("/panic/source"));
    assert!(lab.got(panicking).starts_with("HTTP/1.1 500 "));
    lab.finished_at(panicking, 0);
    assert_eq!((lab.report().panics, lab.open()), (1, 0));
    let next = lab.idle();
    lab.still_open(next);
}

#[test]
fn large_responses_arrive_whole_through_any_window() {
    let manners = [
        (1_000, Pace::After(1)),
        (65_536, Pace::After(3)),
        (256 << 10, Pace::AtOnce),
    ];
    for (window, takes) in manners {
        for target in ["/static", "/owned/200000", "/shared/200000"] {
            let mut lab = Lab::new();
            let peer = lab.connect_as(Manner {
                takes,
                window,
                ..Manner::default()
            });
            // Small responses before and behind go out in order with the large one.
            lab.send(peer, GET.to_owned() + &get(target) + GET);
            lab.until(5_000);
            let length = if target == "/static" {
                1 << 20
            } else {
                200_000
            };
            let small = ok("hello\n");
            let expected = small.clone() + &ok(&pattern(length)) + &small;
            assert!(lab.got(peer) == expected, "{target} through {window}");
            assert_eq!((lab.report().answered, lab.count(Phase::Idle)), (3, 1));
        }
    }
}

#[test]
fn a_body_of_exactly_what_is_copied_or_kept_arrives_whole() {
    for length in [0, 1, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537] {
        let mut lab = Lab::new();
        let peer = lab.ask(get(&format!("/owned/{length}")).repeat(3));
        assert!(lab.got(peer) == ok(&pattern(length)).repeat(3), "{length}");
    }
}
