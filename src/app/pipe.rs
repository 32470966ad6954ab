//! A bounded stream of bytes from a thread into a response.
//!
//! One end is a [`Source`]. Any thread holds the other end, which blocks, or says that the pipe is
//! full, while the peer is slower than the writer. Knows no sockets.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::app::source::{Fill, Source};
use crate::app::turning::is_turning;
use crate::app::waker::{BodyContext, BodyWaker};

/// The reading end of a pipe: the body of a response.
///
/// ```
/// use ebbtide::{Pipe, Response};
///
/// let (writer, pipe) = Pipe::new(64 * 1024);
/// std::thread::spawn(move || {
///     for i in 0..3 {
///         if writer.send(format!("line {i}\n")).is_err() {
///             break; // the client has left
///         }
///     }
/// });
/// let response = Response::new(200).source(pipe);
/// ```
#[doc(alias = "channel")]
#[doc(alias = "stream")]
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Shared>,
}

/// The writing end of a pipe. Dropping it ends the body. When its thread panics, the body fails as
/// with [`PipeWriter::fail`].
#[derive(Debug)]
pub struct PipeWriter {
    shared: Arc<Shared>,
}

/// Why a pipe did not take bytes.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum PipeError {
    /// The response is over: its client has left, or a deadline cut it.
    Closed,
    /// The pipe is full; these are the bytes.
    Full(Vec<u8>),
    /// The pipe is full, and the caller is the loop, which alone empties it; these are the bytes.
    /// [`PipeWriter::send`] would wait for ever.
    OnLoop(Vec<u8>),
}

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the response is over",
            Self::Full(_) => "the pipe is full",
            Self::OnLoop(_) => {
                "the pipe is full, and only this thread empties it: send from another thread"
            }
        })
    }
}

impl fmt::Debug for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Closed"),
            Self::Full(piece) => write!(f, "Full({} bytes)", piece.len()),
            Self::OnLoop(piece) => write!(f, "OnLoop({} bytes)", piece.len()),
        }
    }
}

impl std::error::Error for PipeError {}

impl From<PipeError> for io::Error {
    fn from(error: PipeError) -> Self {
        let kind = match &error {
            PipeError::Closed => io::ErrorKind::BrokenPipe,
            PipeError::Full(_) => io::ErrorKind::WouldBlock,
            PipeError::OnLoop(_) => io::ErrorKind::Deadlock,
        };
        Self::new(kind, error)
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
    end: Option<Fill>,
    reader_gone: bool,
    /// The loop waits for bytes.
    waiting: Option<BodyWaker>,
    draining: bool,
}

impl Shared {
    /// Locks also after a panic: a thread that panicked with the lock left whole pieces behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn is_full(&self, state: &State) -> bool {
        !state.reader_gone && state.bytes > 0 && state.bytes >= self.capacity
    }
}

impl Pipe {
    /// Makes a pipe that takes a piece while it holds less than `capacity` bytes. A piece may be of
    /// any size, so that the pipe holds up to one piece more than that.
    pub fn new(capacity: usize) -> (PipeWriter, Self) {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            room: Condvar::new(),
            capacity,
        });
        let writer = PipeWriter {
            shared: Arc::clone(&shared),
        };
        (writer, Self { shared })
    }
}

impl Source for Pipe {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        let mut state = self.shared.lock();
        state.draining = context.draining();
        while out.len() < FILL
            && let Some(piece) = state.pieces.pop_front()
        {
            state.bytes -= piece.len();
            out.extend_from_slice(&piece);
        }
        self.shared.room.notify_all();
        if !state.pieces.is_empty() {
            return Fill::More;
        }
        state.end.clone().unwrap_or_else(|| {
            state.waiting = Some(context.waker());
            Fill::Pending
        })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_gone = true;
        state.pieces.clear();
        self.shared.room.notify_all();
    }
}

impl PipeWriter {
    /// Writes a piece; blocks while the pipe is full.
    ///
    /// # Errors
    ///
    /// [`PipeError::Closed`]: the response is over. [`PipeError::OnLoop`]: the pipe is full, and the
    /// caller is a handler, or something else on the loop's thread, which alone empties the pipe.
    pub fn send(&self, piece: impl Into<Vec<u8>>) -> Result<(), PipeError> {
        let mut state = self.shared.lock();
        while self.shared.is_full(&state) {
            if is_turning() {
                return Err(PipeError::OnLoop(piece.into()));
            }
            state = self
                .shared
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Self::put(state, piece.into())
    }

    /// Writes a piece if there is room.
    ///
    /// # Errors
    ///
    /// [`PipeError::Closed`]: the response is over. [`PipeError::Full`]: there is no room.
    pub fn try_send(&self, piece: impl Into<Vec<u8>>) -> Result<(), PipeError> {
        let state = self.shared.lock();
        if self.shared.is_full(&state) {
            return Err(PipeError::Full(piece.into()));
        }
        Self::put(state, piece.into())
    }

    /// Ends the body as [`Fill::Failed`] does: the rest cannot be made.
    pub fn fail(self) {
        self.end(Fill::Failed);
    }

    /// Returns whether the server has been told to stop, as far as the loop has told the pipe. A
    /// stream without an end should end now.
    pub fn draining(&self) -> bool {
        let state = self.shared.lock();
        state.draining || state.waiting.as_ref().is_some_and(BodyWaker::draining)
    }

    fn put(mut state: MutexGuard<'_, State>, piece: Vec<u8>) -> Result<(), PipeError> {
        if state.reader_gone {
            return Err(PipeError::Closed);
        }
        if piece.is_empty() {
            return Ok(());
        }
        state.bytes += piece.len();
        state.pieces.push_back(piece);
        if let Some(waker) = state.waiting.take() {
            drop(state);
            waker.wake();
        }
        Ok(())
    }

    /// Ends the body after what was written, as dropping the writer does.
    #[cfg(feature = "websocket")]
    pub(crate) fn finish(&self) {
        self.end(Fill::Done);
    }

    fn end(&self, end: Fill) {
        let mut state = self.shared.lock();
        state.end.get_or_insert(end);
        if let Some(waker) = state.waiting.take() {
            drop(state);
            waker.wake();
        }
    }
}

/// For what writes to a writer: a serializer, a compressor, [`io::copy`]. A write blocks as
/// [`PipeWriter::send`] does; after the response is over it fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). Each write is a piece, so a
/// [`BufWriter`](io::BufWriter) should gather small ones. A writer that cannot go on calls
/// [`PipeWriter::fail`]: dropping the writer ends the body as a complete one.
impl io::Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: a written piece is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        // The body of a writer that panicked is not complete, and must not look so.
        self.end(if thread::panicking() {
            Fill::Failed
        } else {
            Fill::Done
        });
    }
}

/// How many bytes one call takes from a pipe, so that one response does not hold the loop.
const FILL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::inbox::Inbox;
    use crate::app::turning::Turning;
    use crate::tracker::ConnId;

    fn fill(pipe: &mut Pipe, inbox: &Inbox) -> (Vec<u8>, Fill) {
        let mut out = Vec::new();
        let context = inbox.context(ConnId::from_bits(0), 1);
        let fill = pipe.fill(&mut out, &context);
        (out, fill)
    }

    fn inbox() -> Inbox {
        Inbox::new(Arc::new(|| {}))
    }

    #[test]
    fn pieces_come_in_order_and_the_end_after_them() {
        let inbox = inbox();
        let (writer, mut pipe) = Pipe::new(100);
        assert_eq!(fill(&mut pipe, &inbox), (vec![], Fill::Pending));
        writer.send("one ").unwrap();
        writer.send("two").unwrap();
        assert!(inbox.open(), "the loop was not woken");
        assert_eq!(
            fill(&mut pipe, &inbox),
            (b"one two".to_vec(), Fill::Pending)
        );
        writer.send("!").unwrap();
        drop(writer);
        assert_eq!(fill(&mut pipe, &inbox), (b"!".to_vec(), Fill::Done));
    }

    #[test]
    fn a_full_pipe_says_so_and_a_waiting_writer_goes_on() {
        let inbox = inbox();
        let (writer, mut pipe) = Pipe::new(4);
        writer.try_send("12345").unwrap();
        assert_eq!(writer.try_send("6"), Err(PipeError::Full(b"6".to_vec())));
        let thread = thread::spawn(move || writer.send("7"));
        let mut all = Vec::new();
        loop {
            let (piece, fill) = fill(&mut pipe, &inbox);
            all.extend_from_slice(&piece);
            if fill == Fill::Done {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(thread.join().unwrap(), Ok(()));
        assert_eq!(all, b"123457");
    }

    #[test]
    fn a_full_pipe_does_not_make_the_loop_wait_for_itself() {
        let inbox = inbox();
        let (writer, mut pipe) = Pipe::new(4);
        let turning = Turning::begin(1);
        writer.send("12345").unwrap();
        assert_eq!(writer.send("6"), Err(PipeError::OnLoop(b"6".to_vec())));
        drop(turning);
        assert_eq!(fill(&mut pipe, &inbox).0, b"12345");
        writer.send("6").unwrap();
    }

    #[test]
    fn it_is_a_writer() {
        use std::io::Write;
        let inbox = inbox();
        let (mut writer, mut pipe) = Pipe::new(100);
        write!(writer, "{} ", 1).unwrap();
        writer.flush().unwrap();
        assert_eq!(io::copy(&mut &b"two"[..], &mut writer).unwrap(), 3);
        assert_eq!(fill(&mut pipe, &inbox), (b"1 two".to_vec(), Fill::Pending));
        drop(pipe);
        let error = writer.write_all(b"more").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_did_not_fit_is_not_in_a_log() {
        let full = PipeError::Full(vec![b'x'; 5]);
        assert_eq!(format!("{full:?}"), "Full(5 bytes)");
        assert_eq!(io::Error::from(full).kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_writer_whose_reader_is_gone_is_told() {
        let (writer, pipe) = Pipe::new(1);
        writer.send("held").unwrap();
        let thread = thread::spawn(move || writer.send("blocked"));
        drop(pipe);
        assert_eq!(thread.join().unwrap(), Err(PipeError::Closed));
    }

    #[test]
    fn a_writer_that_panics_fails_the_body() {
        let inbox = inbox();
        let (writer, mut pipe) = Pipe::new(10);
        let thread = thread::spawn(move || {
            writer.send("part").unwrap();
            panic!("a panic that the test wants");
        });
        assert!(thread.join().is_err());
        assert_eq!(fill(&mut pipe, &inbox), (b"part".to_vec(), Fill::Failed));
    }

    #[test]
    fn a_failed_pipe_fails_after_its_bytes() {
        let inbox = inbox();
        let (writer, mut pipe) = Pipe::new(10);
        writer.send("part").unwrap();
        writer.fail();
        assert_eq!(fill(&mut pipe, &inbox), (b"part".to_vec(), Fill::Failed));
    }
}
