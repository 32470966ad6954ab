//! Long-lived streams over TLS and through a drain: WebSockets, events, large downloads. Each
//! protocol ends properly, and then TLS does.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tungstenite::{
    Error, Message, WebSocket,
    protocol::frame::{
        Frame,
        coding::{CloseCode, Data, OpCode},
    },
};

use super::support::folder::{Folder, flag};
use super::support::get;
use super::support::tls::{Client, End};
use super::{IDENTITY, serve};
use ebbtide_lab::frames::HANDSHAKE;
use ebbtide_lab::tls::{TLS13, VERSIONS};

/// A client of tungstenite's over one of rustls's.
fn websocket(client: Client) -> WebSocket<Client> {
    let (client, response) = tungstenite::client("wss://localhost/ws", client).expect("a 101");
    assert_eq!(response.status(), 101);
    client
}

/// Asserts a Close of 1001, answers it, and asserts a clean end of both layers.
#[track_caller]
fn assert_told(mut client: WebSocket<Client>) {
    let Ok(Message::Close(Some(frame))) = client.read() else {
        panic!("no Close");
    };
    assert_eq!(frame.code, CloseCode::Away);
    let end = client.read(); // sends the answer first
    assert!(matches!(end, Err(Error::ConnectionClosed)), "{end:?}");
    client.get_mut().assert_ends();
}

/// A page that came without TLS may be anybody's on the way.
#[test]
fn a_page_that_came_without_tls_is_of_another_origin() {
    let folder = Folder::new("tls-origin");
    let served = serve(&folder, &[]);
    let config = Arc::new(IDENTITY.client(&TLS13));
    for (origin, status) in [
        ("http://server.example.com", 403),
        ("https://server.example.com", 101),
    ] {
        let mut client = Client::connect(served.addr(), &config);
        let handshake = HANDSHAKE.replace("/chat", "/ws");
        let handshake = handshake.replacen("\r\n", &format!("\r\nOrigin: {origin}\r\n"), 1);
        client.send(handshake.as_bytes());
        let mut start = [0; 12];
        client.read_exact(&mut start).expect("a response");
        assert_eq!(start, format!("HTTP/1.1 {status}").as_bytes(), "{origin}");
    }
}

#[test]
fn websockets_are_told_1001_and_then_get_close_notify() {
    for version in VERSIONS {
        let folder = Folder::new("tls-websocket");
        let served = serve(&folder, &[]);
        let config = Arc::new(IDENTITY.client(version));
        let connect = || websocket(Client::connect(served.addr(), &config));
        let (mut idle, mut midway) = (connect(), connect());
        for length in [5, 300, 200_000] {
            let text = "x".repeat(length);
            idle.send(Message::text(text.clone())).expect("sent");
            let echo = idle.read().expect("an echo").into_text();
            assert!(echo.expect("text") == text, "{length} bytes");
        }
        let mut part = |text: &'static str, opcode, last| {
            let frame = Frame::message(text, OpCode::Data(opcode), last);
            midway.send(Message::Frame(frame)).expect("sent");
            if !last {
                // The response shows that the part has been read, too.
                midway.send(Message::Ping("?".into())).expect("sent");
                assert_eq!(midway.read().expect("a pong"), Message::Pong("?".into()));
            }
        };
        part("half ", Data::Text, false);
        served.terminate();
        served.wait_refused();
        part("and half", Data::Continue, true);
        let echo = midway.read().expect("an echo");
        assert_eq!(echo, Message::text("half and half"));
        assert_told(midway);
        assert_told(idle);
        let (_, report) = served.wait_report(0);
        assert_eq!(
            (report.upgraded(), report.dismissed(), report.aborted()),
            (2, 0, 0)
        );
    }
}

/// The message has begun, although nothing of it can be decrypted yet.
#[test]
fn a_part_of_a_record_is_a_message_that_has_begun() {
    for version in VERSIONS {
        for cut in [1, 5, 20] {
            let folder = Folder::new("tls-websocket-part");
            let served = serve(&folder, &[]);
            let config = Arc::new(IDENTITY.client(version));
            let mut client = websocket(Client::connect(served.addr(), &config));
            // The client reads the session's tickets before it sends anything by hand.
            client.send(Message::text("first")).expect("sent");
            assert_eq!(client.read().expect("an echo"), Message::text("first"));
            let frame = [&[0x81, 0x80 | 4, 0, 0, 0, 0][..], b"last"].concat();
            let record = client.get_mut().records(&frame);
            served.terminate_after(|| client.get_mut().send_raw(&record[..cut]));
            served.wait_refused();
            client.get_mut().send_raw(&record[cut..]);
            let echo = client.read().expect("an echo");
            assert_eq!(echo, Message::text("last"), "cut at {cut}, {version:?}");
            assert_told(client);
            let (_, report) = served.wait_report(0);
            assert_eq!((report.dismissed(), report.aborted()), (0, 0));
        }
    }
}

#[test]
fn a_stream_of_events_ends_with_its_hint_and_then_close_notify() {
    for version in VERSIONS {
        let folder = Folder::new("tls-events");
        let served = serve(&folder, &[]);
        let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(version)));
        client.send(&get("/events"));
        let mut begin = Vec::new();
        while !begin.windows(6).any(|six| six == b"data: ") {
            let mut buffer = [0; 1024];
            let n = client.read(&mut buffer).expect("a stream");
            assert!(n > 0, "the end of {begin:?}");
            begin.extend_from_slice(&buffer[..n]);
        }
        served.terminate();
        let (rest, end) = client.end();
        assert_eq!(end, End::Clean);
        let rest = String::from_utf8(rest).expect("text");
        assert!(
            rest.contains("retry: ") && rest.ends_with("\n\n\r\n0\r\n\r\n"),
            "{rest:?}"
        );
        drop(client);
        let (_, report) = served.wait_report(0);
        assert_eq!((report.answered(), report.aborted()), (1, 0));
    }
}

/// The length of a file that the kernel's buffers do not hold.
const LARGE: usize = 30 << 20;

#[test]
fn a_download_survives_a_drain() {
    let folder = Folder::new("tls-download");
    let file = File::create(folder.path("large")).expect("a file");
    file.set_len(LARGE as u64).expect("a length");
    let mark = |at: usize| format!("mark {at:>10}\n");
    for at in (0..LARGE).step_by(1 << 20) {
        let marked = file.write_all_at(mark(at).as_bytes(), at as u64);
        marked.expect("a mark");
    }
    let root = folder.path("");
    let served = serve(&folder, &["--root", flag(&root)]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    client.send(&get("/large"));
    client.socket().peek(&mut [0; 1]).expect("it has begun");
    served.terminate();
    served.wait_refused();
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, LARGE));
    for at in (0..LARGE).step_by(1 << 20) {
        assert!(
            response.body[at..].starts_with(mark(at).as_bytes()),
            "at {at}"
        );
    }
    client.assert_ends();
    drop(client);
    let (_, report) = served.wait_report(0);
    assert_eq!((report.answered(), report.aborted()), (1, 0));
}
