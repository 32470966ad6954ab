//! How other threads reach the loop: one channel, and one waker.
//!
//! A flag makes it one wake for a batch of messages, not one for each. Knows no sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::time::Duration;

use crate::app::guard::Guards;
use crate::app::response::Response;
use crate::app::status::{Status, StatusQuery};
use crate::app::trigger::Station;
use crate::app::turning::is_turning_of;
use crate::app::waker::BodyLoop;
use crate::tracker::ConnId;

/// Ends the wait of the loop, from any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What other threads tell the loop.
#[derive(Debug)]
pub(crate) enum Message {
    /// The response to request `nth` of a connection; `None` when its ticket was dropped.
    Respond {
        id: ConnId,
        nth: u32,
        response: Option<Box<Response>>,
    },
    /// A source, sink or tunnel can go on.
    Wake { id: ConnId, nth: u32 },
    /// All of these can.
    WakeAll(Box<[(ConnId, u32)]>),
    /// Drain.
    Shutdown,
    /// Cut.
    Cut,
    /// A hook has returned, or panicked.
    Hook { station: Station, well: bool },
    /// The last guard was released.
    Released,
    /// A thread waits for the status.
    Status {
        query: StatusQuery,
        answer: SyncSender<Box<Status>>,
    },
}

/// What every [`Handle`] of one loop shares.
pub(crate) struct Mailbox {
    sender: Sender<Message>,
    /// A wake is under way for messages that the loop has not taken.
    posted: AtomicBool,
    draining: AtomicBool,
    /// The connections speak TLS.
    secure: AtomicBool,
    /// The application says that it is not ready.
    unready: AtomicBool,
    guards: Guards,
    wake: Wake,
}

impl Mailbox {
    fn post(&self, message: Message) {
        // A loop that has ended takes no message, and needs none.
        if self.sender.send(message).is_ok() {
            self.wake_up();
        }
    }

    fn wake_up(&self) {
        if !self.posted.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl BodyLoop for Mailbox {
    fn wake(&self, id: ConnId, nth: u32) {
        self.post(Message::Wake { id, nth });
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Reaches the loop of a running server from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    mailbox: Arc<Mailbox>,
}

impl Handle {
    pub(crate) fn new(sender: Sender<Message>, wake: Wake) -> Self {
        Self {
            mailbox: Arc::new(Mailbox {
                sender,
                posted: AtomicBool::new(false),
                draining: AtomicBool::new(false),
                secure: AtomicBool::new(false),
                unready: AtomicBool::new(false),
                guards: Guards::default(),
                wake,
            }),
        }
    }

    /// Notes whether the connections of the loop speak TLS.
    pub(crate) fn set_secure(&self, secure: bool) {
        self.mailbox.secure.store(secure, Ordering::Relaxed);
    }

    /// Returns whether the connections of the loop speak TLS.
    #[cfg(feature = "websocket")]
    pub(crate) fn is_secure(&self) -> bool {
        self.mailbox.secure.load(Ordering::Relaxed)
    }

    /// Starts the drain, if it has not started. Any number of calls count as one reason to stop, and
    /// have one outcome: what [`Server::run`](crate::Server::run) returns.
    #[doc(alias = "graceful")]
    #[doc(alias = "stop")]
    pub fn shutdown(&self) {
        self.post(Message::Shutdown);
    }

    /// Ends the drain now, as a second signal does, however soon after the first reason to stop. Starts the drain first where there was none.
    #[doc(alias = "abort")]
    #[doc(alias = "kill")]
    pub fn cut(&self) {
        self.post(Message::Cut);
    }

    /// Returns whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.mailbox.draining()
    }

    /// Says whether the application is ready, for the readiness check
    /// ([`Server::health`](crate::Server::health)). The application is ready until it says
    /// otherwise; a server that drains is not ready, whatever the application says.
    #[doc(alias = "readiness")]
    pub fn set_ready(&self, ready: bool) {
        self.mailbox.unready.store(!ready, Ordering::Relaxed);
    }

    /// Returns whether the readiness check says yes.
    pub fn ready(&self) -> bool {
        !self.draining() && !self.mailbox.unready.load(Ordering::Relaxed)
    }

    /// Holds the end of a drain until the guard is dropped: for work that must be done before the
    /// process exits. The drain's deadline ([`DrainPolicy::timeout`](crate::DrainPolicy::timeout)) holds all the
    /// same. The progress lines and the report show `name`.
    pub fn guard(&self, name: impl Into<String>) -> Guard {
        Guard {
            number: self.mailbox.guards.hold(name.into()),
            handle: self.clone(),
        }
    }

    /// Asks the loop for its status, and waits for the answer: one turn of the loop, mostly under a
    /// millisecond.
    ///
    /// Returns `None` when the loop has ended, or did not answer within `patience` because a handler
    /// holds it; and at once on the loop's own thread, where a handler would wait for itself.
    pub fn status(&self, query: StatusQuery, patience: Duration) -> Option<Status> {
        if is_turning_of(self.number()) {
            return None;
        }
        let (answer, answered) = sync_channel(1);
        self.post(Message::Status { query, answer });
        answered.recv_timeout(patience).ok().map(|status| *status)
    }

    /// Returns a number that no other loop has, and that is not 0: where its mailbox is.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.mailbox).addr()
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.mailbox.guards
    }

    pub(crate) fn hook_returned(&self, station: Station, well: bool) {
        self.post(Message::Hook { station, well });
    }

    /// Wakes many sources, 512 with one message.
    pub(crate) fn wake_all(&self, list: &[(ConnId, u32)]) {
        for part in list.chunks(WOKEN_TOGETHER) {
            self.post(Message::WakeAll(part.into()));
        }
    }

    /// Returns whether both reach the same loop.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mailbox, &other.mailbox)
    }

    pub(crate) fn set_draining(&self) {
        self.mailbox.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn post(&self, message: Message) {
        self.mailbox.post(message);
    }

    pub(crate) fn wake_up(&self) {
        self.mailbox.wake_up();
    }

    /// Returns whether there may be messages. Resets the flag first, so that a message posted while
    /// the loop takes the others wakes the loop again.
    pub(crate) fn take_posted(&self) -> bool {
        let posted = &self.mailbox.posted;
        posted.load(Ordering::Relaxed) && posted.swap(false, Ordering::AcqRel)
    }

    /// Returns the loop as bodies reach it.
    pub(crate) fn body_loop(&self) -> Arc<dyn BodyLoop> {
        Arc::clone(&self.mailbox) as _
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("draining", &self.draining())
            .finish_non_exhaustive()
    }
}

/// Holds the end of a drain until it is dropped; made by [`Handle::guard`].
#[derive(Debug)]
#[must_use = "a guard that is dropped at once holds nothing"]
pub struct Guard {
    number: u64,
    handle: Handle,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.handle.guards().release(self.number) {
            self.handle.post(Message::Released);
        }
    }
}

/// How many sources one message wakes: about a millisecond of the loop's work.
const WOKEN_TOGETHER: usize = 512;
