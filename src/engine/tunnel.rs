//! Connections that were upgraded: bytes to the tunnel and from it, its timer, its goodbye.
//!
//! A tunnel works in the passes of its connection, with the bounds that HTTP has: so many reads,
//! and nothing is read while the output is full. Awake, it is in the phase of those who owe bytes,
//! and in theirs alone; asleep it has its seat and no more. Knows no protocol that one upgrades to.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Engine;
use super::conn::{Conn, Flag};
use super::hot::{Doing, Hot, How, NIL};
use super::serve::{Service, Stopped, Verdict};
use super::tunnels::Inbound;
use crate::app::{Content, Handler, Response, Timer, Tunnel, TunnelAction, TunnelIo};
use crate::drain::{self, Stage};
use crate::h1::{Codec, ResponseHead};
use crate::sys::{Midway, Sys};
use crate::tick::Tick;
use crate::tracker::{ConnId, Phase};

/// What a tunnel is told, besides what its peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It was woken, or may send more.
    Wake,
    /// Its time is over.
    Time,
    /// The server drains.
    Drain,
    /// The peer sends nothing more.
    Ended,
}

impl<S: Sys, H: Handler> Service<'_, S, H> {
    /// Writes the 101, and gives the connection to its tunnel.
    #[cold]
    pub(super) fn switch(&mut self, response: Response) {
        let mine = |switch: &crate::app::Switch| {
            switch.id == self.id && switch.nth == self.conn.served && self.hot.codec.request_done()
        };
        let switch = match response.body {
            Content::Tunnel(switch) if mine(&switch) => switch,
            other => {
                log::error!("a 101 answers a request that it was not made for, or has a body");
                super::hot::discard(other);
                return self.answer(Response::text(500, "the server made a mistake\n").close());
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
        self.hot.codec.begin(&mut self.hot.out.buffer, &head);
        self.hot.drop_sink();
        self.hot.head.clear();
        self.hot.unsent_answers += 1;
        self.restart = true;
        self.core.report.upgraded += 1;
        self.conn
            .sit_down(self.core.tunnels.attach(self.id, switch.tunnel));
        self.hot.doing = Doing::Tunnel { more: false };
        (self.hot.bytes_in, self.hot.bytes_out) = (0, 0);
        self.ask_tunnel(|tunnel, line| tunnel.open(line));
        if self.core.draining {
            self.tell_of_drain();
        }
    }

    /// What a pass does for a tunnel: `None` means to go on.
    pub(super) fn work_tunnel(
        &mut self,
        more: bool,
        scratch: &mut [u8],
        reads: &mut u32,
    ) -> Option<Stopped> {
        if more {
            let before = self.hot.out.buffer.len();
            self.call(Call::Wake);
            let idle = self.hot.out.buffer.len() == before
                && matches!(self.hot.doing, Doing::Tunnel { more: true });
            self.hot.empty_fills = if idle { self.hot.empty_fills + 1 } else { 0 };
            if self.hot.empty_fills > EMPTY_WAKES {
                log::error!("a tunnel says that it has more, and sends nothing");
                self.hot.leaving = Some(How::Abort);
            }
            return idle.then_some(Stopped::Share);
        }
        let inbound = self.inbound();
        if inbound == Some(Inbound::Open) && !self.hot.input.is_empty() {
            let mut input = mem::take(&mut self.hot.input);
            self.receive(&mut input);
            input.clear();
            self.hot.input = input;
            return None;
        }
        if inbound != Some(Inbound::Open) {
            return Some(Stopped::Dry);
        }
        if self.conn.is(Flag::Eof) {
            self.call(Call::Ended);
            return None;
        }
        if !self.conn.is(Flag::Readable) {
            return Some(Stopped::Dry);
        }
        if *reads == 0 {
            return Some(Stopped::Share);
        }
        *reads -= 1;
        self.read_for_tunnel(scratch);
        None
    }

    /// One read, given to the tunnel where it lies.
    fn read_for_tunnel(&mut self, scratch: &mut [u8]) {
        if let Some(n) = self.pull(scratch) {
            self.receive(&mut scratch[..n]);
        }
    }

    /// What has arrived comes before the goodbye, also where its event follows the signal's: one
    /// read, unless the tunnel hears nothing now.
    fn last_look(&mut self, scratch: &mut [u8]) {
        let receives = matches!(self.hot.doing, Doing::Tunnel { more: false })
            && self.inbound() == Some(Inbound::Open)
            && self.hot.leaving.is_none();
        let waits = self.hot.out.blocked || self.hot.out.is_full() || !self.hot.input.is_empty();
        if receives && !waits && !self.conn.is(Flag::Eof) {
            self.conn.set(Flag::Readable);
            self.read_for_tunnel(scratch);
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        self.hot.bytes_in += bytes.len() as u64;
        self.restart = true;
        self.ask_tunnel(|tunnel, line| tunnel.receive(bytes, line));
    }

    /// Tells the tunnel something, unless it has ended.
    pub(super) fn call(&mut self, call: Call) {
        if self.hot.leaving.is_some() {
            return;
        }
        match call {
            Call::Wake => {
                self.hear_again();
                if self.hot.out.blocked || self.hot.out.is_full() {
                    // Whoever pushes waits for room, as the tunnel does.
                    self.hot.doing = Doing::Tunnel { more: true };
                } else {
                    self.ask_tunnel(|tunnel, line| tunnel.wake(line));
                }
            }
            Call::Time => self.ask_tunnel(|tunnel, line| tunnel.time(line)),
            Call::Drain => self.tell_of_drain(),
            Call::Ended => {
                self.set_inbound(Inbound::Ended);
                self.ask_tunnel(|tunnel, line| tunnel.ended(line));
            }
        }
    }

    /// Tells the tunnel of the drain, once, and notes until when it may stay.
    fn tell_of_drain(&mut self) {
        let tunnels = &mut self.core.tunnels;
        let Some(seat) = self.conn.seat().and_then(|seat| tunnels.get_mut(seat)) else {
            return;
        };
        if mem::replace(&mut seat.notified, true) || self.hot.leaving.is_some() {
            return;
        }
        let until = self.now.after(self.core.config.drain.0.tunnel_grace);
        tunnels.notified.push_back((until, self.id));
        self.hear_again(); // it may want to hear the peer's goodbye
        self.ask_tunnel(|tunnel, line| tunnel.draining(line));
    }

    /// Calls the tunnel, and does what it wants next.
    fn ask_tunnel(&mut self, ask: impl FnOnce(&mut dyn Tunnel, &mut TunnelIo<'_>) -> TunnelAction) {
        let core = &mut *self.core;
        let Some(index) = self.conn.seat() else {
            return;
        };
        let Some(seat) = core.tunnels.get_mut(index) else {
            return;
        };
        let context = core.inbox.context(self.id, self.conn.served);
        let midway = core.sys.midway(&self.conn.io) != Midway::Nothing;
        let (room, out) = (self.hot.out.room(), &mut self.hot.out.buffer);
        let mut line = TunnelIo::new(out, room, &mut core.piece, context, midway);
        let next = catch_unwind(AssertUnwindSafe(|| ask(&mut *seat.tunnel, &mut line)));
        let timer = line.timer();
        super::hot::trim(&mut core.piece);
        match timer {
            Timer::Keep => {}
            Timer::Set(after) => core.tunnels.set_timer(index, after, self.now),
            Timer::Stop => core.tunnels.stop_timer(index),
        }
        let more = matches!(next, Ok(TunnelAction::More));
        self.hot.doing = Doing::Tunnel { more };
        match next {
            Ok(TunnelAction::Wait | TunnelAction::More) => {}
            Ok(TunnelAction::Pause) => self.set_inbound(Inbound::Paused),
            Ok(TunnelAction::Close) => self.hot.leaving = Some(How::Polite),
            Ok(TunnelAction::Fail) => self.hot.leaving = Some(How::Abort),
            Err(_) => {
                core.report.panics += 1;
                self.hot.leaving = Some(How::Abort);
            }
        }
    }

    fn inbound(&self) -> Option<Inbound> {
        let seat = self.core.tunnels.get(self.conn.seat()?)?;
        Some(seat.inbound)
    }

    /// Says whether the tunnel is given bytes. What has ended stays so.
    fn set_inbound(&mut self, inbound: Inbound) {
        let tunnels = &mut self.core.tunnels;
        if let Some(seat) = self.conn.seat().and_then(|seat| tunnels.get_mut(seat))
            && seat.inbound != Inbound::Ended
        {
            seat.inbound = inbound;
        }
    }

    fn hear_again(&mut self) {
        self.set_inbound(Inbound::Open);
    }
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Tells one tunnel something, if it is still there, and serves its connection.
    pub(super) fn call_tunnel(&mut self, id: ConnId, call: Call, now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if !conn.is(Flag::Tunnel) {
            return;
        }
        let mut hot = self.pool.take(mem::replace(&mut conn.hot, NIL));
        hot.wake_tunnel();
        let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
        if call == Call::Drain {
            service.last_look(&mut self.scratch);
        }
        service.call(call);
        let verdict = match service.hot.leaving {
            Some(How::Abort) => Verdict::Leave(How::Abort), // also where it owes bytes
            _ => service.pass(&mut self.scratch),
        };
        let restart = service.restart;
        self.settle(id, hot, verdict, restart, now);
    }

    /// The tunnel has nothing to do: its connection keeps its seat, and gives the rest back.
    pub(super) fn fall_asleep(&mut self, id: ConnId, mut hot: Box<Hot>) {
        let seat = self.tracker.get(id).and_then(Conn::seat);
        if let Some(seat) = seat.and_then(|seat| self.core.tunnels.get_mut(seat)) {
            seat.bytes_in += hot.bytes_in;
            seat.bytes_out += hot.bytes_out;
        }
        hot.doing = Doing::Receiving;
        hot.codec = Codec::default();
        hot.empty_fills = 0;
        let blank = !hot.is_stained();
        self.pool.give_back(hot, blank);
    }

    /// The connection is broken: a tunnel that reads nothing for now would not find out.
    #[cold]
    pub(super) fn tunnel_gone(&mut self, id: ConnId, now: Tick) {
        let conn = self.tracker.get(id);
        if conn.is_some_and(|conn| conn.is(Flag::Tunnel)) {
            self.core.report.left += 1;
            self.leave(id, How::Gone, now);
        }
    }

    /// Timers that are due, goodbyes, and those whose time for one is over: so many a turn. Says
    /// when the next is.
    pub(super) fn mind_tunnels(&mut self, now: Tick) -> Option<Tick> {
        let mut left = CALLS;
        while left > 0
            && let Some(id) = self.core.tunnels.take_due(now)
        {
            left -= 1;
            self.call_tunnel(id, Call::Time, now);
        }
        let goodbye = match self.stage {
            Stage::Draining { closing, .. } => self.say_goodbye(closing, left, now),
            _ => None,
        };
        let dismissed = self.dismiss(now);
        let moments = [self.core.tunnels.next_due(), goodbye, dismissed];
        moments.into_iter().flatten().reduce(Tick::min)
    }

    /// Tells those who are to be told by now, and says when the next is.
    fn say_goodbye(&mut self, closing: Tick, most: u32, now: Tick) -> Option<Tick> {
        let spread = self.core.config.drain.0.close_spread;
        let total = match self.core.tunnels.at_drain {
            Some(total) => total,
            None => {
                let tunnels: Vec<_> = [Phase::Tunnel, Phase::Reply]
                    .into_iter()
                    .flat_map(|phase| self.tracker.iter(phase))
                    .filter_map(|(id, _, conn)| conn.is(Flag::Tunnel).then_some(id))
                    .collect();
                let total = tunnels.len() as u32; // fewer than there are connections
                self.core.tunnels.to_notify = tunnels.into();
                self.core.tunnels.at_drain = Some(total);
                total
            }
        };
        let next = |untold: usize| closing.after(drain::spread_share(spread, total, untold as u32));
        for _ in 0..most {
            let untold = self.core.tunnels.to_notify.len();
            if untold == 0 || !now.reached(next(untold)) {
                break;
            }
            if let Some(id) = self.core.tunnels.to_notify.pop_front() {
                self.call_tunnel(id, Call::Drain, now);
            }
        }
        let untold = self.core.tunnels.to_notify.len();
        (untold > 0).then(|| next(untold))
    }

    /// Ends those who were told long ago, and says when the next is to be ended.
    fn dismiss(&mut self, now: Tick) -> Option<Tick> {
        while let Some((until, id)) = self.core.tunnels.notified.front().copied() {
            let here = self
                .tracker
                .get(id)
                .is_some_and(|conn| conn.is(Flag::Tunnel));
            if here && !now.reached(until) {
                return Some(until);
            }
            self.core.tunnels.notified.pop_front();
            if !here {
                continue;
            }
            if self.tracker.phase(id) == Some(Phase::Tunnel) || self.is_paused(id) {
                self.core.report.dismissed += 1;
                self.leave(id, How::Polite, now);
            } else {
                self.leave(id, How::Abort, now); // it owes bytes that its peer does not take
            }
        }
        None
    }
}

/// Calls that timers and goodbyes may make in a turn; the rest follow in the next, after the
/// sockets that became ready meanwhile.
const CALLS: u32 = 1_024;

/// How often in a row a tunnel may say that it has more and send nothing.
const EMPTY_WAKES: u32 = 64;
