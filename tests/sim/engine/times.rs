//! Every phase has its limit, to the millisecond, and its clock restarts only when it should.

use ebbtide::internals::sys::sim::{Act, PeerId};
use ebbtide::internals::tracker::Phase;
use ebbtide::{Limits, Response, Timeouts};

use ebbtide_lab::wire::{
    self, CHUNKED, GET, chunk, get, ok, ok_close, post_head, text_close, timed_out, unavailable,
};
use ebbtide_lab::{EVERYTHING, Lab, ms, reluctant, silent};

/// Asserts that nothing happens to a peer until that moment.
#[track_caller]
fn lives_until(lab: &mut Lab, peer: PeerId, millis: u32) {
    lab.until(millis - 1);
    assert_eq!((lab.open(), lab.report().timed_out), (1, 0));
    assert!(lab.seen(peer).open());
    lab.until(millis);
}

#[test]
fn a_connection_that_sends_nothing_is_closed_without_a_word() {
    let mut lab = Lab::new();
    lab.until(500);
    let peer = lab.connect();
    lives_until(&mut lab, peer, 10_500);
    assert_eq!(lab.got(peer), "");
    lab.finished_at(peer, 10_500);
    assert_eq!(lab.report().timed_out, 1);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    lab.until(30_000);
    lab.send(peer, GET);
    lives_until(&mut lab, peer, 105_000);
    assert_eq!(lab.got_then(peer), ok("hello\n"));
    lab.finished_at(peer, 105_000);
}

#[test]
fn empty_lines_do_not_keep_an_idle_connection() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    for second in [30, 60] {
        lab.sim().at(second * 1_000, Act::Send(peer, "\r\n".into()));
    }
    lives_until(&mut lab, peer, 75_000);
    assert_eq!(lab.got_then(peer), "");
    lab.finished_at(peer, 75_000);
}

#[test]
fn the_third_empty_line_is_too_many_whenever_it_comes() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    for second in [1, 2, 3] {
        lab.sim().at(second * 1_000, Act::Send(peer, "\r\n".into()));
    }
    lives_until(&mut lab, peer, 3_000);
    let refusal = text_close("400 Bad Request", "malformed head\n");
    assert_eq!(lab.got_then(peer), refusal);
    lab.finished_at(peer, 3_000);
}

#[test]
fn a_line_end_in_two_pieces_has_the_time_of_one_head() {
    a_head_times_out_at_15_s(|lab, peer| {
        for (at, byte) in [(5_000, "\r"), (9_000, "\n"), (12_000, "\r"), (14_000, "\n")] {
            lab.sim().at(at, Act::Send(peer, byte.into()));
        }
    });
}

#[test]
fn a_request_behind_a_line_end_in_two_pieces_is_answered() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    for (at, bytes) in [(5_000, "\r"), (9_000, "\n"), (14_999, GET)] {
        lab.sim().at(at, Act::Send(peer, bytes.into()));
    }
    lab.until(15_000);
    assert_eq!(lab.got_then(peer), ok("hello\n"));
    // The connection is idle from there on.
    lives_until(&mut lab, peer, 89_999);
    lab.finished_at(peer, 89_999);
}

/// Plays a script on a first and on a reused connection. Its first byte comes at 5 s.
#[track_caller]
fn a_head_times_out_at_15_s(script: impl Fn(&mut Lab, PeerId)) {
    for reused in [false, true] {
        let mut lab = Lab::new();
        let peer = if reused { lab.idle() } else { lab.connect() };
        let before = lab.got(peer);
        script(&mut lab, peer);
        lives_until(&mut lab, peer, 15_000);
        assert_eq!(lab.got(peer), before + &timed_out());
        lab.finished_at(peer, 15_000);
    }
}

#[test]
fn a_head_has_its_limit_from_its_first_byte_however_it_drips() {
    a_head_times_out_at_15_s(|lab, peer| {
        for (n, byte) in (0..).zip("GET / HTTP/1.1\r\nHost: aaaaaaaa".bytes()) {
            lab.sim()
                .at(5_000 + n * 400, Act::Send(peer, vec![byte].into()));
        }
    });
}

#[test]
fn a_head_behind_a_response_has_its_own_clock() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x") + "GET / HT");
    lab.until(60_000);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.count(Phase::Head), 1);
    lives_until(&mut lab, peer, 70_000);
    assert_eq!(lab.got(peer), ok("x\n") + &timed_out());
}

#[test]
fn a_body_has_its_limit_for_each_eight_kibibytes() {
    let mut lab = Lab::new();
    let peer = lab.ask(post_head("/echo", 100_000));
    lab.until(20_000);
    lab.send(peer, "x".repeat(8_191)); // not quite
    lab.until(29_000);
    lab.send(peer, "x"); // now
    lab.until(58_000);
    lab.send(peer, "x".repeat(8_191));
    lives_until(&mut lab, peer, 59_000);
    assert_eq!(lab.got(peer), timed_out());
    lab.finished_at(peer, 59_000);
    assert_eq!(lab.app().runs(), 0);
}

#[test]
fn a_handler_has_no_limit_unless_it_is_given_one() {
    let mut lab = Lab::new();
    let peer = lab.ask(get("/later/x"));
    lab.until(7 * 24 * 3_600_000);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.got(peer), ok("x\n"));

    let mut lab = Lab::timed_by(Timeouts::new().handler(Some(ms(5_000))));
    lab.until(300);
    let peer = lab.ask(get("/later/x") + GET);
    lives_until(&mut lab, peer, 5_300);
    assert_eq!(lab.got(peer), unavailable());
    lab.finished_at(peer, 5_300);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    assert_eq!(lab.got(peer), unavailable(), "a response that is too late");
    assert_eq!((lab.app().runs(), lab.report().timed_out), (1, 1));
}

#[test]
fn a_stream_has_the_handlers_limit_for_each_piece() {
    let mut lab = Lab::timed_by(Timeouts::new().handler(Some(ms(5_000))));
    let feed = lab.app().feed("/feed/x");
    let peer = lab.ask(get("/feed/x"));
    for n in 1..=4 {
        lab.until(n * 4_000);
        feed.push("x");
    }
    lab.now();
    lab.until(18_000);
    feed.nudge(); // the stream has nothing, which is no progress
    lives_until(&mut lab, peer, 21_000);
    assert_eq!(lab.got(peer), CHUNKED.to_owned() + &chunk("x").repeat(4));
    lab.reset_at(peer, 21_000);
}

#[test]
fn a_paused_sink_has_the_handlers_limit() {
    let mut lab = Lab::timed_by(Timeouts::new().handler(Some(ms(5_000))));
    let basin = lab.app().basin.clone();
    let peer = lab.ask(post_head("/sink", 10));
    basin.borrow_mut().pause_at = Some(1);
    lab.until(1_000);
    lab.send(peer, "half");
    lives_until(&mut lab, peer, 6_000);
    assert_eq!(lab.got(peer), unavailable());
    lab.finished_at(peer, 6_000);
}

#[test]
fn a_peer_that_takes_a_byte_now_and_then_is_reset_in_time() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get("/owned/100000"));
    for second in 1..100 {
        lab.sim().at(second * 1_000, Act::Take(peer, 100));
    }
    lives_until(&mut lab, peer, 30_000);
    lab.reset_at(peer, 30_000);
    assert_eq!(lab.report().timed_out, 1);
}

#[test]
fn a_slow_peer_has_its_time_for_each_eight_kibibytes() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get("/owned/30000"));
    // 290 bytes a second are enough, and in the end for all of it.
    for second in 1..=120 {
        lab.sim().at(second * 1_000, Act::Take(peer, 290));
    }
    lab.until(120_000);
    assert_eq!(lab.report().timed_out, 0);
    let responses = wire::responses(lab.sim().got(peer)).0;
    assert_eq!(responses[0].body.len(), 30_000);
}

#[test]
fn what_progress_is_can_be_set() {
    let mut lab = Lab::limited_by(Limits::new().progress(1));
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get("/owned/100000"));
    let upload = lab.ask(post_head("/echo", 100_000));
    for n in 1..=5 {
        lab.until(n * 29_000);
        lab.sim().take(peer, 1);
        lab.sim().send(upload, "x");
    }
    lab.until(174_999);
    assert_eq!(lab.report().timed_out, 0);
    lab.until(175_000);
    assert_eq!(lab.got(upload), timed_out());
    // The clock counts from the last bytes that the peer took.
    lab.until(205_000);
    lab.reset_at(peer, 205_000);
}

#[test]
fn a_peer_that_does_not_close_after_us_is_waited_for_two_seconds() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(silent());
    lab.send(peer, get("/close"));
    lab.until(1_999);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.until(2_000);
    assert_eq!(lab.open(), 0);
    assert_eq!(lab.got(peer), ok_close("bye\n"));
    assert_eq!(lab.seen(peer).reset, None);
}

#[test]
fn a_peer_that_goes_on_taking_is_waited_for_as_long_as_it_does() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(reluctant(256 << 10));
    let request = get("/owned/100000").replace("Host: a", "Host: a\r\nConnection: close");
    lab.send(peer, request);
    for n in 1..=20 {
        lab.until(n * 1_500);
        assert_eq!(lab.count(Phase::Linger), 1);
        lab.sim().take(peer, 1_000);
    }
    // The server has stopped reading out, and the kernel goes on delivering.
    lab.until(40_000);
    assert_eq!(lab.open(), 0);
    assert_eq!(lab.seen(peer).reset, None);
    lab.sim().take(peer, EVERYTHING);
    lab.now();
    assert_eq!(lab.seen(peer).fin, Some(40_000));
}

#[test]
fn a_peer_that_takes_a_byte_now_and_then_after_our_end_is_left_to_the_kernel() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(reluctant(256 << 10));
    let request = get("/owned/100000").replace("Host: a", "Host: a\r\nConnection: close");
    lab.send(peer, request);
    for n in 1..=20 {
        lab.sim().at(n * 1_500, Act::Take(peer, 100));
    }
    lab.until(3_999);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.until(4_000);
    assert_eq!(lab.open(), 0);
    // The server closed without a reset, so the rest still arrives.
    lab.sim().take(peer, EVERYTHING);
    lab.now();
    assert_eq!(lab.seen(peer).reset, None);
    assert_eq!(lab.seen(peer).fin, Some(4_000));
}

#[test]
fn each_limit_can_be_set() {
    let times = Timeouts::new()
        .head(ms(100))
        .body(ms(200))
        .idle(ms(300))
        .write(ms(400))
        .linger(ms(500));
    let mut lab = Lab::timed_by(times);
    let fresh = lab.connect();
    let head = lab.ask("G");
    let body = lab.ask(post_head("/echo", 5));
    let idle = lab.idle();
    let reply = lab.connect_as(reluctant(10));
    lab.send(reply, GET);
    let linger = lab.connect_as(silent());
    lab.send(linger, get("/close"));
    lab.until(499);
    assert_eq!(lab.open(), 1);
    lab.until(500);
    assert_eq!(lab.open(), 0);
    for (peer, at) in [(fresh, 100), (head, 100), (body, 200), (idle, 300)] {
        lab.finished_at(peer, at);
    }
    lab.reset_at(reply, 400);
    assert_eq!(lab.report().timed_out, 5);
}
