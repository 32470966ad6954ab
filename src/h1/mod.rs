//! HTTP/1.1 as a machine: bytes into events, decisions into bytes (RFC 9112).
//!
//! A [`Codec`] is two small machines, one a direction. [`receive`](Codec::receive) takes bytes and
//! says what happened; [`begin`](Codec::begin), [`chunk`](Codec::chunk), [`sent`](Codec::sent) and
//! [`end`](Codec::end) follow the answer out; [`next`](Codec::next) joins the two, once both are
//! done. Its default value *is* a connection between requests, so an idle connection stores none
//! of it. Requests are read strictly: where RFC 9112 lets a recipient be lenient about framing,
//! this one is not.
//!
//! What comes in is never copied: heads and bodies borrow from the bytes given. A head is parsed
//! once, where it was read, unless it comes in pieces; then its end is searched first, each byte
//! looked at once, and it is parsed when it is whole. Either way the outcome is the same, and so
//! it is for every other cut. Heads are httparse's to parse, but for those as nearly everybody
//! sends them, for which [`receive_fast`](Codec::receive_fast) is a quicker way to the same.
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
//!         Event::Head(head) => assert_eq!((head.path(), head.framing), ("/a", Framing::Length(5))),
//!         Event::Body(data) => body.extend_from_slice(data),
//!         Event::End => {}
//!         Event::NeedMore => unreachable!("all is there"),
//!         Event::Paused => break, // it is complete: answer it, then `next`
//!     }
//! }
//! assert_eq!(body, b"hello");
//! # Ok::<(), ebbtide::internals::h1::RequestError>(())
//! ```
//!
//! `examples/codec.rs` answers as well.
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
pub use self::grammar::{is_field_name, is_field_value};
pub use self::head::Head;
pub use self::limits::{Limits, MAX_FIELDS};
pub(crate) use self::write::chunk as write_chunk;
pub use self::write::{CONTINUE, ResponseHead, reason};
