//! A WebSocket server answers any bytes the same, whole or in any pieces, and a signal ends the server
//! within its limits.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Setup};
use ebbtide::websocket::{Event, Outbox, WebSocket};
use ebbtide::{Request, Response};

use ebbtide_lab::frames::{BINARY, HANDSHAKE, LAST, frame};
use ebbtide_lab::{Lab, SIGTERM};

#[derive(Arbitrary, Debug)]
struct Script {
    steps: Vec<Step>,
    cuts: Vec<u8>,
    signal: u8,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A frame as a client should send it, with this first byte.
    Frame(u8, Vec<u8>),
    /// A long message, in one frame.
    Long(u16),
    /// Anything.
    Raw(Vec<u8>),
}

fuzz_target!(|script: Script| {
    let mut bytes = HANDSHAKE.as_bytes().to_vec();
    for step in script.steps.iter().take(20) {
        match step {
            Step::Frame(first, payload) => bytes.extend(frame(*first, payload)),
            Step::Long(length) => bytes.extend(frame(LAST | BINARY, vec![7; usize::from(*length)])),
            Step::Raw(raw) => bytes.extend_from_slice(raw),
        }
    }
    let whole = answered(&[&bytes]);
    let mut pieces = Vec::new();
    let mut rest = &bytes[..];
    for cut in &script.cuts {
        let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(*cut)));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(whole, answered(&pieces), "in pieces it is something else");
    drained(&bytes, script.signal);
});

fn lab() -> Lab<impl ebbtide::Handler> {
    let websocket = WebSocket::new().max_message(40_000).max_frame(30_000);
    let handler = move |request: &Request<'_>| -> Response {
        websocket.accept(
            request,
            |event: Event<'_>, outbox: &mut Outbox<'_, '_>| match event {
                Event::Text("close") => outbox.close(4000, "as you wish"),
                Event::Text(text) => outbox.text(text),
                Event::Binary(bytes) => outbox.binary(bytes),
                Event::Draining => outbox.text("bye"),
                _ => {}
            },
        )
    };
    Lab::run(Setup::default(), Config::default(), handler)
}

/// Returns the response to bytes in these pieces, and whether the server ended the connection.
fn answered(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut lab = lab();
    let peer = lab.connect();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        lab.send(peer, piece.to_vec());
    }
    let seen = lab.seen(peer);
    assert!(seen.reset.is_none(), "nothing here is answered by a reset");
    (lab.sim().got(peer).to_vec(), seen.fin.is_some())
}

/// Sends 16 bytes a millisecond, and the signal in the middle.
fn drained(bytes: &[u8], signal: u8) {
    let mut lab = lab();
    let peer = lab.connect();
    for (at, piece) in (0..).zip(bytes.chunks(16)) {
        let piece = piece.to_vec().into();
        lab.sim().at(at, Act::Send(peer, piece));
    }
    lab.sim().at(u32::from(signal), Act::Signal(SIGTERM));
    lab.until(u32::from(signal) + 10_000);
    let (_, outcome) = lab.outcome().expect("it lives past its time for a goodbye");
    assert_eq!(outcome.report.dismissed, 0, "it did not end by itself");
}
