//! The end of a drain: not before the last byte is delivered, and not a moment after.

use ebbtide::internals::drain::SHORT_GRACE;
use ebbtide::internals::sys::sim::{Act, Manner, Pace};
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, Fill, Limits, Response};

use ebbtide_lab::wire::{GET, get, ok, ok_close, pattern};
use ebbtide_lab::{EVERYTHING, Lab, ms, reluctant, silent, slow};

#[test]
fn r16_it_ends_in_the_very_turn_of_the_peers_fin() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(silent());
    lab.send(peer, get("/later/x"));
    lab.until(100);
    lab.signal();
    lab.until(500);
    lab.answer("/later/x", Response::text(200, "x\n"));
    lab.now();
    lab.until(600);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.sim().fin(peer);
    lab.turn();
    lab.drains_at(600);
    assert_eq!(lab.got(peer), ok_close("x\n"));
}

#[test]
fn r16_it_ends_in_the_very_turn_of_the_last_acknowledgement() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(Manner {
        answers: Pace::Never,
        ..reluctant(256 << 10)
    });
    lab.send(peer, get("/later/x"));
    lab.until(100);
    lab.signal();
    lab.answer("/later/x", Response::text(200, "x\n"));
    // After the linger the response is still on its way, and nothing is lost.
    lab.until(3_333);
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.sim().take(peer, EVERYTHING);
    lab.turn();
    lab.drains_at(3_333);
    assert_eq!(lab.got(peer), ok_close("x\n"));
    lab.finished_at(peer, 3_333);
}

#[test]
fn r16_it_ends_with_the_last_of_many_in_any_order() {
    for seed in 0..50_u32 {
        let mut lab = Lab::new();
        let peers: Vec<_> = (0..10)
            .map(|n| lab.ask(get(&format!("/later/{n}"))))
            .collect();
        lab.until(100);
        lab.signal();
        let mut last = 0;
        for n in 0..10_u32 {
            let at = 101 + n * 7;
            lab.until(at);
            let nth = (n * 7 + seed) % 10; // seven and ten have no common divisor
            lab.answer(&format!("/later/{nth}"), Response::text(200, "x\n"));
            last = at;
        }
        lab.drains_at(last);
        for peer in peers {
            assert_eq!(lab.got(peer), ok_close("x\n"));
        }
    }
}

#[test]
fn r11_a_slow_reader_gets_every_byte_before_it_ends() {
    const LENGTH: usize = 16 << 20;
    let mut lab = Lab::new();
    lab.patience = 100_000;
    let peer = lab.connect_as(slow(100));
    lab.send(peer, get(&format!("/owned/{LENGTH}")));
    lab.until(640);
    assert!(lab.sim().taken(peer) < 2 << 20);
    lab.signal();
    let total = ok(&pattern(LENGTH)).len() + DATE;
    let windows = total.div_ceil(256 << 10) as u32;
    // The head left before the signal without `close`, so the connection has a grace. The kernel
    // has the response one window before the peer has it.
    let last = (windows - 1) * 100 + SHORT_GRACE;
    let report = lab.drains_at(last + 100);
    assert!(lab.got(peer) == ok(&pattern(LENGTH)), "every byte");
    lab.finished_at(peer, last + 100);
    assert_eq!((report.answered, report.undelivered), (1, 0));
}

/// The length of a Date line.
const DATE: usize = 37;

#[test]
fn r11_a_response_in_the_kernel_is_waited_for() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(slow(7_000));
    lab.until(1_000);
    lab.sim().send(peer, get("/owned/200000"));
    lab.signal();
    // The kernel has the whole response and the FIN behind it.
    assert_eq!((lab.count(Phase::Linger), lab.report().answered), (1, 1));
    lab.drains_at(8_000);
    assert!(lab.got(peer) == ok_close(&pattern(200_000)));
    lab.finished_at(peer, 8_000);
}

#[test]
fn r11_also_for_a_client_that_has_closed_its_side() {
    for with_the_signal in [true, false] {
        let mut lab = Lab::new();
        let peer = lab.connect_as(slow(7_000));
        let request = get("/owned/200000");
        if !with_the_signal {
            lab.send(peer, request[..1].to_owned());
        }
        lab.until(1_000);
        if with_the_signal {
            lab.sim().send(peer, request);
            lab.sim().fin(peer);
            lab.signal();
        } else {
            lab.signal();
            lab.sim().send(peer, request[1..].to_owned());
            lab.sim().fin(peer);
        }
        lab.until(7_999);
        assert!(!lab.is_over(), "it ended with a response on its way");
        lab.drains_at(8_000);
        assert!(lab.got(peer) == ok_close(&pattern(200_000)));
        lab.finished_at(peer, 8_000);
    }
}

#[test]
fn r11_also_where_the_peers_fin_crosses_ours() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(slow(7_000));
    lab.send(peer, "G");
    lab.until(1_000);
    lab.signal();
    lab.send(peer, get("/owned/200000")[1..].to_owned());
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.sim().fin(peer); // the peer has sent everything, and has not taken its response
    lab.until(2_000);
    assert!(
        !lab.is_over(),
        "a FIN is no receipt for what came before it was sent"
    );
    lab.drains_at(8_000);
    assert!(lab.got(peer) == ok_close(&pattern(200_000)));
}

#[test]
fn a_peer_that_only_owes_the_acknowledgement_of_a_fin_does_not_hold_the_drain() {
    // The host of the peer has vanished, as the hosts of some idle clients have.
    let mut lab = Lab::new();
    let vanished = lab.connect_as(reluctant(256 << 10));
    let fresh = lab.connect_as(reluctant(256 << 10));
    lab.send(vanished, GET);
    lab.sim().take(vanished, EVERYTHING);
    lab.until(1_000);
    lab.signal();
    let report = lab.drains_at(1_250);
    assert_eq!((report.closed_idle, report.undelivered), (2, 0));
    assert!(lab.seen(vanished).fin.is_none() && lab.seen(fresh).fin.is_none());
}

#[test]
fn r05_lingering_idles_do_not_delay_the_end_beyond_their_bound() {
    for linger in [20, 250, 900] {
        let mut lab = Lab::draining_by(DrainPolicy::new().linger(ms(linger)));
        let peer = lab.connect_as(silent());
        lab.send(peer, GET);
        lab.until(1_000);
        lab.signal();
        lab.drains_at(1_000 + linger as u32);
        lab.finished_at(peer, 1_000);
    }
}

#[test]
fn r29_a_peer_that_goes_on_sending_after_our_fin_is_bounded_in_time() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(silent());
    lab.send(peer, GET);
    lab.until(1_000);
    for millis in 0..1_000 {
        lab.sim().at(1_001 + millis, Act::Send(peer, "more".into()));
    }
    lab.signal();
    let report = lab.drains_at(1_250);
    lab.sim().run_until(1_251);
    assert_eq!(lab.seen(peer).fin, Some(1_000));
    assert_eq!(report.requests, 1, "what comes after our FIN is not run");
}

#[test]
fn r29_and_in_bytes() {
    let mut lab = Lab::limited_by(Limits::new().linger_bytes(300_000));
    let peer = lab.connect_as(silent());
    lab.send(peer, GET);
    lab.until(1_000);
    for millis in 0..100 {
        lab.sim()
            .at(1_001 + millis, Act::Send(peer, vec![b'x'; 50_000].into()));
    }
    lab.signal();
    lab.drains_at(1_007); // the seventh piece is beyond the limit
}

#[test]
fn a_linger_that_began_before_the_signal_counts_from_the_signal() {
    let mut lab = Lab::new();
    let peer = lab.connect_as(silent());
    lab.send(peer, get("/close"));
    assert_eq!(lab.count(Phase::Linger), 1);
    lab.until(100);
    lab.signal();
    lab.drains_at(350);

    let mut lab = Lab::new();
    let peer = lab.connect_as(silent());
    lab.send(peer, get("/close"));
    lab.until(1_900);
    lab.signal();
    lab.drains_at(2_000); // the limit of the head ends sooner
    lab.finished_at(peer, 0);
}

#[test]
fn nobody_there_ends_as_soon_as_the_door_is_shut() {
    let mut lab = Lab::new();
    lab.until(5_000);
    lab.signal();
    assert_eq!(lab.drains_at(5_002).opened, 0);
}

#[test]
fn a_source_that_fails_in_the_drain_resets_and_does_not_hold_it() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("half");
    let peer = lab.ask(get("/feed/x"));
    lab.until(100);
    lab.signal();
    lab.until(700);
    feed.end(Fill::Failed);
    let outcome = lab.ends_at(700);
    // The drain broke a response off, and the exit code says so.
    assert_eq!((outcome.code(), outcome.report.cut), (1, 1));
    lab.reset_at(peer, 700);
}
