//! `GET /ws` of the demo: a WebSocket that sends back what it gets.

use ebbtide::websocket::{Event, WebSocket};
use ebbtide::{Request, Response};

/// Answers requests for the demo's WebSocket.
#[derive(Debug)]
pub(super) struct Echo(WebSocket);

impl Echo {
    /// The room fits messages as long as those of the Autobahn test suite.
    pub(super) fn new() -> Self {
        let websocket = WebSocket::new().protocols(&["echo"]);
        Self(websocket.max_message(LONGEST).max_frame(LONGEST))
    }

    pub(super) fn answer(&self, request: &Request<'_>) -> Response {
        self.0.accept(request, |event, outbox| match event {
            Event::Text(text) => outbox.text(text),
            Event::Binary(bytes) => outbox.binary(bytes),
            _ => {}
        })
    }
}

/// The longest message, in bytes.
const LONGEST: usize = 16 << 20;
