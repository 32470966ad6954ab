//! Nobody starves, because one connection may do only so much in a turn.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Manner, PeerId, Setup};

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{GET, get, ok, pattern, post_head};

/// Returns how many turns a hundred peers with one request need behind one that wants more than its
/// share.
fn turns_beside(greedy: impl FnOnce(&mut Lab) -> PeerId, batch: usize) -> (Lab, PeerId, u64) {
    let setup = Setup {
        batch,
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    let others: Vec<PeerId> = (0..100).map(|_| lab.connect()).collect();
    let greedy = greedy(&mut lab);
    for peer in &others {
        lab.sim().send(*peer, GET);
    }
    let before = lab.turns;
    let served = |lab: &mut Lab| others.iter().all(|peer| !lab.sim().got(*peer).is_empty());
    while !served(&mut lab) {
        lab.turn();
        assert!(lab.turns < before + 200, "they starve");
    }
    let turns = lab.turns - before;
    for peer in others {
        assert_eq!(lab.got(peer), ok("hello\n"));
    }
    (lab, greedy, turns)
}

#[test]
fn a_pipeline_of_ten_thousand_delays_the_others_by_its_share_of_a_turn() {
    const COUNT: usize = 10_000;
    for (batch, most) in [(1_024, 1), (10, 11)] {
        let pipeline = |lab: &mut Lab| {
            let peer = lab.connect();
            lab.sim().send(peer, GET.repeat(COUNT));
            peer
        };
        let (mut lab, greedy, turns) = turns_beside(pipeline, batch);
        assert!(turns <= most, "{turns} turns");
        // The share of a pass, at the event and once more behind all others.
        assert!(lab.app().runs() <= 100 + 2 * (64 + 4) * turns as usize);
        let before = lab.turns;
        lab.now();
        assert!(lab.turns - before <= COUNT as u64 / 64 + 4);
        assert!(lab.got(greedy) == ok("hello\n").repeat(COUNT));
    }
}

#[test]
fn a_stream_that_never_ends_delays_the_others_by_its_share_of_a_turn() {
    let endless = |lab: &mut Lab| {
        let peer = lab.connect();
        lab.sim().send(peer, get(&format!("/flood/{}", usize::MAX)));
        lab.turn();
        peer
    };
    let (mut lab, greedy, turns) = turns_beside(endless, 1_024);
    assert_eq!(turns, 1);
    // The stream gets four times the size of a write in each of its two turns, and would go on.
    let taken = lab.sim().taken(greedy);
    assert!(taken < 2 * 5 * (80 << 10), "{taken} bytes in two turns");
    lab.turn();
    assert!(lab.sim().taken(greedy) > taken);
}

#[test]
fn a_large_response_to_a_fast_peer_delays_the_others_by_its_share_of_a_turn() {
    const WINDOW: u32 = 10_000;
    let download = |lab: &mut Lab| {
        let peer = lab.connect_as(Manner {
            window: WINDOW,
            ..Manner::default()
        });
        lab.sim().send(peer, get("/owned/10000000"));
        peer
    };
    let (mut lab, greedy, turns) = turns_beside(download, 1_024);
    assert_eq!(turns, 1);
    let taken = lab.sim().taken(greedy);
    assert!(
        taken <= 2 * 32 * u64::from(WINDOW),
        "{taken} bytes in a turn"
    );
    lab.now();
    assert!(lab.got(greedy) == ok(&pattern(10_000_000)));
}

#[test]
fn an_upload_delays_the_others_by_its_share_of_a_turn() {
    let upload = |lab: &mut Lab| {
        let peer = lab.connect();
        lab.sim().send(peer, post_head("/sink", 4 << 20));
        lab.sim().send(peer, vec![b'x'; 4 << 20]);
        peer
    };
    let (mut lab, greedy, turns) = turns_beside(upload, 1_024);
    assert_eq!(turns, 1);
    let taken = lab.app().basin.borrow().bytes.len();
    assert!(taken <= 2 * 4 * (64 << 10), "{taken} bytes in a turn");
    lab.now();
    assert_eq!(lab.got(greedy), ok("4194304\n"));
}

#[test]
fn many_pipelines_take_turns() {
    let mut lab = Lab::new();
    let peers: Vec<PeerId> = (0..8).map(|_| lab.connect()).collect();
    for peer in &peers {
        lab.sim().send(*peer, GET.repeat(1_000));
    }
    for _ in 0..5 {
        lab.turn();
        let taken: Vec<u64> = peers.iter().map(|peer| lab.sim().taken(*peer)).collect();
        let most = taken.iter().max().expect("there are eight");
        let least = taken.iter().min().expect("there are eight");
        assert!(*least * 2 >= *most, "{taken:?}");
    }
    lab.now();
    for peer in peers {
        assert!(lab.got(peer) == ok("hello\n").repeat(1_000));
    }
}

#[test]
fn a_herd_is_accepted_in_shares() {
    let mut lab = Lab::new();
    let idle = lab.idle();
    let herd: Vec<PeerId> = (0..4_000).map(|_| lab.sim().connect(0)).collect();
    lab.sim().send(idle, GET);
    lab.turn();
    assert_eq!(lab.got_then(idle), ok("hello\n"), "within the first turn");
    assert!(lab.open() < 600);
    lab.now();
    assert_eq!(lab.open(), 4_001);
    for peer in herd {
        lab.still_open(peer);
    }
}
