//! Hostile peers by the thousand, on virtual time. Kind peers are served in the moment of asking,
//! and a hostile peer is gone when its time is up.
//!
//! The tests of the command try the same on real sockets.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, Manner, Pace, PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{DrainPolicy, Limits};

use ebbtide_lab::wire::{GET, get, ok, post, post_head, responses, timed_out};
use ebbtide_lab::{Lab, ms, reluctant};

/// How many peers are hostile at a time.
const CROWD: u32 = 1_000;

/// Asserts that a peer which connects and asks is answered in the same moment.
#[track_caller]
fn serves_the_kind(lab: &mut Lab) {
    let begun = lab.millis();
    let peer = lab.ask(GET);
    assert_eq!(lab.got(peer), ok("hello\n"));
    assert_eq!(lab.millis(), begun, "it took time");
    lab.sim().leave(peer);
    lab.now();
}

/// Lets time pass up to that moment, and asserts twice a second that kind peers are served.
#[track_caller]
fn serves_the_kind_until(lab: &mut Lab, millis: u32) {
    while lab.millis() < millis {
        let next = (lab.millis() + 500).min(millis);
        lab.until(next);
        serves_the_kind(lab);
    }
}

/// Connects a crowd whose peers send this.
fn crowd(lab: &mut Lab, manner: Manner, text: &str) -> Vec<PeerId> {
    let crowd = (0..CROWD).map(|_| {
        let peer = lab.sim().peer(0);
        lab.sim().behave(peer, manner);
        lab.sim().act(Act::Connect(peer));
        lab.sim().send(peer, text.to_owned());
        peer
    });
    let crowd = crowd.collect();
    lab.now();
    crowd
}

/// Lets each peer send these bytes at every interval, up to that moment.
fn drip(lab: &mut Lab, crowd: &[PeerId], byte: &'static str, every: usize, millis: u32) {
    for at in (0..millis).step_by(every) {
        for peer in crowd {
            lab.sim().at(at, Act::Send(*peer, byte.into()));
        }
    }
}

/// Asserts that no connection is left, and that the books balance.
#[track_caller]
fn all_are_gone(lab: &mut Lab) {
    assert_eq!(lab.open(), 0);
    let (report, totals) = (lab.report().clone(), lab.sim().totals());
    assert_eq!(
        (report.opened, report.closed),
        (totals.accepted, totals.closed)
    );
    assert_eq!(totals.open(), 0);
}

#[test]
fn slow_heads_end_after_ten_seconds() {
    let mut lab = Lab::new();
    let crowd = crowd(
        &mut lab,
        Manner::default(),
        "GET / HTTP/1.1\r\nHost: a\r\nX: ",
    );
    drip(&mut lab, &crowd, "x", 1_000, 20_000);
    serves_the_kind_until(&mut lab, 9_999);
    assert_eq!(lab.count(Phase::Head), CROWD);
    serves_the_kind_until(&mut lab, 10_000);
    for peer in crowd {
        assert_eq!(lab.got(peer), timed_out());
    }
    lab.until(13_000);
    all_are_gone(&mut lab);
    assert_eq!(lab.report().timed_out, u64::from(CROWD));
}

#[test]
fn slow_bodies_end_after_thirty_seconds() {
    let mut lab = Lab::new();
    let crowd = crowd(&mut lab, Manner::default(), &post_head("/echo", 100_000));
    drip(&mut lab, &crowd, "x", 1_000, 40_000);
    serves_the_kind_until(&mut lab, 29_999);
    assert_eq!(lab.count(Phase::Body), CROWD);
    serves_the_kind_until(&mut lab, 30_000);
    for peer in crowd {
        assert_eq!(lab.got(peer), timed_out());
    }
    lab.until(33_000);
    all_are_gone(&mut lab);
}

#[test]
fn slow_readers_end_after_thirty_seconds() {
    let mut lab = Lab::new();
    let crowd = crowd(&mut lab, reluctant(1_000), &get("/owned/100000"));
    for at in (0..40_000).step_by(1_000) {
        for peer in &crowd {
            lab.sim().at(at, Act::Take(*peer, 100));
        }
    }
    serves_the_kind_until(&mut lab, 29_999);
    assert_eq!(lab.count(Phase::Reply), CROWD);
    serves_the_kind_until(&mut lab, 30_000);
    all_are_gone(&mut lab);
    for peer in crowd {
        lab.reset_at(peer, 30_000);
    }
}

#[test]
fn a_hundred_thousand_silent_sockets_cost_their_ten_seconds() {
    const SILENT: u32 = 100_000;
    let setup = Setup {
        backlog: SILENT as usize,
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    let silent: Vec<_> = (0..SILENT).map(|_| lab.sim().connect(0)).collect();
    lab.now();
    assert_eq!(lab.count(Phase::Fresh), SILENT);
    serves_the_kind_until(&mut lab, 9_999);
    lab.until(10_000);
    all_are_gone(&mut lab);
    for peer in silent {
        lab.finished_at(peer, 10_000);
    }
}

#[test]
fn a_peer_that_pipelines_and_does_not_read_is_no_longer_read() {
    let mut lab = Lab::new();
    let asks = get("/owned/1000").repeat(2_000);
    let crowd = crowd(&mut lab, reluctant(1_000), &asks);
    for peer in &crowd {
        // The server runs what fills an output of 64 KiB, and reads no more than one read takes.
        assert!(lab.sim().unread(*peer) >= asks.len() as u64 - 64 * 1024);
    }
    let runs = lab.app().runs();
    assert!(runs <= 70 * CROWD as usize, "{runs} runs");
    serves_the_kind_until(&mut lab, 30_000);
    all_are_gone(&mut lab);
    for peer in crowd {
        lab.reset_at(peer, 30_000);
    }
}

#[test]
fn what_never_ends_is_refused_at_its_limit() {
    const CHUNKED: &str = "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
    // The limit counts the beginning, the repeated bytes, the response and one read.
    let cases: &[(String, &'static str, u16, usize)] = &[
        (CHUNKED.to_owned() + "1", ";x=y", 431, 16 * 1024),
        (CHUNKED.to_owned(), "1;x=y\r\nx\r\n", 431, 64 * 1024),
        (CHUNKED.to_owned() + "0\r\n", "X: y\r\n", 431, 16 * 1024),
        (CHUNKED.to_owned() + "0\r\nX: ", "y", 431, 16 * 1024),
        (HEAD.to_owned(), "X: y\r\n", 431, 64 * 1024),
        (HEAD.to_owned() + "X: ", "y", 431, 64 * 1024),
        ("GET /".to_owned(), "x", 414, 64 * 1024),
        (String::new(), "x", 414, 64 * 1024),
        (String::new(), "\r\n", 400, 64 * 1024),
        (CHUNKED.replace("sink", "echo"), "1\r\nx\r\n", 413, 6 << 20),
    ];
    for (begin, again, status, most) in cases {
        let mut lab = Lab::new();
        let peer = lab.ask(begin.clone());
        let piece = again.repeat(4_000 / again.len());
        let mut sent = begin.len();
        while lab.got(peer).is_empty() {
            assert!(sent <= most + 70_000, "{begin:?}, then {again:?}: no end");
            lab.send(peer, piece.clone());
            sent += piece.len();
        }
        let (said, rest) = responses(lab.sim().got(peer));
        assert_eq!((said.len(), rest), (1, &b""[..]));
        assert_eq!(
            (said[0].status, said[0].says_close()),
            (*status, true),
            "{again:?}"
        );
        // The peer goes on, and nobody reads: lingering is bounded too.
        drip(&mut lab, &[peer], again, 100, 5_000);
        lab.until(5_000);
        all_are_gone(&mut lab);
    }
}

#[test]
fn a_peer_that_breaks_off_at_any_byte_leaves_nothing_behind() {
    let exchanges = [
        GET.repeat(2),
        post("/echo", "hello") + GET,
        "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n\
         0\r\nX: y\r\n\r\n"
            .to_owned(),
        get("/feed/x") + GET,
        get("/later/x") + GET,
    ];
    let ways: [fn(PeerId) -> Act; 3] = [Act::Reset, Act::Leave, Act::Fin];
    let mut lab = Lab::new();
    for exchange in exchanges {
        for at in 0..=exchange.len() {
            for way in ways {
                let peer = lab.connect();
                lab.send(peer, exchange[..at].to_owned());
                lab.sim().act(way(peer));
                lab.now();
                // Tickets of peers that left answer nobody else.
                drop(lab.app().tickets());
                let feed = lab.app().feed("/feed/x");
                feed.end(ebbtide::Fill::Done);
                lab.now();
                assert_eq!(lab.open(), 0, "{exchange:?} up to {at}");
            }
        }
    }
    serves_the_kind(&mut lab);
    all_are_gone(&mut lab);
}

#[test]
fn a_peer_that_breaks_off_after_any_byte_of_a_response_leaves_nothing_behind() {
    let mut lab = Lab::new();
    for target in ["/", "/owned/300", "/flood/300", "/close"] {
        for taken in 0..600 {
            let peer = lab.connect_as(reluctant(100));
            lab.send(peer, get(target));
            for step in (0..taken).step_by(50) {
                lab.sim().take(peer, 50.min(taken - step));
                lab.now();
            }
            lab.sim().reset(peer);
            lab.now();
            assert_eq!(lab.open(), 0, "{target} after {taken}");
        }
    }
    serves_the_kind(&mut lab);
    all_are_gone(&mut lab);
}

#[test]
fn a_storm_of_connects_and_resets_is_weathered() {
    let setup = Setup {
        faults: Faults {
            failed_accepts: 2,
            failed_registrations: 7,
            ..Faults::default()
        },
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    // Every other accept fails; a peer that is accepted stays.
    let kind = loop {
        let peer = lab.connect();
        if lab.seen(peer).open() {
            break peer;
        }
    };
    for second in 0..20 {
        let storm: Vec<_> = (0..CROWD).map(|_| lab.sim().connect(0)).collect();
        for (n, peer) in storm.into_iter().enumerate() {
            if n % 2 == 0 {
                lab.sim().send(peer, "GET");
            }
            lab.sim().reset(peer);
        }
        lab.until(second * 100);
        assert!(lab.open() <= 1, "{} are left", lab.open());
        lab.sim().send(kind, GET);
        lab.now();
    }
    assert_eq!(responses(lab.sim().got(kind)).0.len(), 20);
    assert!(lab.report().opened > 1_000);
}

#[test]
fn out_of_descriptors_open_connections_are_served_and_silent_ones_make_room() {
    const ROOM: u64 = 50;
    let setup = Setup {
        faults: Faults {
            max_open: Some(ROOM),
            ..Faults::default()
        },
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    let inside = lab.idle();
    for _ in 0..ROOM * 2 {
        lab.sim().connect(0);
    }
    lab.now();
    assert_eq!(u64::from(lab.open()), ROOM);
    let outside = lab.ask(GET);
    for n in 1..=19 {
        lab.until(n * 500);
        lab.send(inside, GET);
        assert_eq!(responses(lab.sim().got(inside)).0.len(), n as usize + 1);
    }
    // Without descriptors the loop looks again ten times a second, and does not spin.
    assert!(lab.turns < 1_000, "{} turns", lab.turns);
    // The first silent peers time out, and later silent peers take their place and time out too.
    lab.until(10_000);
    assert_eq!(lab.got(outside), "");
    lab.until(20_100);
    assert_eq!(lab.got(outside), ok("hello\n"));
}

#[test]
fn room_among_the_connections_is_made_in_the_same_way() {
    let mut lab = Lab::limited_by(Limits::new().connections(50));
    for _ in 0..100 {
        lab.sim().connect(0);
    }
    lab.now();
    assert_eq!(lab.open(), 50);
    let outside = lab.ask(GET);
    lab.until(20_000);
    assert_eq!(lab.got(outside), ok("hello\n"));
}

#[test]
fn no_crowd_holds_a_drain_beyond_its_deadline() {
    let mut lab = Lab::draining_by(DrainPolicy::new().timeout(ms(5_000)));
    let stubborn = Manner {
        takes: Pace::Never,
        answers: Pace::Never,
        window: 1_000,
    };
    let heads = crowd(&mut lab, Manner::default(), "GET / HT");
    let bodies = crowd(&mut lab, Manner::default(), &post_head("/echo", 100_000));
    crowd(&mut lab, stubborn, &get("/owned/100000"));
    crowd(&mut lab, stubborn, &get("/close"));
    crowd(&mut lab, Manner::default(), "");
    drip(&mut lab, &heads, "x", 500, 10_000);
    drip(&mut lab, &bodies, "x", 500, 10_000);
    lab.until(1_000);
    lab.signal();
    let outcome = lab.ends_at(6_000);
    // A body on its way ends with 503, and a response that is stuck ends with a reset. Nothing else
    // is cut, because heads had their two seconds.
    assert_eq!(outcome.code(), 1);
    assert_eq!(outcome.report.forced_503, u64::from(CROWD));
    assert_eq!(outcome.report.timed_out, u64::from(CROWD));
}
