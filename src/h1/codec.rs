//! The state of one connection: a machine for each direction.

use std::mem::MaybeUninit;

use httparse::Header;

use super::chunked::{Chunked, Step};
use super::error::RequestError;
use super::event::{Event, Framed};
use super::framing::Framing;
use super::head::{self, Head};
use super::limits::Limits;
use super::scan::Scan;
use super::write::{self, ConnectionLine, FramingLine, ResponseHead};

/// The HTTP/1.1 state of one connection. The default is a connection between requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codec {
    pub(super) inbound: Inbound,
    outbound: Outbound,
    /// This request is the last of the connection.
    last: bool,
    /// The peer speaks HTTP/1.0.
    http10: bool,
    /// The request is a HEAD: its response has no body.
    head_request: bool,
}

/// The state of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Head(Scan),
    /// Bytes of the body that are missing.
    Length(u64),
    Chunked(Chunked),
    Done,
    Refused(RequestError),
}

impl Default for Inbound {
    fn default() -> Self {
        Self::Head(Scan::default())
    }
}

/// The state of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outbound {
    #[default]
    Head,
    /// Bytes of the body that are not written.
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

/// Receiving.
impl Codec {
    /// Takes bytes, which begin behind those consumed by the last call. Returns the number of
    /// bytes consumed, and the event.
    ///
    /// Repeat the call until [`NeedMore`](Event::NeedMore) or [`Paused`](Event::Paused), also
    /// with no bytes left: [`End`](Event::End) may need none. After `NeedMore` pass the bytes not
    /// consumed again, with more behind them: the beginning of a head, or a CR. `NeedMore` may
    /// consume empty lines before a head, or the framing of chunks. Bytes of a body are returned
    /// as soon as they arrive.
    ///
    /// A head may have as many fields as `fields` has room, and at most `limits.fields`. Work is
    /// bounded by the number of bytes: each byte of a head in pieces is searched once.
    ///
    /// # Errors
    ///
    /// The peer's error, at this and every later call. [`is_last`](Self::is_last) is then true,
    /// and the connection is good only for the response that reports the error.
    #[inline]
    pub fn receive<'h, 'b>(
        &mut self,
        bytes: &'b [u8],
        fields: &'h mut [MaybeUninit<Header<'b>>],
        limits: &Limits,
    ) -> Result<(usize, Event<'h, 'b>), RequestError> {
        match &mut self.inbound {
            Inbound::Head(scan) => {
                let room = fields.len().min(usize::from(limits.fields));
                match head::receive(scan, bytes, &mut fields[..room], limits.head) {
                    Ok((n, Some(head))) => {
                        self.accept(&head);
                        Ok((n, Event::Head(head)))
                    }
                    Ok((n, None)) => Ok((n, Event::NeedMore)),
                    Err(bad) => {
                        self.note_method(bytes);
                        Err(self.refuse(bad))
                    }
                }
            }
            Inbound::Length(0) => {
                self.inbound = Inbound::Done;
                Ok((0, Event::End))
            }
            Inbound::Length(left) => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                if n == 0 {
                    return Ok((0, Event::NeedMore));
                }
                *left -= n as u64;
                Ok((n, Event::Body(&bytes[..n])))
            }
            Inbound::Chunked(chunked) => match chunked.step(bytes, limits.chunk_extras) {
                Ok((n, Step::Data(data))) => Ok((n, Event::Body(data))),
                Ok((n, Step::NeedMore)) => Ok((n, Event::NeedMore)),
                Ok((n, Step::End)) => {
                    self.inbound = Inbound::Done;
                    Ok((n, Event::End))
                }
                Err(bad) => Err(self.refuse(bad)),
            },
            Inbound::Done => Ok((0, Event::Paused)),
            Inbound::Refused(bad) => Err(*bad),
        }
    }

    #[inline]
    pub(super) fn accept(&mut self, head: &Head<'_, '_>) {
        self.inbound = match head.framing {
            Framing::None => Inbound::Done,
            Framing::Length(length) => Inbound::Length(length),
            Framing::Chunked => Inbound::Chunked(Chunked::default()),
        };
        self.last |= !head.keep_alive;
        self.http10 = head.minor == 0;
        self.head_request = head.method == "HEAD";
    }

    /// Notes the method of a head that stays incomplete or is malformed: a response to HEAD has no
    /// body there either. `bytes` begin with the head.
    #[cold]
    pub fn note_method(&mut self, bytes: &[u8]) {
        if let Inbound::Head(_) = self.inbound {
            self.head_request = bytes.trim_ascii_start().starts_with(b"HEAD ");
        }
    }

    #[cold]
    fn refuse(&mut self, bad: RequestError) -> RequestError {
        self.inbound = Inbound::Refused(bad);
        self.last = true;
        bad
    }
}

/// The state of the connection.
impl Codec {
    /// Returns whether the connection is between requests, without a byte of the next one. Of a
    /// blank codec, only [`empty_lines`](Self::empty_lines) must be kept:
    /// [`after_empty_lines`](Self::after_empty_lines) restores it.
    #[inline]
    pub fn is_blank(&self) -> bool {
        matches!(self.inbound, Inbound::Head(scan) if scan.is_fresh())
            && self.outbound == Outbound::Head
            && !self.last
    }

    /// Returns the number of empty lines consumed before the head: two are allowed.
    #[inline]
    pub const fn empty_lines(&self) -> u8 {
        match self.inbound {
            Inbound::Head(scan) => scan.empty_lines(),
            _ => 0,
        }
    }

    /// Returns a blank codec that has consumed `count` empty lines.
    #[inline]
    pub const fn after_empty_lines(count: u8) -> Self {
        Self {
            inbound: Inbound::Head(Scan::after_empty_lines(count)),
            outbound: Outbound::Head,
            last: false,
            http10: false,
            head_request: false,
        }
    }

    /// Returns whether the body of a request is incomplete.
    #[inline]
    pub fn request_open(&self) -> bool {
        matches!(self.inbound, Inbound::Length(_) | Inbound::Chunked(_))
    }

    /// Returns whether the request is complete.
    #[inline]
    pub fn request_done(&self) -> bool {
        self.inbound == Inbound::Done
    }

    /// Returns whether the head of the final response was written.
    #[inline]
    pub fn response_begun(&self) -> bool {
        self.outbound != Outbound::Head
    }

    /// Returns whether the response is complete.
    #[inline]
    pub fn response_done(&self) -> bool {
        self.outbound == Outbound::Done
    }

    /// Makes the response to this request the last. Its head, if not yet written, says
    /// `Connection: close`.
    #[inline]
    pub fn stop(&mut self) {
        self.last = true;
    }

    /// Forgets a response of which no byte was sent, so that another can begin.
    pub const fn take_back(&mut self) {
        self.outbound = Outbound::Head;
    }

    /// Returns whether this request is the last, by the word of either side. The request's head
    /// carries the peer's word.
    #[inline]
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// Goes on to the next request, if this one and its response are complete and it was not the
    /// last. Returns whether it did; the codec then equals the default one.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator's: it gives nothing"
    )]
    pub fn next(&mut self) -> bool {
        let done = self.request_done() && self.response_done() && !self.last;
        if done {
            *self = Self::default();
        }
        done
    }
}

/// Responding.
impl Codec {
    /// Writes the head of a response. Returns how to write its body.
    ///
    /// The last response says `Connection: close`. A response to a refused or incomplete request
    /// is the last: the rest of that request must not be read as a new one (RFC 9112, section
    /// 9.6).
    ///
    /// An interim response (1xx except 101) is followed by the final one. HTTP/1.0 gets no interim
    /// responses (RFC 9110, section 15.2). After 101 the connection is not HTTP any more.
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>, response: &ResponseHead<'_>) -> Framed {
        debug_assert!(!self.response_begun(), "a request has one final response");
        debug_assert!((100..1000).contains(&response.status));
        if response.status < 200 {
            return self.begin_interim(out, response);
        }
        self.last |= !self.request_done();
        let no_body = self.head_request || matches!(response.status, 204 | 205 | 304);
        let (line, outbound, framed) = match (response.status, response.length) {
            // RFC 9110, section 8.6. The length of a 304 would be that of the 200; 0 stands for
            // an unknown length.
            (204, _) | (304, None | Some(0)) => (FramingLine::None, Outbound::Done, Framed::None),
            // RFC 9110, section 15.3.6: a 205 must say that it has no content.
            (205, _) => (FramingLine::Length(0), Outbound::Done, Framed::None),
            (_, Some(length)) => {
                let line = FramingLine::Length(length);
                (line, Outbound::Length(length), Framed::Length)
            }
            (_, None) if self.http10 => {
                self.last = true;
                (FramingLine::None, Outbound::UntilClose, Framed::UntilClose)
            }
            (_, None) => (FramingLine::Chunked, Outbound::Chunked, Framed::Chunked),
        };
        let connection = if self.last {
            ConnectionLine::Close
        } else if self.http10 {
            ConnectionLine::KeepAlive
        } else {
            ConnectionLine::None
        };
        write::head(out, response, line, connection);
        if no_body || outbound == Outbound::Length(0) {
            self.outbound = Outbound::Done;
            return Framed::None;
        }
        self.outbound = outbound;
        framed
    }

    /// Returns whether status, type and length alone decide the head of the response: the request
    /// is complete HTTP/1.1, no HEAD, and not the last. A head written before can then be sent
    /// again with its whole body; report that with [`answered`](Self::answered).
    #[inline]
    pub fn is_head_cacheable(&self) -> bool {
        self.inbound == Inbound::Done
            && self.outbound == Outbound::Head
            && !(self.last | self.http10 | self.head_request)
    }

    /// Records that a cached head and the whole body were written.
    #[inline]
    pub fn answered(&mut self) {
        debug_assert!(self.is_head_cacheable());
        self.outbound = Outbound::Done;
    }

    #[cold]
    fn begin_interim(&mut self, out: &mut Vec<u8>, response: &ResponseHead<'_>) -> Framed {
        if !self.http10 {
            write::head(out, response, FramingLine::None, ConnectionLine::None);
        }
        if response.status == 101 {
            self.outbound = Outbound::Done;
            self.last = true;
        }
        Framed::None
    }

    /// Counts written bytes of a body of known length, at most [`remaining`](Self::remaining). Does
    /// nothing for a body that ends with the connection.
    #[inline]
    pub fn sent(&mut self, n: u64) {
        if let Outbound::Length(left) = &mut self.outbound {
            debug_assert!(n <= *left, "more body than Content-Length says");
            *left = left.saturating_sub(n);
            if *left == 0 {
                self.outbound = Outbound::Done;
            }
        }
    }

    /// Writes a piece of a body of unknown length: as a chunk, or as it is if the body ends with
    /// the connection. Writes nothing if `data` is empty or the body has another framing.
    #[inline]
    pub fn chunk(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        match self.outbound {
            Outbound::Chunked if !data.is_empty() => write::chunk(out, data),
            Outbound::UntilClose => out.extend_from_slice(data),
            _ => {}
        }
    }

    /// Returns whether a chunked body is being written.
    #[inline]
    pub const fn is_chunked(&self) -> bool {
        matches!(self.outbound, Outbound::Chunked)
    }

    /// Ends the body, with the last chunk if it is chunked. Returns whether the response is
    /// complete. If bytes of a known length are missing, only an abort can tell the peer.
    #[inline]
    pub fn end(&mut self, out: &mut Vec<u8>) -> bool {
        match self.outbound {
            Outbound::Chunked => out.extend_from_slice(write::LAST_CHUNK),
            Outbound::UntilClose | Outbound::Done => {}
            Outbound::Head | Outbound::Length(_) => return false,
        }
        self.outbound = Outbound::Done;
        true
    }

    /// Returns the number of unwritten bytes of a body of known length.
    #[inline]
    pub fn remaining(&self) -> Option<u64> {
        match self.outbound {
            Outbound::Length(left) => Some(left),
            _ => None,
        }
    }
}

// Each connection in the middle of a request has one.
const _: () = assert!(size_of::<Codec>() <= 48);

#[cfg(test)]
mod tests;
