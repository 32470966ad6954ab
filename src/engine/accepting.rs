//! What the loop knows of its listeners: which backlogs may hold connections, and whether there is
//! room.

use crate::tick::Tick;

/// What is known of the listeners.
#[derive(Debug)]
pub(super) struct Accepting {
    /// Whether a listener's backlog may hold connections, by its number.
    pub(super) more: Vec<bool>,
    /// Since when there are no descriptors, or as many connections as the limit allows.
    pub(super) full_since: Option<Tick>,
    /// The listener to begin with next.
    pub(super) first: usize,
    /// The listeners are still open.
    pub(super) open: bool,
    /// The log says that there are no descriptors, and no backlog was emptied since.
    pub(super) exhausted: bool,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            more: vec![true; listeners],
            full_since: None,
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

    /// Returns whether every backlog was found empty.
    pub(super) fn emptied(&self) -> bool {
        !self.more.contains(&true)
    }
}

/// How long to wait for room when nothing closes, in milliseconds. Descriptors can also come free
/// elsewhere in the process.
const RETRY: u32 = 100;
