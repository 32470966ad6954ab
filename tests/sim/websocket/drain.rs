//! WebSockets at the signal: idle, amid a message, deaf to a Close, slow to read.

use ebbtide::DrainPolicy;
use ebbtide::internals::engine::Config;
use ebbtide::internals::tracker::Phase;
use ebbtide::websocket::{Message, SendError, WebSocket, code};

use super::room::{HANDSHAKE, Room};
use ebbtide_lab::frames::{Frame, LAST, MORE, TEXT, close, frame, text};
use ebbtide_lab::wire::pattern;
use ebbtide_lab::{EVERYTHING, SIGTERM, ms, reluctant};

#[test]
fn r28_an_idle_one_is_told_1001_in_the_turn_of_the_signal_and_ends_with_the_peers_close() {
    let mut room = Room::new();
    let peer = room.open();
    room.lab.until(1_000);
    room.lab.sim().signal(SIGTERM);
    room.lab.turn();
    room.last(peer).assert_close(code::AWAY);
    room.lab.until(1_040);
    room.lab.still_open(peer);
    room.lab.send(peer, close(1001, ""));
    room.lab.finished_at(peer, 1_040);
    let report = room.lab.drains_at(1_040);
    assert_eq!((report.dismissed, report.aborted, report.left), (0, 0, 0));
    assert_eq!(room.notes.events(), ["draining", "closed 1001"]);
}

#[test]
fn a_peer_that_ignores_the_close_gets_a_fin_and_nothing_is_cut() {
    let mut room = Room::serving(WebSocket::new().close_timeout(ms(2_000)));
    let peer = room.open();
    room.lab.signal();
    for at in (100..2_000).step_by(100) {
        room.lab.until(at);
        room.lab.send(peer, text("as if nothing had happened"));
    }
    let report = room.lab.drains_at(2_000);
    room.lab.finished_at(peer, 2_000);
    assert_eq!((report.dismissed, report.cut), (0, 0));
    assert_eq!(room.notes.events(), ["draining", "closed 1006"]);
    assert_eq!(room.frames(peer).len(), 1);
}

#[test]
fn a_message_that_is_half_way_is_answered_first() {
    let message = [frame(MORE | TEXT, "half "), frame(LAST, "way")].concat();
    for cut in 1..message.len() {
        let mut room = Room::new();
        let peer = room.open();
        room.lab.send(peer, message[..cut].to_vec());
        room.lab.signal();
        assert_eq!(
            room.frames(peer),
            [],
            "a frame before the message ends: {cut}"
        );
        room.lab.until(500);
        room.lab.send(peer, message[cut..].to_vec());
        let frames = room.frames(peer);
        assert_eq!(frames[0], Frame::text("half way"), "{cut}");
        frames[1].assert_close(code::AWAY);
        room.lab.send(peer, close(1001, ""));
        room.lab.drains_at(500);
        assert_eq!(room.notes.events(), ["draining", "half way", "closed 1001"]);
    }
}

#[test]
fn a_message_that_stays_half_way_is_given_up() {
    let mut room = Room::serving(WebSocket::new().close_timeout(ms(2_000)));
    let peer = room.open();
    room.lab.send(peer, frame(MORE | TEXT, "never to be"));
    room.lab.signal();
    room.lab.until(1_999);
    assert_eq!(room.frames(peer), []);
    room.lab.until(2_000);
    room.last(peer).assert_close(code::AWAY);
    assert_eq!(room.lab.drains_at(4_000).dismissed, 0);
    room.lab.finished_at(peer, 4_000);
}

#[test]
fn the_application_has_its_last_words() {
    let mut room = Room::new();
    let peer = room.open();
    room.notes.last_words("so long");
    room.lab.signal();
    let frames = room.frames(peer);
    assert_eq!(frames[0], Frame::text("so long"));
    frames[1].assert_close(code::AWAY);
}

#[test]
fn what_other_threads_have_sent_goes_out_before_the_close() {
    let mut room = Room::new();
    let peer = room.open_as(reluctant(1_000));
    room.lab.sim().take(peer, EVERYTHING);
    room.lab.send(peer, text("sender"));
    let sender = room.notes.sender();
    let message = Message::text(&pattern(900));
    let mut sent = 0;
    while sender.try_send(&message).is_ok() {
        sent += 1;
        assert!(sent < 10_000, "nothing bounds the messages");
        room.lab.now();
    }
    assert!(sent >= 10, "{sent}");
    room.lab.signal();
    for _ in 0..100 {
        room.lab.sim().take(peer, EVERYTHING);
        room.lab.pass(10);
    }
    let mut frames = room.frames(peer);
    frames.pop().expect("a Close").assert_close(code::AWAY);
    assert_eq!(frames, vec![Frame::text(&pattern(900)); sent]);
    assert_eq!(sender.try_send(&message), Err(SendError::Closed));
}

#[test]
fn a_slow_reader_gets_everything_and_then_the_close() {
    let mut room = Room::new();
    let peer = room.open_as(reluctant(2_000));
    let flood: Vec<u8> = (0..40).flat_map(|_| text(&pattern(1_000))).collect();
    room.lab.send(peer, flood);
    room.lab.signal();
    for _ in 0..60 {
        room.lab.pass(50);
        room.lab.sim().take(peer, EVERYTHING);
    }
    let mut frames = room.frames(peer);
    frames.pop().expect("a Close").assert_close(code::AWAY);
    assert_eq!(frames, vec![Frame::text(&pattern(1_000)); 40]);
    room.lab.send(peer, close(1001, ""));
    room.lab.sim().take(peer, EVERYTHING);
    room.lab.now();
    assert!(room.lab.is_over() && room.lab.seen(peer).reset.is_none());
}

#[test]
fn a_reader_that_takes_nothing_is_reset_at_the_farewell_and_counts_as_cut() {
    let config = Config {
        drain: DrainPolicy::new().tunnel_grace(ms(8_000)),
        ..Config::default()
    };
    let mut room = Room::with(WebSocket::new(), config);
    let peer = room.open_as(reluctant(1_000));
    let flood: Vec<u8> = (0..40).flat_map(|_| text(&pattern(1_000))).collect();
    room.lab.send(peer, flood);
    room.lab.signal();
    let outcome = room.lab.ends_at(8_000);
    room.lab.reset_at(peer, 8_000);
    assert_eq!((outcome.code(), outcome.report.cut), (1, 1));
}

#[test]
fn one_that_was_closing_anyway_is_waited_for() {
    let mut room = Room::serving(WebSocket::new().close_timeout(ms(2_000)));
    let peer = room.open();
    room.lab.send(peer, text("close"));
    room.lab.until(1_500);
    room.lab.signal();
    room.last(peer).assert_close(4000);
    room.lab.drains_at(2_000);
    assert_eq!(room.frames(peer).len(), 1, "a second Close");
}

#[test]
fn a_handshake_while_the_server_stops_is_sent_elsewhere() {
    let config = Config {
        drain: DrainPolicy::new().delay(ms(5_000)),
        ..Config::default()
    };
    let mut room = Room::with(WebSocket::new(), config);
    let open = room.open();
    room.lab.signal();
    room.lab.until(1_000);
    let peer = room.lab.ask(HANDSHAKE);
    let got = room.lab.got(peer);
    assert!(
        got.starts_with("HTTP/1.1 503 ") && got.contains("\r\nRetry-After: 1\r\n"),
        "{got}"
    );
    room.lab.send(open, text("the old ones go on"));
    assert_eq!(room.last(open), Frame::text("the old ones go on"));
    room.lab.until(5_000);
    room.last(open).assert_close(code::AWAY);
}

#[test]
fn a_thousand_say_goodbye_spread_over_two_seconds() {
    let config = Config {
        drain: DrainPolicy::new().close_spread(ms(2_000)),
        ..Config::default()
    };
    let mut room = Room::with(WebSocket::new(), config);
    let peers: Vec<_> = (0..1_000).map(|_| room.lab.sim().connect(0)).collect();
    for peer in &peers {
        room.lab.sim().send(*peer, HANDSHAKE);
    }
    room.lab.now();
    assert_eq!(room.lab.count(Phase::Tunnel), 1_000);
    room.lab.signal();
    for tenth in 1..=20 {
        room.lab.until(tenth * 100);
        let closed = peers
            .iter()
            .filter(|peer| !room.frames(**peer).is_empty())
            .count();
        assert_eq!(closed, 50 * tenth as usize, "after {} ms", tenth * 100);
    }
}
