//! A WebSocket from its opening to its end: pings, silence, senders, limits, mistakes.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::Pace;
use ebbtide::internals::tracker::Phase;
use ebbtide::websocket::{Message, SendError, WebSocket, code};
use ebbtide::{Limits, Timeouts};

use super::room::{HANDSHAKE, Room};
use ebbtide_lab::frames::{BINARY, CLOSE, Frame, LAST, MORE, PING, PONG, TEXT, close, frame, text};
use ebbtide_lab::wire::pattern;
use ebbtide_lab::{EVERYTHING, ms, reluctant};

#[test]
fn messages_come_back_and_the_peers_close_is_answered() {
    let mut room = Room::new();
    let peer = room.open();
    room.lab.until(10_000);
    room.lab.send(peer, text("hello"));
    room.lab.send(peer, frame(LAST | BINARY, [1, 2, 3]));
    room.lab.send(peer, close(1000, "bye"));
    let expected = [
        Frame::text("hello"),
        Frame::new(BINARY, [1, 2, 3]),
        Frame::new(CLOSE, 1000u16.to_be_bytes()),
    ];
    room.got(peer, &expected);
    room.lab.finished_at(peer, 10_000);
    assert_eq!(room.notes.events(), ["hello", "3 bytes", "closed 1000"]);
    assert_eq!((room.lab.open(), room.lab.report().left), (0, 0));
}

#[test]
fn messages_right_behind_the_handshake_are_taken() {
    let mut room = Room::new();
    let bytes = [HANDSHAKE.as_bytes(), &text("one"), &text("two")].concat();
    for cut in 0..=bytes.len() {
        let peer = room.lab.ask(bytes[..cut].to_vec());
        room.lab.send(peer, bytes[cut..].to_vec());
        room.got(peer, &[Frame::text("one"), Frame::text("two")]);
    }
}

#[test]
fn a_silent_peer_is_sent_a_ping_and_one_that_answers_stays() {
    let mut room = Room::serving(
        WebSocket::new()
            .ping_interval(ms(20_000))
            .pong_timeout(ms(5_000)),
    );
    let peer = room.open();
    for round in 1..=50 {
        room.lab.until(round * 25_000 - 5_000);
        assert_eq!(room.frames(peer).len(), round as usize, "round {round}");
        assert_eq!(room.last(peer), Frame::new(PING, []));
        room.lab.until(round * 25_000 - 1);
        room.lab.send(peer, frame(LAST | PONG, []));
        room.lab.until(round * 25_000);
    }
    assert_eq!(room.lab.count(Phase::Tunnel), 1);
    assert_eq!(room.notes.events(), [""; 0], "pings are no events");
}

#[test]
fn a_peer_that_talks_is_not_asked() {
    let mut room = Room::serving(WebSocket::new().ping_interval(ms(20_000)));
    let peer = room.open();
    for at in (15_000..600_000).step_by(15_000) {
        room.lab.until(at);
        room.lab.send(peer, frame(LAST | PONG, b"unasked"));
    }
    room.got(peer, &[]);
}

#[test]
fn a_peer_that_does_not_answer_is_ended() {
    let mut room = Room::serving(
        WebSocket::new()
            .ping_interval(ms(20_000))
            .pong_timeout(ms(5_000)),
    );
    let peer = room.open();
    room.lab.until(24_999);
    assert_eq!(room.last(peer), Frame::new(PING, []));
    room.lab.still_open(peer);
    room.lab.until(25_000);
    room.last(peer).assert_close(code::AWAY);
    room.lab.finished_at(peer, 25_000);
    assert_eq!(room.notes.events(), ["closed 1006"]);
}

#[test]
fn a_peer_that_leaves_without_a_close_is_noticed() {
    for reset in [false, true] {
        let mut room = Room::new();
        let peer = room.open();
        if reset {
            room.lab.sim().reset(peer);
        } else {
            room.lab.sim().fin(peer);
        }
        room.lab.now();
        assert_eq!(
            (room.lab.open(), room.notes.events()),
            (0, vec!["closed 1006".to_owned()])
        );
    }
}

#[test]
fn the_application_closes_and_waits_for_the_peers() {
    let mut room = Room::serving(WebSocket::new().close_timeout(ms(2_000)));
    let (polite, silent) = (room.open(), room.open());
    for peer in [polite, silent] {
        room.lab.send(
            peer,
            [text("close"), text("not heard"), frame(LAST | PING, "x")].concat(),
        );
        let reason = [&4000u16.to_be_bytes()[..], b"as you wish"].concat();
        room.got(peer, &[Frame::new(CLOSE, reason)]);
        room.lab.still_open(peer);
    }
    room.lab.until(1_000);
    room.lab.send(polite, close(4000, ""));
    room.lab.finished_at(polite, 1_000);
    room.lab.until(2_000);
    room.lab.finished_at(silent, 2_000);
    let events = ["close", "close", "closed 4000", "closed 1006"];
    assert_eq!(room.notes.events(), events);
}

#[test]
fn other_threads_send_with_back_pressure() {
    let mut room = Room::new();
    let peer = room.open_as(reluctant(2_000));
    room.lab.sim().take(peer, EVERYTHING);
    room.lab.send(peer, text("sender"));
    let sender = room.notes.sender();
    let message = Message::text(&pattern(1_000));
    let (mut sent, mut full) = (0, 0);
    while sent < 100 {
        match sender.try_send(&message) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => full += 1,
            Err(other) => panic!("the WebSocket is open: {other}"),
        }
        room.lab.sim().take(peer, 500);
        room.lab.pass(1);
    }
    assert!(full > 50, "{full}");
    sender.close(4001);
    assert_eq!(sender.try_send(&message), Err(SendError::Closed));
    for _ in 0..100 {
        room.lab.sim().take(peer, EVERYTHING);
        room.lab.pass(1);
    }
    let mut frames = room.frames(peer);
    frames.pop().expect("a Close").assert_close(4001);
    assert_eq!(frames, vec![Frame::text(&pattern(1_000)); 100]);
    assert_eq!(sender.send(&message), Err(SendError::Closed));
}

#[test]
fn a_sender_that_is_dropped_ends_nothing_and_one_that_panics_closes() {
    let mut room = Room::new();
    let peer = room.open();
    room.lab.send(peer, text("sender"));
    let sender = room.notes.sender();
    sender.send(&Message::binary(b"x")).unwrap();
    drop(sender);
    room.lab.now();
    room.lab.send(peer, text("still here"));
    room.got(peer, &[Frame::new(BINARY, b"x"), Frame::text("still here")]);
    room.lab.send(peer, text("sender"));
    let sender = room.notes.sender();
    let thread = std::thread::spawn(move || {
        let _sender = sender;
        panic!("a panic that the test wants");
    });
    assert!(thread.join().is_err());
    room.lab.now();
    room.last(peer).assert_close(code::INTERNAL);
}

#[test]
fn a_panic_of_the_application_resets_that_connection_alone() {
    let mut room = Room::new();
    let (peer, other) = (room.open(), room.open());
    room.lab.send(peer, text("panic"));
    room.lab.reset_at(peer, 0);
    assert_eq!(room.lab.report().panics, 1);
    room.lab.send(other, text("fine"));
    room.got(other, &[Frame::text("fine")]);
}

#[test]
fn limits_end_with_1009_before_the_bytes_are_there() {
    let websocket = || WebSocket::new().max_message(1_000).max_frame(600);
    let cases = [
        frame(LAST | TEXT, [b'x'; 601])[..8].to_vec(),
        [
            frame(MORE | TEXT, [b'x'; 600]),
            frame(LAST, [b'x'; 401])[..8].to_vec(),
        ]
        .concat(),
        vec![
            LAST | BINARY,
            0xff,
            0,
            0,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            1,
            2,
            3,
            4,
        ],
    ];
    for bytes in cases {
        let mut room = Room::serving(websocket());
        let peer = room.open();
        room.lab.send(peer, bytes);
        room.last(peer).assert_close(code::TOO_BIG);
        room.lab.finished_at(peer, 0);
        assert_eq!(room.notes.events(), ["closed 1006"]);
    }
    let mut room = Room::serving(websocket());
    let peer = room.open();
    room.lab.send(
        peer,
        [frame(MORE | TEXT, [b'x'; 600]), frame(LAST, [b'x'; 400])].concat(),
    );
    assert_eq!(room.last(peer), Frame::text(&"x".repeat(1_000)));
}

#[test]
fn a_slow_reader_is_bounded_and_then_reset() {
    let times = Timeouts::new().write(ms(5_000));
    let config = Config {
        timeouts: times,
        limits: Limits::new(),
        ..Config::default()
    };
    let mut room = Room::with(WebSocket::new(), config);
    let peer = room.open_as(reluctant(1_000));
    let flood: Vec<u8> = (0..2_000).flat_map(|_| text(&pattern(1_000))).collect();
    room.lab.send(peer, flood);
    let heard = room.notes.events().len();
    assert!(
        heard <= 600,
        "{heard} messages were read for a peer that takes none"
    );
    assert_eq!(room.lab.count(Phase::Reply), 1);
    room.lab.until(5_000);
    room.lab.reset_at(peer, 5_000);
}

#[test]
fn a_flood_of_pings_holds_nobody_up() {
    let mut room = Room::new();
    let (flooder, other) = (room.open(), room.open());
    let flood: Vec<u8> = (0..100_000).flat_map(|_| frame(LAST | PING, "x")).collect();
    room.lab.sim().send(flooder, flood);
    room.lab.sim().send(other, text("me too"));
    room.lab.turn();
    assert_eq!(room.last(other), Frame::text("me too"));
    room.lab.now();
    assert_eq!(room.frames(flooder), vec![Frame::new(PONG, "x"); 100_000]);
}

/// The peer never answers a FIN.
#[test]
fn a_peer_that_never_closes_its_side_is_closed_after_the_linger() {
    let mut room = Room::new();
    let manner = ebbtide::internals::sys::sim::Manner {
        takes: Pace::AtOnce,
        answers: Pace::Never,
        window: 256 << 10,
    };
    let peer = room.open_as(manner);
    room.lab.send(peer, close(1000, ""));
    room.lab.finished_at(peer, 0);
    assert_eq!(room.lab.count(Phase::Linger), 1);
    room.lab.until(2_000);
    assert_eq!(room.lab.open(), 0);
}
