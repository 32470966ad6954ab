//! One WebSocket: what is received, answered, and said at the end.
//!
//! Idle, it is a few words and its handler's own state. Knows no sockets and no clock.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use soketto::base::OpCode;

use super::decoder::{Decoder, Limits, Piece};
use super::outbox::Outbox;
use super::sender::Push;
use super::{Event, Settings, code, frame};
use crate::source::Fill;
use crate::upgrade::{Tunnel, TunnelAction, TunnelIo};

/// A WebSocket, with what the application does on it.
pub(super) struct Socket<F>
where
    F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send,
{
    handler: F,
    settings: Arc<Settings>,
    decoder: Decoder,
    push: Option<Box<Push>>,
    state: State,
    /// The peer has sent something since that was last asked.
    heard: bool,
    /// It was sent a ping, and nothing came since.
    pinged: bool,
    /// The subprotocol: the settings' index, or [`NO_PROTOCOL`].
    protocol: u8,
    /// The code of the peer's Close.
    code: u16,
}

/// Where a WebSocket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The server drains: a Close is sent as soon as nothing is half way.
    Leaving,
    /// Our Close is sent; the peer's is waited for.
    Closing,
    /// Both, or there is nothing to wait for.
    Closed,
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
            push: None,
            state: State::Open,
            heard: false,
            pinged: false,
            protocol: protocol.unwrap_or(NO_PROTOCOL),
            code: code::ABNORMAL,
        }
    }

    /// Tells the application, and does what it said.
    fn tell(&mut self, event: Event<'_>, line: &mut TunnelIo<'_>) {
        let mut outbox = Outbox::new(Some(line), &mut self.push);
        (self.handler)(event, &mut outbox);
        if outbox.closed() {
            self.close_sent(line);
        }
    }

    /// A piece of what the peer sent.
    fn piece(&mut self, piece: Piece<'_>, line: &mut TunnelIo<'_>) -> ControlFlow<()> {
        let open = matches!(self.state, State::Open | State::Leaving);
        match piece {
            Piece::Close(code) => {
                self.code = code.unwrap_or(code::NONE);
                self.push = None;
                if open {
                    let payload = code.map(|code| frame::close(code, ""));
                    send(line, OpCode::Close, &payload.unwrap_or_default());
                }
                self.state = State::Closed;
                return ControlFlow::Break(());
            }
            // What comes behind our Close is read only to find the peer's.
            _ if !open => {}
            Piece::Text(text) => self.tell(Event::Text(text), line),
            Piece::Binary(bytes) => self.tell(Event::Binary(bytes), line),
            Piece::Ping(payload) => send(line, OpCode::Pong, payload),
            Piece::Pong => {}
        }
        ControlFlow::Continue(())
    }

    /// Sends a Close, unless one was sent.
    fn close(&mut self, code: u16, reason: &str, line: &mut TunnelIo<'_>) {
        if matches!(self.state, State::Open | State::Leaving) {
            send(line, OpCode::Close, &frame::close(code, reason));
            self.close_sent(line);
        }
    }

    /// Our Close is out: nothing is sent behind it, and the peer's is waited for.
    fn close_sent(&mut self, line: &mut TunnelIo<'_>) {
        self.state = State::Closing;
        self.push = None;
        line.wake_after(self.settings.closing);
    }

    /// What other threads have sent, as far as there is room; true if there is more.
    fn pull(&mut self, line: &mut TunnelIo<'_>) -> bool {
        let Some(push) = &mut self.push else {
            return false;
        };
        match line.pull(&mut push.pipe) {
            Fill::More | Fill::Share(_) => return true,
            Fill::Pending => {}
            Fill::Done => {
                let close = push.close();
                self.push = None;
                if let Some(code) = close {
                    let code = if frame::is_code(code) {
                        code
                    } else {
                        code::INTERNAL
                    };
                    self.close(code, "", line);
                }
            }
            Fill::Failed => self.close(code::INTERNAL, "the server failed", line),
        }
        false
    }

    /// What is to be done after whatever happened.
    fn next(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        if self.pull(line) {
            return TunnelAction::More;
        }
        let half_way = self.decoder.is_amid() || line.midway();
        if self.state == State::Leaving && !half_way {
            self.close(code::AWAY, GOODBYE, line);
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
    fn open(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        line.wake_after(self.settings.ping);
        let settings = Arc::clone(&self.settings);
        let protocol = settings.protocols.get(usize::from(self.protocol));
        self.tell(
            Event::Open {
                protocol: protocol.map(|name| &**name),
            },
            line,
        );
        self.next(line)
    }

    fn receive(&mut self, bytes: &mut [u8], line: &mut TunnelIo<'_>) -> TunnelAction {
        (self.heard, self.pinged) = (true, false);
        let limits = Limits {
            message: self.settings.max_message,
            frame: self.settings.max_frame,
        };
        let mut decoder = mem::take(&mut self.decoder);
        let received = decoder.receive(bytes, limits, |piece| self.piece(piece, line));
        self.decoder = decoder;
        if let Err(fault) = received {
            log::debug!("a WebSocket is closed: {fault:?}");
            let (code, reason) = fault.close();
            self.close(code, reason, line);
            self.state = State::Closed; // nothing that follows could be understood
        }
        self.next(line)
    }

    fn wake(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        self.next(line)
    }

    fn time(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        match self.state {
            State::Open if self.heard => {
                self.heard = false;
                line.wake_after(self.settings.ping);
            }
            State::Open if !self.pinged => {
                self.pinged = true;
                send(line, OpCode::Ping, &[]);
                line.wake_after(self.settings.patience);
            }
            // It may be the way back alone that is broken.
            State::Open => {
                self.close(code::AWAY, "no answer to a ping", line);
                self.state = State::Closed;
            }
            State::Leaving => self.close(code::AWAY, GOODBYE, line),
            State::Closing | State::Closed => self.state = State::Closed,
        }
        self.next(line)
    }

    fn ended(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
        TunnelAction::Close
    }

    fn draining(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
        if self.state == State::Open {
            self.state = State::Leaving;
            line.wake_after(self.settings.closing);
            self.tell(Event::Draining, line);
        }
        self.next(line)
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
        self.push = None; // its senders are told first
        let mut outbox = Outbox::new(None, &mut self.push);
        (self.handler)(Event::Closed { code: self.code }, &mut outbox);
    }
}

fn send(line: &mut TunnelIo<'_>, opcode: OpCode, payload: &[u8]) {
    frame::header(opcode, payload.len(), |header| line.send(header));
    line.send(payload);
}

/// No subprotocol.
const NO_PROTOCOL: u8 = u8::MAX;

/// The reason of the Close at a drain.
const GOODBYE: &str = "the server is stopping";

// What an idle WebSocket costs beside its seat, without what its handler keeps.
const _: () = {
    type Stateless = fn(Event<'_>, &mut Outbox<'_, '_>);
    assert!(size_of::<Socket<Stateless>>() - size_of::<Stateless>() <= 32);
};
