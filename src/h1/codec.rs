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
    /// No request comes after this one.
    last: bool,
    /// The peer speaks HTTP/1.0.
    http10: bool,
    /// The request is a HEAD: its answer has no body.
    head_request: bool,
}

/// The request, as far as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    Head(Scan),
    /// So many bytes of the body have not come.
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

/// The response, as far as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outbound {
    #[default]
    Head,
    /// So many bytes of the body have not been put out.
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

/// Receiving.
impl Codec {
    /// Takes bytes, which begin where those end that the last call consumed, and says what
    /// happened and how many bytes it consumed for that.
    ///
    /// Call it until it returns [`NeedMore`](Event::NeedMore) or [`Paused`](Event::Paused), also
    /// when no bytes are left: [`End`](Event::End) may need none. After `NeedMore` the bytes that
    /// were not consumed must come again, with more behind them; these are only ever the
    /// beginning of a head, or a CR. (What is consumed with `NeedMore` are empty lines before a
    /// head, or the framing of chunks.) Bytes of a body are given out as soon as they are there.
    ///
    /// No more than `limits.fields` of `fields` are used, and no more fields are taken than there
    /// is room. Work is bounded by the number of bytes; of a head that comes in pieces each byte
    /// is looked at once before it is whole.
    ///
    /// # Errors
    ///
    /// What the peer did wrong, then and at every later call: the connection is of no more use but
    /// to say so, and [`is_last`](Self::is_last) is set.
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
                        // The method may be good where the head is not, and an answer to HEAD has
                        // no body.
                        self.head_request = bytes.trim_ascii_start().starts_with(b"HEAD ");
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

    #[cold]
    fn refuse(&mut self, bad: RequestError) -> RequestError {
        self.inbound = Inbound::Refused(bad);
        self.last = true;
        bad
    }
}

/// Where the connection stands.
impl Codec {
    /// Whether the connection is between requests, and no byte of the next was seen: then nothing
    /// need be kept of it but [`empty_lines`](Self::empty_lines), and a codec made from that takes
    /// its place; another connection begins with a default one.
    #[inline]
    pub fn is_blank(&self) -> bool {
        matches!(self.inbound, Inbound::Head(scan) if scan.is_fresh())
            && self.outbound == Outbound::Head
            && !self.last
    }

    /// How many empty lines were consumed before a head of which no byte was seen. There may be two,
    /// however they come, so whoever keeps nothing else of a blank codec keeps this.
    #[inline]
    pub const fn empty_lines(&self) -> u8 {
        match self.inbound {
            Inbound::Head(scan) => scan.empty_lines(),
            _ => 0,
        }
    }

    /// A blank codec that has consumed so many empty lines.
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

    /// Whether a head was received and its body was not, or not all.
    #[inline]
    pub fn request_open(&self) -> bool {
        matches!(self.inbound, Inbound::Length(_) | Inbound::Chunked(_))
    }

    /// Whether the request was received in full.
    #[inline]
    pub fn request_done(&self) -> bool {
        self.inbound == Inbound::Done
    }

    /// Whether the head of the (final) response was written.
    #[inline]
    pub fn response_begun(&self) -> bool {
        self.outbound != Outbound::Head
    }

    /// Whether the response was written in full.
    #[inline]
    pub fn response_done(&self) -> bool {
        self.outbound == Outbound::Done
    }

    /// Makes the answer to this request the last. It says `Connection: close` if its head was not
    /// written yet.
    #[inline]
    pub fn stop(&mut self) {
        self.last = true;
    }

    /// Forgets a response that was begun, of which no byte has left: another may be begun.
    pub const fn take_back(&mut self) {
        self.outbound = Outbound::Head;
    }

    /// Whether no request comes after this one, because either side said so. The peer's word is
    /// known once the head is in.
    #[inline]
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// Goes on to the next request, if this one and its response are done and it was not the last.
    /// Returns whether it did; the codec is then as blank as a default one.
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

/// Answering.
impl Codec {
    /// Writes the head of a response and says how its body is to be put out.
    ///
    /// It says `Connection: close` if it is the last, and it is the last also if the request was
    /// not received in full, or was refused: the bytes of it that may follow are not going to be
    /// read as a request (RFC 9112, section 9.6).
    ///
    /// An interim response (1xx but 101) leaves the final one still to come; for HTTP/1.0 none is
    /// written (RFC 9110, section 15.2). After 101 the connection is not HTTP any more.
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
            // RFC 9110, section 8.6. For 304 a length would be that of the 200; that it is 0 is
            // what one says who does not know.
            (204, _) | (304, None | Some(0)) => (FramingLine::None, Outbound::Done, Framed::None),
            // RFC 9110, section 15.3.6: no content, and it has to say so.
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

    /// Whether the answer to this request leaves no question: it is HTTP/1.1, was received in full,
    /// is no HEAD, and not the last. Then all answers of the same status, type and length have the
    /// same head, and one that was written before can be put out again, with all of its body; that
    /// is then to be told with [`answered`](Self::answered).
    #[inline]
    pub fn is_head_cacheable(&self) -> bool {
        self.inbound == Inbound::Done
            && self.outbound == Outbound::Head
            && !(self.last | self.http10 | self.head_request)
    }

    /// The whole response was put out.
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

    /// Counts bytes of a body of known length that were put out; nothing for one that ends with
    /// the connection. More than [`remaining`](Self::remaining) must not be put out.
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
    /// the connection. Nothing if `data` is empty, or if no such body is under way.
    #[inline]
    pub fn chunk(&mut self, out: &mut Vec<u8>, data: &[u8]) {
        match self.outbound {
            Outbound::Chunked if !data.is_empty() => write::chunk(out, data),
            Outbound::UntilClose => out.extend_from_slice(data),
            _ => {}
        }
    }

    /// Whether a body is under way that is sent in chunks.
    #[inline]
    pub const fn is_chunked(&self) -> bool {
        matches!(self.outbound, Outbound::Chunked)
    }

    /// Ends the body, and writes what says so. Returns whether the response is complete: not if
    /// bytes are missing of a known length, which only an abort can tell the peer.
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

    /// Of a body of known length, the bytes that have not been put out.
    #[inline]
    pub fn remaining(&self) -> Option<u64> {
        match self.outbound {
            Outbound::Length(left) => Some(left),
            _ => None,
        }
    }
}

// It sits in the part of a connection that exists only mid-request.
const _: () = assert!(size_of::<Codec>() <= 48);

#[cfg(test)]
mod tests;
