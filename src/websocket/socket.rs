//! One WebSocket: messages, pings and the closing handshake.
//!
//! An idle WebSocket is a few words and the state of its handler. Knows no sockets and no clock.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::code;
use super::decoder::{Decoder, Piece, SizeLimits};
use super::event::Event;
use super::frame::{self, send};
use super::header::OpCode;
use super::outbox::Outbox;
use super::sender::Queue;
use super::settings::Settings;
use crate::app::{Fill, Tunnel, TunnelAction, TunnelIo};

/// A WebSocket and the program's handler.
pub(super) struct Socket<F>
where
    F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send,
{
    handler: F,
    settings: Arc<Settings>,
    decoder: Decoder,
    queue: Option<Box<Queue>>,
    state: State,
    /// The peer has sent something since the last check for silence.
    received: bool,
    /// A ping was sent, and nothing arrived since.
    pinged: bool,
    /// The agreed subprotocol: an index into the settings', or [`NO_PROTOCOL`].
    protocol: u8,
    /// The code of the peer's Close.
    code: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The server drains: a Close follows once no message is half way.
    Leaving,
    /// Our Close is sent; the peer's is awaited.
    Closing,
    /// Nothing is awaited.
    Closed,
}

impl State {
    /// Returns whether no Close was sent or received.
    const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Leaving)
    }
}

impl<F> Socket<F>
where
    F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send,
{
    pub(super) fn new(handler: F, settings: Arc<Settings>, protocol: Option<usize>) -> Self {
        let protocol = protocol.and_then(|index| u8::try_from(index).ok());
        Self {
            handler,
            settings,
            decoder: Decoder::default(),
            queue: None,
            state: State::Open,
            received: false,
            pinged: false,
            protocol: protocol.unwrap_or(NO_PROTOCOL),
            code: code::ABNORMAL,
        }
    }

    /// Passes an event to the handler.
    fn tell(&mut self, event: Event<'_>, io: &mut TunnelIo<'_>) {
        let mut outbox = Outbox::new(Some(io), &mut self.queue);
        (self.handler)(event, &mut outbox);
        if outbox.closed() {
            self.close_sent(io);
        }
    }

    /// Handles a message or a control frame of the peer.
    fn piece(&mut self, piece: Piece<'_>, io: &mut TunnelIo<'_>) -> ControlFlow<()> {
        match piece {
            Piece::Close(code) => {
                self.code = code.unwrap_or(code::NONE);
                self.queue = None;
                if self.state.is_open() {
                    let payload = code.map(|code| frame::close(code, ""));
                    send(io, OpCode::Close, &payload.unwrap_or_default());
                }
                self.state = State::Closed;
                return ControlFlow::Break(());
            }
            // Only a Close matters after ours.
            _ if !self.state.is_open() => {}
            Piece::Text(text) => self.tell(Event::Text(text), io),
            Piece::Binary(bytes) => self.tell(Event::Binary(bytes), io),
            Piece::Ping(payload) => send(io, OpCode::Pong, payload),
            Piece::Pong => {}
        }
        ControlFlow::Continue(())
    }

    /// Sends a Close, unless one was sent.
    fn close(&mut self, code: u16, reason: &str, io: &mut TunnelIo<'_>) {
        if self.state.is_open() {
            send(io, OpCode::Close, &frame::close(code, reason));
            self.close_sent(io);
        }
    }

    /// Notes that our Close is sent: nothing may follow, and the peer's is awaited.
    fn close_sent(&mut self, io: &mut TunnelIo<'_>) {
        self.state = State::Closing;
        self.queue = None;
        io.wake_after(self.settings.close_timeout);
    }

    /// Sends what other threads have queued, as far as there is room. Returns whether more is queued.
    fn send_queued(&mut self, io: &mut TunnelIo<'_>) -> bool {
        let Some(queue) = &mut self.queue else {
            return false;
        };
        match io.pull(&mut queue.pipe) {
            Fill::More | Fill::Share(_) => return true,
            Fill::Pending => {}
            Fill::Done => {
                let close = queue.close();
                self.queue = None;
                if let Some(code) = close {
                    self.close(code, "", io);
                }
            }
            Fill::Failed => self.close(code::INTERNAL, "the server failed", io),
        }
        false
    }

    /// Returns what to do after any call.
    fn next(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        if self.send_queued(io) {
            return TunnelAction::More;
        }
        let half_way = self.decoder.is_amid() || io.midway();
        if self.state == State::Leaving && !half_way {
            self.close(code::AWAY, STOPPING, io);
        }
        match self.state {
            State::Closed => TunnelAction::Close,
            _ => TunnelAction::Wait,
        }
    }
}

impl<F> Tunnel for Socket<F>
where
    F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send,
{
    fn open(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        io.wake_after(self.settings.ping_interval);
        let settings = Arc::clone(&self.settings);
        let protocol = settings.protocols.get(usize::from(self.protocol));
        let protocol = protocol.map(|name| &**name);
        self.tell(Event::Open { protocol }, io);
        self.next(io)
    }

    fn receive(&mut self, bytes: &mut [u8], io: &mut TunnelIo<'_>) -> TunnelAction {
        (self.received, self.pinged) = (true, false);
        let limits = SizeLimits {
            message: self.settings.max_message,
            frame: self.settings.max_frame,
        };
        let mut decoder = mem::take(&mut self.decoder);
        let received = decoder.receive(bytes, limits, |piece| self.piece(piece, io));
        self.decoder = decoder;
        if let Err(fault) = received {
            log::debug!("a WebSocket is closed: {fault:?}");
            let (code, reason) = fault.close();
            self.close(code, reason, io);
            self.state = State::Closed; // the bytes that follow mean nothing
        }
        self.next(io)
    }

    fn wake(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        self.next(io)
    }

    fn time(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        match self.state {
            State::Open if self.received => {
                self.received = false;
                io.wake_after(self.settings.ping_interval);
            }
            State::Open if !self.pinged => {
                self.pinged = true;
                send(io, OpCode::Ping, &[]);
                io.wake_after(self.settings.pong_timeout);
            }
            // The peer may still receive, so the Close says why.
            State::Open => {
                self.close(code::AWAY, "no answer to a ping", io);
                self.state = State::Closed;
            }
            State::Leaving => self.close(code::AWAY, STOPPING, io),
            State::Closing | State::Closed => self.state = State::Closed,
        }
        self.next(io)
    }

    fn ended(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
        TunnelAction::Close
    }

    fn draining(&mut self, io: &mut TunnelIo<'_>) -> TunnelAction {
        if self.state == State::Open {
            self.state = State::Leaving;
            io.wake_after(self.settings.close_timeout);
            self.tell(Event::Draining, io);
        }
        self.next(io)
    }

    fn name(&self) -> &str {
        "websocket"
    }
}

impl<F> Drop for Socket<F>
where
    F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send,
{
    fn drop(&mut self) {
        self.queue = None; // closes the senders before the handler runs
        let mut outbox = Outbox::new(None, &mut self.queue);
        (self.handler)(Event::Closed { code: self.code }, &mut outbox);
    }
}

/// The index of no subprotocol.
const NO_PROTOCOL: u8 = u8::MAX;

/// The reason of the Close at a drain.
const STOPPING: &str = "the server is stopping";

// An idle WebSocket's memory beside its entry in the loop, without the state of its handler.
const _: () = {
    type Stateless = fn(Event<'_>, &mut Outbox<'_, '_>);
    assert!(size_of::<Socket<Stateless>>() - size_of::<Stateless>() <= 32);
};
