//! Server-sent events to very many subscribers (WHATWG HTML, section 9.2).
//!
//! A [`Topic`] is published to from any thread. An event is written once, framed, into memory that
//! all subscribers' writes share, and the loop is woken once for all of them. What is kept of a
//! topic is one bounded ring: a subscriber is a place in it, has no queue of its own, and catches up
//! from it when it comes back with `Last-Event-ID`. One that is so slow that the ring has gone on
//! without it loses events, or its stream ends: see [`Slow`].
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
//! When the server drains, every stream delivers what was published, tells its client when to come
//! back, each at another moment ([`Options::retry`]), and ends as a whole body does.
//!
//! Knows no sockets and no clock.

mod event;
mod subscription;
mod topic;

pub use self::event::Event;
pub use self::topic::{Heartbeat, Numbers, Options, Slow, Topic};
