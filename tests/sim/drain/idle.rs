//! Connections between requests, and those that have sent nothing yet.

use ebbtide::DrainPolicy;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, Manner, Pace, PeerId, Setup};
use ebbtide::internals::tracker::Phase;

use ebbtide_lab::wire::{GET, ok_close, post, timed_out};
use ebbtide_lab::{Lab, SIGTERM, ms};

/// A peer that responses our FIN late, so that its bytes cross the FIN.
const HESITANT: Manner = Manner {
    takes: Pace::AtOnce,
    answers: Pace::After(100),
    window: 256 << 10,
};

#[test]
fn r01_a_request_that_waits_unread_with_the_signal_is_answered() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    lab.until(1_000);
    lab.sim().send(peer, post("/echo", "in the kernel"));
    lab.signal();
    assert_eq!(lab.got_then(peer), ok_close("in the kernel"));
    lab.finished_at(peer, 1_000);
    let report = lab.drains_at(1_002);
    assert_eq!((report.requests, report.closed_idle), (2, 0));
    assert_eq!(report.trigger, "signal 15");
}

#[test]
fn r01_a_request_that_no_event_has_told_of_is_found_by_the_last_look() {
    let setup = Setup {
        batch: 1,
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    let (waiting, silent) = (lab.idle(), lab.idle());
    lab.until(1_000);
    lab.sim().signal(SIGTERM); // the only event of the first turn
    lab.sim().send(waiting, GET);
    lab.turn();
    assert_eq!(lab.got_then(waiting), ok_close("hello\n"));
    lab.finished_at(waiting, 1_000);
    lab.finished_at(silent, 1_000);
    let report = lab.drains_at(1_002);
    assert_eq!(report.closed_idle, 1, "one was answered, not closed idle");
    assert_eq!((report.requests, report.timed_out), (3, 0));
}

#[test]
fn r25_sockets_come_before_the_signal_of_the_same_batch() {
    let mut lab = Lab::new();
    let peers: Vec<PeerId> = (0..100).map(|_| lab.idle()).collect();
    lab.until(1_000);
    lab.sim().signal(SIGTERM);
    for peer in peers.iter().step_by(2) {
        lab.sim().send(*peer, GET);
    }
    lab.now();
    for (n, peer) in peers.iter().enumerate() {
        let asked = n % 2 == 0;
        let expected = if asked {
            ok_close("hello\n")
        } else {
            String::new()
        };
        assert_eq!(lab.got_then(*peer), expected);
        lab.finished_at(*peer, 1_000);
    }
    let report = lab.drains_at(1_002);
    assert_eq!((report.requests, report.closed_idle), (150, 50));
}

#[test]
fn r02_a_request_that_crosses_the_fin_of_a_long_idle_connection() {
    for d in 0..=40 {
        let mut lab = Lab::new();
        let peer = lab.connect_as(HESITANT);
        lab.send(peer, GET);
        lab.until(1_000);
        lab.sim().at(1_000 + d, Act::Send(peer, GET.into()));
        lab.signal();
        let report = lab.drains_at(1_100);
        lab.finished_at(peer, 1_000);
        if d == 0 {
            assert_eq!(lab.got_then(peer), ok_close("hello\n"));
            assert_eq!((report.requests, report.closed_idle), (2, 0));
        } else {
            assert_eq!(
                lab.got_then(peer),
                "",
                "{d} ms after: a clean end, and nothing before"
            );
            assert_eq!((report.requests, report.closed_idle), (1, 1));
        }
        assert_eq!(lab.app().runs() as u64, lab.report().answered);
    }
}

#[test]
fn r02_a_request_within_the_grace_of_one_that_was_answered_a_moment_ago() {
    for d in 1..=40 {
        let mut lab = Lab::new();
        // The grace lasts 25 ms in full, because moments are cut to the millisecond.
        lab.until(995);
        let peer = lab.connect_as(HESITANT);
        lab.send(peer, GET);
        lab.until(1_000);
        lab.signal();
        lab.sim().at(1_000 + d, Act::Send(peer, GET.into()));
        if d <= 21 {
            let report = lab.drains_at(1_100 + d);
            assert_eq!(lab.got_then(peer), ok_close("hello\n"), "{d} ms after");
            lab.finished_at(peer, 1_000 + d);
            assert_eq!((report.requests, report.closed_idle), (2, 0));
        } else {
            let report = lab.drains_at(1_121);
            assert_eq!(lab.got_then(peer), "", "{d} ms after");
            lab.finished_at(peer, 1_021);
            assert_eq!((report.requests, report.closed_idle), (1, 1));
        }
        assert_eq!(lab.app().runs() as u64, lab.report().answered);
    }
}

#[test]
fn r02_the_grace_counts_from_the_response_also_in_a_turn_that_was_held_up() {
    let faults = Faults {
        held_up: 1,
        ..Faults::default()
    };
    let mut lab = Lab::faulty(faults);
    let peers = [lab.connect(), lab.connect(), lab.connect()];
    for peer in peers {
        lab.send(peer, GET);
    }
    // One turn gets all three requests, and the last response comes 15 ms after its beginning.
    for peer in peers {
        lab.sim().at(995, Act::Send(peer, GET.into()));
    }
    lab.until(1_010);
    lab.signal();
    lab.until(1_034);
    for peer in peers {
        lab.still_open(peer);
    }
    lab.drains_at(1_036);
}

#[test]
fn r04_a_connection_that_has_sent_nothing_leaves_at_once() {
    let mut lab = Lab::new();
    let peer = lab.connect();
    lab.until(500);
    lab.signal();
    assert_eq!(lab.got(peer), "");
    lab.finished_at(peer, 500);
    let report = lab.drains_at(502);
    assert_eq!((report.opened, report.closed_idle), (1, 1));
}

#[test]
fn r04_one_that_has_just_connected_may_send_what_it_connected_for() {
    let mut lab = Lab::new();
    lab.until(490);
    let (prompt, silent) = (lab.connect(), lab.connect());
    lab.until(500);
    lab.signal();
    lab.until(514);
    lab.still_open(silent);
    lab.send(prompt, GET);
    assert_eq!(lab.got(prompt), ok_close("hello\n"));
    lab.finished_at(prompt, 514);
    lab.drains_at(515);
    assert_eq!(lab.got(silent), "");
    lab.finished_at(silent, 515);
}

#[test]
fn no_grace_closes_under_the_pen() {
    let mut lab = Lab::draining_by(DrainPolicy::new().idle_grace(ms(0)));
    let (idle, fresh) = (lab.idle(), lab.connect());
    lab.signal();
    lab.finished_at(idle, 0);
    lab.finished_at(fresh, 0);
    lab.drains_at(2);
}

#[test]
fn a_long_grace_keeps_the_idle_but_not_the_fresh() {
    let mut lab = Lab::draining_by(DrainPolicy::new().idle_grace(ms(3_000)));
    let (idle, fresh) = (lab.idle(), lab.connect());
    lab.until(100);
    lab.signal();
    lab.finished_at(fresh, 100);
    lab.until(3_000);
    lab.still_open(idle);
    lab.drains_at(3_001);
    lab.finished_at(idle, 3_001);
}

#[test]
fn the_busy_are_not_closed_with_the_idle() {
    let mut lab = Lab::new();
    let idle: Vec<PeerId> = (0..20).map(|_| lab.idle()).collect();
    let busy = lab.ask("GET /later/x HTTP/1.1\r\nHost: a\r\n\r\n");
    lab.until(1_000);
    lab.signal();
    for peer in idle {
        lab.finished_at(peer, 1_000);
    }
    assert_eq!((lab.open(), lab.count(Phase::Handler)), (1, 1));
    lab.until(9_000);
    lab.still_open(busy);
    lab.answer("/later/x", ebbtide::Response::text(200, "at last\n"));
    lab.drains_at(9_000);
    assert_eq!(lab.got(busy), ok_close("at last\n"));
    lab.finished_at(busy, 9_000);
}

#[test]
fn the_idle_leave_in_the_turn_of_the_signal_also_when_there_are_more_than_a_turn_ends() {
    let mut lab = Lab::new();
    let peers: Vec<PeerId> = (0..3_000).map(|_| lab.idle()).collect();
    lab.until(1_000);
    lab.signal();
    for peer in peers {
        lab.finished_at(peer, 1_000);
    }
    assert_eq!(lab.drains_at(1_002).closed_idle, 3_000);
}

#[test]
fn a_peer_that_closes_an_idle_connection_first_is_closed_and_nothing_more() {
    let mut lab = Lab::new();
    let (finished, left, reset) = (lab.idle(), lab.idle(), lab.idle());
    lab.sim().fin(finished);
    lab.sim().leave(left);
    lab.sim().reset(reset);
    lab.now();
    assert_eq!(lab.open(), 0);
    lab.finished_at(finished, 0);
    assert_eq!(lab.report().left, 1, "only the reset broke anything");
}

#[test]
fn r31_a_spread_closes_the_idle_evenly() {
    let mut lab = Lab::draining_by(DrainPolicy::new().close_spread(ms(2_000)));
    let peers: Vec<PeerId> = (0..1_000).map(|_| lab.idle()).collect();
    lab.until(1_000);
    lab.signal();
    let report = lab.drains_at(3_000);
    assert_eq!(report.closed_idle, 1_000);
    let mut per_tenth = [0; 20];
    for (n, peer) in peers.into_iter().enumerate() {
        let fin = lab.seen(peer).fin.expect("it was closed");
        assert_eq!(fin, 1_002 + 2 * n as u32, "the oldest first, a step apart");
        per_tenth[(fin as usize - 1_001) / 100] += 1;
    }
    assert_eq!(per_tenth, [50; 20]);
}

#[test]
fn a_spread_serves_connections_that_still_wait_with_close() {
    let mut lab = Lab::draining_by(DrainPolicy::new().close_spread(ms(1_000)));
    let peers: Vec<PeerId> = (0..10).map(|_| lab.idle()).collect();
    lab.until(1_000);
    lab.signal();
    lab.until(1_450);
    lab.send(peers[9], GET);
    assert_eq!(lab.got_then(peers[9]), ok_close("hello\n"));
    lab.finished_at(peers[9], 1_450);
    // This request took the place of the connection that would have closed next.
    let report = lab.drains_at(2_000);
    assert_eq!(report.closed_idle, 9);
}

#[test]
fn line_ends_in_pieces_hold_a_drain_no_longer_than_a_head_may_take() {
    let mut lab = Lab::new();
    let peer = lab.idle();
    lab.until(1_000);
    for n in 0..2 {
        lab.sim().at(1_000 + n * 500, Act::Send(peer, "\r".into()));
        lab.sim().at(1_490 + n * 500, Act::Send(peer, "\n".into()));
    }
    lab.sim().signal(SIGTERM);
    let report = lab.drains_at(3_000);
    assert_eq!(lab.got_then(peer), timed_out());
    assert_eq!((report.timed_out, report.cut), (1, 0));
}
