//! New connections: so many a turn, and none when there is no room for them.
//!
//! Listeners are edge-triggered too. That there may be more in a backlog is therefore remembered
//! here, and whatever stopped the accepting must start it again: the next turn, a connection that
//! closes, or a moment's wait when the process is out of descriptors. Knows no requests.

use super::Engine;
use super::conn::Conn;
use crate::app::Handler;
use crate::sys::{AcceptError, Sys};
use crate::tick::Tick;
use crate::tracker::Phase;

/// Where the accepting stands.
#[derive(Debug)]
pub(super) struct Accepting {
    /// By listener: there may be connections in its backlog.
    more: Vec<bool>,
    /// Out of descriptors, or as many connections as there may be: since when.
    pub(super) full: Option<Tick>,
    /// The listener that has the first turn next.
    first: usize,
    /// When the last connection was accepted.
    pub(super) came: Tick,
    /// The listeners are still open.
    pub(super) open: bool,
    /// The log has been told that there are no descriptors, and no backlog was emptied since.
    exhausted: bool,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            more: vec![true; listeners],
            full: None,
            first: 0,
            came: Tick::default(),
            open: true,
            exhausted: false,
        }
    }

    /// An event: there may be connections in this backlog.
    pub(super) fn arrived(&mut self, listener: usize) {
        if let Some(more) = self.more.get_mut(listener) {
            *more = true;
        }
    }

    /// There may be connections in every backlog.
    pub(super) fn look_again(&mut self) {
        self.more.fill(true);
    }

    /// A connection was closed: there is room for another.
    #[inline]
    pub(super) const fn room(&mut self) {
        self.full = None;
    }

    /// Whether there is something to accept and room for it.
    pub(super) fn ready(&self) -> bool {
        self.open && self.full.is_none() && self.more.contains(&true)
    }

    /// Whether every backlog was seen empty.
    pub(super) fn emptied(&self) -> bool {
        !self.more.contains(&true)
    }
}

impl<S: Sys, H: Handler> Engine<S, H> {
    /// Accepts what waits, up to the turn's share.
    pub(super) fn accept(&mut self, now: Tick) {
        if let Some(since) = self.accepting.full
            && now.since(since) >= RETRY
        {
            self.accepting.full = None;
        }
        if !self.accepting.ready() {
            return;
        }
        // In a drain who waits in a backlog is let in all the same: a listener that closes resets
        // them, and it is open for a moment only.
        let limit = match self.core.draining {
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
        self.accepting.came = now;
        self.core.report.opened += 1;
        let id = self.tracker.insert(Phase::Fresh, now, Conn::new(io, peer));
        let Some(conn) = self.tracker.get_mut(id) else {
            return;
        };
        if let Err(error) = self.core.sys.register(&mut conn.io, id) {
            log::warn!("{peer}: cannot be watched: {error}");
            self.leave(id, super::hot::How::Gone, now);
        }
    }
}

/// Connections accepted in a turn: enough for a herd, few enough that the others are served.
const ACCEPTS: u32 = 256;

/// How long to wait for room when nothing closes, in milliseconds: descriptors can also come free
/// elsewhere in the process.
pub(super) const RETRY: u32 = 100;
