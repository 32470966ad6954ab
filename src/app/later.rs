//! The loop's mailbox: how other threads answer, wake and stop it.
//!
//! One channel and one waker. A flag makes it one wake for a batch of messages, not one for each.
//! An answer names the connection *and* the request on it, so one that comes after a timeout, or
//! after the connection moved on, finds nobody. Knows no sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::app::guard::Guards;
use crate::app::response::Response;
use crate::app::status::{Status, StatusQuery};
use crate::app::trigger::Station;
use crate::tracker::ConnId;

/// What ends a wait of the loop.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What other threads have to say.
#[derive(Debug)]
pub(crate) enum Message {
    /// The answer to request `nth` of a connection; `None` when its ticket was dropped.
    Answer {
        id: ConnId,
        nth: u32,
        response: Option<Box<Response>>,
    },
    /// A source or sink can go on.
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
    /// Somebody asks where the server stands.
    Status {
        query: StatusQuery,
        answer: SyncSender<Box<Status>>,
    },
}

struct Shared {
    sender: Sender<Message>,
    /// A wake is under way for messages that the loop has not heard.
    posted: AtomicBool,
    draining: AtomicBool,
    /// The application says that it is not ready.
    unready: AtomicBool,
    guards: Guards,
    wake: Wake,
}

/// Reaches the loop of a running server from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Starts the drain, if it has not started. Any number of calls are one reason to stop, and
    /// have one outcome: what `run` returns.
    pub fn shutdown(&self) {
        self.post(Message::Shutdown);
    }

    /// Ends the drain now, as a second signal does; starts with that if there was no drain.
    pub fn cut(&self) {
        self.post(Message::Cut);
    }

    /// Whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Says whether the application is ready, for the readiness check
    /// ([`Server::health`](crate::Server::health)). It is until told otherwise, and never while
    /// the server drains.
    pub fn set_ready(&self, ready: bool) {
        self.shared.unready.store(!ready, Ordering::Relaxed);
    }

    /// Whether the readiness check says yes.
    pub fn ready(&self) -> bool {
        !self.draining() && !self.shared.unready.load(Ordering::Relaxed)
    }

    /// Holds the end of a drain until the guard is dropped: for work that must be done before the
    /// process exits. The drain's deadline holds all the same. `name` says what is waited for, in
    /// the progress lines and in the report.
    pub fn guard(&self, name: impl Into<String>) -> Guard {
        Guard {
            number: self.shared.guards.hold(name.into()),
            handle: self.clone(),
        }
    }

    /// Asks the loop where it stands, and waits for the answer: a turn of the loop, as a rule well
    /// under a millisecond. Not from a handler, which is what the loop would be waiting for.
    ///
    /// `None`: the loop has ended, or did not answer within `patience`, because a handler holds it.
    pub fn status(&self, query: StatusQuery, patience: Duration) -> Option<Status> {
        let (answer, answered) = sync_channel(1);
        self.post(Message::Status { query, answer });
        answered.recv_timeout(patience).ok().map(|status| *status)
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.shared.guards
    }

    pub(crate) fn release(&self, number: u64) {
        if self.shared.guards.release(number) {
            self.post(Message::Released);
        }
    }

    pub(crate) fn hook_returned(&self, station: Station, well: bool) {
        self.post(Message::Hook { station, well });
    }

    /// Wakes many sources: one message for some thousand of them.
    pub(crate) fn wake_all(&self, list: &[(ConnId, u32)]) {
        for part in list.chunks(WOKEN_TOGETHER) {
            self.post(Message::WakeAll(part.into()));
        }
    }

    /// Whether it reaches the same loop.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn set_draining(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    fn post(&self, message: Message) {
        // A loop that has ended hears nothing, and needs nothing.
        if self.shared.sender.send(message).is_ok() {
            self.wake_up();
        }
    }

    fn wake_up(&self) {
        if !self.shared.posted.swap(true, Ordering::AcqRel) {
            (self.shared.wake)();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("draining", &self.draining())
            .finish_non_exhaustive()
    }
}

/// Holds the drain until it is dropped; made by [`Handle::guard`].
#[derive(Debug)]
#[must_use = "a guard that is dropped at once holds nothing"]
pub struct Guard {
    number: u64,
    handle: Handle,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.handle.release(self.number);
    }
}

/// The loop's end of the mailbox.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Message>,
    handle: Handle,
}

impl Inbox {
    /// A mailbox whose senders end the loop's wait with `wake`.
    pub fn new(wake: Wake) -> Self {
        let (sender, receiver) = channel();
        let handle = Handle {
            shared: Arc::new(Shared {
                sender,
                posted: AtomicBool::new(false),
                draining: AtomicBool::new(false),
                unready: AtomicBool::new(false),
                guards: Guards::default(),
                wake,
            }),
        };
        Self { receiver, handle }
    }

    /// What other threads hold.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whether there may be messages. Resets the flag first, so that a message posted while the
    /// others are heard wakes the loop again.
    pub(crate) fn open(&self) -> bool {
        let posted = &self.handle.shared.posted;
        posted.load(Ordering::Relaxed) && posted.swap(false, Ordering::AcqRel)
    }

    /// There are more messages than one turn hears: comes back without a wait.
    pub(crate) fn hold_open(&self) {
        self.handle.wake_up();
    }

    pub(crate) fn next(&self) -> Option<Message> {
        self.receiver.try_recv().ok()
    }
}

/// Says that a handler answers later; made with its [`Ticket`] by
/// [`Request::later`](crate::Request::later).
#[derive(Debug)]
#[must_use = "return it from the handler, or the request is answered 500"]
pub struct Pending {
    pub(crate) id: ConnId,
    pub(crate) nth: u32,
}

/// The right to answer one request, from any thread.
///
/// A ticket that is dropped answers 500. An answer to a request that is gone (its client left, or
/// it was cut at a deadline) is dropped.
#[must_use = "a dropped ticket answers 500"]
pub struct Ticket {
    id: ConnId,
    nth: u32,
    handle: Handle,
    used: bool,
}

impl Ticket {
    pub(crate) fn pair(id: ConnId, nth: u32, handle: &Handle) -> (Pending, Self) {
        let handle = handle.clone();
        let used = false;
        (
            Pending { id, nth },
            Self {
                id,
                nth,
                handle,
                used,
            },
        )
    }

    /// Answers.
    pub fn send(mut self, response: Response) {
        self.used = true;
        self.handle.post(Message::Answer {
            id: self.id,
            nth: self.nth,
            response: Some(Box::new(response)),
        });
    }

    /// Whether the server has been told to stop: a good moment to answer with what there is.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.handle.post(Message::Answer {
                id: self.id,
                nth: self.nth,
                response: None,
            });
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.id)
            .field("nth", &self.nth)
            .finish_non_exhaustive()
    }
}

/// Wakes one source or sink, from any thread, any number of times; does nothing once it is gone.
#[derive(Clone, Debug)]
pub struct BodyWaker {
    id: ConnId,
    nth: u32,
    handle: Handle,
}

impl BodyWaker {
    pub(crate) const fn new(id: ConnId, nth: u32, handle: Handle) -> Self {
        Self { id, nth, handle }
    }

    /// Wakes it.
    pub fn wake(&self) {
        let (id, nth) = (self.id, self.nth);
        self.handle.post(Message::Wake { id, nth });
    }

    /// Whether the server has been told to stop.
    pub fn draining(&self) -> bool {
        self.handle.draining()
    }
}

/// How many are woken by one message: about a thousandth of a second's work for the loop.
const WOKEN_TOGETHER: usize = 512;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

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
    fn a_dropped_ticket_answers_and_a_used_one_only_once() {
        let (inbox, _) = counted();
        let id = ConnId::from_bits(7);
        let (_, dropped) = Ticket::pair(id, 1, inbox.handle());
        drop(dropped);
        let (_, used) = Ticket::pair(id, 2, inbox.handle());
        used.send(Response::new(204));
        let heard: Vec<_> = std::iter::from_fn(|| inbox.next()).collect();
        assert!(matches!(
            heard[..],
            [
                Message::Answer {
                    nth: 1,
                    response: None,
                    ..
                },
                Message::Answer {
                    nth: 2,
                    response: Some(_),
                    ..
                },
            ]
        ));
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
