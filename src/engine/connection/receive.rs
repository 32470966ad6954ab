//! Bytes into requests: the read, the codec, the body.

use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::buffer::trim;
use super::exchange::{Activity, discard};
use super::pass::Pass;
use super::{Close, Read};
use crate::app::{Flow, Handler};
use crate::h1::{EMPTY_HEADER, Event, Head, Header, MAX_FIELDS};
use crate::sys::Sys;

/// What became of bytes.
enum Fed {
    /// Something happened.
    Event,
    /// Nothing happens without more bytes, or before a response.
    Dry,
}

impl<S: Sys, H: Handler> Pass<'_, S, H> {
    /// Reads once into the loop's scratch, and parses the bytes where they lie. Returns whether any
    /// came.
    #[inline(always)]
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> bool {
        let Some(n) = self.read(scratch) else {
            return false;
        };
        if self.exchange.input.is_empty() {
            let used = self.feed(&scratch[..n]);
            if used < n {
                self.exchange.buffered_at = self.now;
                self.exchange.input.extend_from_slice(&scratch[used..n]);
            }
        } else {
            self.exchange.input.extend_from_slice(&scratch[..n]);
            self.exchange.starved = false;
        }
        true
    }

    /// Reads once, and returns how many bytes came. Acts on a foreign protocol and on an error.
    #[inline(always)]
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Option<usize> {
        match self.connection.read(&mut self.core.sys, scratch) {
            Read::Bytes(n) => {
                self.core.report.bytes_in += n as u64;
                self.exchange.read_at = self.now;
                return Some(n);
            }
            Read::Nothing | Read::Ended => {}
            Read::Foreign(error) => {
                self.exchange.codec.note_method(scratch);
                self.refuse(400, error);
            }
            Read::Failed => {
                self.core.report.left += 1;
                self.exchange.closing = Some(Close::Immediate);
                self.exchange.out.reset();
            }
        }
        None
    }

    /// Parses what was set aside.
    #[inline(never)]
    pub(super) fn feed_input(&mut self) {
        let mut input = mem::take(&mut self.exchange.input);
        self.exchange.read_at = self.exchange.buffered_at;
        let used = self.feed(&input);
        // `buffered_at` stays, so that bytes left over are never taken for later ones.
        if used == input.len() {
            input.clear();
        } else {
            input.drain(..used);
        }
        self.exchange.input = input;
    }

    /// Parses and responds, as far as the bytes and this pass go. Returns how many were used.
    #[inline(always)]
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            match self.feed_fast(&bytes[at..]) {
                Some(used) => at += used,
                None => match self.feed_event(&bytes[at..]) {
                    (used, Fed::Event) => at += used,
                    (used, Fed::Dry) => return at + used,
                },
            }
            if at == bytes.len() && !self.exchange.codec.request_open() {
                return at;
            }
            let go_on = matches!(self.exchange.activity, Activity::Receiving)
                && self.exchange.closing.is_none()
                && !self.exchange.out.is_full();
            // A request that has begun is received to its end, whatever this pass's share: its
            // other bytes may bring no further event.
            if !go_on || self.requests_left == 0 && !self.exchange.codec.request_open() {
                return at;
            }
        }
    }

    /// Takes a whole head of the usual form. Returns how many bytes it has.
    #[inline(always)]
    fn feed_fast(&mut self, bytes: &[u8]) -> Option<usize> {
        let limits = &self.core.config.limits.h1;
        let (mut few, mut many);
        let fields: &mut [_] = if bytes.len() < SMALL {
            few = [EMPTY_HEADER; 8];
            &mut few
        } else {
            many = [EMPTY_HEADER; 16]; // browsers send up to fifteen
            &mut many
        };
        let received = self.exchange.codec.receive_fast(bytes, fields, limits);
        let Some((used, head)) = &received else {
            return None;
        };
        self.head(head, &bytes[..*used], *used < bytes.len());
        Some(*used)
    }

    /// Takes the next event. Returns how many bytes were used, and whether more may follow.
    #[cold] // and it has room for a thousand fields on its stack, page by page
    fn feed_event(&mut self, bytes: &[u8]) -> (usize, Fed) {
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let limits = &self.core.config.limits.h1;
        let fields = &mut fields[..usize::from(limits.fields).min(MAX_FIELDS)];
        match self.exchange.codec.receive(bytes, fields, limits) {
            Ok((used, event)) => {
                match event {
                    Event::Head(head) => self.head(&head, &bytes[..used], used < bytes.len()),
                    Event::Body(data) => self.body(data),
                    Event::End => self.body_complete(),
                    Event::NeedMore => {
                        self.exchange.starved = used < bytes.len();
                        return (used, Fed::Dry);
                    }
                    Event::Paused => return (used, Fed::Dry),
                }
                (used, Fed::Event)
            }
            Err(error) => {
                self.refuse(error.status(), error);
                (bytes.len(), Fed::Dry)
            }
        }
    }

    /// Takes a piece of the body.
    fn body(&mut self, data: &[u8]) {
        self.exchange.bytes_in += data.len() as u64;
        let progress = self
            .exchange
            .received_since
            .saturating_add(data.len() as u32);
        self.exchange.received_since = progress;
        if progress >= self.core.config.limits.progress {
            self.exchange.received_since = 0;
            self.restart = true;
        }
        let Some(mut sink) = self.exchange.sink.take() else {
            let length = self.exchange.body.len() as u64 + data.len() as u64;
            if length > self.exchange.body_limit {
                return self.too_large(self.exchange.body_limit);
            }
            return self.exchange.body.extend_from_slice(data);
        };
        let context = self.core.inbox.context(self.id, self.connection.requests);
        match catch_unwind(AssertUnwindSafe(|| sink.receive(data, &context))) {
            Ok(Flow::Continue) => self.exchange.sink = Some(sink),
            Ok(Flow::Pause) => {
                self.exchange.sink = Some(sink);
                self.exchange.activity = Activity::Paused;
            }
            Ok(Flow::Refuse(response)) => {
                discard(sink);
                self.respond(response);
            }
            Err(_) => {
                discard(sink);
                self.panicked();
            }
        }
    }

    /// Ends the body. Its head is parsed a second time: cheaper than owning every field.
    #[inline(never)] // for the room on its stack
    fn body_complete(&mut self) {
        let raw = mem::take(&mut self.exchange.head);
        let body = mem::take(&mut self.exchange.body);
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        match Head::parse(&raw, &mut fields) {
            Ok(head) if self.exchange.sink.is_some() => self.ask_sink(&head),
            Ok(head) => self.ask(&head, &body),
            Err(error) => self.refuse(error.status(), error), // it parsed when it came
        }
        // The buffers stay. A response that comes later keeps the head, to say what it is about.
        self.exchange.body = body;
        trim(&mut self.exchange.body);
        if !matches!(self.exchange.activity, Activity::Receiving) {
            self.exchange.head = raw;
        } else if self.exchange.head.is_empty() {
            self.exchange.head = raw;
            self.exchange.head.clear();
        }
    }
}

/// A head below this many bytes usually has eight fields at most, and room for more costs time.
const SMALL: usize = 160;
