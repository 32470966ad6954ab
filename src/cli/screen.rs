//! Stderr: lines that stay and, while a person at a terminal watches a drain, one below them that is
//! rewritten in place.
//!
//! Whatever the command writes there goes through here, so that no line is written into another. A
//! terminal that cannot erase a line (`TERM=dumb`, or none named) is written to like a file.
//!
//! Knows nothing of what is written.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use terminal_size::{Width, terminal_size_of};

/// What is at the end of stderr.
#[derive(Debug)]
struct Screen {
    /// Lines can be rewritten here.
    rewrites: bool,
    /// The line that is, without its end; empty for none.
    line: String,
    /// Nothing is to be rewritten any more.
    closed: bool,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    rewrites: false,
    line: String::new(),
    closed: false,
});

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

/// Writes what stays: whole lines, above the one that is rewritten.
pub(super) fn write(lines: &[u8]) {
    let screen = lock();
    let mut bytes = Vec::with_capacity(ERASE.len() + lines.len() + screen.line.len());
    if screen.rewrites {
        // What is there may also be the echo of Ctrl-C.
        bytes.extend_from_slice(ERASE);
    }
    bytes.extend_from_slice(lines);
    bytes.extend_from_slice(screen.line.as_bytes());
    put(&bytes);
}

/// Writes this in the place of the line that is rewritten. It must be no longer than [`width`].
pub(super) fn draw(line: &str) {
    let mut screen = lock();
    if screen.rewrites && !screen.closed {
        line.clone_into(&mut screen.line);
        // Erased behind the new text and not before it, or it would flicker.
        put(&[b"\r", line.as_bytes(), ERASE_REST].concat());
    }
}

/// Erases the line that is rewritten, and draws no other.
pub(super) fn close() {
    let mut screen = lock();
    screen.closed = true;
    if !screen.line.is_empty() {
        screen.line.clear();
        put(ERASE);
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
fn put(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

fn lock() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Back to the left, and erase from there (ECMA-48: CR, EL).
const ERASE: &[u8] = b"\r\x1b[K";
const ERASE_REST: &[u8] = b"\x1b[K";

/// The columns of a terminal that does not say.
const USUAL_WIDTH: u16 = 80;
