//! A topic: the ring of its latest events, and who waits for the next.
//!
//! Under one lock, held for a few copies at most. Publishing takes those who wait out of the list
//! and sends each loop that has any of them word, some thousand at a time. Knows no sockets.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use slab::Slab;

use super::event::Event;
use super::subscription::Subscription;
use crate::later::Handle;
use crate::request::Request;
use crate::response::Response;
use crate::source::SharedBytes;
use crate::tracker::ConnId;

/// What subscribers are sent: published to from any thread, cheap to clone.
#[derive(Clone)]
pub struct Topic {
    hub: Arc<Hub>,
}

/// What becomes of a subscriber for whom the ring has gone on: the events that it should be sent
/// next are not kept any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// It goes on with the oldest that is kept. For news of which the latest count.
    #[default]
    Skip,
    /// Its stream ends. It comes back, and is sent what is kept then; if it has to miss nothing, it
    /// finds by the ids that it did.
    Close,
}

/// How a topic behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    events: usize,
    bytes: usize,
    pub(super) slow: Slow,
    retry: Duration,
    spread: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults: see each.
    pub const fn new() -> Self {
        Self {
            events: 1_024,
            bytes: 1 << 20,
            slow: Slow::Skip,
            retry: Duration::from_secs(1),
            spread: Duration::from_secs(5),
        }
    }

    /// How many of the latest events are kept, for who comes back and for who is slow; the latest
    /// always is. 1,024: a reconnect takes seconds.
    #[must_use]
    pub const fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// How many bytes of the latest events are kept: 1 MiB, as the topic is all that holds them.
    #[must_use]
    pub const fn bytes(mut self, count: usize) -> Self {
        self.bytes = count;
        self
    }

    /// What becomes of the slow: they [skip](Slow::Skip).
    #[must_use]
    pub const fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }

    /// When clients whose stream ended come back: after `least`, and each at a moment of its own in
    /// the `spread` behind that, so that they are no herd. 1 s and 5 s: ten thousand are 2,000 a
    /// second. They are told when their stream begins, and again when it ends; a crash spreads them
    /// as well.
    #[must_use]
    pub const fn retry(mut self, least: Duration, spread: Duration) -> Self {
        self.retry = least;
        self.spread = spread;
        self
    }
}

/// What a topic has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Subscribers now.
    pub subscribers: usize,
    /// Events published.
    pub published: u64,
    /// Events that slow subscribers were not sent, summed over them.
    pub skipped: u64,
    /// Streams ended because their subscriber was slow.
    pub closed: u64,
}

impl Topic {
    /// A topic with the default [`Options`].
    pub fn new() -> Self {
        Self::with(Options::new())
    }

    /// A topic.
    pub fn with(options: Options) -> Self {
        let hub = Hub {
            options,
            // Ids of another process, or of another topic, are none of ours.
            era: RandomState::new().hash_one(0) as u32,
            comment: SharedBytes::new(b":\n\n"),
            state: Mutex::default(),
        };
        Self { hub: Arc::new(hub) }
    }

    /// Sends an event to all subscribers, from any thread; returns how many there are. It is copied
    /// once, however many. Costs the caller a walk over the subscribers, some nanoseconds each;
    /// the writes are the loop's.
    pub fn publish(&self, event: &Event) -> usize {
        let mut state = self.hub.lock();
        let own = event.own_id().map(Box::from);
        let text = match event.own_id() {
            Some(id) => event.write(id),
            None => event.write(&self.hub.id(state.next())),
        };
        let bytes = SharedBytes::new(text.as_bytes());
        state.keep(bytes, own, &self.hub.options);
        let subscribers = state.seats.len();
        let calls = state.call();
        drop(state);
        send(calls);
        subscribers
    }

    /// Sends a comment, which clients ignore, to all who wait for an event: it keeps what is between
    /// us and them from giving the connection up, and finds those that are gone. Every 15 seconds is
    /// usual; let it be less than [`Timeouts::handler`](crate::Timeouts::handler), if that is set, or a
    /// stream without events ends as an answer that takes too long.
    pub fn heartbeat(&self) {
        let mut state = self.hub.lock();
        state.beats = state.beats.wrapping_add(1);
        let calls = state.call();
        drop(state);
        send(calls);
    }

    /// Starts a thread that does so again and again, until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub fn heartbeat_every(&self, every: Duration) -> io::Result<Heartbeat> {
        let (stop, stopped) = channel::<()>();
        let topic = self.clone();
        let thread = thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    topic.heartbeat();
                }
            })?;
        Ok(Heartbeat {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Subscribes who sent this request: the answer is a stream of the events from now on, and
    /// before them of those after its `Last-Event-ID`, as far as they are kept. One with an id that
    /// is not known, or no longer, is sent all that is kept.
    pub fn subscribe(&self, request: &Request<'_>) -> Response {
        let mut state = self.hub.lock();
        let next = match request.field("last-event-id") {
            None | Some([]) => state.next(),
            Some(last) => state.after(last, self.hub.era),
        };
        let seat = state.sit_down(request);
        let beats = state.beats;
        drop(state);
        let subscription = Subscription::new(Arc::clone(&self.hub), seat, next, beats);
        Response::new(200)
            .content_type("text/event-stream")
            .field("Cache-Control", "no-store")
            .field("X-Accel-Buffering", "no") // nginx would hold events back
            .source(subscription)
    }

    /// What it has done so far.
    pub fn numbers(&self) -> Numbers {
        let state = self.hub.lock();
        Numbers {
            subscribers: state.seats.len(),
            published: state.next(),
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

/// A topic's heartbeat; dropped, it stops.
#[derive(Debug)]
#[must_use = "a heartbeat that is dropped at once never beats"]
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing that could panic
        }
    }
}

/// What a topic and its subscriptions share.
pub(super) struct Hub {
    pub(super) options: Options,
    /// Tells our ids from those of others.
    pub(super) era: u32,
    pub(super) comment: SharedBytes,
    state: Mutex<State>,
}

impl Hub {
    /// Nothing that is done under the lock can leave it half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.era)
    }

    /// The line that says when to come back, another for each connection.
    pub(super) fn retry(&self, salt: u64) -> String {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        let spread = millis(self.options.spread).min(u64::MAX / 2);
        let least = millis(self.options.retry).min(u64::MAX / 2);
        let salt = salt ^ u64::from(self.era) << 32;
        format!("retry: {}\n\n", least + mix(salt) % (spread + 1))
    }
}

/// Numbers that follow each other become such as have nothing to do with each other (the last steps
/// of SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What is kept of a topic.
#[derive(Default)]
pub(super) struct State {
    kept: VecDeque<Kept>,
    /// The number of the oldest that is kept.
    pub(super) first: u64,
    bytes: usize,
    seats: Slab<Seat>,
    /// The loops that subscribers are on, as a rule one. One whose last subscriber left is taken by
    /// the next that comes.
    loops: Vec<Loop>,
    /// Heartbeats so far: who has missed several is sent one.
    pub(super) beats: u32,
    pub(super) skipped: u64,
    pub(super) closed: u64,
}

struct Kept {
    bytes: SharedBytes,
    own_id: Option<Box<str>>,
}

/// A subscriber.
struct Seat {
    id: ConnId,
    nth: u32,
    at: u16,
    /// It has everything, and is to be woken.
    waits: bool,
}

struct Loop {
    handle: Handle,
    subscribers: u32,
}

/// The connections of one loop that are to be woken.
type Call = (Handle, Vec<(ConnId, u32)>);

fn send(calls: Vec<Call>) {
    for (handle, list) in calls {
        handle.wake_all(&list);
    }
}

impl State {
    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// The event of that number, if it is kept.
    pub(super) fn event(&self, number: u64) -> Option<&SharedBytes> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get(index).map(|kept| &kept.bytes)
    }

    fn keep(&mut self, bytes: SharedBytes, own_id: Option<Box<str>>, options: &Options) {
        self.bytes += bytes.bytes().len();
        self.kept.push_back(Kept { bytes, own_id });
        while self.kept.len() > 1
            && (self.kept.len() > options.events || self.bytes > options.bytes)
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes.bytes().len();
            self.first += 1;
        }
    }

    /// The number of the first event that is kept and comes after the one with that id.
    fn after(&self, last: &[u8], era: u32) -> u64 {
        let ours = str::from_utf8(last).ok().and_then(|id| {
            let (prefix, number) = id.split_once('-')?;
            let same = u32::from_str_radix(prefix, 16) == Ok(era);
            number.parse::<u64>().ok().filter(|_| same)
        });
        if let Some(number) = ours {
            return number.saturating_add(1).clamp(self.first, self.next());
        }
        let is_last = |kept: &Kept| kept.own_id.as_ref().is_some_and(|id| id.as_bytes() == last);
        match self.kept.iter().rposition(is_last) {
            Some(index) => self.first + index as u64 + 1,
            None => self.first,
        }
    }

    fn sit_down(&mut self, request: &Request<'_>) -> u32 {
        let at = self.loop_of(request.handle);
        self.loops[at].subscribers += 1;
        let key = self.seats.insert(Seat {
            id: request.id,
            nth: request.nth,
            at: at as u16, // a process has fewer loops
            waits: false,
        });
        key as u32 // fewer than there are connections
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

    /// A subscriber has everything, and waits.
    pub(super) fn wait(&mut self, seat: u32) {
        if let Some(seat) = self.seats.get_mut(seat as usize) {
            seat.waits = true;
        }
    }

    /// A subscriber leaves.
    pub(super) fn stand_up(&mut self, seat: u32) {
        if let Some(seat) = self.seats.try_remove(seat as usize) {
            self.loops[usize::from(seat.at)].subscribers -= 1;
        }
    }

    /// Takes everybody who waits.
    fn call(&mut self) -> Vec<Call> {
        let call = |at: &Loop| (at.handle.clone(), Vec::new());
        let mut calls: Vec<Call> = self.loops.iter().map(call).collect();
        for (_, seat) in &mut self.seats {
            if std::mem::take(&mut seat.waits) {
                calls[usize::from(seat.at)].1.push((seat.id, seat.nth));
            }
        }
        calls.retain(|(_, list)| !list.is_empty());
        calls
    }
}

// What a subscriber costs the topic.
const _: () = assert!(size_of::<Seat>() <= 16);

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::h1::Head;
    use crate::later::{Inbox, Message};
    use crate::peer::Peer;
    use crate::response::Body;
    use crate::source::{BodyContext, Fill, Source};

    /// A loop, and how often it was woken.
    fn inbox() -> (Inbox, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&wakes);
        let wake = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (Inbox::new(wake), wakes)
    }

    /// A subscriber of that number, which has been sent everything.
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
        let Body::Source(mut source, None) = topic.subscribe(&request).body else {
            panic!("no stream");
        };
        assert_eq!(fill(&mut *source, inbox, number).1, Fill::Pending);
        source
    }

    fn fill(source: &mut dyn Source, inbox: &Inbox, number: u64) -> (Vec<u8>, Fill) {
        let context = BodyContext {
            id: ConnId::from_bits(number),
            nth: 1,
            handle: inbox.handle(),
        };
        let mut out = Vec::new();
        let fill = source.fill(&mut out, &context);
        (out, fill)
    }

    /// Whom the messages of a loop wake.
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
        assert_eq!(first_wakes.load(Ordering::Relaxed), 1);
        assert_eq!(second_wakes.load(Ordering::Relaxed), 1);
        assert!(first.open() && second.open());
        assert_eq!(woken(&first), (0..1_500).collect::<Vec<_>>());
        assert_eq!(woken(&second), [7]);
        // Who does not wait yet is not woken.
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
            let (inbox, _) = inbox();
            let source = subscribe(&topic, &inbox, n);
            assert_eq!(topic.hub.lock().loops.len(), 1);
            drop(source);
        }
        assert_eq!(topic.numbers().subscribers, 0);
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_by_bytes() {
        let topic = Topic::with(Options::new().events(3).bytes(180));
        let kept = || {
            let state = topic.hub.lock();
            let bytes: usize = state.kept.iter().map(|k| k.bytes.bytes().len()).sum();
            assert_eq!(bytes, state.bytes);
            (state.first, state.kept.len())
        };
        for (length, expected) in [
            (1, (0, 1)),
            (1, (0, 2)),
            (1, (0, 3)),
            (1, (1, 3)),
            (120, (3, 2)),
        ] {
            topic.publish(&Event::new("z".repeat(length)));
            assert_eq!(kept(), expected);
        }
        topic.publish(&Event::new("z".repeat(1_000))); // the latest always is
        assert_eq!(kept(), (5, 1));
    }

    #[test]
    fn hints_are_spread_and_never_overflow() {
        let hint = |least, spread, salt| {
            let topic = Topic::with(Options::new().retry(least, spread));
            let text = topic.hub.retry(salt);
            let number = text
                .strip_prefix("retry: ")
                .and_then(|t| t.strip_suffix("\n\n"));
            number
                .and_then(|n| n.parse::<u64>().ok())
                .expect("a number")
        };
        let second = Duration::from_secs(1);
        for salt in 0..1_000 {
            assert!((1_000..=3_000).contains(&hint(second, 2 * second, salt)));
            assert_eq!(hint(second, Duration::ZERO, salt), 1_000);
            hint(Duration::MAX, Duration::MAX, salt);
        }
    }

    #[test]
    fn a_heartbeat_beats_until_it_is_dropped() {
        let topic = Topic::new();
        let heartbeat = topic.heartbeat_every(Duration::from_millis(1)).unwrap();
        while topic.hub.lock().beats < 3 {
            thread::yield_now();
        }
        drop(heartbeat); // its thread has ended
        assert_eq!(Arc::strong_count(&topic.hub), 1);
    }
}
