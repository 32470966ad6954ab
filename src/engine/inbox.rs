//! Messages of other threads: responses by ticket, wakes of sources, sinks and tunnels, reasons to
//! stop.
//!
//! A message names its connection and its request. A message that names a connection or a request
//! that is gone is dropped.

use super::{Engine, Input};
use crate::app::{Handler, Message, Trigger};
use crate::drain::Stage;
use crate::sys::Sys;
use crate::tick::Tick;

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Reads the inbox, at most [`MESSAGES`] a turn.
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
                Message::Respond { id, nth, response } => {
                    self.input(id, Input::Respond { nth, response }, now);
                }
                Message::Wake { id, nth } => self.input(id, Input::Wake { nth }, now),
                Message::WakeAll(list) => {
                    left = left.saturating_sub(list.len() as u32); // some hundred
                    for (id, nth) in list {
                        self.input(id, Input::Wake { nth }, now);
                    }
                }
                Message::Shutdown if self.core.drain.stage() == Stage::Serving => {
                    self.stop(Trigger::Shutdown, now);
                }
                Message::Shutdown => {}
                Message::Cut => self.stop(Trigger::Cut, now),
                Message::Hook { station, well } => self.hooks.returned(station, well),
                Message::Status { query, answer } => {
                    // The thread that asked may have stopped waiting.
                    let _ = answer.try_send(Box::new(self.status(&query)));
                }
                Message::Released => {} // the end of the drain asks for the guards
            }
        }
        self.core.inbox.hold_open();
    }
}

/// Messages read in a turn, counted with the connections that they wake.
const MESSAGES: u32 = 4_096;
