//! Bodies that a source makes, a piece at a time.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Close;
use super::buffer::trim;
use super::exchange::{Activity, Exchange, discard};
use super::pass::Pass;
use crate::app::{Fill, Handler, Response, SharedBytes, Source};
use crate::sys::Sys;

impl<S: Sys, H: Handler> Pass<'_, S, H> {
    /// Asks the source for the next piece. Returns false where it had none, but did not say so.
    pub(super) fn fill(&mut self) -> bool {
        let Activity::Streaming(mut source) = mem::take(&mut self.exchange.activity) else {
            return true;
        };
        let (fill, empty) = self.ask_source(&mut *source);
        match fill {
            _ if self.exchange.codec.response_done() => self.complete(),
            Some(Fill::More) if empty && self.exchange.empty_fills >= EMPTY_FILLS => {
                self.give_up_on_source("says that it has more, and has nothing");
            }
            Some(Fill::More) => {
                self.exchange.empty_fills = if empty {
                    self.exchange.empty_fills + 1
                } else {
                    0
                };
                self.exchange.activity = Activity::Streaming(source);
                return !empty;
            }
            Some(Fill::Share(bytes)) => {
                self.exchange.empty_fills = 0;
                self.share(bytes);
                if !self.exchange.codec.response_done() {
                    self.exchange.activity = Activity::Streaming(source);
                    return true;
                }
                self.complete();
            }
            Some(Fill::Pending) => {
                self.exchange.activity = Activity::SourceIdle(source);
                return true;
            }
            Some(Fill::Done) => {
                let Exchange { codec, out, .. } = &mut *self.exchange;
                if codec.end(&mut out.buffer) {
                    self.complete();
                } else {
                    self.give_up_on_source("ended before its length");
                }
            }
            Some(Fill::Failed) => self.give_up_on_source("failed"),
            None => {
                self.core.report.panics += 1;
                self.give_up_on_source("panicked");
            }
        }
        discard(source);
        true
    }

    /// Asks the source, and frames its piece. Returns what the source says, `None` for a panic, and
    /// whether the piece was empty.
    fn ask_source(&mut self, source: &mut dyn Source) -> (Option<Fill>, bool) {
        let piece = &mut self.core.piece;
        piece.clear();
        let context = self.core.inbox.context(self.id, self.connection.requests);
        let fill = catch_unwind(AssertUnwindSafe(|| source.fill(piece, &context)));
        let Exchange { codec, out, .. } = &mut *self.exchange;
        let empty = piece.is_empty();
        match codec.remaining() {
            Some(left) => {
                let fits = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                out.buffer.extend_from_slice(&piece[..fits]);
                codec.sent(fits as u64);
            }
            None => codec.chunk(&mut out.buffer, piece),
        }
        trim(piece);
        let fill = match fill {
            Ok(Fill::Share(bytes)) if bytes.bytes().is_empty() => Some(Fill::More),
            fill => fill.ok(),
        };
        (fill, empty)
    }

    /// Gives up a body that cannot be made to its end. Another response takes its place while no byte
    /// has left; later only a reset tells the peer.
    #[cold]
    fn give_up_on_source(&mut self, why: &str) {
        log::error!("{}: a source {why}", self.connection.peer);
        let exchange = &mut *self.exchange;
        match exchange.response_from.checked_sub(exchange.bytes_out) {
            Some(before) => {
                exchange.out.take_back(before as usize);
                exchange.codec.take_back();
                self.respond(Response::text(500, "the server made a mistake\n").close());
            }
            None => exchange.closing = Some(Close::Reset),
        }
    }

    /// Adds a piece to the output that other responses send as well.
    fn share(&mut self, bytes: SharedBytes) {
        let Exchange { codec, out, .. } = &mut *self.exchange;
        let Some(left) = codec.remaining() else {
            return out.share(bytes, codec.is_chunked());
        };
        let bytes = bytes.bytes();
        let fits = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        out.buffer.extend_from_slice(&bytes[..fits]);
        codec.sent(fits as u64);
    }
}

/// How often in a row a source may say that there is more and add nothing.
const EMPTY_FILLS: u32 = 64;
