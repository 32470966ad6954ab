//! A topic: the handle of publishers and handlers.
//!
//! Knows no sockets.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::event::Event;
use super::hub::{Hub, wake_waiting};
use super::options::Options;
use super::ring;
use super::subscription::Subscription;
use crate::app::{Request, Response, SharedBytes};

/// A stream of events that any thread publishes to. Clones share the topic.
#[derive(Clone)]
pub struct Topic {
    hub: Arc<Hub>,
}

/// The counters of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Subscribers now.
    pub subscribers: usize,
    /// Events published.
    pub published: u64,
    /// Events that slow subscribers missed, summed over all of them.
    pub skipped: u64,
    /// Streams that ended because their subscriber was slow.
    pub closed: u64,
}

impl Topic {
    /// Returns a topic with the default [`Options`].
    pub fn new() -> Self {
        Self::with(Options::new())
    }

    /// Returns a topic with these options.
    pub fn with(options: Options) -> Self {
        Self {
            hub: Arc::new(Hub::new(options)),
        }
    }

    /// Sends an event to all subscribers, from any thread; returns how many there are. The event is
    /// copied once for all of them. The caller pays a walk over the subscribers, some nanoseconds
    /// each, and the loop pays the writes.
    pub fn publish(&self, event: &Event) -> usize {
        let Hub { options, era, .. } = &*self.hub;
        let mut state = self.hub.lock();
        let text = match event.own_id() {
            Some(id) => event.write(id),
            None => event.write(&ring::id(*era, state.ring.next())),
        };
        let bytes = SharedBytes::new(text.as_bytes());
        let own_id = event.own_id().map(Box::from);
        let ring = &mut state.ring;
        ring.push(bytes, own_id, options.events, options.bytes);
        let subscribers = state.subscribers.len();
        wake_waiting(state);
        subscribers
    }

    /// Sends a comment, which clients ignore, to all subscribers that wait for an event. Comments
    /// keep proxies from closing a silent connection, and find clients that are gone. Every 15
    /// seconds is usual.
    ///
    /// Let the interval stay below [`Timeouts::handler`](crate::Timeouts::handler), if that is set:
    /// the timeout ends a stream that sends nothing for so long.
    pub fn heartbeat(&self) {
        let mut state = self.hub.lock();
        state.beats = state.beats.wrapping_add(1);
        wake_waiting(state);
    }

    /// Starts a thread that calls [`heartbeat`](Self::heartbeat) at this interval, until the
    /// returned value is dropped.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub fn heartbeat_every(&self, every: Duration) -> io::Result<Heartbeat> {
        let (stop, stopped) = channel::<()>();
        let topic = self.clone();
        let beat = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                topic.heartbeat();
            }
        };
        let thread = thread::Builder::new().name("heartbeat".into());
        Ok(Heartbeat {
            stop: Some(stop),
            thread: Some(thread.spawn(beat)?),
        })
    }

    /// Subscribes the client of a request. The response streams the events from now on, and first
    /// those that the ring holds after the request's `Last-Event-ID`. An unknown id, or one that the
    /// ring has dropped, gets all that the ring holds.
    pub fn subscribe(&self, request: &Request<'_>) -> Response {
        let mut state = self.hub.lock();
        let next = match request.field("last-event-id") {
            None | Some([]) => state.ring.next(),
            Some(last) => state.ring.after(last, self.hub.era),
        };
        let key = state.subscribers.attach(request);
        let beats = state.beats;
        drop(state);
        Response::new(200)
            .content_type("text/event-stream")
            .field("Cache-Control", "no-store")
            .field("X-Accel-Buffering", "no") // nginx would hold events back
            .source(Subscription::new(Arc::clone(&self.hub), key, next, beats))
    }

    /// Returns the counters.
    pub fn numbers(&self) -> Numbers {
        let state = self.hub.lock();
        Numbers {
            subscribers: state.subscribers.len(),
            published: state.ring.next(),
            skipped: state.skipped,
            closed: state.closed,
        }
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.numbers()).finish()
    }
}

/// The thread that sends a topic's heartbeats. Drop it to stop the thread, and to wait for its end.
#[derive(Debug)]
#[must_use = "dropping a heartbeat stops its thread"]
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // nothing in the thread panics
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::app::{Content, Fill, Inbox, Message, Source};
    use crate::h1::Head;
    use crate::peer::Peer;
    use crate::tracker::ConnId;

    /// The longest wait for a thread, which fails the test.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Returns a loop, and its wakes.
    fn inbox() -> (Inbox, Receiver<()>) {
        let (sender, wakes) = channel();
        let wake = move || sender.send(()).expect("the test keeps the wakes");
        (Inbox::new(Arc::new(wake)), wakes)
    }

    /// Returns the stream of a new subscriber, which has been sent everything.
    fn subscribe(topic: &Topic, inbox: &Inbox, number: u64) -> Box<dyn Source> {
        let mut fields = [const { MaybeUninit::uninit() }; 4];
        let head = Head::parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut fields).unwrap();
        let request = Request {
            head: &head,
            body: &[],
            peer: Peer::from("127.0.0.1:9".parse::<std::net::SocketAddr>().unwrap()),
            id: ConnId::from_bits(number),
            nth: 1,
            handle: inbox.handle(),
        };
        let Content::Source(mut source, None) = topic.subscribe(&request).body else {
            panic!("the body is not a stream");
        };
        assert_eq!(fill(&mut *source, inbox, number).1, Fill::Pending);
        source
    }

    fn fill(source: &mut dyn Source, inbox: &Inbox, number: u64) -> (Vec<u8>, Fill) {
        let context = inbox.context(ConnId::from_bits(number), 1);
        let mut out = Vec::new();
        let fill = source.fill(&mut out, &context);
        (out, fill)
    }

    /// Returns the connections that the messages to a loop wake.
    fn woken(inbox: &Inbox) -> Vec<u64> {
        let messages = std::iter::from_fn(|| inbox.next());
        let lists = messages.map(|message| match message {
            Message::WakeAll(list) => list,
            other => panic!("{other:?}"),
        });
        lists.flatten().map(|(id, _)| id.to_bits()).collect()
    }

    #[test]
    fn a_loop_is_woken_once_for_all_of_its_subscribers_that_wait() {
        let topic = Topic::new();
        let ((first, first_wakes), (second, second_wakes)) = (inbox(), inbox());
        let mut subscribers: Vec<_> = (0..1_500).map(|n| subscribe(&topic, &first, n)).collect();
        let _other = subscribe(&topic, &second, 7);
        for _ in 0..3 {
            assert_eq!(topic.publish(&Event::new("x")), 1_501);
        }
        assert_eq!(first_wakes.try_iter().count(), 1);
        assert_eq!(second_wakes.try_iter().count(), 1);
        assert!(first.open() && second.open());
        assert_eq!(woken(&first), (0..1_500).collect::<Vec<_>>());
        assert_eq!(woken(&second), [7]);
        // A publish wakes only subscribers that wait.
        let (bytes, fill) = fill(&mut *subscribers[3], &first, 3);
        assert_eq!(fill, Fill::Pending);
        assert_eq!(bytes.windows(6).filter(|w| w == b"data: ").count(), 3);
        topic.publish(&Event::new("y"));
        assert_eq!(woken(&first), [3]);
    }

    #[test]
    fn the_place_of_a_loop_without_subscribers_is_taken_by_the_next() {
        let topic = Topic::new();
        for n in 0..3 {
            let (inbox, _wakes) = inbox();
            let source = subscribe(&topic, &inbox, n);
            assert_eq!(topic.hub.lock().subscribers.loops(), 1);
            drop(source);
        }
        assert_eq!(topic.numbers().subscribers, 0);
    }

    #[test]
    fn a_heartbeat_beats_until_it_is_dropped() {
        let topic = Topic::new();
        let (inbox, wakes) = inbox();
        let mut subscriber = subscribe(&topic, &inbox, 7);
        let heartbeat = topic.heartbeat_every(Duration::from_millis(1)).unwrap();
        for _ in 0..3 {
            wakes.recv_timeout(PATIENCE).expect("a beat");
            assert!(inbox.open());
            assert_eq!(woken(&inbox), [7]);
            let mut fills = (0..1_000).map(|_| fill(&mut *subscriber, &inbox, 7).1);
            assert!(matches!(fills.next(), Some(Fill::Share(_))), "a comment");
            assert!(fills.any(|fill| fill == Fill::Pending), "it waits again");
        }
        let (sender, dropped) = channel();
        thread::spawn(move || {
            drop(heartbeat);
            sender.send(()).expect("the test waits");
        });
        dropped.recv_timeout(PATIENCE).expect("the thread ends");
        drop(subscriber);
        assert_eq!(Arc::strong_count(&topic.hub), 1);
    }
}
