//! A chat: everybody gets what anybody says.
//!
//! Open `http://localhost:8080/` in two windows, and then Ctrl-C the server: every client gets Close
//! 1001, and the server is gone as soon as they have answered. A client that reads too slowly loses
//! messages, and holds nobody up.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use ebbtide::websocket::{Event, Message, SendError, Sender, WebSocket};
use ebbtide::{Handler, Request, Response, Server};

/// The senders of all clients.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<Vec<Sender>>>);

impl Room {
    fn enter(&self, sender: Sender) {
        self.lock().push(sender);
    }

    /// Encodes a message once, sends it to everybody, and forgets those who have left.
    fn say(&self, text: &str) {
        let message = Message::text(text);
        self.lock()
            .retain(|sender| sender.try_send(&message) != Err(SendError::Closed));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chat, as a handler.
pub(crate) fn app() -> impl Handler + Send {
    let websocket = WebSocket::new().max_message(4 * 1024);
    let room = Room::default();
    move |request: &Request<'_>| match request.path() {
        "/" => Response::new(200).content_type("text/html").body(PAGE),
        "/chat" => {
            let room = room.clone();
            websocket.accept(request, move |event, outbox| match event {
                Event::Open { .. } => room.enter(outbox.sender(QUEUE)),
                Event::Text(text) => room.say(text),
                Event::Draining => outbox.text("the server stops; come back in a moment"),
                _ => {}
            })
        }
        _ => Response::text(404, "not here\n"),
    }
}

fn main() -> ExitCode {
    ebbtide::main(|| Server::bind("127.0.0.1:8080")?.run(app()))
}

/// How many bytes may wait for one client.
const QUEUE: usize = 64 * 1024;

const PAGE: &str = "<!doctype html><title>chat</title><form><input autofocus></form><pre></pre>
<script>
const socket = new WebSocket(`ws://${location.host}/chat`), [form, log] = document.body.children;
const say = text => { log.prepend(text + '\\n'); };
socket.onmessage = event => say(event.data);
socket.onclose = event => say(`closed: ${event.code} ${event.reason}`);
form.onsubmit = event => { event.preventDefault(); socket.send(form[0].value); form.reset(); };
</script>";
