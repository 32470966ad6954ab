//! Responses that are made as their peers take them, at the signal.

use ebbtide::internals::drain::SHORT_GRACE;
use ebbtide::internals::sys::sim::Act;
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, Fill, Response};

use ebbtide_lab::wire::{
    CHUNKED, CHUNKED_CLOSE, GET, LAST_CHUNK, chunk, get, ok, ok_close, pattern,
};
use ebbtide_lab::{EVERYTHING, Lab, SIGTERM, ms, reluctant};

#[test]
fn r09_a_stream_goes_on_and_its_connection_ends_with_it() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("one ");
    let peer = lab.ask(get("/feed/x"));
    lab.until(500);
    lab.signal();
    lab.until(800);
    feed.push("two ");
    lab.until(1_000);
    lab.still_open(peer);
    feed.push("three");
    feed.end(Fill::Done);
    lab.drains_at(1_000 + SHORT_GRACE);
    let body = [chunk("one "), chunk("two "), chunk("three")].concat();
    assert_eq!(lab.got(peer), format!("{CHUNKED}{body}{LAST_CHUNK}"));
    lab.finished_at(peer, 1_000 + SHORT_GRACE);
}

#[test]
fn r09_a_request_right_behind_a_stream_that_did_not_say_close_is_answered() {
    for after in 0..=SHORT_GRACE {
        let mut lab = Lab::new();
        let feed = lab.app().feed("/feed/x");
        let peer = lab.ask(get("/feed/x"));
        lab.until(500);
        lab.signal();
        lab.until(800);
        feed.end(Fill::Done);
        lab.sim().at(800 + after, Act::Send(peer, GET.into()));
        lab.drains_at(800 + after);
        let response = ok_close("hello\n");
        assert_eq!(lab.got(peer), format!("{CHUNKED}{LAST_CHUNK}{response}"));
    }
}

#[test]
fn a_stream_that_ends_in_the_drain_has_a_grace_that_someone_chose() {
    // The grace lasts in full, because moments are cut to the millisecond.
    for (chosen, leaves) in [(0, 800), (5, 806), (2_000, 2_801)] {
        let mut lab = Lab::draining_by(DrainPolicy::new().idle_grace(ms(chosen)));
        let feed = lab.app().feed("/feed/x");
        let peer = lab.ask(get("/feed/x"));
        lab.until(500);
        lab.signal();
        lab.until(800);
        feed.end(Fill::Done);
        lab.drains_at(leaves);
        lab.finished_at(peer, leaves);
    }
}

#[test]
fn r09_a_request_behind_a_stream_that_was_read_before_is_answered_or_gets_a_clean_end() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    let peer = lab.ask(get("/feed/x") + GET);
    lab.until(500);
    lab.signal();
    feed.end(Fill::Done);
    lab.drains_at(502);
    let response = ok_close("hello\n");
    assert_eq!(lab.got(peer), format!("{CHUNKED}{LAST_CHUNK}{response}"));
    lab.finished_at(peer, 500);
    assert_eq!(lab.app().runs(), 2);
}

#[test]
fn a_stream_that_is_told_of_the_drain_ends_in_that_turn() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.says_farewell("bye");
    let peer = lab.ask(get("/feed/x"));
    assert_eq!((feed.fills(), lab.count(Phase::Handler)), (1, 1));
    lab.until(500);
    lab.sim().signal(SIGTERM);
    lab.turn();
    let body = chunk("bye");
    assert_eq!(lab.got(peer), format!("{CHUNKED}{body}{LAST_CHUNK}"));
    lab.drains_at(500 + SHORT_GRACE);
    lab.finished_at(peer, 500 + SHORT_GRACE);
    assert_eq!(feed.fills(), 2);
}

#[test]
fn a_stream_that_waits_behind_a_slow_peer_is_told_as_well() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.says_farewell("bye");
    feed.push("0123456789");
    let peer = lab.connect_as(reluctant(20));
    lab.send(peer, get("/feed/x"));
    assert_eq!(
        lab.count(Phase::Reply),
        1,
        "it owes bytes, and has no more for now"
    );
    lab.until(500);
    lab.signal();
    for _ in 0..20 {
        lab.sim().take(peer, EVERYTHING);
        lab.pass(10);
    }
    let body = chunk("0123456789") + &chunk("bye");
    assert_eq!(lab.got(peer), format!("{CHUNKED}{body}{LAST_CHUNK}"));
    assert!(lab.is_over(), "nobody told the stream");
    assert!(lab.seen(peer).reset.is_none());
}

#[test]
fn many_streams_are_told_in_one_turn() {
    let mut lab = Lab::new();
    let mut peers = Vec::new();
    for n in 0..200 {
        let target = format!("/feed/{n}");
        lab.app().feed(&target).says_farewell("bye");
        peers.push(lab.ask(get(&target)));
    }
    lab.until(500);
    lab.signal();
    for peer in &peers {
        assert!(lab.got(*peer).ends_with(LAST_CHUNK));
    }
    lab.drains_at(500 + SHORT_GRACE);
    for peer in peers {
        lab.finished_at(peer, 500 + SHORT_GRACE);
    }
}

#[test]
fn a_stream_that_begins_in_the_drain_says_close() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("one");
    let peer = lab.ask("G");
    lab.signal();
    lab.send(peer, get("/feed/x")[1..].to_owned());
    lab.until(700);
    feed.end(Fill::Done);
    lab.drains_at(700);
    let body = chunk("one");
    assert_eq!(lab.got(peer), format!("{CHUNKED_CLOSE}{body}{LAST_CHUNK}"));
    lab.finished_at(peer, 700);
}

#[test]
fn a_stream_that_ends_during_the_notice_leaves_its_connection_as_idle_as_others() {
    let mut lab = Lab::draining_by(DrainPolicy::new().delay(ms(5_000)));
    let feed = lab.app().feed("/feed/x");
    let peer = lab.ask(get("/feed/x"));
    lab.signal();
    lab.until(1_000);
    feed.end(Fill::Done);
    lab.now();
    assert_eq!(lab.got(peer), format!("{CHUNKED}{LAST_CHUNK}"));
    lab.drains_at(5_002);
    lab.finished_at(peer, 5_000);
}

#[test]
fn r23_it_does_not_end_before_the_last_byte_in_flight() {
    let mut lab = Lab::new();
    let later = lab.ask(get("/later/x"));
    let feed = lab.app().feed("/feed/x");
    let streaming = lab.ask(get("/feed/x"));
    lab.signal();
    for millis in (1_000..20_000).step_by(1_000) {
        lab.until(millis);
        assert!(!lab.is_over());
        feed.push("x");
    }
    lab.until(20_000);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.until(21_000);
    assert!(!lab.is_over());
    feed.end(Fill::Done);
    lab.drains_at(21_000 + SHORT_GRACE);
    assert_eq!(lab.got(later), ok_close("x\n"));
    assert_eq!(
        lab.got(streaming),
        format!("{CHUNKED}{}{LAST_CHUNK}", chunk("x").repeat(19))
    );
}

#[test]
fn a_response_whose_head_is_out_before_the_signal_says_nothing_and_ends_all_the_same() {
    let mut lab = Lab::new();
    let length = 400_000;
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get(&format!("/owned/{length}")));
    lab.signal();
    let body = pattern(length);
    let total = ok(&body).len() + 37; // with its Date
    for millis in 1..=(total / 1_000) as u32 {
        lab.until(millis);
        lab.sim().take(peer, EVERYTHING);
    }
    lab.now();
    let last = lab.millis(); // the kernel has the last byte, and the client may ask once more
    lab.until(last + 1);
    lab.sim().take(peer, EVERYTHING);
    assert!(
        lab.got(peer) == ok(&body),
        "every byte, and no close in its head"
    );
    lab.until(last + 26);
    lab.sim().take(peer, EVERYTHING);
    lab.drains_at(last + 26);
    lab.finished_at(peer, last + 26);
}
