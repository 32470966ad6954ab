//! One subscriber: a position in a topic's ring, as the body of a response.
//!
//! An event that is due alone is sent from the memory that all subscribers share. Several small
//! events that are due are copied into one write. Knows no sockets.

use std::mem;
use std::sync::Arc;

use super::hub::{Hub, State};
use super::options::Slow;
use crate::app::{BodyContext, Fill, Source};

/// The events of a topic, from a number on.
pub(super) struct Subscription {
    hub: Arc<Hub>,
    /// The key of the subscriber.
    key: u32,
    position: Position,
}

struct Position {
    /// The next event to send.
    next: u64,
    /// The number at which the stream ends, known once the server drains.
    until: u64,
    /// The heartbeats up to this one were sent, or an event took their place.
    beats: u32,
    begun: bool,
}

impl Subscription {
    pub(super) const fn new(hub: Arc<Hub>, key: u32, next: u64, beats: u32) -> Self {
        let position = Position {
            next,
            until: u64::MAX,
            beats,
            begun: false,
        };
        Self { hub, key, position }
    }
}

impl Source for Subscription {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        let salt = context.id.to_bits() ^ u64::from(context.nth);
        if !mem::replace(&mut self.position.begun, true) {
            // The first bytes tell the client that the stream is open, and when to reconnect.
            out.extend_from_slice(self.hub.retry(salt).as_bytes());
        }
        let mut state = self.hub.lock();
        if context.draining() {
            self.position.until = self.position.until.min(state.ring.next());
        }
        let fill = self.position.advance(&mut state, &self.hub, out);
        match fill {
            Fill::Done => {
                drop(state);
                out.extend_from_slice(self.hub.retry(salt).as_bytes());
            }
            Fill::Pending => state.subscribers.wait(self.key),
            _ => {}
        }
        fill
    }
}

impl Position {
    /// Appends or shares the next events, or a heartbeat.
    fn advance(&mut self, state: &mut State, hub: &Hub, out: &mut Vec<u8>) -> Fill {
        let missed = state.ring.first().saturating_sub(self.next);
        if missed > 0 {
            match hub.options.slow {
                Slow::Skip => {
                    state.skipped += missed;
                    self.next = state.ring.first();
                }
                Slow::Close => {
                    state.closed += 1;
                    return Fill::Done;
                }
            }
        }
        while self.next < self.until
            && let Some(event) = state.ring.get(self.next)
        {
            let bytes = event.bytes();
            let is_small = bytes.len() <= SMALL;
            if out.is_empty() && (!is_small || state.ring.get(self.next + 1).is_none()) {
                self.next += 1;
                self.beats = state.beats;
                return Fill::Share(event.clone());
            }
            if !is_small || out.len() + bytes.len() > TOGETHER {
                return Fill::More; // once `out` is sent
            }
            out.extend_from_slice(bytes);
            self.next += 1;
        }
        if self.next >= self.until {
            return Fill::Done;
        }
        let missed_beats = mem::replace(&mut self.beats, state.beats) != state.beats;
        if missed_beats && out.is_empty() {
            return Fill::Share(hub.comment.clone());
        }
        Fill::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().subscribers.detach(self.key);
    }
}

/// The longest event, in bytes, that is copied into one write with others: the copy costs less than
/// a write.
const SMALL: usize = 4 * 1024;

/// The longest write of several events, in bytes.
const TOGETHER: usize = 16 * 1024;

// A stream's memory beside its connection: one allocation of this size.
const _: () = assert!(size_of::<Subscription>() <= 40);
