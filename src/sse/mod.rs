//! Server-sent events to very many subscribers (WHATWG HTML, section 9.2).
//!
//! Any thread publishes to a [`Topic`]. An event is framed once, into memory that all subscribers'
//! writes share, and one wake reaches a loop for all its subscribers. A topic keeps its latest
//! events in one bounded ring. A subscriber is a position in the ring, without a queue of its own. A
//! client that comes back with `Last-Event-ID` catches up from the ring. A subscriber so slow that
//! the ring has dropped its next event loses events or its stream: see [`Slow`].
//!
//! ```
//! use ebbtide::sse::{Event, Topic};
//!
//! let topic = Topic::new();
//! let publisher = topic.clone();
//! std::thread::spawn(move || {
//!     publisher.publish(&Event::new("hello").kind("greeting"));
//! });
//! let handler = move |request: &ebbtide::Request<'_>| topic.subscribe(request);
//! # fn is_handler(_: impl ebbtide::Handler) {}
//! # is_handler(handler);
//! ```
//!
//! When the server drains, a stream delivers what was published, tells its client when to
//! reconnect, and ends as a whole body does. Each client gets a delay of its own
//! ([`Options::retry`]).
//!
//! Knows no sockets and no clock.

mod event;
mod hub;
mod options;
mod ring;
mod subscribers;
mod subscription;
mod topic;

pub use self::event::Event;
pub use self::options::{Options, Slow};
pub use self::topic::{Heartbeat, Numbers, Topic};
