//! One subscriber: a place in a topic's ring, as the body of an answer.
//!
//! An event that is due alone is sent from the memory that all share. Who has several to catch up
//! with is sent small ones together, in one write. Knows no sockets.

use std::sync::Arc;

use super::topic::{Hub, Slow};
use crate::source::{BodyContext, Fill, Source};

/// The events of a topic, from some number on.
pub(super) struct Subscription {
    hub: Arc<Hub>,
    /// The next event to send.
    next: u64,
    /// Where it ends: known once the server drains.
    until: u64,
    seat: u32,
    /// Heartbeats up to this one were sent, or made up for by an event.
    beats: u32,
    begun: bool,
}

impl Subscription {
    pub(super) const fn new(hub: Arc<Hub>, seat: u32, next: u64, beats: u32) -> Self {
        Self {
            hub,
            next,
            until: u64::MAX,
            seat,
            beats,
            begun: false,
        }
    }
}

impl Source for Subscription {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        let retry = || {
            self.hub
                .retry(context.id.to_bits() ^ u64::from(context.nth))
        };
        if !self.begun {
            self.begun = true;
            // The first bytes: the client knows that it is connected, and when to come back.
            out.extend_from_slice(retry().as_bytes());
        }
        let mut state = self.hub.lock();
        if context.draining() {
            self.until = self.until.min(state.next());
        }
        if self.next < state.first {
            let missed = state.first - self.next;
            match self.hub.options.slow {
                Slow::Skip => {
                    state.skipped += missed;
                    self.next = state.first;
                }
                Slow::Close => {
                    state.closed += 1;
                    out.extend_from_slice(retry().as_bytes());
                    return Fill::Done;
                }
            }
        }
        while self.next < self.until
            && let Some(event) = state.event(self.next)
        {
            let bytes = event.bytes();
            if out.is_empty() && (bytes.len() > SMALL || state.event(self.next + 1).is_none()) {
                self.next += 1;
                self.beats = state.beats;
                return Fill::Share(event.clone());
            }
            if bytes.len() > SMALL || out.len() + bytes.len() > TOGETHER {
                return Fill::More; // after what is there
            }
            out.extend_from_slice(bytes);
            self.next += 1;
        }
        if self.next >= self.until {
            drop(state);
            out.extend_from_slice(retry().as_bytes());
            return Fill::Done;
        }
        if self.beats != state.beats {
            self.beats = state.beats;
            if out.is_empty() {
                return Fill::Share(self.hub.comment.clone());
            }
        }
        state.wait(self.seat);
        Fill::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.lock().stand_up(self.seat);
    }
}

/// Events up to so many bytes are sent together to who has several to catch up with: to copy them is
/// less than a write for each.
const SMALL: usize = 4 * 1024;

/// As many bytes as are sent together.
const TOGETHER: usize = 16 * 1024;

// What a stream costs besides its connection: an allocation of this.
const _: () = assert!(size_of::<Subscription>() <= 40);
