//! What other threads say: answers by ticket, wakes of sources, sinks and tunnels, reasons to stop.
//!
//! A message names its connection, and an answer its request too; one that names nobody is dropped.
//! Knows no sockets.

use std::mem;

use super::Engine;
use super::conn::{Conn, Flag};
use super::hot::{Doing, Hot, NIL, discard};
use super::serve::Service;
use super::tunnel::Call;
use crate::app::{Handler, Message, Response, Trigger};
use crate::drain::Stage;
use crate::sys::Sys;
use crate::tick::Tick;
use crate::tracker::ConnId;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Hears what other threads say, so many messages a turn.
    pub(super) fn read_inbox(&mut self, now: Tick) {
        if !self.core.inbox.open() {
            return;
        }
        let mut left = MESSAGES;
        while left > 0 {
            left -= 1;
            let Some(message) = self.core.inbox.next() else {
                return;
            };
            match message {
                Message::Answer { id, nth, response } => self.answer(id, nth, response, now),
                Message::Wake { id, nth } => self.wake(id, nth, now),
                Message::WakeAll(list) => {
                    left = left.saturating_sub(list.len() as u32); // some hundred
                    for (id, nth) in list {
                        self.wake(id, nth, now);
                    }
                }
                Message::Shutdown if self.stage == Stage::Serving => {
                    self.stop(Trigger::Shutdown, now);
                }
                Message::Shutdown => {}
                Message::Cut => self.stop(Trigger::Cut, now),
                Message::Hook { station, well } => self.hooks.returned(station, well),
                Message::Status { query, answer } => {
                    // Whoever asked may have lost patience.
                    let _ = answer.try_send(Box::new(self.status(&query)));
                }
                Message::Released => {} // looked at when the books are closed
            }
        }
        self.core.inbox.hold_open();
    }

    /// An answer by ticket, if the request still waits for it.
    fn answer(&mut self, id: ConnId, nth: u32, response: Option<Box<Response>>, now: Tick) {
        let asked = |hot: &Hot| matches!(hot.doing, Doing::Asked);
        let waits = |conn: &&mut Conn<S::Io>| {
            conn.served == nth && self.pool.get(conn.hot).is_some_and(asked)
        };
        let Some(conn) = self.tracker.get_mut(id).filter(waits) else {
            return discard(response);
        };
        let mut hot = self.pool.take(mem::replace(&mut conn.hot, NIL));
        hot.doing = Doing::Receiving;
        let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
        match response {
            Some(response) => service.answer(*response),
            None => {
                log::error!("a ticket was dropped without an answer");
                service.answer(Response::text(500, "the server made a mistake\n"));
            }
        }
        let verdict = service.pass(&mut self.scratch);
        self.settle(id, hot, verdict, true, now);
    }

    /// A source or a sink can go on.
    pub(super) fn wake(&mut self, id: ConnId, nth: u32, now: Tick) {
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if conn.is(Flag::Tunnel) && conn.served == nth {
            return self.call_tunnel(id, Call::Wake, now);
        }
        let waits = |hot: &Hot| matches!(hot.doing, Doing::Parked(_) | Doing::Paused);
        if conn.served != nth || !self.pool.get(conn.hot).is_some_and(waits) {
            return;
        }
        let mut hot = self.pool.take(mem::replace(&mut conn.hot, NIL));
        let mut service = Service::new(&mut self.core, conn, &mut hot, id, now);
        service.resume();
        let verdict = service.pass(&mut self.scratch);
        let restart = service.restart;
        self.settle(id, hot, verdict, restart, now);
    }
}

/// Messages heard in a turn, or those that they wake.
const MESSAGES: u32 = 4_096;
