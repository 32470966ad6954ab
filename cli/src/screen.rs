//! Writes stderr: lines that stay and, while a person at a terminal watches a drain, a live line
//! below them.
//!
//! All output on stderr goes through this module, so that lines do not mix. A terminal that cannot
//! erase a line (`TERM=dumb`, or no name) gets plain lines, like a file.
//!
//! A server must not wait for a reader: a pipe may be full, and Ctrl-S stops a terminal. A thread
//! therefore writes ([`start`]), from a bounded queue. Lines that do not fit are lost, and a line
//! counts them.

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use terminal_size::{Width, terminal_size_of};

use super::shown::one_line;

/// The end of stderr, once the queue is written.
#[derive(Debug)]
struct Screen {
    /// Stderr can rewrite lines.
    rewrites: bool,
    /// The live line, without its end; empty for none.
    line: String,
    /// The live line has ended for good.
    closed: bool,
    /// The queue of the thread; none while there is no thread.
    queue: Option<Queue>,
}

/// The text to write, in order.
#[derive(Debug, Default)]
struct Queue {
    /// Each text is one write, so that no line of another process comes into it.
    waiting: VecDeque<Vec<u8>>,
    /// Bytes in the queue, with the text that is being written.
    bytes: usize,
    /// Lines lost since the last one that fitted.
    lost: usize,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    rewrites: false,
    line: String::new(),
    closed: false,
    queue: None,
});

/// Signals that there is text to write, or that it was written.
static CHANGED: Condvar = Condvar::new();

/// Finds out what stderr is, and returns whether lines can be rewritten there.
pub(super) fn open() -> bool {
    let rewrites = io::stderr().is_terminal() && obeys();
    lock().rewrites = rewrites;
    rewrites
}

/// Returns whether the terminal obeys more than the end of a line.
pub(super) fn obeys() -> bool {
    let term = env::var_os("TERM").unwrap_or_default();
    !term.is_empty() && term != "dumb"
}

/// Starts the thread. No other thread then waits for a reader.
///
/// # Errors
///
/// The system cannot start a thread.
pub(super) fn start() -> io::Result<()> {
    thread::Builder::new().name("stderr".into()).spawn(run)?;
    lock().queue.get_or_insert_default();
    Ok(())
}

/// Writes whole lines of the log above the live line. A full queue loses them.
pub(super) fn write(lines: &[u8]) {
    lock().write(lines);
}

/// Writes a line that is never lost. The process writes a few of these in its life.
pub(super) fn say(line: &str) {
    lock().say(format!("{}\n", one_line(line)).as_bytes());
}

/// Replaces the live line. The text must be no longer than [`width`].
pub(super) fn draw(line: &str) {
    lock().draw(line);
}

/// Erases the live line, and draws no other.
pub(super) fn close() {
    lock().close();
}

/// Waits until everything is written, for a bounded time.
pub(super) fn finish(within: Duration) {
    let waits = |screen: &mut Screen| screen.queue.as_ref().is_some_and(|queue| queue.bytes > 0);
    // A poisoned lock is no reason to stop: the process ends here.
    let _ = CHANGED.wait_timeout_while(lock(), within, waits);
}

impl Screen {
    fn write(&mut self, lines: &[u8]) {
        match &mut self.queue {
            // A gap goes on until the thread has made room and counted it. An empty queue has room.
            Some(queue)
                if queue.bytes > 0 && (queue.lost > 0 || queue.bytes + lines.len() > MOST) =>
            {
                queue.lost += lines.iter().filter(|byte| **byte == b'\n').count();
            }
            _ => self.add(lines),
        }
    }

    fn say(&mut self, lines: &[u8]) {
        self.own_up();
        self.add(lines);
    }

    fn draw(&mut self, line: &str) {
        // A line behind others would be old when it is seen; another comes soon.
        let waits = self.queue.as_ref().is_some_and(|queue| queue.bytes > 0);
        if self.rewrites && !self.closed && !waits {
            line.clone_into(&mut self.line);
            // Erasing behind the new text avoids the flicker of erasing first.
            self.put([b"\r", line.as_bytes(), ERASE_REST].concat());
        }
    }

    fn close(&mut self) {
        self.closed = true;
        if !self.line.is_empty() {
            self.line.clear();
            self.put(ERASE.to_vec());
        }
    }

    /// Writes how many lines were lost, if any were.
    fn own_up(&mut self) {
        let lost = self.queue.as_mut().map(|queue| mem::take(&mut queue.lost));
        if let Some(lost @ 1..) = lost {
            let line = format!("ebbtide: {lost} lines are missing here: nobody read stderr\n");
            self.add(line.as_bytes());
        }
    }

    /// Puts lines above the live line.
    fn add(&mut self, lines: &[u8]) {
        let mut bytes = Vec::with_capacity(ERASE.len() + lines.len() + self.line.len());
        if self.rewrites {
            // The row may also show the echo of Ctrl-C.
            bytes.extend_from_slice(ERASE);
        }
        bytes.extend_from_slice(lines);
        bytes.extend_from_slice(self.line.as_bytes());
        self.put(bytes);
    }

    fn put(&mut self, bytes: Vec<u8>) {
        match &mut self.queue {
            Some(queue) => {
                queue.bytes += bytes.len();
                queue.waiting.push_back(bytes);
                CHANGED.notify_all();
            }
            None => write_out(&bytes),
        }
    }

    /// Returns the text to write next.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.queue.as_mut()?.waiting.pop_front()
    }

    /// Takes note of written bytes. Lines are lost until the queue is half empty: the log then has
    /// one gap, not a hundred.
    fn written(&mut self, length: usize) {
        if let Some(queue) = &mut self.queue {
            queue.bytes -= length;
            if queue.bytes <= MOST / 2 {
                self.own_up();
            }
        }
    }
}

/// Runs the thread, which holds no lock while it writes.
fn run() {
    let mut screen = lock();
    loop {
        match screen.next() {
            Some(bytes) => {
                drop(screen);
                write_out(&bytes);
                screen = lock();
                screen.written(bytes.len());
                CHANGED.notify_all();
            }
            None => screen = CHANGED.wait(screen).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Returns the length of a line that can still be erased, before the line wraps. The terminal's own
/// echo of Ctrl-C has room behind it.
pub(super) fn width() -> usize {
    let size = terminal_size_of(io::stderr());
    let columns = size.map_or(USUAL_WIDTH, |(Width(columns), _)| columns);
    usize::from(columns).saturating_sub("^C".len() + 1)
}

/// Writes, and ignores errors, because no other output is left.
fn write_out(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

fn lock() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes back to the left, and erases from there (ECMA-48: CR, EL).
const ERASE: &[u8] = b"\r\x1b[K";
const ERASE_REST: &[u8] = b"\x1b[K";

/// Bytes that the queue holds: some ten thousand lines, and little beside the connections of a
/// server that writes as much.
const MOST: usize = 1 << 20;

/// The columns of a terminal that does not tell its width.
const USUAL_WIDTH: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen {
            rewrites: false,
            line: String::new(),
            closed: false,
            queue: Some(Queue::default()),
        }
    }

    /// Returns what the thread would write next.
    fn next(screen: &mut Screen) -> String {
        let bytes = screen.next().unwrap();
        screen.written(bytes.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_lost_is_counted() {
        const LINE: &str = "a line of the log that is as long as a line of the log can be\n";
        let mut screen = screen();
        let room = MOST / LINE.len();
        for _ in 0..room + 7 {
            screen.write(LINE.as_bytes());
        }
        // The gap goes on until half is written; a short line does not pass it.
        for left in (MOST / 2 / LINE.len() + 1..room).rev() {
            assert_eq!(next(&mut screen), LINE);
            screen.write(b"x\n");
            assert_eq!(screen.queue.as_ref().unwrap().waiting.len(), left);
        }
        let lost = 7 + room - MOST / 2 / LINE.len() - 1;
        assert_eq!(next(&mut screen), LINE);
        screen.write(b"y\n");
        for _ in 0..MOST / 2 / LINE.len() {
            assert_eq!(next(&mut screen), LINE);
        }
        let gap = format!("ebbtide: {lost} lines are missing here: nobody read stderr\n");
        assert_eq!(next(&mut screen), gap);
        assert_eq!(next(&mut screen), "y\n");
        assert_eq!(screen.next(), None);
        assert_eq!(screen.queue.unwrap().bytes, 0);
    }

    #[test]
    fn what_is_said_once_is_not_lost_and_stands_behind_the_gap() {
        let mut screen = screen();
        screen.write(&vec![b'\n'; MOST]);
        screen.write(b"lost\nas well\n");
        screen.say(b"drained\n");
        assert_eq!(next(&mut screen).len(), MOST);
        let gap = "ebbtide: 2 lines are missing here: nobody read stderr\n";
        assert_eq!(next(&mut screen), gap);
        assert_eq!(next(&mut screen), "drained\n");
    }

    #[test]
    fn the_line_that_is_rewritten_waits_for_nobody() {
        let mut screen = Screen {
            rewrites: true,
            ..screen()
        };
        screen.draw("one");
        screen.draw("two"); // the first was not written yet
        assert_eq!(next(&mut screen), "\rone\x1b[K");
        screen.write(b"log\n");
        screen.draw("three");
        screen.close();
        assert_eq!(next(&mut screen), "\r\x1b[Klog\none");
        assert_eq!(next(&mut screen), "\r\x1b[K");
        assert_eq!(screen.next(), None);
    }
}
