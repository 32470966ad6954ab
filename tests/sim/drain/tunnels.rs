//! Upgraded connections at the signal: r28 and what follows from it.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::PeerId;
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, End, LateRequests, Response, TunnelAction};

use ebbtide_lab::tube::Tube;
use ebbtide_lab::wire::{SWITCHED, pattern, text_close, upgrade};
use ebbtide_lab::{EVERYTHING, Lab, SIGTERM, ms, reluctant};

/// Returns a peer whose connection is a tunnel, and the tunnel.
#[track_caller]
fn tunnelled(lab: &mut Lab, target: &str) -> (PeerId, Tube) {
    let tube = lab.app().tube(target);
    let peer = lab.ask(upgrade(target));
    assert_eq!(lab.got(peer), SWITCHED);
    (peer, tube)
}

#[test]
fn r28_a_tunnel_is_told_in_the_turn_of_the_signal_and_ends_with_its_goodbye() {
    let mut lab = Lab::new();
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    lab.until(500);
    lab.sim().signal(SIGTERM);
    lab.turn();
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "bye");
    lab.finished_at(peer, 500);
    assert_eq!(tube.calls(), ["open", "draining", "dropped"]);
    let report = lab.drains_at(502);
    assert_eq!((report.dismissed, report.aborted), (0, 0));
}

#[test]
fn r28_a_tunnel_may_wait_for_its_peers_goodbye() {
    let mut lab = Lab::new();
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Wait);
    tube.at("receive", "", TunnelAction::Close);
    lab.signal();
    lab.until(9_999);
    lab.still_open(peer);
    assert_eq!(lab.count(Phase::Tunnel), 1);
    lab.send(peer, "bye too");
    lab.finished_at(peer, 9_999);
    lab.drains_at(9_999);
    assert_eq!(tube.received(), "bye too");
}

#[test]
fn r28_a_tunnel_that_does_not_end_is_ended_with_a_fin_and_counts_as_cut() {
    let mut lab = Lab::draining_by(DrainPolicy::new().tunnel_grace(ms(3_000)));
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    lab.until(500);
    lab.signal();
    for at in (600..3_500).step_by(100) {
        lab.until(at);
        lab.send(peer, "still talking"); // which is no reason to stay
    }
    let outcome = lab.ends_at(3_500);
    lab.finished_at(peer, 3_500);
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert_eq!((outcome.report.dismissed, outcome.report.cut), (1, 1));
    assert_eq!(tube.calls().last(), Some(&"dropped"));
}

#[test]
fn the_deadline_is_before_a_farewell_that_is_longer() {
    let drain = DrainPolicy::new()
        .tunnel_grace(ms(60_000))
        .timeout(ms(2_000));
    let mut lab = Lab::draining_by(drain);
    let (peer, _) = tunnelled(&mut lab, "/tunnel/x");
    lab.signal();
    let outcome = lab.ends_at(2_000);
    lab.reset_at(peer, 2_000);
    assert_eq!((outcome.code(), outcome.report.aborted), (1, 1));
}

#[test]
fn a_second_signal_cuts_a_tunnel() {
    let mut lab = Lab::new();
    let (peer, _) = tunnelled(&mut lab, "/tunnel/x");
    lab.signal();
    lab.until(100);
    lab.signal();
    assert_eq!(lab.ends_at(100).code(), 3);
    lab.reset_at(peer, 100);
}

#[test]
fn a_slow_reader_gets_its_goodbye_behind_what_it_is_owed() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.send(peer, pattern(20_000));
    assert_eq!(lab.count(Phase::Reply), 1);
    lab.signal();
    for _ in 0..30 {
        lab.pass(100);
        lab.sim().take(peer, EVERYTHING);
    }
    lab.now();
    assert!(lab.got(peer) == SWITCHED.to_owned() + &pattern(20_000) + "bye");
    assert!(lab.is_over() && lab.seen(peer).reset.is_none());
}

#[test]
fn a_reader_that_takes_nothing_is_reset_when_its_time_for_a_goodbye_is_over() {
    let mut lab = Lab::draining_by(DrainPolicy::new().tunnel_grace(ms(3_000)));
    let tube = lab.app().tube("/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    let peer = lab.connect_as(reluctant(500));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.send(peer, pattern(20_000));
    lab.signal();
    let outcome = lab.ends_at(3_000);
    lab.reset_at(peer, 3_000);
    assert_eq!((outcome.report.aborted, outcome.report.dismissed), (1, 0));
}

#[test]
fn a_tunnel_that_pauses_hears_again_when_it_is_told() {
    let mut lab = Lab::new();
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    tube.at("receive", "", TunnelAction::Pause);
    lab.send(peer, "one");
    lab.send(peer, "two");
    tube.at("receive", "", TunnelAction::Close);
    lab.signal();
    assert_eq!(tube.received(), "onetwo");
    lab.drains_at(2);
}

#[test]
fn a_tunnel_that_pauses_again_when_it_is_told_ends_with_a_fin() {
    let mut lab = Lab::draining_by(DrainPolicy::new().tunnel_grace(ms(3_000)));
    let tube = lab.app().tube("/tunnel/x");
    tube.at("open", "", TunnelAction::Pause);
    tube.at("draining", "", TunnelAction::Pause);
    let peer = lab.ask(upgrade("/tunnel/x") + "early");
    lab.signal();
    let outcome = lab.ends_at(3_000);
    lab.finished_at(peer, 3_000);
    assert_eq!((outcome.report.aborted, outcome.report.dismissed), (0, 1));
}

#[test]
fn during_the_notice_tunnels_begin_and_go_on() {
    let mut lab = Lab::draining_by(DrainPolicy::new().delay(ms(5_000)));
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    lab.signal();
    lab.until(4_000);
    let (second, other) = tunnelled(&mut lab, "/tunnel/y");
    other.at("draining", "bye", TunnelAction::Close);
    lab.until(4_999);
    lab.still_open(peer);
    assert_eq!(tube.calls(), ["open"]);
    lab.until(5_000);
    for peer in [peer, second] {
        assert_eq!(lab.got(peer), SWITCHED.to_owned() + "bye");
        lab.finished_at(peer, 5_000);
    }
    lab.drains_at(5_002);
}

#[test]
fn a_tunnel_that_begins_in_the_drain_is_told_at_once() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    let peer = lab.ask("G");
    lab.signal();
    lab.until(100);
    lab.send(peer, upgrade("/tunnel/x")[1..].to_owned());
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "bye");
    assert_eq!(tube.calls(), ["open", "draining", "dropped"]);
    lab.drains_at(100);
}

#[test]
fn a_late_upgrade_may_be_rejected() {
    let mut lab = Lab::configured(Config {
        late_requests: LateRequests::Reject(Response::text(503, "leaving\n")),
        ..Config::default()
    });
    let peer = lab.idle();
    lab.signal();
    lab.until(10);
    lab.send(peer, upgrade("/tunnel/x"));
    let expected = text_close("503 Service Unavailable", "leaving\n");
    assert_eq!(lab.got_then(peer), expected);
    assert_eq!(lab.report().upgraded, 0);
}

#[test]
fn ten_thousand_are_told_in_a_moment_and_not_in_one_turn() {
    let mut lab = Lab::new();
    lab.patience = 200_000;
    let tube = lab.app().tube("/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.extend((0..1_000).map(|_| lab.sim().connect(0)));
        lab.now();
    }
    for peer in &peers {
        lab.sim().send(*peer, upgrade("/tunnel/x"));
    }
    lab.now();
    assert_eq!(lab.count(Phase::Tunnel), 10_000);
    lab.sim().signal(SIGTERM);
    lab.turn();
    let told = 10_000 - lab.count(Phase::Tunnel);
    assert!((1..=1_024).contains(&told), "{told} in one turn");
    lab.now();
    assert_eq!(lab.count(Phase::Tunnel), 0, "all of them in that moment");
    for peer in &peers {
        assert!(lab.sim().got(*peer).ends_with(b"\r\n\r\nbye"));
    }
    let report = lab.drains_at(2);
    assert_eq!(report.upgraded, 10_000);
}

#[test]
fn r31_goodbyes_are_spread_like_idle_closes() {
    let mut lab = Lab::draining_by(DrainPolicy::new().close_spread(ms(2_000)));
    let mut tubes = Vec::new();
    for n in 0..200 {
        let (peer, tube) = tunnelled(&mut lab, &format!("/tunnel/{n}"));
        tube.at("draining", "bye", TunnelAction::Close);
        tubes.push(peer);
    }
    lab.signal();
    for hundreds in 1..=20 {
        lab.until(hundreds * 100);
        let left = lab.count(Phase::Tunnel);
        assert_eq!(left, 200 - 10 * hundreds, "at {} ms", hundreds * 100);
    }
    assert_eq!(lab.drains_at(2_000).dismissed, 0);
}

#[test]
fn a_farewell_is_counted_from_when_a_tunnel_is_told() {
    let drain = DrainPolicy::new()
        .close_spread(ms(2_000))
        .tunnel_grace(ms(500));
    let mut lab = Lab::draining_by(drain);
    let (first, _) = tunnelled(&mut lab, "/tunnel/1");
    let (second, _) = tunnelled(&mut lab, "/tunnel/2");
    lab.signal();
    let outcome = lab.ends_at(2_500);
    lab.finished_at(first, 1_500);
    lab.finished_at(second, 2_500);
    assert_eq!(outcome.report.dismissed, 2);
}

#[test]
fn a_panic_at_the_goodbye_resets_that_connection_alone() {
    let mut lab = Lab::new();
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    let (other, polite) = tunnelled(&mut lab, "/tunnel/y");
    tube.panics_at("draining");
    polite.at("draining", "bye", TunnelAction::Close);
    lab.signal();
    lab.reset_at(peer, 0);
    lab.finished_at(other, 0);
    let outcome = lab.ends_at(2);
    assert_eq!(
        (outcome.code(), outcome.report.panics, outcome.report.cut),
        (1, 1, 1)
    );
}

#[test]
fn a_timer_in_the_drain_ends_a_goodbye_that_is_not_answered() {
    let mut lab = Lab::new();
    let (peer, tube) = tunnelled(&mut lab, "/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Wait);
    tube.timer_at("draining", 2_000);
    tube.at("time", "", TunnelAction::Close);
    lab.signal();
    lab.drains_at(2_000);
    lab.finished_at(peer, 2_000);
}

#[test]
fn a_goodbye_is_acknowledged_before_the_end() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("draining", "bye", TunnelAction::Close);
    let peer = lab.connect_as(reluctant(10_000));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.signal();
    lab.until(5_000);
    assert!(!lab.is_over(), "its goodbye has not arrived");
    lab.sim().take(peer, EVERYTHING);
    lab.until(6_000);
    assert!(lab.is_over());
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "bye");
}
