//! What the loop knows of its listeners: which backlogs may hold connections, and whether there is
//! room.

use crate::tick::Tick;

/// What is known of the listeners.
#[derive(Debug)]
pub(super) struct Accepting {
    /// Whether a listener's backlog may hold connections, by its number.
    more: Vec<bool>,
    /// Since when there are no descriptors, or as many connections as the limit allows.
    full_since: Option<Tick>,
    /// The listener to begin with next.
    first: usize,
    open: bool,
    /// Reset by an empty backlog.
    exhaustion_logged: bool,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            more: vec![true; listeners],
            full_since: None,
            first: 0,
            open: true,
            exhaustion_logged: false,
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
        self.full_since = None;
    }

    /// Returns whether a backlog may hold connections and there is room.
    pub(super) fn ready(&self) -> bool {
        self.open && self.full_since.is_none() && self.more.contains(&true)
    }

    /// Tries again once [`RETRY`] has passed without room.
    pub(super) fn retry(&mut self, now: Tick) {
        if self.retry_at().is_some_and(|at| now.reached(at)) {
            self.full_since = None;
        }
    }

    /// Returns when to try again for room.
    pub(super) fn retry_at(&self) -> Option<Tick> {
        self.full_since.map(|since| since.after(RETRY))
    }

    /// Returns the listeners in this turn's order: the first one changes, so that none starves.
    pub(super) fn order(&mut self) -> impl Iterator<Item = usize> + use<> {
        let (listeners, first) = (self.more.len(), self.first);
        self.first = (first + 1) % listeners;
        (first..listeners).chain(0..first)
    }

    /// Returns whether that backlog may hold connections and there is room.
    pub(super) fn may_accept(&self, listener: usize) -> bool {
        self.full_since.is_none() && self.more[listener]
    }

    /// Notes that a backlog is empty.
    pub(super) fn found_empty(&mut self, listener: usize) {
        self.more[listener] = false;
        self.exhaustion_logged = false;
    }

    /// Notes that a listener is gone.
    pub(super) fn gone(&mut self, listener: usize) {
        self.more[listener] = false;
    }

    /// Notes that there is no room.
    pub(super) const fn full(&mut self, now: Tick) {
        self.full_since = Some(now);
    }

    /// Notes that there are no descriptors. Returns whether the log does not say so yet.
    pub(super) const fn out_of_descriptors(&mut self, now: Tick) -> bool {
        self.full(now);
        !std::mem::replace(&mut self.exhaustion_logged, true)
    }

    /// Returns whether every backlog was found empty.
    pub(super) fn all_empty(&self) -> bool {
        !self.more.contains(&true)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Notes that the listeners are closed.
    pub(super) const fn close(&mut self) {
        self.open = false;
    }
}

/// How long to wait for room when nothing closes, in milliseconds. Descriptors can also come free
/// elsewhere in the process.
const RETRY: u32 = 100;
