//! A laboratory whose application serves WebSockets.

use std::sync::{Arc, Mutex, MutexGuard};

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Manner, PeerId, Setup};
use ebbtide::websocket::{Event, Outbox, Sender, WebSocket};
use ebbtide::{Handler, Reply, Request, Response};

use ebbtide_lab::Lab;
pub(crate) use ebbtide_lab::frames::HANDSHAKE;
use ebbtide_lab::frames::{Frame, frames};

/// The events that the application got, and what it does at some of them.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    events: Vec<String>,
    senders: Vec<Sender>,
    /// The text that the application sends at [`Event::Draining`].
    last_words: Option<&'static str>,
}

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics under the lock")
    }

    /// Returns the events since the last call.
    pub(crate) fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.state().events)
    }

    /// Returns the sender of the WebSocket that sent `sender` last.
    #[track_caller]
    pub(crate) fn sender(&self) -> Sender {
        self.state()
            .senders
            .pop()
            .expect("a WebSocket sent `sender`")
    }

    pub(crate) fn last_words(&self, words: &'static str) {
        self.state().last_words = Some(words);
    }

    /// Echoes, with three exceptions: `close` closes with 4000, `sender` creates a sender with a queue
    /// of 10,000 bytes, and `panic` panics.
    fn event(&self, event: Event<'_>, outbox: &mut Outbox<'_, '_>) {
        let note = match event {
            Event::Open { protocol: None } => "open".to_owned(),
            Event::Open {
                protocol: Some(name),
            } => format!("open {name}"),
            Event::Text(text) if text.len() > 50 => format!("{} of text", text.len()),
            Event::Text(text) => text.to_owned(),
            Event::Binary(bytes) => format!("{} bytes", bytes.len()),
            Event::Draining => "draining".to_owned(),
            Event::Closed { code } => format!("closed {code}"),
            other => panic!("{other:?}"),
        };
        self.state().events.push(note);
        match event {
            Event::Text("close") => outbox.close(4000, "as you wish"),
            Event::Text("sender") => {
                let sender = outbox.sender(10_000);
                self.state().senders.push(sender);
            }
            Event::Text("panic") => panic!("a panic that the test wants"),
            Event::Text(text) => outbox.text(text),
            Event::Binary(bytes) => outbox.binary(bytes),
            Event::Draining => {
                if let Some(words) = self.state().last_words {
                    outbox.text(words);
                }
            }
            _ => {}
        }
    }
}

/// Serves WebSockets on every path, and plain HTTP on `/`.
pub(crate) struct Server {
    websocket: WebSocket,
    notes: Notes,
}

impl Handler for Server {
    fn handle(&mut self, request: &Request<'_>) -> Reply {
        if request.path() == "/" {
            return Response::text(200, "hello\n").into();
        }
        let notes = self.notes.clone();
        let handler = move |event: Event<'_>, outbox: &mut Outbox<'_, '_>| {
            notes.event(event, outbox);
        };
        self.websocket.accept(request, handler).into()
    }
}

/// The laboratory.
pub(crate) struct Room {
    pub(crate) lab: Lab<Server>,
    pub(crate) notes: Notes,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::with(WebSocket::new(), Config::default())
    }

    pub(crate) fn serving(websocket: WebSocket) -> Self {
        Self::with(websocket, Config::default())
    }

    pub(crate) fn with(websocket: WebSocket, config: Config) -> Self {
        let notes = Notes::default();
        let server = Server {
            websocket,
            notes: notes.clone(),
        };
        let lab = Lab::run(Setup::default(), config, server);
        Self { lab, notes }
    }

    /// Returns a peer with an open WebSocket.
    #[track_caller]
    pub(crate) fn open(&mut self) -> PeerId {
        let peer = self.lab.ask(HANDSHAKE);
        assert_eq!(self.frames(peer), []);
        assert_eq!(self.notes.events(), ["open"]);
        peer
    }

    /// Returns a peer of this manner that has sent a handshake.
    pub(crate) fn open_as(&mut self, manner: Manner) -> PeerId {
        let peer = self.lab.connect_as(manner);
        self.lab.send(peer, HANDSHAKE);
        self.notes.events();
        peer
    }

    /// Returns the frames that a peer has taken.
    #[track_caller]
    pub(crate) fn frames(&mut self, peer: PeerId) -> Vec<Frame> {
        let got = self.lab.sim().got(peer);
        let head = got.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, bytes) = got.split_at(head.expect("a whole head") + 4);
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(head)
        );
        frames(bytes)
    }

    /// Asserts that a peer has taken exactly these frames.
    #[track_caller]
    pub(crate) fn got(&mut self, peer: PeerId, expected: &[Frame]) {
        assert_eq!(self.frames(peer), expected);
    }

    /// Returns the last frame that a peer has taken.
    #[track_caller]
    pub(crate) fn last(&mut self, peer: PeerId) -> Frame {
        self.frames(peer).pop().expect("a frame")
    }
}
