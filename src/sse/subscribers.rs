//! The subscribers of a topic: which connections, on which loops, and which of them wait.

use std::mem;

use slab::Slab;

use crate::app::{Handle, Request};
use crate::tracker::ConnId;

#[derive(Default)]
pub(super) struct Subscribers {
    entries: Slab<Subscriber>,
    /// The loops that serve subscribers: mostly one. A new loop takes the place of one whose last
    /// subscriber left.
    loops: Vec<Loop>,
}

struct Subscriber {
    id: ConnId,
    nth: u32,
    /// The index of its loop.
    at: u16,
    /// The subscriber has been sent everything, and the next event wakes its stream.
    waits: bool,
}

struct Loop {
    handle: Handle,
    subscribers: u32,
}

/// Connections of one loop to wake.
type Wakes = (Handle, Vec<(ConnId, u32)>);

impl Subscribers {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the connection of a request, and returns its key.
    pub(super) fn attach(&mut self, request: &Request<'_>) -> u32 {
        let at = self.loop_of(request.handle);
        self.loops[at].subscribers += 1;
        let key = self.entries.insert(Subscriber {
            id: request.id,
            nth: request.nth,
            at: at as u16, // a process has fewer loops
            waits: false,
        });
        key as u32 // there are fewer connections
    }

    fn loop_of(&mut self, handle: &Handle) -> usize {
        if let Some(at) = self.loops.iter().position(|at| at.handle.is(handle)) {
            return at;
        }
        let new = Loop {
            handle: handle.clone(),
            subscribers: 0,
        };
        match self.loops.iter().position(|at| at.subscribers == 0) {
            Some(at) => {
                self.loops[at] = new;
                at
            }
            None => {
                self.loops.push(new);
                self.loops.len() - 1
            }
        }
    }

    pub(super) fn detach(&mut self, key: u32) {
        if let Some(subscriber) = self.entries.try_remove(key as usize) {
            self.loops[usize::from(subscriber.at)].subscribers -= 1;
        }
    }

    /// Notes that a subscriber has been sent everything.
    pub(super) fn wait(&mut self, key: u32) {
        if let Some(subscriber) = self.entries.get_mut(key as usize) {
            subscriber.waits = true;
        }
    }

    /// Returns the subscribers that wait, by loop; none of them waits any more.
    pub(super) fn take_waiting(&mut self) -> Vec<Wakes> {
        let empty = |at: &Loop| (at.handle.clone(), Vec::new());
        let mut wakes: Vec<Wakes> = self.loops.iter().map(empty).collect();
        for (_, subscriber) in &mut self.entries {
            if mem::take(&mut subscriber.waits) {
                let list = &mut wakes[usize::from(subscriber.at)].1;
                list.push((subscriber.id, subscriber.nth));
            }
        }
        wakes.retain(|(_, list)| !list.is_empty());
        wakes
    }

    #[cfg(test)]
    pub(super) const fn loops(&self) -> usize {
        self.loops.len()
    }
}

// A subscriber's memory in its topic.
const _: () = assert!(size_of::<Subscriber>() <= 16);
