//! Upgraded connections: bytes to the tunnel and from it, its timer, its goodbye.
//!
//! A tunnel works in the passes of its connection, with the bounds of HTTP. Reads are counted, and
//! nothing is read while the output is full. A sleeping tunnel costs its entry and no exchange.
//! Knows no protocol that connections upgrade to.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::buffer::trim;
use super::exchange::{Activity, Exchange, discard};
use super::pass::{Halt, Pass};
use super::{Close, Connection, Scope, State, Step, Verdict};
use crate::app::{Content, Handler, Response, Timer, Tunnel, TunnelAction, TunnelIo};
use crate::engine::tunnels::{Inbound, TunnelEntry, Tunnels};
use crate::h1::{Codec, ResponseHead};
use crate::sys::{Midway, Sys};

/// A call of a tunnel, besides the one for its peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It was woken, or may send more.
    Wake,
    /// Its timer is due.
    Timer,
    /// The server drains.
    Drain,
    /// The peer sends nothing more.
    Ended,
}

impl<S: Sys, H: Handler> Pass<'_, S, H> {
    /// Writes the 101, and gives the connection to its tunnel.
    #[cold]
    pub(super) fn switch(&mut self, response: Response) {
        let mine = |switch: &crate::app::Switch| {
            switch.id == self.id
                && switch.nth == self.connection.requests
                && self.exchange.codec.request_done()
        };
        let switch = match response.body {
            Content::Tunnel(switch) if mine(&switch) => switch,
            other => {
                log::error!("a 101 answers a request that it was not made for, or has a body");
                discard(other);
                return self.respond(Response::text(500, "the server made a mistake\n").close());
            }
        };
        let date = self.core.date.line(self.now, || self.core.sys.unix_time());
        let head = ResponseHead {
            status: 101,
            content_type: response.content_type.as_deref(),
            fields: &response.fields,
            length: None,
            date,
        };
        self.exchange
            .codec
            .begin(&mut self.exchange.out.buffer, &head);
        self.exchange.drop_sink();
        self.exchange.head.clear();
        self.exchange.unsent_responses += 1;
        self.restart = true;
        self.core.report.upgraded += 1;
        self.connection.state = State::Tunnel {
            entry: self.core.tunnels.attach(self.id, switch.tunnel),
            exchange: Some(self.slot),
        };
        self.exchange.activity = Activity::Tunnel { more: false };
        (self.exchange.bytes_in, self.exchange.bytes_out) = (0, 0);
        self.ask_tunnel(|tunnel, line| tunnel.open(line));
        if self.core.drain.has_begun() {
            self.notify_of_drain();
        }
    }

    /// Works for the tunnel. Returns `None` to go on.
    pub(super) fn work_tunnel(
        &mut self,
        more: bool,
        scratch: &mut [u8],
        reads: &mut u32,
    ) -> Option<Halt> {
        if more {
            let before = self.exchange.out.buffer.len();
            self.call(Call::Wake);
            let idle = self.exchange.out.buffer.len() == before
                && matches!(self.exchange.activity, Activity::Tunnel { more: true });
            self.exchange.empty_fills = if idle {
                self.exchange.empty_fills + 1
            } else {
                0
            };
            if self.exchange.empty_fills > EMPTY_WAKES {
                log::error!("a tunnel says that it has more, and sends nothing");
                self.exchange.closing = Some(Close::Reset);
            }
            return idle.then_some(Halt::Share);
        }
        let inbound = self.tunnel().map(|entry| entry.inbound);
        if inbound == Some(Inbound::Open) && !self.exchange.input.is_empty() {
            let mut input = mem::take(&mut self.exchange.input);
            self.give(&mut input);
            input.clear();
            self.exchange.input = input;
            return None;
        }
        if inbound != Some(Inbound::Open) {
            return Some(Halt::Dry);
        }
        if self.connection.readiness.has_ended() {
            self.call(Call::Ended);
            return None;
        }
        if !self.connection.readiness.may_read() {
            return Some(Halt::Dry);
        }
        if *reads == 0 {
            return Some(Halt::Share);
        }
        *reads -= 1;
        self.read_for_tunnel(scratch);
        None
    }

    /// Reads once, and gives the tunnel the bytes where they lie.
    fn read_for_tunnel(&mut self, scratch: &mut [u8]) {
        if let Some(n) = self.read(scratch) {
            self.give(&mut scratch[..n]);
        }
    }

    /// Reads once before the goodbye, unless the tunnel takes no bytes now: bytes that have arrived
    /// come first, also where their event follows the signal's.
    fn read_before_goodbye(&mut self, scratch: &mut [u8]) {
        let exchange = &*self.exchange;
        let receives = matches!(exchange.activity, Activity::Tunnel { more: false })
            && self.tunnel().map(|entry| entry.inbound) == Some(Inbound::Open)
            && exchange.closing.is_none();
        let waits = exchange.out.blocked || exchange.out.is_full() || !exchange.input.is_empty();
        if receives && !waits && !self.connection.readiness.has_ended() {
            self.connection.readiness.read_again();
            self.read_for_tunnel(scratch);
        }
    }

    fn give(&mut self, bytes: &mut [u8]) {
        self.exchange.bytes_in += bytes.len() as u64;
        self.restart = true;
        self.ask_tunnel(|tunnel, line| tunnel.receive(bytes, line));
    }

    /// Calls the tunnel, unless it has ended.
    fn call(&mut self, call: Call) {
        if self.exchange.closing.is_some() {
            return;
        }
        match call {
            Call::Wake => {
                self.set_inbound(Inbound::Open);
                if self.exchange.out.blocked || self.exchange.out.is_full() {
                    // The tunnel waits for room, and with it the threads that push.
                    self.exchange.activity = Activity::Tunnel { more: true };
                } else {
                    self.ask_tunnel(|tunnel, line| tunnel.wake(line));
                }
            }
            Call::Timer => self.ask_tunnel(|tunnel, line| tunnel.time(line)),
            Call::Drain => self.notify_of_drain(),
            Call::Ended => {
                self.set_inbound(Inbound::Ended);
                self.ask_tunnel(|tunnel, line| tunnel.ended(line));
            }
        }
    }

    /// Tells the tunnel of the drain, once, and notes how long it may stay.
    fn notify_of_drain(&mut self) {
        let closing = self.exchange.closing.is_some();
        let Some(entry) = self.tunnel_mut() else {
            return;
        };
        if mem::replace(&mut entry.notified, true) || closing {
            return;
        }
        let until = self.now.after(self.core.drain.policy().tunnel_grace);
        self.core.tunnels.notified.push_back((until, self.id));
        self.set_inbound(Inbound::Open); // the tunnel may wait for the peer's goodbye
        self.ask_tunnel(|tunnel, line| tunnel.draining(line));
    }

    /// Asks the tunnel, and does what it wants next.
    fn ask_tunnel(&mut self, ask: impl FnOnce(&mut dyn Tunnel, &mut TunnelIo<'_>) -> TunnelAction) {
        let core = &mut *self.core;
        let State::Tunnel { entry: index, .. } = self.connection.state else {
            return;
        };
        let Some(entry) = core.tunnels.get_mut(index) else {
            return;
        };
        let context = core.inbox.context(self.id, self.connection.requests);
        let midway = core.sys.midway(&self.connection.io) != Midway::Nothing;
        let (room, out) = (self.exchange.out.room(), &mut self.exchange.out.buffer);
        let mut line = TunnelIo::new(out, room, &mut core.piece, context, midway);
        let next = catch_unwind(AssertUnwindSafe(|| ask(&mut *entry.tunnel, &mut line)));
        let timer = line.timer();
        trim(&mut core.piece);
        match timer {
            Timer::Keep => {}
            Timer::Set(after) => core.tunnels.set_timer(index, after, self.now),
            Timer::Stop => core.tunnels.stop_timer(index),
        }
        let more = matches!(next, Ok(TunnelAction::More));
        self.exchange.activity = Activity::Tunnel { more };
        match next {
            Ok(TunnelAction::Wait | TunnelAction::More) => {}
            Ok(TunnelAction::Pause) => self.set_inbound(Inbound::Paused),
            Ok(TunnelAction::Close) => self.exchange.closing = Some(Close::Graceful),
            Ok(TunnelAction::Fail) => self.exchange.closing = Some(Close::Reset),
            Err(_) => {
                core.report.panics += 1;
                self.exchange.closing = Some(Close::Reset);
            }
        }
    }

    fn tunnel(&self) -> Option<&TunnelEntry> {
        match self.connection.state {
            State::Tunnel { entry, .. } => self.core.tunnels.get(entry),
            _ => None,
        }
    }

    fn tunnel_mut(&mut self) -> Option<&mut TunnelEntry> {
        match self.connection.state {
            State::Tunnel { entry, .. } => self.core.tunnels.get_mut(entry),
            _ => None,
        }
    }

    /// Sets whether the tunnel is given bytes. An inbound side that has ended stays so.
    fn set_inbound(&mut self, inbound: Inbound) {
        if let Some(entry) = self.tunnel_mut()
            && entry.inbound != Inbound::Ended
        {
            entry.inbound = inbound;
        }
    }
}

impl<I> Connection<I> {
    /// Calls the tunnel, and serves its connection. Nothing happens without a tunnel.
    pub(super) fn call_tunnel<S: Sys<Io = I>, H: Handler>(
        &mut self,
        call: Call,
        scope: &mut Scope<'_, S, H>,
    ) -> Step {
        if !self.is_tunnel() {
            return Step::WAIT;
        }
        self.with_pass(scope, |pass, scratch| {
            if call == Call::Drain {
                pass.read_before_goodbye(scratch);
            }
            pass.call(call);
            match pass.exchange.closing {
                Some(Close::Reset) => Verdict::Close(Close::Reset), // pending bytes are dropped
                _ => pass.run_outlined(scratch),
            }
        })
    }
}

/// Adds the bytes of a pass to those of the tunnel, and blanks the exchange.
pub(super) fn fall_asleep(entry: u32, exchange: &mut Exchange, tunnels: &mut Tunnels) {
    if let Some(entry) = tunnels.get_mut(entry) {
        entry.bytes_in += exchange.bytes_in;
        entry.bytes_out += exchange.bytes_out;
    }
    exchange.activity = Activity::Receiving;
    exchange.codec = Codec::default();
    exchange.empty_fills = 0;
}

/// How often in a row a tunnel may say that it has more and send nothing.
const EMPTY_WAKES: u32 = 64;
