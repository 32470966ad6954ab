//! HTTP/1.1 as a state machine: bytes into events, decisions into bytes (RFC 9112).
//!
//! A [`Codec`] has a state for each direction. [`receive`](Codec::receive) turns bytes into
//! events. [`begin`](Codec::begin), [`chunk`](Codec::chunk), [`sent`](Codec::sent) and
//! [`end`](Codec::end) follow the response out. [`next`](Codec::next) goes on when both are done.
//! The default value *is* a connection between requests, so an idle connection stores no codec.
//! Requests are read strictly, also where RFC 9112 allows leniency about framing.
//!
//! Heads and bodies borrow from the bytes given, without a copy. A head that arrives whole is
//! parsed where it was read. A head in pieces is first searched for its end, each byte once. The
//! outcome is the same for every cut. httparse parses heads, except common ones, which take the
//! fast path ([`receive_fast`](Codec::receive_fast)) to the same result.
//!
//! ```
//! use std::mem::MaybeUninit;
//! use ebbtide::internals::h1::{Codec, Event, Framing, Limits};
//!
//! let bytes = b"PUT /a?b HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\n\r\nhello";
//! let (mut codec, mut at) = (Codec::default(), 0);
//! let mut body = Vec::new();
//! loop {
//!     let mut fields = [const { MaybeUninit::uninit() }; 16];
//!     let (used, event) = codec.receive(&bytes[at..], &mut fields, &Limits::default())?;
//!     at += used;
//!     match event {
//!         Event::Head(head) => assert_eq!((head.path(), head.framing), ("/a",
//! Framing::Length(5))),
//!         Event::Body(data) => body.extend_from_slice(data),
//!         Event::End => {}
//!         Event::NeedMore => unreachable!("all is there"),
//!         Event::Paused => break, // the request is complete: respond, then `next`
//!     }
//! }
//! assert_eq!(body, b"hello");
//! # Ok::<(), ebbtide::internals::h1::RequestError>(())
//! ```
//!
//! `examples/codec.rs` writes responses as well.
//!
//! No sockets, no clock, no tracker.

mod chunked;
mod codec;
mod error;
mod event;
mod fast_path;
mod framing;
mod grammar;
mod head;
mod limits;
mod scan;
mod swar;
mod target;
mod write;

pub use httparse::{EMPTY_HEADER, Header};

pub use self::codec::Codec;
pub use self::error::RequestError;
pub use self::event::{Event, Framed};
pub use self::framing::Framing;
pub(crate) use self::framing::elements as list_elements;
pub use self::grammar::{is_field_name, is_field_value};
pub use self::head::Head;
pub use self::limits::{Limits, MAX_FIELDS};
pub(crate) use self::write::chunk as write_chunk;
pub use self::write::{CONTINUE, ResponseHead, reason};
