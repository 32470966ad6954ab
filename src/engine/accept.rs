//! New connections: a bounded number a turn, and none while there is no room.
//!
//! Listeners are edge-triggered too. This module therefore remembers that a backlog may hold more.
//! Accepting that stopped starts again with the next turn, with a connection that closes, or after
//! a moment's wait when the process is out of descriptors. Knows no requests.

use super::Engine;
use super::connection::{Connection, Step};
use crate::handler::Handler;
use crate::sys::{AcceptError, Sys};
use crate::tick::Tick;
use crate::tracker::Phase;

/// What is known of the listeners.
#[derive(Debug)]
pub(super) struct Accepting {
    /// Whether a listener's backlog may hold connections, by its number.
    more: Vec<bool>,
    /// Since when there are no descriptors, or as many connections as the limit allows.
    pub(super) full: Option<Tick>,
    /// The listener to begin with next.
    first: usize,
    /// The listeners are still open.
    pub(super) open: bool,
    /// The log says that there are no descriptors, and no backlog was emptied since.
    exhausted: bool,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            more: vec![true; listeners],
            full: None,
            first: 0,
            open: true,
            exhausted: false,
        }
    }

    /// Notes an event of a listener: its backlog may hold connections.
    pub(super) fn arrived(&mut self, listener: usize) {
        if let Some(more) = self.more.get_mut(listener) {
            *more = true;
        }
    }

    /// Notes that every backlog may hold connections.
    pub(super) fn look_again(&mut self) {
        self.more.fill(true);
    }

    /// Notes that there is room for another connection.
    #[inline]
    pub(super) const fn make_room(&mut self) {
        self.full = None;
    }

    /// Returns whether a backlog may hold connections and there is room.
    pub(super) fn ready(&self) -> bool {
        self.open && self.full.is_none() && self.more.contains(&true)
    }

    /// Returns whether every backlog was found empty.
    pub(super) fn emptied(&self) -> bool {
        !self.more.contains(&true)
    }
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Accepts from the backlogs, up to the turn's share.
    pub(super) fn accept(&mut self, now: Tick) {
        if let Some(since) = self.accepting.full
            && now.since(since) >= RETRY
        {
            self.accepting.full = None;
        }
        if !self.accepting.ready() {
            return;
        }
        // A drain accepts beyond the limit: a listener that closes resets its backlog, and it is
        // open for a moment only.
        let limit = match self.core.drain.is_draining() {
            true => usize::MAX,
            false => self.core.config.limits.connections,
        };
        let mut left = ACCEPTS;
        let listeners = self.accepting.more.len();
        let first = self.accepting.first;
        self.accepting.first = (first + 1) % listeners;
        for listener in (first..listeners).chain(0..first) {
            while self.accepting.more[listener] && left > 0 {
                left -= 1;
                if self.tracker.len() >= limit {
                    self.accepting.full = Some(now);
                    return;
                }
                match self.core.sys.accept(listener) {
                    Ok((io, peer)) => self.open(io, peer, now),
                    Err(AcceptError::Empty) => {
                        self.accepting.more[listener] = false;
                        self.accepting.exhausted = false;
                    }
                    Err(AcceptError::Failed(error)) => log::debug!("accept: {error}"),
                    Err(AcceptError::Exhausted(error)) => {
                        if !self.accepting.exhausted {
                            self.accepting.exhausted = true;
                            log::warn!("accepting waits for room: {error}");
                        }
                        self.accepting.full = Some(now);
                        return;
                    }
                    Err(AcceptError::Closed(error)) => {
                        log::error!("a listener is gone: {error}");
                        self.accepting.more[listener] = false;
                    }
                }
            }
        }
    }

    fn open(&mut self, io: S::Io, peer: crate::peer::Peer, now: Tick) {
        self.core.drain.accepted(now);
        self.core.report.opened += 1;
        let connection = Connection::new(io, peer);
        let id = self.tracker.insert(Phase::Fresh, now, connection);
        let Some(connection) = self.tracker.get_mut(id) else {
            return;
        };
        if let Err(error) = connection.register(&mut self.core.sys, id) {
            log::warn!("{peer}: cannot be watched: {error}");
            self.remove(id, Step::UNREGISTERED);
        }
    }
}

/// Connections accepted in a turn: enough for a herd, and few enough that the others are served.
const ACCEPTS: u32 = 256;

/// How long to wait for room when nothing closes, in milliseconds. Descriptors can also come free
/// elsewhere in the process.
pub(super) const RETRY: u32 = 100;
