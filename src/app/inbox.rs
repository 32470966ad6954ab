//! The loop's end of the mailbox.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use crate::app::handle::{Handle, Message, Wake};
use crate::app::waker::{BodyContext, BodyLoop};
use crate::tracker::ConnId;

/// The loop's end of the mailbox.
pub struct Inbox {
    receiver: Receiver<Message>,
    handle: Handle,
    body_loop: Arc<dyn BodyLoop>,
}

impl Inbox {
    /// Makes a mailbox whose senders end the loop's wait with `wake`.
    pub fn new(wake: Wake) -> Self {
        let (sender, receiver) = channel();
        let handle = Handle::new(sender, wake);
        Self {
            receiver,
            body_loop: handle.body_loop(),
            handle,
        }
    }

    /// Returns what other threads hold.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns what the body of request `nth` of a connection may know.
    #[inline]
    pub(crate) const fn context(&self, id: ConnId, nth: u32) -> BodyContext<'_> {
        BodyContext::new(id, nth, &self.body_loop)
    }

    /// Returns whether there may be messages.
    pub(crate) fn open(&self) -> bool {
        self.handle.take_posted()
    }

    /// Makes the next wait return at once: one turn does not take all messages.
    pub(crate) fn hold_open(&self) {
        self.handle.wake_up();
    }

    pub(crate) fn next(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn counted() -> (Inbox, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&wakes);
        let wake = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (Inbox::new(wake), wakes)
    }

    #[test]
    fn a_batch_wakes_once() {
        let (inbox, wakes) = counted();
        assert!(!inbox.open());
        for _ in 0..5 {
            inbox.handle().shutdown();
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert!(inbox.open() && !inbox.open());
        assert_eq!(std::iter::from_fn(|| inbox.next()).count(), 5);
        inbox.handle().shutdown();
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_loop_that_ended_is_not_woken() {
        let (inbox, wakes) = counted();
        let handle = inbox.handle().clone();
        drop(inbox);
        handle.cut();
        assert_eq!(wakes.load(Ordering::Relaxed), 0);
    }
}
