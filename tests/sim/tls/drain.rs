//! The drain, row by row, for connections that speak TLS.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{ALL, Manner, Pace, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, End};

use ebbtide_lab::tls::{Client, IDENTITY, TLS12, TLS13, VERSIONS};
use ebbtide_lab::wire::{GET, get, ok, ok_close, pattern, post_head, timed_out};
use ebbtide_lab::{ms, reluctant, silent};

use super::{tls_lab, tls_lab_with};

/// Returns the record of a request in two pieces.
fn request_in_two(client: &mut Client, request: &str) -> (Vec<u8>, Vec<u8>) {
    client.say(request);
    let record = client.flight();
    let (first, second) = record.split_at(record.len() / 2);
    (first.to_vec(), second.to_vec())
}

#[test]
fn the_idle_get_close_notify_and_then_a_fin() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        lab.pass(1_000);
        lab.signal();
        client.talk(&mut lab);
        assert!(client.told && client.error.is_none());
        lab.finished(client.peer);
        let outcome = lab.ends_at(1_002);
        assert_eq!((outcome.code(), outcome.report.closed_idle), (0, 1));
    }
}

#[test]
fn a_connection_without_a_byte_gets_a_fin() {
    let mut lab = tls_lab();
    let client = Client::connect(&mut lab, &TLS13);
    lab.pass(1_000);
    lab.signal();
    lab.finished(client.peer);
    assert!(lab.sim().got(client.peer).is_empty());
    assert_eq!(lab.ends_at(1_002).code(), 0);
}

#[test]
fn a_request_that_comes_with_the_signal_is_answered() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        lab.pass(1_000);
        client.say(GET);
        let record = client.flight();
        lab.sim().signal(15);
        lab.sim().send(client.peer, record);
        client.talk(&mut lab);
        assert_eq!(client.take_text(), ok_close("hello\n"));
        assert!(client.told);
        lab.finished(client.peer);
        assert_eq!(lab.ends_at(1_002).code(), 0);
    }
}

#[test]
fn a_part_of_a_record_is_a_request_that_has_begun() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        lab.pass(1_000);
        let (first, second) = request_in_two(&mut client, GET);
        lab.sim().send(client.peer, first);
        lab.sim().signal(15);
        lab.now();
        assert_eq!(lab.count(Phase::Head), 1);
        lab.pass(1_999);
        lab.sim().send(client.peer, second);
        client.talk(&mut lab);
        assert_eq!(client.take_text(), ok_close("hello\n"));
        assert_eq!(lab.ends_at(2_999).code(), 0);
    }
}

#[test]
fn even_one_byte_of_a_record_is() {
    let mut lab = tls_lab();
    let mut client = Client::idle(&mut lab, &TLS13);
    client.say(GET);
    let record = client.flight();
    lab.pass(1_000);
    lab.signal();
    assert!(lab.sim().seen(client.peer).fin.is_some(), "it was idle");

    let mut lab = tls_lab();
    let mut client = Client::idle(&mut lab, &TLS13);
    lab.sim().send(client.peer, record[..1].to_vec());
    lab.pass(1_000);
    lab.signal();
    client.talk(&mut lab);
    assert!(!client.told, "one byte of it has arrived");
}

#[test]
fn a_part_that_stays_one_is_told_so_in_the_end() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        lab.pass(1_000);
        let (first, _) = request_in_two(&mut client, GET);
        lab.sim().send(client.peer, first);
        lab.signal();
        lab.until(3_000);
        client.talk(&mut lab);
        let got = client.take_text();
        assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
        assert!(client.told);
        let outcome = lab.ends_at(3_000);
        assert_eq!((outcome.code(), outcome.report.timed_out), (0, 1));
    }
}

#[test]
fn a_handshake_in_progress_may_finish() {
    for version in VERSIONS {
        for split in [1, 50, 150] {
            let mut lab = tls_lab();
            let mut client = Client::connect(&mut lab, version);
            client.say(GET);
            let hello = client.flight();
            lab.sim().send(client.peer, hello[..split].to_vec());
            lab.pass(1_000);
            assert_eq!(lab.count(Phase::Head), 1);
            lab.signal();
            lab.pass(1_900);
            lab.sim().send(client.peer, hello[split..].to_vec());
            client.talk(&mut lab);
            assert_eq!(client.take_text(), ok_close("hello\n"));
            assert!(client.told);
            assert_eq!(lab.ends_at(2_900).code(), 0);
        }
    }
}

#[test]
fn a_handshake_that_does_not_is_given_up_after_the_time_of_a_head() {
    let mut lab = tls_lab();
    let mut client = Client::connect(&mut lab, &TLS13);
    let hello = client.flight();
    lab.sim().send(client.peer, hello);
    lab.pass(1_000);
    lab.signal();
    let outcome = lab.ends_at(3_000);
    assert_eq!((outcome.code(), outcome.report.timed_out), (0, 1));
    assert_eq!(outcome.report.left, 0, "it was not the peer that left");
    lab.reset(client.peer);
}

#[test]
fn records_without_a_request_have_the_time_of_one_head() {
    let mut lab = tls_lab();
    let mut client = Client::idle(&mut lab, &TLS13);
    for at in [5_000, 10_000] {
        client.tls.refresh_traffic_keys().expect("it is 1.3");
        let update = client.flight();
        lab.until(at);
        lab.sim().send(client.peer, update[..9].to_vec());
        lab.pass(4_000);
        assert_eq!(lab.count(Phase::Head), 1, "at {at}");
        lab.sim().send(client.peer, update[9..].to_vec());
        client.talk(&mut lab);
        assert_eq!(client.error, None);
    }
    lab.until(14_999);
    assert_eq!(lab.count(Phase::Head), 1);
    lab.until(15_000);
    client.talk(&mut lab);
    assert_eq!(client.take_text(), timed_out());
    lab.finished(client.peer);
}

#[test]
fn a_handshake_has_the_time_of_a_head_also_when_nothing_is_stopped() {
    for pieces in [1, 20] {
        let mut lab = tls_lab();
        let mut client = Client::connect(&mut lab, &TLS13);
        let hello = client.flight();
        for byte in hello.iter().take(pieces) {
            lab.sim().send(client.peer, vec![*byte]);
            lab.pass(400); // dripping does not help
        }
        lab.until(9_999);
        assert_eq!(lab.count(Phase::Head), 1);
        lab.until(10_000);
        lab.reset(client.peer);
        assert_eq!(lab.report().timed_out, 1);
    }
}

#[test]
fn an_upload_in_progress_completes() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        let body = pattern(50_000);
        client.ask(
            &mut lab,
            &(post_head("/echo", body.len()) + &body[..30_000]),
        );
        lab.signal();
        lab.pass(5_000);
        client.ask(&mut lab, &body[30_000..]);
        assert_eq!(client.take_text(), ok_close(&body));
        assert!(client.told);
        assert_eq!(lab.ends_at(5_000).code(), 0);
    }
}

#[test]
fn a_slow_reader_gets_everything() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle_as(&mut lab, reluctant(10_000), version);
        client.ask(&mut lab, &get("/owned/100000"));
        lab.signal();
        let mut seconds = 0;
        while !client.told {
            lab.pass(1_000);
            seconds += 1;
            assert!(seconds < 25, "the response does not end");
            lab.sim().take(client.peer, 9_999);
            client.talk(&mut lab);
        }
        assert_eq!(client.take_text(), ok(&pattern(100_000)));
        assert!(seconds > 10, "{seconds}");
        lab.sim().take(client.peer, ALL);
        lab.now();
        lab.finished(client.peer);
        assert_eq!(lab.ends_at(seconds * 1_000).code(), 0);
    }
}

/// The kernel has everything, but the peer has not acknowledged it.
#[test]
fn before_the_exit_everything_is_delivered() {
    let mut lab = tls_lab();
    let mut client = Client::idle_as(&mut lab, reluctant(200_000), &TLS12);
    client.ask(&mut lab, &get("/owned/100000"));
    lab.signal();
    lab.pass(10_000);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.sim().take(client.peer, ALL);
    client.talk(&mut lab);
    assert_eq!(client.take_text().len(), ok(&pattern(100_000)).len());
    assert!(client.told);
    assert_eq!(lab.ends_at(10_000).code(), 0);
}

#[test]
fn what_is_not_delivered_by_the_deadline_is_said() {
    let mut lab = tls_lab();
    let mut client = Client::idle_as(&mut lab, reluctant(200_000), &TLS13);
    client.ask(&mut lab, &get("/owned/100000"));
    lab.signal();
    let outcome = lab.ends_at(25_000);
    assert_eq!(
        (outcome.end, outcome.report.undelivered),
        (End::Deadline, 1)
    );
}

/// Only the acknowledgement of a close_notify and a FIN is missing.
#[test]
fn an_idle_peer_that_has_vanished_holds_up_nothing() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let manner = Manner {
            takes: Pace::Never,
            answers: Pace::Never,
            ..Manner::default()
        };
        Client::idle_as(&mut lab, manner, version);
        lab.pass(1_000);
        lab.signal();
        let outcome = lab.ends_at(1_250);
        assert_eq!((outcome.code(), outcome.report.undelivered), (0, 0));
    }
}

#[test]
fn a_peer_that_does_not_answer_the_close_is_left_after_the_linger() {
    let mut lab = tls_lab();
    let mut client = Client::idle_as(&mut lab, silent(), &TLS13);
    lab.pass(1_000);
    lab.signal();
    client.talk(&mut lab);
    assert!(client.told);
    assert_eq!(lab.ends_at(1_250).code(), 0);
}

/// The socket has just enough room for the response.
#[test]
fn a_close_notify_without_room_waits_for_it_and_the_fin_behind_it() {
    for spare in 0..30 {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, &TLS13);
        client.ask(&mut lab, &get("/close"));
        let response = client.take().len() + 22; // a head of 5, a tag of 16, a type
        assert!(client.told);

        let mut client = Client::idle_as(&mut lab, reluctant(response as u32 + spare), &TLS13);
        client.ask(&mut lab, &get("/close"));
        assert_eq!(lab.count(Phase::Linger), 1);
        lab.sim().take(client.peer, 10_000);
        client.talk(&mut lab);
        lab.sim().take(client.peer, ALL);
        client.talk(&mut lab);
        assert!(client.take_text().ends_with("\r\n\r\nbye\n"), "{spare}");
        assert!(client.told, "{spare}");
        lab.finished(client.peer);
    }
}

#[test]
fn a_response_that_the_deadline_cuts_does_not_look_whole() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle_as(&mut lab, reluctant(10_000), version);
        client.ask(&mut lab, &get("/owned/100000"));
        lab.signal();
        let outcome = lab.ends_at(25_000);
        assert_eq!((outcome.code(), outcome.report.aborted), (1, 1));
        lab.sim().take(client.peer, ALL);
        client.talk(&mut lab);
        assert!(!client.told, "no close_notify");
        lab.reset(client.peer);
    }
}

#[test]
fn a_stream_that_the_second_signal_cuts_does_not_look_whole() {
    let mut lab = tls_lab();
    let mut client = Client::idle(&mut lab, &TLS13);
    client.say(&get("/feed/1"));
    lab.app().feed("/feed/1").push("a piece");
    client.talk(&mut lab);
    lab.signal();
    lab.pass(100);
    lab.signal();
    client.talk(&mut lab);
    assert!(client.take_text().ends_with("a piece\r\n"));
    assert!(!client.told);
    lab.reset(client.peer);
    assert_eq!(lab.ends_at(100).code(), 3);
}

#[test]
fn a_request_without_a_response_at_the_deadline_gets_a_whole_503() {
    let drain = DrainPolicy::new().timeout(ms(3_000));
    let config = Config {
        drain,
        ..Config::default()
    };
    let mut lab = tls_lab_with(Setup::default(), config);
    let mut client = Client::connect_as(&mut lab, Manner::default(), IDENTITY.client(&TLS13));
    client.ask(&mut lab, &get("/later/1"));
    lab.signal();
    let outcome = lab.ends_at(3_000);
    assert_eq!((outcome.code(), outcome.report.forced_503), (1, 1));
    client.talk(&mut lab);
    assert!(client.take_text().starts_with("HTTP/1.1 503 "));
    assert!(client.told, "it is whole");
}
