//! From a request to its answer: admission, the handler, the head of what is sent back.
//!
//! Whatever the application does, exactly one answer begins for each request that was taken, or the
//! connection ends. A panic is caught here. Knows no other connection.

use std::borrow::Cow;
use std::fmt::Display;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::hot::{Doing, Hot, How, NOTED, discard};
use super::kept::Like;
use super::output::small;
use super::serve::Service;
use crate::app::{
    Admit, Content, Fill, Flow, Handler, LateRequests, Reply, Request, Response, SharedBytes,
};
use crate::h1::{CONTINUE, Framed, Framing, Head, Header, MAX_FIELDS, ResponseHead};
use crate::sys::Sys;

impl<S: Sys, H: Handler> Service<'_, S, H> {
    /// A head is complete; `raw` are its bytes, and `more` says that some follow.
    #[inline(always)]
    pub(super) fn head(&mut self, head: &Head<'_, '_>, raw: &[u8], more: bool) {
        self.conn.served = self.conn.served.wrapping_add(1);
        self.requests_left = self.requests_left.saturating_sub(1);
        self.core.report.requests += 1;
        if self.core.config.health.is_some() && self.check_health(head) {
            return;
        }
        if self.core.late_from.is_some() && self.is_late() && self.turn_away() {
            return;
        }
        let admit = catch_unwind(AssertUnwindSafe(|| self.core.handler.admit(head)));
        let Ok(admit) = admit else {
            return self.panicked();
        };
        let limit = match admit {
            Admit::Refuse(response) => return self.answer(response),
            Admit::Stream(sink) => {
                self.hot.sink = Some(sink);
                u64::MAX
            }
            Admit::Take => self.core.config.limits.body,
            Admit::Buffer(limit) => limit,
            Admit::NoBody => 0,
        };
        if let Framing::None = head.framing {
            match self.hot.sink {
                None => self.ask(head, &[]),
                Some(_) => self.ask_sink(head),
            }
            if !matches!(self.hot.doing, Doing::Receiving) {
                self.note_request(raw);
            }
            return;
        }
        let expected_in_vain = limit == 0 && head.expects_continue;
        if expected_in_vain || matches!(head.framing, Framing::Length(length) if length > limit) {
            self.hot.drop_sink();
            return self.too_large(limit);
        }
        self.expect_body(limit, raw, head.expects_continue && !more);
    }

    #[inline(never)]
    fn expect_body(&mut self, limit: u64, raw: &[u8], says_continue: bool) {
        self.hot.body_limit = limit;
        self.hot.head.extend_from_slice(raw);
        if says_continue {
            self.hot.out.buffer.extend_from_slice(CONTINUE);
        }
    }

    /// Answers the readiness check, if that is what is asked for.
    #[inline(never)]
    fn check_health(&mut self, head: &Head<'_, '_>) -> bool {
        let is_asked_for = |path: &str| {
            // In origin-form a target begins with its path: most are told without finding its end.
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
            self.answer(response);
        }
        asked
    }

    /// Keeps the beginning of the head of a request that takes time, to say what is waited for.
    #[cold]
    fn note_request(&mut self, raw: &[u8]) {
        let line = &raw[..raw.len().min(NOTED)];
        self.hot.head.extend_from_slice(line);
    }

    /// A piece of the body.
    pub(super) fn body(&mut self, data: &[u8]) {
        self.hot.bytes_in += data.len() as u64;
        let progress = self.hot.progress.saturating_add(data.len() as u32);
        self.hot.progress = progress;
        if progress >= self.core.config.limits.progress {
            self.hot.progress = 0;
            self.restart = true;
        }
        let Some(mut sink) = self.hot.sink.take() else {
            let length = self.hot.body.len() as u64 + data.len() as u64;
            if length > self.hot.body_limit {
                return self.too_large(self.hot.body_limit);
            }
            return self.hot.body.extend_from_slice(data);
        };
        let context = self.core.inbox.context(self.id, self.conn.served);
        match catch_unwind(AssertUnwindSafe(|| sink.receive(data, &context))) {
            Ok(Flow::Continue) => self.hot.sink = Some(sink),
            Ok(Flow::Pause) => {
                self.hot.sink = Some(sink);
                self.hot.doing = Doing::Paused;
            }
            Ok(Flow::Refuse(response)) => {
                discard(sink);
                self.answer(response);
            }
            Err(_) => {
                discard(sink);
                self.panicked();
            }
        }
    }

    /// The body is complete. Its head is parsed a second time: cheaper than owning every field.
    #[inline(never)] // for the room on its stack
    pub(super) fn end(&mut self) {
        let raw = mem::take(&mut self.hot.head);
        let body = mem::take(&mut self.hot.body);
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        match Head::parse(&raw, &mut fields) {
            Ok(head) if self.hot.sink.is_some() => self.ask_sink(&head),
            Ok(head) => self.ask(&head, &body),
            Err(bad) => self.refuse(bad.status(), bad), // it parsed when it came
        }
        // Keep the buffers; a later answer keeps the head, to say what it is about.
        self.hot.body = body;
        super::hot::trim(&mut self.hot.body);
        if !matches!(self.hot.doing, Doing::Receiving) {
            self.hot.head = raw;
        } else if self.hot.head.is_empty() {
            self.hot.head = raw;
            self.hot.head.clear();
        }
    }

    /// Asks the handler.
    #[inline(always)]
    fn ask(&mut self, head: &Head<'_, '_>, body: &[u8]) {
        let core = &mut *self.core;
        let request = Request {
            head,
            body,
            peer: self.conn.peer,
            id: self.id,
            nth: self.conn.served,
            handle: core.inbox.handle(),
        };
        let handler = &mut core.handler;
        let reply = catch_unwind(AssertUnwindSafe(|| handler.handle(&request)));
        self.reply(reply.ok());
    }

    /// Asks the sink that took the body.
    #[inline(never)]
    fn ask_sink(&mut self, head: &Head<'_, '_>) {
        let Some(mut sink) = self.hot.sink.take() else {
            return;
        };
        let request = Request {
            head,
            body: &[],
            peer: self.conn.peer,
            id: self.id,
            nth: self.conn.served,
            handle: self.core.inbox.handle(),
        };
        let reply = catch_unwind(AssertUnwindSafe(|| sink.end(&request)));
        discard(sink);
        self.reply(reply.ok());
    }

    /// What the application says; nothing if it panicked. An answer is used where it lies: it is
    /// large to move.
    #[inline(always)]
    fn reply(&mut self, mut reply: Option<Reply>) {
        match &mut reply {
            Some(Reply::Now(response)) => {
                self.begin(response);
                if response.owns_nothing() {
                    mem::forget(reply); // to drop it is to ask each of its parts
                }
            }
            Some(Reply::Pending(later)) if later.id == self.id && later.nth == self.conn.served => {
                self.hot.doing = Doing::Asked;
                self.restart = true;
            }
            Some(Reply::Pending(_)) => {
                log::error!("a handler returned the Pending of another request");
                self.answer(Response::text(500, "the server made a mistake\n").close());
            }
            None => self.panicked(),
        }
    }

    /// Begins an answer, and completes it unless a source makes its body.
    pub(super) fn answer(&mut self, mut response: Response) {
        self.begin(&mut response);
    }

    /// As [`answer`](Self::answer), with an answer that is used where it lies.
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
            && self.core.keep_alive
            && self.hot.codec.is_head_cacheable()
            && self.hot.sink.is_none();
        if usual && let Some(body) = small(&response.body) {
            let like = Like {
                status: response.status,
                length: body.len(),
                content_type,
            };
            if let Some((head, body)) = self.core.kept.get(like, &response.body, self.now) {
                self.hot.out.buffer.extend_from_slice(head);
                if !body.is_empty() {
                    self.hot.out.buffer.extend_from_slice(body);
                }
                self.hot.codec.answered();
                return self.complete();
            }
        }
        self.begin_any(response);
    }

    #[inline(never)]
    fn begin_any(&mut self, response: &mut Response) {
        if response.mistake.is_some() {
            own_up(response);
        }
        if response.status == 101 {
            return self.switch(mem::replace(response, Response::new(200)));
        }
        if response.close || !self.core.keep_alive {
            self.hot.codec.stop();
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
        self.hot.drop_sink();
        let plain = self.hot.codec.is_head_cacheable();
        let begin = self.hot.out.buffer.len();
        let framed = self.hot.codec.begin(&mut self.hot.out.buffer, &head);
        if let Content::Source(..) = response.body {
            let before = self.hot.out.owed_of(begin) as u64;
            self.hot.answer_from = self.hot.bytes_out + before;
            return self.begin_source(framed, mem::take(&mut response.body));
        }
        if framed == Framed::Length {
            self.hot.codec.sent(length.unwrap_or(0));
            if plain && response.fields.is_empty() {
                self.keep_head(response, begin);
            }
            self.hot.out.body(&mut response.body);
        }
        self.complete();
    }

    /// Keeps the head that was just written, for the next like it.
    #[inline]
    fn keep_head(&mut self, response: &Response, begin: usize) {
        let content_type = match &response.content_type {
            None => None,
            Some(Cow::Borrowed(text)) => Some(*text),
            Some(Cow::Owned(_)) => return,
        };
        if let (Some(body), Some(since)) = (small(&response.body), self.core.date.since()) {
            let like = Like {
                status: response.status,
                length: body.len(),
                content_type,
            };
            let head = &self.hot.out.buffer[begin..];
            self.core.kept.keep(like, since, head, &response.body);
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
                self.hot.doing = Doing::Streaming(source);
                self.restart = true;
            }
            (_, _) => self.complete(), // not called for these
        }
    }

    /// The answer is complete, in the output at least: what comes after it?
    #[inline(always)]
    fn complete(&mut self) {
        self.hot.unsent_answers += 1;
        self.restart = true;
        if !self.hot.codec.next() {
            self.hot.doing = Doing::Receiving;
            self.hot.leaving = Some(How::Polite);
            return;
        }
        self.hot.next_request();
    }

    /// Asks the source for the next piece. False: it had none, but did not say so.
    pub(super) fn fill(&mut self) -> bool {
        let Doing::Streaming(mut source) = mem::take(&mut self.hot.doing) else {
            return true;
        };
        let piece = &mut self.core.piece;
        piece.clear();
        let context = self.core.inbox.context(self.id, self.conn.served);
        let fill = catch_unwind(AssertUnwindSafe(|| source.fill(piece, &context)));
        let (hot, out) = (&mut self.hot.codec, &mut self.hot.out.buffer);
        let empty = piece.is_empty();
        match hot.remaining() {
            Some(left) => {
                let fits = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                out.extend_from_slice(&piece[..fits]);
                hot.sent(fits as u64);
            }
            None => hot.chunk(out, piece),
        }
        super::hot::trim(piece);
        let fill = match fill {
            Ok(Fill::Share(bytes)) if bytes.bytes().is_empty() => Ok(Fill::More),
            fill => fill,
        };
        match fill {
            _ if hot.response_done() => self.complete(),
            Ok(Fill::More) if empty && self.hot.empty_fills >= EMPTY_FILLS => {
                self.give_up_on_source("says that it has more, and has nothing");
            }
            Ok(Fill::More) => {
                self.hot.empty_fills = if empty { self.hot.empty_fills + 1 } else { 0 };
                self.hot.doing = Doing::Streaming(source);
                return !empty;
            }
            Ok(Fill::Share(bytes)) => {
                self.hot.empty_fills = 0;
                self.share(bytes);
                if !self.hot.codec.response_done() {
                    self.hot.doing = Doing::Streaming(source);
                    return true;
                }
                self.complete();
            }
            Ok(Fill::Pending) => {
                self.hot.doing = Doing::Parked(source);
                return true;
            }
            Ok(Fill::Done) if hot.end(out) => self.complete(),
            Ok(Fill::Done) => self.give_up_on_source("ended before its length"),
            Ok(Fill::Failed) => self.give_up_on_source("failed"),
            Err(_) => {
                self.core.report.panics += 1;
                self.give_up_on_source("panicked");
            }
        }
        discard(source);
        true
    }

    /// The body cannot be made, or not to its end. While nothing of the answer has left there is
    /// another one; then only a reset tells the peer.
    #[cold]
    fn give_up_on_source(&mut self, why: &str) {
        log::error!("{}: a source {why}", self.conn.peer);
        match self.hot.answer_from.checked_sub(self.hot.bytes_out) {
            Some(before) => {
                self.hot.out.take_back(before as usize);
                self.hot.codec.take_back();
                self.answer(Response::text(500, "the server made a mistake\n").close());
            }
            None => self.hot.leaving = Some(How::Abort),
        }
    }

    /// Puts a piece into the output that other answers send as well.
    fn share(&mut self, bytes: SharedBytes) {
        let Hot { codec, out, .. } = &mut *self.hot;
        let Some(left) = codec.remaining() else {
            return out.share(bytes, codec.is_chunked());
        };
        let bytes = bytes.bytes();
        let fits = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        out.buffer.extend_from_slice(&bytes[..fits]);
        codec.sent(fits as u64);
    }

    /// Answers a message that is no valid request, or over a limit, and closes.
    #[cold]
    pub(super) fn refuse(&mut self, status: u16, why: impl Display) {
        log::debug!("{}: {status}: {why}", self.conn.peer);
        self.core.report.refused += 1;
        self.hot.input.clear();
        self.answer(Response::text(status, format!("{why}\n")).close());
    }

    #[cold]
    fn too_large(&mut self, limit: u64) {
        self.refuse(413, format_args!("the body is longer than {limit} bytes"));
    }

    #[cold]
    fn panicked(&mut self) {
        log::error!("{}: a handler or a sink panicked", self.conn.peer);
        self.core.report.panics += 1;
        self.answer(Response::text(500, "the server made a mistake\n").close());
    }

    #[cold]
    fn is_late(&self) -> bool {
        !matches!(self.core.config.late_requests, LateRequests::Serve)
            && self
                .core
                .late_from
                .is_some_and(|from| self.hot.heard.since(from) > 0)
    }

    /// Rejects or drops a late request.
    #[cold]
    fn turn_away(&mut self) -> bool {
        match &self.core.config.late_requests {
            LateRequests::Serve => return false,
            LateRequests::Reject(response) => {
                let response = response.copy().close();
                self.core.report.late += 1;
                self.answer(response);
            }
            LateRequests::Drop => {
                self.core.report.late += 1;
                self.hot.input.clear();
                self.hot.leaving = Some(How::Polite);
            }
        }
        true
    }
}

/// Makes an answer that cannot be written one that can.
#[cold]
fn own_up(response: &mut Response) {
    if let Some(mistake) = &response.mistake {
        log::error!("an answer cannot be written: {mistake}");
    }
    let instead = Response::text(500, "the server made a mistake\n");
    discard(mem::replace(response, instead));
}

/// How often in a row a source may say that there is more and add nothing.
const EMPTY_FILLS: u32 = 64;
