//! Requests into responses: admission, the handler, the head of the response.
//!
//! Whatever the application does, exactly one response begins for each request that was taken, or
//! the connection ends. A panic of the application is caught here.

use std::borrow::Cow;
use std::fmt::Display;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Close;
use super::exchange::{Activity, NOTED_HEAD, discard};
use super::head_cache::CacheKey;
use super::output::small;
use super::pass::Pass;
use crate::app::{Admit, Content, Handler, LateRequests, Reply, Request, Response};
use crate::h1::{CONTINUE, Framed, Framing, Head, ResponseHead};
use crate::sys::Sys;

impl<S: Sys, H: Handler> Pass<'_, S, H> {
    /// Takes a complete head: `raw` are its bytes, and `more` says that bytes follow.
    #[inline(always)]
    pub(super) fn head(&mut self, head: &Head<'_, '_>, raw: &[u8], more: bool) {
        self.connection.requests = self.connection.requests.wrapping_add(1);
        self.requests_left = self.requests_left.saturating_sub(1);
        self.core.report.requests += 1;
        if self.core.config.health.is_some() && self.check_health(head) {
            return;
        }
        if self.core.drain.is_late(self.exchange.read_at) && self.turn_away() {
            return;
        }
        let admit = catch_unwind(AssertUnwindSafe(|| self.core.handler.admit(head)));
        let Ok(admit) = admit else {
            return self.panicked();
        };
        let limit = match admit {
            Admit::Refuse(response) => return self.respond(response),
            Admit::Stream(sink) => {
                self.exchange.sink = Some(sink);
                u64::MAX
            }
            Admit::Take => self.core.config.limits.body,
            Admit::Buffer(limit) => limit,
            Admit::NoBody => 0,
        };
        if let Framing::None = head.framing {
            match self.exchange.sink {
                None => self.ask(head, &[]),
                Some(_) => self.ask_sink(head),
            }
            if !matches!(self.exchange.activity, Activity::Receiving) {
                self.note_request(raw);
            }
            return;
        }
        let expected_in_vain = limit == 0 && head.expects_continue;
        if expected_in_vain || matches!(head.framing, Framing::Length(length) if length > limit) {
            self.exchange.drop_sink();
            return self.too_large(limit);
        }
        self.expect_body(limit, raw, head.expects_continue && !more);
    }

    #[inline(never)]
    fn expect_body(&mut self, limit: u64, raw: &[u8], says_continue: bool) {
        self.exchange.body_limit = limit;
        self.exchange.head.extend_from_slice(raw);
        if says_continue {
            self.exchange.out.buffer.extend_from_slice(CONTINUE);
        }
    }

    /// Answers the readiness check, if the request asks for it.
    #[inline(never)]
    fn check_health(&mut self, head: &Head<'_, '_>) -> bool {
        let is_asked_for = |path: &str| {
            // A target in origin-form begins with its path, which decides most cases at once.
            let may_be = head.target.starts_with(path) || !head.target.starts_with('/');
            may_be && head.path() == path
        };
        let asked = self.core.config.health.as_deref().is_some_and(is_asked_for)
            && matches!(head.method, "GET" | "HEAD");
        if asked {
            let handle = self.core.inbox.handle();
            let (status, text) = match (handle.ready(), handle.draining()) {
                (true, _) => (200, "ok"),
                (false, true) => (503, "draining"),
                (false, false) => (503, "not ready"),
            };
            let response = Response::text(status, text).field("Cache-Control", "no-store");
            self.respond(response);
        }
        asked
    }

    /// Keeps the beginning of a request that takes time, to say what is waited for.
    #[cold]
    fn note_request(&mut self, raw: &[u8]) {
        let line = &raw[..raw.len().min(NOTED_HEAD)];
        self.exchange.head.extend_from_slice(line);
    }

    /// Asks the handler.
    #[inline(always)]
    pub(super) fn ask(&mut self, head: &Head<'_, '_>, body: &[u8]) {
        let core = &mut *self.core;
        let request = Request {
            head,
            body,
            peer: self.connection.peer,
            id: self.id,
            nth: self.connection.requests,
            handle: core.inbox.handle(),
        };
        let handler = &mut core.handler;
        let reply = catch_unwind(AssertUnwindSafe(|| handler.handle(&request)));
        self.reply(reply.ok());
    }

    /// Asks the sink that took the body.
    #[inline(never)]
    pub(super) fn ask_sink(&mut self, head: &Head<'_, '_>) {
        let Some(mut sink) = self.exchange.sink.take() else {
            return;
        };
        let request = Request {
            head,
            body: &[],
            peer: self.connection.peer,
            id: self.id,
            nth: self.connection.requests,
            handle: self.core.inbox.handle(),
        };
        let reply = catch_unwind(AssertUnwindSafe(|| sink.end(&request)));
        discard(sink);
        self.reply(reply.ok());
    }

    /// Takes the application's reply, or `None` for its panic. A response is used where it lies: it
    /// is large to move.
    #[inline(always)]
    fn reply(&mut self, mut reply: Option<Reply>) {
        match &mut reply {
            Some(Reply::Now(response)) => {
                self.begin(response);
                if response.owns_nothing() {
                    mem::forget(reply); // dropping it would ask each of its parts
                }
            }
            Some(Reply::Pending(later))
                if later.id == self.id && later.nth == self.connection.requests =>
            {
                self.exchange.activity = Activity::AwaitingTicket;
                self.restart = true;
            }
            Some(Reply::Pending(_)) => {
                log::error!("a handler returned the Pending of another request");
                self.respond(Response::text(500, "the server made a mistake\n").close());
            }
            None => self.panicked(),
        }
    }

    /// Begins a ticket's response; `None` where the ticket was dropped.
    pub(super) fn respond_by_ticket(&mut self, response: Option<Box<Response>>) {
        match response {
            Some(response) => self.respond(*response),
            None => {
                log::error!("a ticket was dropped without an answer");
                self.respond(Response::text(500, "the server made a mistake\n"));
            }
        }
    }

    /// Begins the response to a request that may not go on, if no other response has begun.
    /// Returns whether it did.
    pub(super) fn respond_instead(&mut self, status: u16, text: &'static str) -> bool {
        if !self.exchange.is_unanswered() {
            return false;
        }
        self.exchange.activity = Activity::Receiving;
        self.note_method();
        let response = Response::text(status, text).close();
        self.respond(match status {
            503 => response.field("Retry-After", "1"),
            _ => response,
        });
        true
    }

    /// Notes the method of a head that is half way.
    fn note_method(&mut self) {
        let exchange = &mut *self.exchange;
        if !exchange.input.is_empty() {
            exchange.codec.note_method(&exchange.input);
        }
    }

    /// Begins a response, and completes it unless a source makes its body.
    pub(super) fn respond(&mut self, mut response: Response) {
        self.begin(&mut response);
    }

    /// Begins a response that is used where it lies.
    #[inline(always)]
    fn begin(&mut self, response: &mut Response) {
        let content_type = match &response.content_type {
            None => None,
            Some(Cow::Borrowed(text)) => Some(*text),
            Some(Cow::Owned(_)) => return self.begin_any(response),
        };
        let usual = response.mistake.is_none()
            && response.fields.is_empty()
            && !response.close
            && self.core.drain.keep_alive()
            && self.exchange.codec.is_head_cacheable()
            && self.exchange.sink.is_none();
        if usual && let Some(body) = small(&response.body) {
            let key = CacheKey {
                status: response.status,
                length: body.len(),
                content_type,
            };
            if let Some((head, body)) = self.core.head_cache.get(key, &response.body, self.now) {
                self.exchange.out.buffer.extend_from_slice(head);
                if !body.is_empty() {
                    self.exchange.out.buffer.extend_from_slice(body);
                }
                self.exchange.codec.answered();
                return self.complete();
            }
        }
        self.begin_any(response);
    }

    #[inline(never)]
    fn begin_any(&mut self, response: &mut Response) {
        if response.mistake.is_some() {
            replace_invalid(response);
        }
        if response.status == 101 {
            return self.switch(mem::replace(response, Response::new(200)));
        }
        if response.close || !self.core.drain.keep_alive() {
            self.exchange.codec.stop();
        }
        let date = self.core.date.line(self.now, || self.core.sys.unix_time());
        let length = response.body.length();
        let head = ResponseHead {
            status: response.status,
            content_type: response.content_type.as_deref(),
            fields: &response.fields,
            length,
            date,
        };
        self.exchange.drop_sink();
        let plain = self.exchange.codec.is_head_cacheable();
        let begin = self.exchange.out.buffer.len();
        let framed = self
            .exchange
            .codec
            .begin(&mut self.exchange.out.buffer, &head);
        if let Content::Source(..) = response.body {
            let before = self.exchange.out.pending_of(begin) as u64;
            self.exchange.response_from = self.exchange.bytes_out + before;
            return self.begin_source(framed, mem::take(&mut response.body));
        }
        if framed == Framed::Length {
            self.exchange.codec.sent(length.unwrap_or(0));
            if plain && response.fields.is_empty() {
                self.keep_head(response, begin);
            }
            self.exchange.out.body(&mut response.body);
        }
        self.complete();
    }

    /// Keeps the head that was just written, for the next response like it.
    #[inline]
    fn keep_head(&mut self, response: &Response, begin: usize) {
        let content_type = match &response.content_type {
            None => None,
            Some(Cow::Borrowed(text)) => Some(*text),
            Some(Cow::Owned(_)) => return,
        };
        if let (Some(body), Some(since)) = (small(&response.body), self.core.date.since()) {
            let key = CacheKey {
                status: response.status,
                length: body.len(),
                content_type,
            };
            let head = &self.exchange.out.buffer[begin..];
            self.core.head_cache.keep(key, since, head, &response.body);
        }
    }

    #[inline(never)]
    fn begin_source(&mut self, framed: Framed, body: Content) {
        match (framed, body) {
            (Framed::None, body) => {
                discard(body);
                self.complete();
            }
            (_, Content::Source(source, _)) => {
                self.exchange.activity = Activity::Streaming(source);
                self.restart = true;
            }
            (_, _) => self.complete(), // never called for these
        }
    }

    /// Ends a response that is complete in the output, and its request.
    #[inline(always)]
    pub(super) fn complete(&mut self) {
        self.exchange.unsent_responses += 1;
        self.restart = true;
        if !self.exchange.codec.next() {
            self.exchange.activity = Activity::Receiving;
            self.exchange.closing = Some(Close::Graceful);
            return;
        }
        self.exchange.next_request();
    }

    /// Answers a message that is no valid request, or exceeds a limit, and closes.
    #[cold]
    pub(super) fn refuse(&mut self, status: u16, why: impl Display) {
        log::debug!("{}: {status}: {why}", self.connection.peer);
        self.core.report.refused += 1;
        self.note_method();
        self.exchange.input.clear();
        self.respond(Response::text(status, format!("{why}\n")).close());
    }

    #[cold]
    pub(super) fn too_large(&mut self, limit: u64) {
        self.refuse(413, format_args!("the body is longer than {limit} bytes"));
    }

    #[cold]
    pub(super) fn panicked(&mut self) {
        log::error!("{}: a handler or a sink panicked", self.connection.peer);
        self.core.report.panics += 1;
        self.respond(Response::text(500, "the server made a mistake\n").close());
    }

    /// Rejects or drops a late request, as configured. Returns whether it did.
    #[cold]
    fn turn_away(&mut self) -> bool {
        match &self.core.config.late_requests {
            LateRequests::Serve => return false,
            LateRequests::Reject(response) => {
                let response = response.copy().close();
                self.core.report.late += 1;
                self.respond(response);
            }
            LateRequests::Drop => {
                self.core.report.late += 1;
                self.exchange.input.clear();
                self.exchange.closing = Some(Close::Graceful);
            }
        }
        true
    }
}

/// Replaces a response that cannot be written by one that can.
#[cold]
fn replace_invalid(response: &mut Response) {
    if let Some(mistake) = &response.mistake {
        log::error!("an answer cannot be written: {mistake}");
    }
    let instead = Response::text(500, "the server made a mistake\n");
    discard(mem::replace(response, instead));
}
