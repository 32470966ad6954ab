//! The rules of RFC 6455 case by case, in the order of the Autobahn test suite's chapters (1 to 7):
//! what a raw client sends, and every frame that the client must get.
//!
//! Each case runs whole, cut at every offset, and byte by byte. The suite itself needs Python 2, and
//! runs with `cli/tests/served/websocket/autobahn`.

use super::room::Room;
use ebbtide_lab::frames::{
    BINARY, CLOSE, CONTINUE, Frame, LAST, MORE, PING, PONG, TEXT, close, closing, frame, text,
};

/// How the server ends a case.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The server does not end: the client closes with 1000, and gets 1000 back.
    Open,
    /// The server fails the connection with this code, after the frames.
    Fails(u16),
    /// The server answers the client's Close with this code, or with none.
    Answers(Option<u16>),
}
use End::{Answers, Fails, Open};

/// The bytes of a client, the frames that the client gets, and the end.
type Case = (Vec<u8>, Vec<Frame>, End);

/// The longest case, in bytes, that is cut at every offset. A longer one is cut at each of its first
/// [`BEGINNING`], and at [`SOME`] behind them.
const EVERY_OFFSET: usize = 300;
const BEGINNING: usize = 20;
const SOME: usize = 10;

#[track_caller]
fn check(name: &str, case: &Case) {
    let (bytes, frames, end) = case;
    let every = if bytes.len() <= EVERY_OFFSET {
        bytes.len()
    } else {
        BEGINNING
    };
    let some = (every..=bytes.len()).step_by(bytes.len() / SOME + 1);
    for cut in (0..every).chain(some) {
        let (first, second) = bytes.split_at(cut);
        run(
            &format!("{name}, cut at {cut}"),
            &[first, second],
            frames,
            *end,
        );
    }
    if bytes.len() <= 2_000 {
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        run(&format!("{name}, byte by byte"), &pieces, frames, *end);
    }
}

fn run(name: &str, pieces: &[&[u8]], expected: &[Frame], end: End) {
    let mut room = Room::new();
    let peer = room.open();
    for piece in pieces {
        if !piece.is_empty() {
            room.lab.send(peer, piece.to_vec());
        }
    }
    if let Open = end {
        assert!(room.lab.seen(peer).open(), "{name}: the server ended");
        assert_eq!(room.frames(peer), expected, "{name}");
        room.lab.send(peer, close(1000, ""));
    }
    let mut frames = room.frames(peer);
    let last = frames.pop().unwrap_or_else(|| panic!("{name}: no Close"));
    match end {
        Open => assert_eq!(last, Frame::new(CLOSE, closing(1000, "")), "{name}"),
        Fails(code) => last.assert_close(code),
        Answers(Some(code)) => assert_eq!(last, Frame::new(CLOSE, closing(code, "")), "{name}"),
        Answers(None) => assert_eq!(last, Frame::new(CLOSE, []), "{name}"),
    }
    assert_eq!(frames, expected, "{name}");
    let seen = room.lab.seen(peer);
    assert!(
        seen.fin.is_some() && seen.reset.is_none(),
        "{name}: {seen:?}"
    );
    assert_eq!(room.lab.open(), 0, "{name}");
}

#[track_caller]
fn check_all(chapter: &str, cases: impl IntoIterator<Item = Case>) {
    for (number, case) in cases.into_iter().enumerate() {
        check(&format!("{chapter}.{}", number + 1), &case);
    }
}

/// 1: messages of every length at which the header changes.
#[test]
fn messages_come_back_whatever_their_length() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
        let payload = "*".repeat(length);
        check_all(
            "1",
            [
                (text(&payload), vec![Frame::text(&payload)], Open),
                (
                    frame(LAST | BINARY, &payload),
                    vec![Frame::new(BINARY, &payload)],
                    Open,
                ),
            ],
        );
    }
}

/// 2: pings and pongs.
#[test]
fn pings_are_answered_with_what_they_carry_and_pongs_are_not() {
    let ping = |payload: &[u8]| frame(LAST | PING, payload);
    let pong = |payload: &[u8]| Frame::new(PONG, payload);
    let bytes: Vec<u8> = (0..125).map(|n| 255 - n).collect();
    let many: Vec<u8> = (0..10u8).flat_map(|n| frame(LAST | PING, [n])).collect();
    check_all(
        "2",
        [
            (ping(b""), vec![pong(b"")], Open),
            (ping(b"Hello, world!"), vec![pong(b"Hello, world!")], Open),
            (ping(&bytes), vec![pong(&bytes)], Open),
            (ping(&[0; 126]), vec![], Fails(1002)),
            (frame(LAST | PONG, b""), vec![], Open),
            (frame(LAST | PONG, b"unasked"), vec![], Open),
            (
                [frame(LAST | PONG, b"x"), ping(b"y")].concat(),
                vec![pong(b"y")],
                Open,
            ),
            (many, (0..10u8).map(|n| pong(&[n])).collect(), Open),
        ],
    );
}

/// 3: reserved bits.
#[test]
fn reserved_bits_end_the_connection_behind_what_came_before() {
    for bits in [0x40, 0x20, 0x30, 0x10, 0x50, 0x60, 0x70] {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            let bytes = [
                text("before"),
                frame(LAST | bits | opcode, ""),
                text("after"),
            ]
            .concat();
            check_all("3", [(bytes, vec![Frame::text("before")], Fails(1002))]);
        }
    }
}

/// 4: reserved opcodes.
#[test]
fn reserved_opcodes_end_the_connection() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let before = vec![Frame::text("before")];
        let bare = [text("before"), frame(LAST | opcode, "")].concat();
        let full = [text("before"), frame(LAST | opcode, "payload"), text("x")].concat();
        check_all(
            "4",
            [
                (bare, before.clone(), Fails(1002)),
                (full, before, Fails(1002)),
            ],
        );
    }
}

/// 5: fragments.
#[test]
fn fragments_are_one_message_and_control_frames_may_stand_between() {
    let first = |payload| frame(MORE | TEXT, payload);
    let middle = |payload| frame(MORE | CONTINUE, payload);
    let last = |payload| frame(LAST | CONTINUE, payload);
    let ping = || frame(LAST | PING, "p");
    let pong = || Frame::new(PONG, "p");
    let whole = || Frame::text("fragment1fragment2");
    check_all(
        "5",
        [
            // A fragmented control frame.
            (
                [frame(MORE | PING, "a"), last("b")].concat(),
                vec![],
                Fails(1002),
            ),
            (
                [frame(MORE | PONG, "a"), last("b")].concat(),
                vec![],
                Fails(1002),
            ),
            (
                [first("fragment1"), last("fragment2")].concat(),
                vec![whole()],
                Open,
            ),
            (
                [first("fragment1"), ping(), last("fragment2")].concat(),
                vec![pong(), whole()],
                Open,
            ),
            // Continuations of nothing.
            ([last("x"), text("y")].concat(), vec![], Fails(1002)),
            ([middle("x"), text("y")].concat(), vec![], Fails(1002)),
            (
                [text("x"), last("y")].concat(),
                vec![Frame::text("x")],
                Fails(1002),
            ),
            // A message within another.
            ([first("a"), text("b")].concat(), vec![], Fails(1002)),
            (
                [first("a"), frame(MORE | BINARY, "b")].concat(),
                vec![],
                Fails(1002),
            ),
            // Many, some of them empty, with pings between.
            (
                [
                    first("f1"),
                    middle(""),
                    ping(),
                    middle("f2"),
                    ping(),
                    middle("f3"),
                    last(""),
                ]
                .concat(),
                vec![pong(), pong(), Frame::text("f1f2f3")],
                Open,
            ),
            // A Close between fragments.
            (
                [first("a"), close(1000, "")].concat(),
                vec![],
                Answers(Some(1000)),
            ),
        ],
    );
}

/// 6: text is UTF-8.
#[test]
fn text_that_is_good_comes_back() {
    let cases = [
        "",
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\0",
        "\u{7f}\u{80}\u{7ff}\u{800}",
        "\u{ffff}\u{10000}\u{10ffff}",
        "\u{d7ff}\u{e000}\u{fffd}",
        "\u{fffe}\u{1fffe}\u{10fffe}",
    ];
    for good in cases {
        let fragments: Vec<u8> = good
            .as_bytes()
            .iter()
            .enumerate()
            .flat_map(|(n, byte)| {
                let opcode = if n == 0 { TEXT } else { CONTINUE };
                frame(MORE | opcode, [*byte])
            })
            .chain(frame(
                LAST | if good.is_empty() { TEXT } else { CONTINUE },
                "",
            ))
            .collect();
        check_all(
            "6",
            [
                (text(good), vec![Frame::text(good)], Open),
                (fragments, vec![Frame::text(good)], Open),
            ],
        );
    }
}

#[test]
fn text_that_is_bad_ends_with_1007_as_soon_as_it_is_known() {
    const BAD: &[&[u8]] = &[
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf\x80",
        b"\xc0 ",
        b"\xe0 ",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xfe",
        b"\xff",
    ];
    for bad in BAD {
        let whole = (frame(LAST | TEXT, bad), vec![], Fails(1007));
        // The rest of the message never arrives, and is not needed.
        let begun = (frame(MORE | TEXT, bad), vec![], Fails(1007));
        let binary = (
            frame(LAST | BINARY, bad),
            vec![Frame::new(BINARY, bad)],
            Open,
        );
        check_all("6", [whole, begun, binary]);
    }
    // Incomplete characters.
    for bad in [&b"\xc3"[..], b"\xe2\x82", b"\xf0\x9f\x98"] {
        let fragments = [frame(MORE | TEXT, bad), frame(LAST | CONTINUE, "")].concat();
        let cases = [
            (frame(LAST | TEXT, bad), vec![], Fails(1007)),
            (fragments, vec![], Fails(1007)),
        ];
        check_all("6", cases);
    }
}

/// 7: the closing handshake.
#[test]
fn a_close_is_answered_and_ends_it() {
    let behind = |more: Vec<u8>| [text("x"), close(1000, ""), more].concat();
    let echo = || vec![Frame::text("x")];
    let long = "*".repeat(123);
    check_all(
        "7",
        [
            (behind(vec![]), echo(), Answers(Some(1000))),
            // The server ignores all bytes behind a Close.
            (behind(close(1000, "")), echo(), Answers(Some(1000))),
            (behind(frame(LAST | PING, "p")), echo(), Answers(Some(1000))),
            (behind(text("late")), echo(), Answers(Some(1000))),
            (behind(vec![0xff; 20]), echo(), Answers(Some(1000))),
            // Payloads of a Close.
            (frame(LAST | CLOSE, ""), vec![], Answers(None)),
            (frame(LAST | CLOSE, "a"), vec![], Fails(1002)),
            (close(1000, "Hello World!"), vec![], Answers(Some(1000))),
            (close(1000, &long), vec![], Answers(Some(1000))),
            (close(1000, &(long + "*")), vec![], Fails(1002)),
            (
                frame(LAST | CLOSE, closing(1000, [0xce, 0xba, 0xff])),
                vec![],
                Fails(1007),
            ),
        ],
    );
    let good = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ];
    for code in good {
        check_all("7", [(close(code, ""), vec![], Answers(Some(code)))]);
    }
    let bad = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    for code in bad {
        check_all("7", [(close(code, ""), vec![], Fails(1002))]);
    }
}

/// RFC 6455 §5.1: a client masks its frames.
#[test]
fn a_frame_that_is_not_masked_ends_the_connection() {
    let bare = vec![LAST | TEXT, 1, b'x'];
    check_all(
        "masks",
        [(
            [text("x"), bare].concat(),
            vec![Frame::text("x")],
            Fails(1002),
        )],
    );
}

/// RFC 6455 §5.2: a length takes the fewest bytes.
#[test]
fn a_length_that_is_not_the_shortest_ends_the_connection() {
    let long: [&[u8]; 4] = [
        &[0xfe, 0, 0],
        &[0xfe, 0, 125],
        &[0xff, 0, 0, 0, 0, 0, 0, 0, 125],
        &[0xff, 0, 0, 0, 0, 0, 0, 255, 255],
    ];
    for length in long {
        let bytes = [&text("x"), &[LAST | BINARY][..], length, &[1, 2, 3, 4]].concat();
        check_all("lengths", [(bytes, vec![Frame::text("x")], Fails(1002))]);
    }
}
