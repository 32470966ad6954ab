//! The most connections, and no descriptors: accepting waits without a spin, and goes on by itself.

use ebbtide::Limits;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Faults, PeerId, Setup};

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{GET, get, ok, ok_close};

#[test]
fn beyond_the_limit_connections_wait_and_come_in_one_by_one() {
    let mut lab = Lab::limited_by(Limits::new().connections(2));
    let (first, second) = (lab.idle(), lab.idle());
    let waiting: Vec<PeerId> = (0..5).map(|_| lab.ask(GET)).collect();
    let turns = lab.turns;
    lab.until(60_000);
    assert!(
        lab.turns <= turns + 2,
        "{} turns of waiting",
        lab.turns - turns
    );
    for peer in &waiting {
        assert_eq!(lab.got(*peer), "");
    }
    lab.sim().fin(first);
    lab.now();
    assert_eq!(lab.got(waiting[0]), ok("hello\n"), "in the same moment");
    assert_eq!(lab.got(waiting[1]), "");
    lab.sim().reset(second);
    lab.now();
    assert_eq!(lab.got(waiting[1]), ok("hello\n"));
    // The two accepted peers make room for the rest when they time out.
    lab.until(60_000 + 75_000);
    assert_eq!(lab.got(waiting[3]), ok("hello\n"));
    lab.until(60_000 + 2 * 75_000);
    assert_eq!(lab.got(waiting[4]), ok("hello\n"));
    assert_eq!(lab.report().opened, 7);
}

#[test]
fn a_server_that_is_exactly_full_sleeps() {
    let mut lab = Lab::limited_by(Limits::new().connections(1));
    lab.ask(get("/later/x"));
    let turns = lab.turns;
    lab.pass(3_600_000);
    assert!(
        lab.turns <= turns + 2,
        "{} turns of nothing",
        lab.turns - turns
    );
}

#[test]
fn a_drain_accepts_connections_that_wait_beyond_the_limit() {
    let mut lab = Lab::limited_by(Limits::new().connections(1));
    let holder = lab.ask(get("/later/x"));
    let waiting: Vec<_> = (0..300).map(|_| lab.ask(GET)).collect();
    lab.until(100);
    lab.signal();
    for peer in waiting {
        assert_eq!(lab.got(peer), ok_close("hello\n"));
        lab.finished_at(peer, 100);
    }
    lab.until(5_000);
    lab.answer("/later/x", ebbtide::Response::text(200, "x\n"));
    lab.drains_at(5_000);
    assert_eq!(lab.got(holder), ok_close("x\n"));
}

#[test]
fn no_listener_keeps_the_others_from_their_turn() {
    let setup = Setup {
        listeners: 2,
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    for _ in 0..1_000 {
        lab.sim().connect(0);
    }
    let other = lab.sim().connect(1);
    lab.sim().send(other, GET);
    for _ in 0..3 {
        lab.turn();
    }
    assert_eq!(lab.got(other), ok("hello\n"));
    assert!(lab.open() < 1_000, "all the others were before it");
}

fn out_of_descriptors(faults: Faults) -> Lab {
    let setup = Setup {
        faults,
        ..Setup::default()
    };
    Lab::with(setup, Config::default())
}

#[test]
fn out_of_descriptors_accepting_waits_a_moment_and_tries_again() {
    let mut lab = out_of_descriptors(Faults {
        exhausted: 100..5_000,
        ..Faults::default()
    });
    let before = lab.idle();
    lab.until(150);
    let waiting = lab.ask(GET);
    let turns = lab.turns;
    lab.until(4_999);
    assert!(
        lab.turns - turns <= 50,
        "{} turns in five seconds",
        lab.turns - turns
    );
    assert_eq!(lab.got(waiting), "");
    // The server serves its open connections as before.
    lab.send(before, GET);
    assert_eq!(lab.got_then(before), ok("hello\n"));
    lab.until(5_100);
    assert_eq!(lab.got(waiting), ok("hello\n"));
}

#[test]
fn out_of_descriptors_a_close_makes_room_at_once() {
    let mut lab = out_of_descriptors(Faults {
        max_open: Some(3),
        ..Faults::default()
    });
    let inside: Vec<PeerId> = (0..3).map(|_| lab.idle()).collect();
    let waiting = lab.ask(GET);
    lab.until(50);
    assert_eq!(lab.got(waiting), "");
    lab.sim().fin(inside[1]);
    lab.now();
    assert_eq!(lab.got(waiting), ok("hello\n"));
}

#[test]
fn a_connection_that_cannot_be_watched_is_closed() {
    let mut lab = out_of_descriptors(Faults {
        failed_registrations: 2,
        seed: 7,
        ..Faults::default()
    });
    let peers: Vec<PeerId> = (0..100).map(|_| lab.ask(GET)).collect();
    let served = peers
        .iter()
        .filter(|peer| !lab.sim().got(**peer).is_empty())
        .count();
    assert!((30..70).contains(&served), "{served}");
    assert_eq!((lab.open() as usize, lab.report().opened), (served, 100));
    assert_eq!(lab.report().closed as usize, 100 - served);
}

#[test]
fn a_connection_that_fails_before_it_is_accepted_costs_nobody_else() {
    let mut lab = out_of_descriptors(Faults {
        failed_accepts: 2,
        seed: 7,
        ..Faults::default()
    });
    let peers: Vec<PeerId> = (0..600).map(|_| lab.sim().connect(0)).collect();
    for peer in &peers {
        lab.sim().send(*peer, GET);
    }
    lab.now();
    let served = peers
        .iter()
        .filter(|peer| !lab.sim().got(**peer).is_empty())
        .count();
    assert!((200..400).contains(&served), "{served}");
    assert_eq!(lab.report().opened as usize, served);
    assert_eq!(lab.open() as usize, served);
}

#[test]
fn several_listeners_are_served_alike() {
    let setup = Setup {
        listeners: 3,
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    let peers: Vec<PeerId> = (0..600).map(|n| lab.sim().connect(n % 3)).collect();
    for peer in &peers {
        lab.sim().send(*peer, GET);
    }
    lab.now();
    for peer in peers {
        assert_eq!(lab.got(peer), ok("hello\n"));
    }
    let late: Vec<PeerId> = (0..9).map(|n| lab.sim().connect(n % 3)).collect();
    lab.signal();
    lab.drains_at(26);
    for peer in late {
        lab.finished_at(peer, 25); // the grace of connections that have sent nothing
    }
}
