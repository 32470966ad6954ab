//! Upgraded connections: every byte, wake, timer and mistake.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Faults, PeerId, ResetAt, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{Pipe, PipeError, Timeouts, TunnelAction};

use ebbtide_lab::wire::{GET, SWITCHED, get, mistake_close, ok, pattern, post, undated, upgrade};
use ebbtide_lab::{EVERYTHING, Lab, ms, reluctant};

use super::same_in_any_pieces;

/// Returns a peer whose connection is a tunnel.
#[track_caller]
fn tunnelled(lab: &mut Lab, target: &str) -> PeerId {
    let peer = lab.ask(upgrade(target));
    assert_eq!(
        (lab.got(peer), lab.count(Phase::Tunnel)),
        (SWITCHED.to_owned(), 1)
    );
    peer
}

#[test]
fn an_upgrade_is_answered_101_and_its_bytes_go_to_the_tunnel() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let peer = tunnelled(&mut lab, "/tunnel/x");
    lab.until(50_000);
    lab.send(peer, "hello");
    lab.until(5 * 24 * 3_600_000);
    lab.send(peer, " there");
    assert_eq!(
        undated(lab.sim().got(peer), u32::MAX),
        SWITCHED.to_owned() + "hello there"
    );
    assert_eq!(tube.received(), "hello there");
    let report = lab.report();
    assert_eq!(
        (report.requests, report.answered, report.upgraded),
        (1, 1, 1)
    );
    lab.sim().fin(peer);
    lab.now();
    assert_eq!(lab.open(), 0);
    assert_eq!(
        tube.calls(),
        ["open", "receive", "receive", "ended", "dropped"]
    );
    assert_eq!(lab.report().left, 0);
}

#[test]
fn a_request_without_the_upgrade_is_told_to_ask_for_it() {
    let mut lab = Lab::new();
    for fields in [
        "",
        "Upgrade: tube\r\n",
        "Connection: upgrade\r\nUpgrade: other\r\n",
    ] {
        let peer = lab.ask(format!("GET /tunnel/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let got = lab.got(peer);
        assert!(
            got.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
            "{got}"
        );
        assert!(
            got.contains("\r\nConnection: Upgrade\r\nUpgrade: tube\r\n"),
            "{got}"
        );
        assert_eq!(lab.count(Phase::Tunnel), 0);
    }
    // HTTP/1.0 has no upgrades.
    let peer = lab.ask("GET /tunnel/x HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: tube\r\n\r\n");
    assert!(lab.got(peer).starts_with("HTTP/1.1 426 "));
    assert_eq!(lab.report().upgraded, 0);
}

#[test]
fn a_request_that_asks_for_an_upgrade_may_be_answered_without() {
    let mut lab = Lab::new();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: tube\r\n\r\n";
    let peer = lab.ask(head.repeat(2));
    assert_eq!(lab.got(peer), ok("hello\n").repeat(2));
}

#[test]
fn a_request_with_a_body_is_upgraded_behind_it() {
    let mut lab = Lab::new();
    let request = post("/tunnel/x", "body");
    let request = request.replace(
        "\r\n\r\n",
        "\r\nConnection: upgrade\r\nUpgrade: tube\r\n\r\n",
    );
    let peer = lab.ask(request + "raw");
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "raw");
}

#[test]
fn responses_that_cannot_be_an_upgrade_are_mistakes() {
    let mut lab = Lab::new();
    // A body follows a 101.
    let peer = lab.ask(upgrade("/with-body"));
    assert_eq!(lab.got(peer), mistake_close());
    // The upgrade belongs to another connection.
    let asked = lab.ask(upgrade("/keep-upgrade/x"));
    let thief = lab.ask(get("/twice/x"));
    assert_eq!(lab.got(thief), mistake_close());
    assert_eq!(
        (lab.got(asked), lab.count(Phase::Handler)),
        (String::new(), 1)
    );
    assert_eq!((lab.report().upgraded, lab.report().panics), (0, 0));
}

#[test]
fn an_upgrade_by_ticket_gets_the_bytes_that_were_early() {
    let mut lab = Lab::new();
    let peer = lab.ask(upgrade("/keep-upgrade/x") + "early");
    lab.until(3_000);
    let response = lab.app().upgrade("/keep-upgrade/x");
    lab.answer("/keep-upgrade/x", response);
    lab.now();
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "early");
    assert_eq!(lab.count(Phase::Tunnel), 1);
}

/// Returns two requests, an upgrade and bytes of the tunnel, and the response to them.
fn exchange() -> (String, String) {
    let requests = [
        GET.to_owned(),
        post("/echo", "body"),
        upgrade("/tunnel/x"),
        "0123456789".into(),
    ];
    let responses = [
        ok("hello\n"),
        ok("body"),
        SWITCHED.to_owned(),
        "0123456789".into(),
    ];
    (requests.concat(), responses.concat())
}

#[test]
fn the_same_bytes_in_any_pieces_are_answered_the_same() {
    let (requests, responses) = exchange();
    same_in_any_pieces(&requests, &responses);
}

#[test]
fn a_reset_or_a_fin_after_every_byte_leaves_nothing_behind() {
    let (requests, responses) = exchange();
    let dates = 3 * 37;
    let sent = (0..=requests.len() as u64).map(ResetAt::Sent);
    let taken = (1..=(responses.len() + dates) as u64).map(ResetAt::Taken);
    for reset in sent.chain(taken) {
        let mut lab = Lab::faulty(Faults {
            reset: Some(reset),
            ..Faults::default()
        });
        lab.ask(requests.clone());
        assert_eq!(lab.open(), 0, "{reset:?}");
        lab.signal();
        lab.drains_at(2);
    }
    for k in 0..=requests.len() {
        let mut lab = Lab::new();
        let peer = lab.connect();
        lab.sim().send(peer, requests[..k].to_owned());
        lab.sim().fin(peer);
        lab.now();
        assert_eq!((lab.open(), lab.seen(peer).reset), (0, None), "{k}");
        lab.finished_at(peer, 0);
    }
}

#[test]
fn faults_of_the_socket_lose_no_byte() {
    let text = pattern(300_000);
    for seed in 0..20 {
        let setup = Setup {
            faults: Faults {
                seed,
                one_byte: seed == 0,
                short_reads: 3,
                short_writes: 3,
                interrupts: 5,
                spurious: 5,
                ..Faults::default()
            },
            ..Setup::default()
        };
        let mut lab = Lab::with(setup, Config::default());
        lab.patience = 2_000_000;
        let length = if seed == 0 { 3_000 } else { text.len() };
        let peer = lab.ask(upgrade("/tunnel/x"));
        lab.send(peer, text[..length].to_owned());
        assert!(
            lab.got(peer) == SWITCHED.to_owned() + &text[..length],
            "seed {seed}"
        );
        assert_eq!(lab.count(Phase::Tunnel), 1);
    }
}

#[test]
fn a_tunnel_whose_peer_takes_nothing_is_given_nothing() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.sim().take(peer, EVERYTHING);
    lab.now();
    lab.send(peer, pattern(400_000));
    assert_eq!((lab.count(Phase::Reply), lab.count(Phase::Tunnel)), (1, 0));
    let first = tube.received().len();
    assert!(first <= 4 * 64 * 1024, "{first}");
    lab.until(20_000);
    lab.send(peer, pattern(1_000));
    assert_eq!(
        tube.received().len(),
        first,
        "nothing is read while nothing goes out"
    );
    for _ in 0..500 {
        lab.pass(10);
        lab.sim().take(peer, EVERYTHING);
    }
    lab.now();
    let all = pattern(400_000) + &pattern(1_000);
    assert_eq!(lab.count(Phase::Tunnel), 1);
    assert!(lab.got(peer) == SWITCHED.to_owned() + &all);
}

#[test]
fn a_tunnel_whose_peer_takes_nothing_for_too_long_is_reset() {
    let mut lab = Lab::timed_by(Timeouts::new().write(ms(5_000)));
    let tube = lab.app().tube("/tunnel/x");
    let peer = lab.connect_as(reluctant(500));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.send(peer, pattern(1_000));
    lab.until(4_999);
    lab.still_open(peer);
    lab.until(5_000);
    lab.reset_at(peer, 5_000);
    assert_eq!((lab.report().timed_out, lab.report().aborted), (1, 1));
    assert_eq!(tube.calls().last(), Some(&"dropped"));
}

#[test]
fn more_is_asked_for_when_there_is_room() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let piece = pattern(50_000);
    tube.at("open", "", TunnelAction::More);
    tube.at("wake", &piece, TunnelAction::More);
    let peer = lab.connect_as(reluctant(10_000));
    lab.send(peer, upgrade("/tunnel/x"));
    let asked = tube.calls().len();
    assert!(asked <= 6, "{asked} calls for a window of 10,000 bytes");
    for _ in 0..20 {
        lab.sim().take(peer, EVERYTHING);
        lab.pass(1);
    }
    tube.at("wake", "end", TunnelAction::Close);
    for _ in 0..100 {
        lab.sim().take(peer, EVERYTHING);
        lab.pass(1);
    }
    let got = lab.got(peer);
    let body = got
        .strip_prefix(SWITCHED)
        .unwrap()
        .strip_suffix("end")
        .unwrap();
    assert!(
        body.len() >= 200_000 && body.len().is_multiple_of(50_000),
        "{}",
        body.len()
    );
    assert!(body == piece.repeat(body.len() / 50_000));
    assert_eq!(lab.open(), 0);
}

#[test]
fn more_and_nothing_to_send_for_ever_is_a_mistake_and_others_are_served() {
    let mut lab = Lab::new();
    let other = lab.connect();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("open", "", TunnelAction::More);
    tube.at("wake", "", TunnelAction::More);
    let peer = lab.connect();
    lab.sim().send(peer, upgrade("/tunnel/x"));
    lab.sim().send(other, GET);
    lab.turn();
    assert_eq!(lab.got(other), ok("hello\n"));
    lab.now();
    lab.reset_at(peer, 0);
}

#[test]
fn a_pause_holds_the_peer_until_a_wake() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let peer = tunnelled(&mut lab, "/tunnel/x");
    tube.at("receive", "", TunnelAction::Pause);
    lab.send(peer, "one");
    lab.send(peer, "two");
    lab.sim().fin(peer);
    lab.until(1_000);
    assert_eq!(
        (tube.received().as_str(), lab.count(Phase::Tunnel)),
        ("one", 1)
    );
    tube.at("receive", "all", TunnelAction::Wait);
    tube.wake();
    lab.now();
    assert_eq!(tube.received(), "onetwo");
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "all");
    assert_eq!(
        tube.calls(),
        ["open", "receive", "wake", "receive", "ended", "dropped"]
    );
}

#[test]
fn a_tunnel_may_pause_for_long_before_bytes_that_came_with_its_request() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("open", "", TunnelAction::Pause);
    let peer = lab.ask(upgrade("/tunnel/x") + "early");
    lab.until(100_000);
    lab.still_open(peer);
    assert_eq!((lab.report().timed_out, tube.received().as_str()), (0, ""));
    tube.at("receive", "all", TunnelAction::Close);
    tube.wake();
    lab.now();
    assert_eq!(tube.received(), "early");
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "all");
}

#[test]
fn a_tunnel_that_pauses_finds_out_that_its_peer_is_gone() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let peer = tunnelled(&mut lab, "/tunnel/x");
    tube.at("receive", "", TunnelAction::Pause);
    lab.send(peer, "one");
    lab.sim().reset(peer);
    lab.now();
    assert_eq!((lab.open(), lab.report().left), (0, 1));
    assert_eq!(tube.calls(), ["open", "receive", "dropped"]);
}

#[test]
fn a_half_closed_tunnel_goes_on_sending() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let peer = tunnelled(&mut lab, "/tunnel/x");
    tube.at("ended", "", TunnelAction::Wait);
    lab.send(peer, "last");
    lab.sim().fin(peer);
    lab.until(60_000);
    lab.still_open(peer);
    tube.at("wake", "still here", TunnelAction::Close);
    tube.wake();
    lab.now();
    assert_eq!(lab.got(peer), SWITCHED.to_owned() + "laststill here");
    lab.finished_at(peer, 60_000);
    let calls = ["open", "receive", "ended", "wake", "dropped"];
    assert_eq!(tube.calls(), calls, "its end is told once");
}

#[test]
fn other_threads_push_through_a_pipe_that_is_bounded() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let (writer, pipe) = Pipe::new(10_000);
    tube.empties(pipe);
    tube.at("open", "", TunnelAction::More); // this first look registers the wake of the pipe
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.sim().take(peer, EVERYTHING);
    lab.now();
    assert_eq!(lab.count(Phase::Tunnel), 1);
    let text = pattern(300_000);
    let (mut at, mut full) = (0, 0);
    while at < text.len() {
        let piece = &text[at..text.len().min(at + 1_000)];
        match writer.try_send(piece) {
            Ok(()) => at += piece.len(),
            Err(_) => full += 1,
        }
        assert!(full < 10_000, "the pipe stays full at {at}");
        lab.sim().take(peer, 700);
        lab.pass(1);
    }
    assert!(
        full > 100,
        "a writer was never told that the pipe is full: {full}"
    );
    drop(writer);
    for _ in 0..1_000 {
        lab.sim().take(peer, EVERYTHING);
        lab.pass(1);
    }
    assert_eq!(lab.open(), 0);
    assert!(lab.got(peer) == SWITCHED.to_owned() + &text);
    assert!(lab.seen(peer).reset.is_none());
}

#[test]
fn a_writer_is_told_when_its_tunnel_is_gone() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    let (writer, pipe) = Pipe::new(10_000);
    tube.empties(pipe);
    let peer = tunnelled(&mut lab, "/tunnel/x");
    lab.sim().reset(peer);
    lab.now();
    tube.calls();
    tube.wake(); // the tunnel has ended
    lab.now();
    assert_eq!(tube.calls(), [""; 0]);
    assert_eq!(writer.send("x"), Err(PipeError::Closed));
}

#[test]
fn timers_come_once_at_their_time_and_each_tunnel_has_its_own() {
    let mut lab = Lab::new();
    let mut tubes = Vec::new();
    for (name, after) in [("a", 30_000), ("b", 10_000), ("c", 30_000)] {
        let target = format!("/tunnel/{name}");
        let tube = lab.app().tube(&target);
        tube.timer_at("open", after);
        let peer = lab.ask(upgrade(&target));
        assert_eq!(lab.got(peer), SWITCHED);
        tube.calls();
        tubes.push((peer, tube));
        lab.pass(1_000);
    }
    // `b` sets its own timer each time; the peer of `a` makes it set its timer anew.
    tubes[1].1.timer_at("time", 10_000);
    tubes[0].1.timer_at("receive", 30_000);
    lab.until(20_000);
    lab.send(tubes[0].0, "x");
    lab.until(49_999);
    assert_eq!(
        tubes[0].1.calls(),
        ["receive"],
        "the first timer was replaced"
    );
    assert_eq!(tubes[1].1.calls(), ["time"; 3 + 1]);
    assert_eq!(tubes[2].1.calls(), ["time"]);
    let turns = lab.turns;
    lab.until(50_000);
    assert_eq!(tubes[0].1.calls(), ["time"]);
    lab.until(50_999);
    assert!(lab.turns - turns <= 3, "it is not polled");
    assert_eq!(lab.count(Phase::Tunnel), 3);
}

#[test]
fn a_tunnel_may_end_itself_when_its_time_is_over() {
    for (next, fin) in [(TunnelAction::Close, true), (TunnelAction::Fail, false)] {
        let mut lab = Lab::new();
        let tube = lab.app().tube("/tunnel/x");
        tube.timer_at("open", 5_000);
        tube.at("time", "too long", next);
        let peer = tunnelled(&mut lab, "/tunnel/x");
        lab.until(5_000);
        let said = if fin { "too long" } else { "" };
        assert_eq!(lab.got(peer), SWITCHED.to_owned() + said);
        let seen = lab.seen(peer);
        assert_eq!((seen.fin.is_some(), seen.reset.is_some()), (fin, !fin));
        assert_eq!((lab.open(), lab.report().timed_out), (0, 0));
    }
}

#[test]
fn a_failed_tunnel_is_reset_also_where_it_owes_bytes() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.timer_at("open", 1_000);
    tube.at("time", "", TunnelAction::Fail);
    let peer = lab.connect_as(reluctant(200));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.send(peer, pattern(1_000));
    assert_eq!(lab.count(Phase::Reply), 1);
    tube.wake(); // the tunnel is not called while the peer takes nothing
    lab.until(1_000);
    lab.reset_at(peer, 1_000);
    assert_eq!(tube.calls(), ["open", "receive", "time", "dropped"]);
}

#[test]
fn a_tunnel_that_closes_while_it_owes_bytes_ends_behind_them() {
    let mut lab = Lab::new();
    let tube = lab.app().tube("/tunnel/x");
    tube.at("receive", &pattern(5_000), TunnelAction::Close);
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, upgrade("/tunnel/x"));
    lab.send(peer, "x");
    tube.wake(); // the tunnel is not called again
    for _ in 0..10 {
        lab.pass(10);
        lab.sim().take(peer, EVERYTHING);
    }
    lab.now();
    assert!(lab.got(peer) == SWITCHED.to_owned() + &pattern(5_000));
    assert_eq!(tube.calls(), ["open", "receive", "dropped"]);
    assert!(lab.seen(peer).reset.is_none());
}

#[test]
fn a_panic_of_a_tunnel_resets_its_connection_alone() {
    for call in ["open", "receive", "wake", "time", "ended"] {
        let mut lab = Lab::new();
        let other = lab.idle();
        let tube = lab.app().tube("/tunnel/x");
        tube.timer_at("open", 1_000);
        tube.panics_at(call);
        let peer = lab.ask(upgrade("/tunnel/x"));
        match call {
            "receive" => lab.send(peer, "x"),
            "wake" => tube.wake(),
            "ended" => lab.sim().fin(peer),
            _ => {}
        }
        lab.until(1_000);
        assert_eq!((lab.report().panics, lab.open()), (1, 1), "{call}");
        let seen = lab.seen(peer);
        assert_eq!((seen.fin, seen.reset.is_some()), (None, true), "{call}");
        assert_eq!(tube.calls().last(), Some(&"dropped"));
        lab.send(other, GET);
        assert_eq!(lab.got_then(other), ok("hello\n"));
    }
}

#[test]
fn a_tunnel_is_shown_by_its_name_its_bytes_and_how_long_it_is_idle() {
    let mut lab = Lab::new();
    let peer = tunnelled(&mut lab, "/tunnel/x");
    lab.until(4_000);
    lab.send(peer, "hello");
    lab.until(10_000);
    let connections = lab.engine().blockers(10);
    let [one] = &connections[..] else {
        panic!("{connections:?}");
    };
    assert_eq!((one.request.as_str(), one.phase), ("a tube", "tunnel"));
    let out = SWITCHED.len() as u64 + 37 + 5; // the 101, with its Date, and the echo
    assert_eq!(
        (one.bytes_in, one.bytes_out, one.age_millis),
        (5, out, 6_000)
    );
}

#[test]
fn ten_thousand_tunnels_cost_no_working_state_while_they_are_idle() {
    let mut lab = Lab::new();
    lab.patience = 200_000;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.extend((0..1_000).map(|_| lab.sim().connect(0)));
        lab.now();
    }
    for (n, peer) in peers.iter().enumerate() {
        lab.sim()
            .send(*peer, upgrade(&format!("/tunnel/{}", n % 7)));
    }
    lab.now();
    assert_eq!(lab.count(Phase::Tunnel), 10_000);
    lab.engine().check(); // which asserts that no `Hot` is in use
    for peer in &peers {
        lab.sim().send(*peer, "ping");
    }
    lab.now();
    for peer in &peers {
        assert!(lab.sim().got(*peer).ends_with(b"\r\n\r\nping"));
    }
    assert_eq!(lab.count(Phase::Tunnel), 10_000);
}
