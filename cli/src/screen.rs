//! Stderr: lines that stay and, while a person at a terminal watches a drain, one below them that is
//! rewritten in place.
//!
//! Whatever the command writes there goes through here, so that no line is written into another. A
//! terminal that cannot erase a line (`TERM=dumb`, or none named) is written to like a file.
//!
//! A server does not wait for who reads: a pipe may be full, and Ctrl-S stops a terminal. So a
//! thread writes ([`start`]), and what waits for it is bounded. What does not fit is lost, and a
//! line says how much that was.
//!
//! Knows nothing of what is written.

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use terminal_size::{Width, terminal_size_of};

/// What is at the end of stderr, once all that waits is written.
#[derive(Debug)]
struct Screen {
    /// Lines can be rewritten here.
    rewrites: bool,
    /// The line that is, without its end; empty for none.
    line: String,
    /// Nothing is to be rewritten any more.
    closed: bool,
    /// What waits for the thread; none while there is no thread.
    queue: Option<Queue>,
}

/// What is to be written, in order.
#[derive(Debug, Default)]
struct Queue {
    /// Each is one write, so that another process's lines do not come into it.
    waiting: VecDeque<Vec<u8>>,
    /// How many bytes these are, with the one that is being written.
    bytes: usize,
    /// How many lines did not fit since the last that did.
    lost: usize,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    rewrites: false,
    line: String::new(),
    closed: false,
    queue: None,
});

/// There is something to write, or it was written.
static CHANGED: Condvar = Condvar::new();

/// Looks what stderr is, and says whether lines can be rewritten there: a server that goes on for
/// some time has something to show in one. Until then it is written to like a file.
pub(super) fn open() -> bool {
    let rewrites = io::stderr().is_terminal() && obeys();
    lock().rewrites = rewrites;
    rewrites
}

/// Whether a terminal of this kind obeys more than the end of a line.
pub(super) fn obeys() -> bool {
    let term = env::var_os("TERM").unwrap_or_default();
    !term.is_empty() && term != "dumb"
}

/// Starts the thread: from now on nobody else waits for who reads.
///
/// # Errors
///
/// The system cannot start a thread.
pub(super) fn start() -> io::Result<()> {
    thread::Builder::new().name("stderr".into()).spawn(run)?;
    lock().queue.get_or_insert_default();
    Ok(())
}

/// Writes lines of the log, whole, above the one that is rewritten. With too many before them they
/// are lost.
pub(super) fn write(lines: &[u8]) {
    lock().write(lines);
}

/// Writes a line that is said once, and never loses it: at most a few in the life of the process.
pub(super) fn say(line: &str) {
    lock().say(format!("{line}\n").as_bytes());
}

/// Writes this in the place of the line that is rewritten. It must be no longer than [`width`].
pub(super) fn draw(line: &str) {
    lock().draw(line);
}

/// Erases the line that is rewritten, and draws no other.
pub(super) fn close() {
    lock().close();
}

/// Waits until everything is written, for so long.
pub(super) fn finish(within: Duration) {
    let waits = |screen: &mut Screen| screen.queue.as_ref().is_some_and(|queue| queue.bytes > 0);
    // Poisoned or not, it ends here.
    let _ = CHANGED.wait_timeout_while(lock(), within, waits);
}

impl Screen {
    fn write(&mut self, lines: &[u8]) {
        match &mut self.queue {
            // A gap goes on until the thread has made room and told of it. Where nothing waits there
            // is none to make.
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
        // Where something waits already it would only be old when it is seen; another comes soon.
        let waits = self.queue.as_ref().is_some_and(|queue| queue.bytes > 0);
        if self.rewrites && !self.closed && !waits {
            line.clone_into(&mut self.line);
            // Erased behind the new text and not before it, or it would flicker.
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

    /// Says how many lines were lost, if any were.
    fn own_up(&mut self) {
        let lost = self.queue.as_mut().map(|queue| mem::take(&mut queue.lost));
        if let Some(lost @ 1..) = lost {
            let line = format!("ebbtide: {lost} lines are missing here: nobody read stderr\n");
            self.add(line.as_bytes());
        }
    }

    /// Puts lines above the one that is rewritten.
    fn add(&mut self, lines: &[u8]) {
        let mut bytes = Vec::with_capacity(ERASE.len() + lines.len() + self.line.len());
        if self.rewrites {
            // What is there may also be the echo of Ctrl-C.
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

    /// What to write next.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.queue.as_mut()?.waiting.pop_front()
    }

    /// So many bytes were written. Lines are lost until there is room for many again: the log has
    /// then one gap and not a hundred.
    fn written(&mut self, length: usize) {
        if let Some(queue) = &mut self.queue {
            queue.bytes -= length;
            if queue.bytes <= MOST / 2 {
                self.own_up();
            }
        }
    }
}

/// The thread. Nothing is locked while it writes.
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

/// How long a line may be and still be erased: what is wrapped cannot be. The terminal's own echo
/// of Ctrl-C has room behind it.
pub(super) fn width() -> usize {
    let size = terminal_size_of(io::stderr());
    let columns = size.map_or(USUAL_WIDTH, |(Width(columns), _)| columns);
    usize::from(columns).saturating_sub("^C".len() + 1)
}

/// Where nobody reads any more there is nothing to be done about it.
fn write_out(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

fn lock() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Back to the left, and erase from there (ECMA-48: CR, EL).
const ERASE: &[u8] = b"\r\x1b[K";
const ERASE_REST: &[u8] = b"\x1b[K";

/// How many bytes may wait: some ten thousand lines, and little beside the connections of a server
/// that writes so many.
const MOST: usize = 1 << 20;

/// The columns of a terminal that does not say.
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

    /// What the thread would write next.
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
        // The gap goes on until half is written; nothing comes through it by being short.
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
