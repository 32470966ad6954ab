//! The opening handshake: requests that become WebSockets, and refusals.

use ebbtide::websocket::WebSocket;

use super::room::{HANDSHAKE, Room};

/// The origin of a page of the server.
const ORIGIN: &str = "Origin: http://server.example.com";

/// Returns the handshake with another line in the place of a field.
fn handshake_with(name: &str, line: &str) -> String {
    let lines = HANDSHAKE.split_inclusive("\r\n");
    let mut found = false;
    let lines: Vec<&str> = lines
        .map(|old| {
            if old.starts_with(name) {
                found = true;
                line
            } else {
                old
            }
        })
        .collect();
    assert!(found, "no {name} in the handshake");
    lines.concat()
}

/// Returns the handshake with one more line.
fn handshake_and(line: &str) -> String {
    HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"))
}

/// Returns the response to a request, without the date.
fn response(room: &mut Room, request: &str) -> String {
    let peer = room.lab.ask(request.to_owned());
    room.lab.got(peer)
}

#[test]
fn the_example_of_the_rfc_is_answered_as_there() {
    let mut room = Room::new();
    assert_eq!(
        response(&mut room, HANDSHAKE),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn what_is_no_handshake_is_told_why() {
    let cases = [
        (HANDSHAKE.replace("GET ", "POST "), "405", "Allow: GET"),
        (
            HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"),
            "426",
            "Upgrade: websocket",
        ),
        (handshake_with("Upgrade", ""), "426", "Upgrade: websocket"),
        (
            handshake_with("Upgrade", "Upgrade: h2c\r\n"),
            "426",
            "Upgrade: websocket",
        ),
        (
            handshake_with("Connection", ""),
            "426",
            "Connection: Upgrade",
        ),
        (
            handshake_with("Sec-WebSocket-Version", ""),
            "426",
            "Sec-WebSocket-Version: 13",
        ),
        (
            handshake_with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n"),
            "426",
            "Sec-WebSocket-Version: 13",
        ),
        (
            handshake_and("Sec-WebSocket-Version: 8"),
            "426",
            "Sec-WebSocket-Version: 13",
        ),
        (
            handshake_with("Sec-WebSocket-Key", ""),
            "400",
            "Content-Length",
        ),
        (
            handshake_with("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=\r\n"),
            "400",
            "Content-Length",
        ),
        (
            handshake_and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            "400",
            "Content-Length",
        ),
        (
            handshake_and("Origin: https://elsewhere.example"),
            "403",
            "Content-Length",
        ),
        (handshake_and("Origin: null"), "403", "Content-Length"),
        (
            handshake_and("Origin: chrome-extension://server.example.com"),
            "403",
            "Content-Length",
        ),
        (
            handshake_and(&[ORIGIN; 2].join("\r\n")),
            "403",
            "Content-Length",
        ),
    ];
    for (request, status, field) in cases {
        let mut room = Room::new();
        let response = response(&mut room, &request);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}\n{response}"
        );
        assert!(
            response.contains(&format!("\r\n{field}")),
            "{request}\n{response}"
        );
        assert_eq!(room.notes.events(), [""; 0]);
        assert_eq!(room.lab.report().upgraded, 0);
    }
}

#[test]
fn a_page_may_connect_to_where_it_came_from_or_as_the_server_says() {
    let same = handshake_and("Origin: http://SERVER.example.com");
    let other = handshake_and("Origin: https://app.example");
    let default_port = handshake_with("Host", "Host: server.example.com:80\r\n");
    let default_port = default_port.replace("\r\n\r\n", &format!("\r\n{ORIGIN}\r\n\r\n"));
    let is_101 = |websocket: WebSocket, request: &str| {
        let mut room = Room::serving(websocket);
        response(&mut room, request).starts_with("HTTP/1.1 101 ")
    };
    assert!(is_101(WebSocket::new(), &same));
    assert!(is_101(WebSocket::new(), &default_port));
    let with_port = handshake_and("Origin: http://server.example.com:8080");
    assert!(
        !is_101(WebSocket::new(), &with_port),
        "another port is another origin"
    );
    let hook = || WebSocket::new().origin(|origin| origin == "https://app.example");
    assert!(is_101(hook(), &other));
    assert!(!is_101(hook(), &same));
    assert!(is_101(hook(), HANDSHAKE), "what is no browser is not asked");
}

#[test]
fn the_first_subprotocol_of_the_clients_that_the_server_has_is_taken() {
    let cases = [
        ("a, b", Some("b")),
        ("c,b", Some("c")),
        ("x\r\nSec-WebSocket-Protocol: c", Some("c")),
        ("B", None),
        ("x, y", None),
    ];
    for (offered, taken) in cases {
        let mut room = Room::serving(WebSocket::new().protocols(&["b", "c"]));
        let response = response(
            &mut room,
            &handshake_and(&format!("Sec-WebSocket-Protocol: {offered}")),
        );
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let line = taken.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}\r\n"));
        match line {
            Some(line) => assert!(response.contains(&line), "{offered}: {response}"),
            None => assert!(
                !response.contains("Sec-WebSocket-Protocol"),
                "{offered}: {response}"
            ),
        }
        let open = taken.map_or_else(|| "open".to_owned(), |name| format!("open {name}"));
        assert_eq!(room.notes.events(), [open]);
    }
}

#[test]
fn compression_is_not_agreed_to() {
    let mut room = Room::new();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let response = response(&mut room, &handshake_and(offer));
    assert!(
        response.starts_with("HTTP/1.1 101 ") && !response.contains("Extensions"),
        "{response}"
    );
}

#[test]
fn a_connection_that_was_refused_goes_on_with_http() {
    let mut room = Room::new();
    let peer = room.lab.ask(handshake_with("Sec-WebSocket-Key", ""));
    room.lab.send(peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(room.lab.got(peer).ends_with("\r\n\r\nhello\n"));
}
