//! What a body that is sent or taken in pieces knows of its connection, and what wakes that body.
//!
//! Knows no response and no mailbox: the loop is behind a trait, so that a source can be part of a
//! response, and a response part of a message to the loop.

use std::fmt;
use std::sync::Arc;

use crate::tracker::ConnId;

/// The loop, as far as a body reaches it from any thread.
pub(crate) trait BodyLoop: Send + Sync {
    /// Wakes the source, sink or tunnel of request `nth` of a connection.
    fn wake(&self, id: ConnId, nth: u32);

    /// Returns whether the server has been told to stop.
    fn draining(&self) -> bool;
}

/// What a source, a sink or a tunnel may know of its connection.
pub struct BodyContext<'a> {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
    owner: &'a Arc<dyn BodyLoop>,
}

impl<'a> BodyContext<'a> {
    #[inline]
    pub(crate) const fn new(id: ConnId, nth: u32, owner: &'a Arc<dyn BodyLoop>) -> Self {
        Self { id, nth, owner }
    }

    /// Returns whether the server has been told to stop. A stream without an end should end now.
    #[doc(alias = "graceful")]
    #[doc(alias = "shutdown")]
    pub fn draining(&self) -> bool {
        self.owner.draining()
    }

    /// Returns what wakes this source, sink or tunnel again, from any thread.
    pub fn waker(&self) -> BodyWaker {
        BodyWaker {
            id: self.id,
            nth: self.nth,
            owner: Arc::clone(self.owner),
        }
    }
}

impl fmt::Debug for BodyContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "BodyContext", self.id, self.nth)
    }
}

/// Wakes one source, sink or tunnel, from any thread and any number of times. Does nothing once the
/// body has ended.
#[derive(Clone)]
pub struct BodyWaker {
    id: ConnId,
    nth: u32,
    owner: Arc<dyn BodyLoop>,
}

impl BodyWaker {
    /// Has the loop call the source, sink or tunnel again.
    pub fn wake(&self) {
        self.owner.wake(self.id, self.nth);
    }

    /// Returns whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.owner.draining()
    }
}

impl fmt::Debug for BodyWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "BodyWaker", self.id, self.nth)
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, id: ConnId, nth: u32) -> fmt::Result {
    let mut text = f.debug_struct(name);
    text.field("id", &id).field("nth", &nth);
    text.finish_non_exhaustive()
}
