//! Requests and their responses on one connection: order, framing, closing, and mistakes of the
//! application.

use std::thread;

use ebbtide::Response;
use ebbtide::internals::engine::Config;
use ebbtide::internals::tracker::Phase;

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{
    CHUNKED, GET, LAST_CHUNK, chunk, get, mistake, mistake_close, ok, ok_close, pattern, post,
    post_head, text, text_close,
};

#[test]
fn a_pipeline_is_answered_in_order_also_when_the_first_comes_last() {
    let mut lab = Lab::new();
    let all = [
        get("/later/1"),
        get("/say/2"),
        get("/owned/100000"),
        post("/echo", "four"),
        get("/later/5"),
        get("/flood/20000"),
        get("/say/7"),
    ];
    let peer = lab.ask(all.concat());
    lab.until(100);
    assert_eq!((lab.got(peer).as_str(), lab.app().runs()), ("", 1));
    lab.answer("/later/1", Response::text(200, "1\n"));
    lab.now();
    let big = pattern(100_000);
    let mut expected = ok("1\n") + &ok("2\n") + &ok(&big) + &ok("four");
    assert!(lab.got(peer) == expected);
    lab.until(200);
    lab.answer("/later/5", Response::text(200, "5\n"));
    lab.now();
    let flood = pattern(16 << 10);
    let rest = &flood[..20_000 - (16 << 10)];
    let chunks = chunk(&flood) + &chunk(rest);
    expected = expected + &ok("5\n") + CHUNKED + &chunks + LAST_CHUNK + &ok("7\n");
    assert!(lab.got(peer) == expected);
    lab.still_open(peer);
    assert_eq!(lab.count(Phase::Idle), 1);
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let mut lab = Lab::new();
    let peer = lab.connect();
    for n in 0..1_000 {
        lab.send(peer, get(&format!("/say/{n}")));
        lab.pass(1);
    }
    let expected: String = (0..1_000).map(|n| ok(&format!("{n}\n"))).collect();
    assert!(lab.got(peer) == expected);
    assert_eq!(lab.report().opened, 1);
}

#[test]
fn a_peer_that_says_close_gets_it_and_nothing_behind_it_is_run() {
    let mut lab = Lab::new();
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for first in [close.to_owned(), get("/close")] {
        let peer = lab.ask(first.clone() + GET);
        let body = if first == close { "hello\n" } else { "bye\n" };
        assert_eq!(lab.got(peer), ok_close(body));
        lab.finished_at(peer, 0);
    }
    assert_eq!((lab.app().runs(), lab.open()), (2, 0));
}

#[test]
fn http_1_0_closes_unless_it_asks_to_stay() {
    let mut lab = Lab::new();
    let plain = lab.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(lab.got(plain), ok_close("hello\n"));
    lab.finished_at(plain, 0);
    let staying = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let peer = lab.ask(staying.repeat(2));
    let response = ok("hello\n").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(lab.got(peer), response.repeat(2));
    lab.still_open(peer);
    // A body of unknown length ends with the connection.
    let stream = lab.ask("GET /flood/8 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    assert_eq!(lab.got(stream), format!("{head}0000000\n"));
    lab.finished_at(stream, 0);
}

#[test]
fn head_gets_the_head_alone() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("never sent");
    let heads: String = ["/", "/nothing", "/feed/x", "/owned/100000", "/empty"]
        .iter()
        .map(|target| get(target).replacen("GET", "HEAD", 1))
        .collect();
    let peer = lab.ask(heads + GET);
    let bare = |response: String| {
        response
            .split_inclusive("\r\n\r\n")
            .next()
            .unwrap()
            .to_owned()
    };
    let expected = [
        bare(ok("hello\n")),
        bare(text("404 Not Found", "not here\n")),
        CHUNKED.to_owned(),
        bare(ok(&pattern(100_000))),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        ok("hello\n"),
    ];
    assert_eq!(lab.got(peer), expected.concat());
    assert_eq!(feed.fills(), 0);
    lab.still_open(peer);
}

#[test]
fn a_client_that_closes_its_side_behind_its_request_is_answered() {
    let mut lab = Lab::new();
    let peer = lab.connect();
    lab.sim().send(peer, get("/say/1") + &get("/later/2"));
    lab.sim().fin(peer);
    lab.until(50);
    assert_eq!(lab.got(peer), ok("1\n"));
    lab.still_open(peer);
    lab.answer("/later/2", Response::text(200, "2\n"));
    lab.now();
    assert_eq!(lab.got(peer), ok("1\n") + &ok("2\n"));
    lab.finished_at(peer, 50);
    assert_eq!((lab.report().left, lab.open()), (0, 0));
}

#[test]
fn a_client_that_closes_its_side_within_its_request_is_told() {
    for begun in [
        "GET / HT",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let mut lab = Lab::new();
        let peer = lab.ask(begun);
        lab.sim().fin(peer);
        lab.now();
        let expected = text_close("400 Bad Request", "the request was not complete\n");
        assert_eq!(lab.got(peer), expected);
        lab.finished_at(peer, 0);
        assert_eq!((lab.report().left, lab.app().runs()), (1, 0));
        assert_eq!(lab.open(), 0);
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.sim().reset(peer);
    lab.now();
    assert_eq!((lab.open(), lab.report().left), (0, 1));
    // Another connection has the slot now, and the response is dropped.
    let next = lab.ask(get("/later/y"));
    lab.answer("/later/x", Response::text(200, "for x\n"));
    lab.now();
    assert_eq!(lab.got(next), "");
    lab.answer("/later/y", Response::text(200, "for y\n"));
    lab.now();
    assert_eq!(lab.got(next), ok("for y\n"));
}

#[test]
fn a_response_from_a_thread_wakes_the_loop() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    let ticket = lab.app().ticket("/later/x");
    let sender = thread::spawn(move || ticket.send(Response::text(200, "x\n")));
    sender.join().expect("it only sends");
    lab.now();
    assert_eq!(lab.got(peer), ok("x\n"));
}

#[test]
fn a_ticket_that_is_dropped_answers_500() {
    let mut lab = Lab::new();
    let at_once = lab.ask(get("/dropped") + GET);
    assert_eq!(lab.got(at_once), mistake() + &ok("hello\n"));
    let later = lab.ask(get("/later/x"));
    drop(lab.app().ticket("/later/x"));
    lab.now();
    assert_eq!(lab.got(later), mistake());
    lab.still_open(later);
}

#[test]
fn a_later_of_another_request_is_a_mistake_and_harms_neither() {
    let mut lab = Lab::new();
    let first = lab.ask(get("/keep"));
    let second = lab.ask(get("/stolen") + GET);
    assert_eq!(lab.got(first), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(lab.got(second), mistake_close());
    lab.finished_at(second, 0);
    // The ticket may also be of an earlier request of the connection.
    let both = lab.ask(get("/keep") + &get("/stolen"));
    let expected = "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + &mistake_close();
    assert_eq!(lab.got(both), expected);
    lab.still_open(first);
}

#[test]
fn a_response_to_a_request_that_was_answered_does_not_answer_the_next() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/hoard/1") + &get("/hoard/2") + &get("/later/x"));
    let before = ok("now\n").repeat(2);
    lab.answer("/hoard/1", Response::text(200, "for the first\n"));
    drop(lab.app().ticket("/hoard/2"));
    lab.now();
    assert_eq!(lab.got(peer), before);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.got(peer), before + &ok("x\n"));
}

#[test]
fn a_panic_is_answered_500_and_the_server_goes_on() {
    let mut lab = Lab::new();
    let idle = lab.idle();
    for target in ["/panic", "/panic/admit"] {
        let peer = lab.ask(get(target) + GET);
        assert_eq!(lab.got(peer), mistake_close(), "{target}");
        lab.finished_at(peer, 0);
    }
    lab.send(idle, GET);
    assert_eq!(lab.got_then(idle), ok("hello\n"));
    assert_eq!(lab.report().panics, 2);
}

#[test]
fn a_response_that_cannot_be_written_is_a_500() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/mistaken") + GET);
    assert_eq!(lab.got(peer), mistake() + &ok("hello\n"));
}

#[test]
fn a_refusal_without_a_body_leaves_the_connection_open() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/refuse") + &get("/missing") + GET);
    let refusals = text("403 Forbidden", "no\n") + &text("404 Not Found", "not here\n");
    assert_eq!(lab.got(peer), refusals + &ok("hello\n"));
    assert_eq!(lab.app().runs(), 1);
}

#[test]
fn an_early_response_closes_politely_and_the_body_is_read_out() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(ebbtide_lab::silent());
    lab.send(peer, post_head("/refuse", 1 << 20) + "begin");
    assert_eq!(lab.got(peer), text_close("403 Forbidden", "no\n"));
    lab.finished_at(peer, 0);
    for millis in 1..=10 {
        lab.until(millis);
        lab.send(peer, pattern(100_000));
        assert_eq!(lab.sim().unread(peer), 0);
    }
    lab.until(1_999);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.until(2_000);
    assert_eq!(lab.open(), 0);
    assert_eq!((lab.seen(peer).reset, lab.app().runs()), (None, 0));
}

#[test]
fn an_expecting_client_is_told_to_go_on_or_not() {
    let head = |target: &str, length: usize| {
        let head = post_head(target, length);
        head.replace("Host: a\r\n", "Host: a\r\nExpect: 100-continue\r\n")
    };
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut lab = Lab::new();
    let waiting = lab.ask(head("/echo", 4));
    assert_eq!(lab.got(waiting), interim);
    lab.send(waiting, "body");
    assert_eq!(lab.got(waiting), interim.to_owned() + &ok("body"));
    // The body is there already, so nothing calls for it.
    let hasty = lab.ask(head("/echo", 4) + "body");
    assert_eq!(lab.got(hasty), ok("body"));
    let refused = lab.ask(head("/refuse", 4));
    assert_eq!(lab.got(refused), text_close("403 Forbidden", "no\n"));
    lab.finished_at(refused, 0);
    let long = lab.ask(head("/small", 11));
    let why = "the body is longer than 10 bytes\n";
    assert_eq!(lab.got(long), text_close("413 Content Too Large", why));
    let old = lab.ask(head("/echo", 4).replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(lab.got(old), "");
    lab.send(old, "body");
    assert_eq!(lab.got(old), ok_close("body"));
    let other = head("/echo", 4).replace("100-continue", "applause");
    let other = lab.ask(other);
    assert_eq!(
        lab.got(other),
        text_close("417 Expectation Failed", "expectation not supported\n")
    );
    let behind = lab.ask(GET.to_owned() + &head("/echo", 4));
    assert_eq!(lab.got(behind), ok("hello\n") + interim);
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let mut lab = Lab::new();
    let request = format!("\r\n{}\r\n\r\n{GET}", post("/echo", "body"));
    let whole = lab.ask(request.clone());
    let expected = ok("body") + &ok("hello\n");
    assert_eq!(lab.got(whole), expected);
    for cut in 0..request.len() {
        let peer = lab.ask(request[..cut].to_owned());
        lab.send(peer, request[cut..].to_owned());
        assert_eq!(lab.got(peer), expected, "cut at {cut}");
    }
}

#[test]
fn three_empty_lines_are_refused_however_they_are_cut() {
    let request = format!("\r\n\r\n\r\n{GET}");
    let refusal = text_close("400 Bad Request", "malformed head\n");
    for cut in 0..request.len() {
        for reused in [false, true] {
            let mut lab = Lab::new();
            let peer = if reused { lab.idle() } else { lab.connect() };
            lab.send(peer, request[..cut].to_owned());
            lab.send(peer, request[cut..].to_owned());
            let got = if reused {
                lab.got_then(peer)
            } else {
                lab.got(peer)
            };
            assert_eq!(got, refusal, "cut at {cut}");
        }
    }
}

#[test]
fn the_readiness_check_is_answered_whatever_comes_with_it() {
    let config = || Config {
        health: Some("/ready".into()),
        ..Config::default()
    };
    let response = |end: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";
        format!("{head}Cache-Control: no-store\r\nContent-Length: 2\r\n{end}\r\nok")
    };
    for (request, end) in [
        ("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /ready?x=/y HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET http://a/ready HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        (
            "GET /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "Connection: close\r\n",
        ),
    ] {
        let mut lab = Lab::configured(config());
        let peer = lab.ask(request);
        assert_eq!(lab.got(peer), response(end), "{request}");
        assert_eq!(lab.app().runs(), 0);
    }
    for other in ["/ready/", "/readyx", "/", "/x?/ready"] {
        let mut lab = Lab::configured(config());
        lab.ask(get(other));
        assert_eq!(lab.app().runs(), 1, "{other}");
    }
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    let mut lab = Lab::new();
    let peer = lab.ask(GET.to_owned() + "nonsense\r\n\r\n" + GET);
    let refusal = text_close("400 Bad Request", "malformed head\n");
    assert_eq!(lab.got(peer), ok("hello\n") + &refusal);
    lab.finished_at(peer, 0);
    assert_eq!((lab.report().refused, lab.app().runs()), (1, 1));
}
