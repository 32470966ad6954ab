//! The command under a supervisor: what it says to one, the sockets it takes from one, and its life
//! as process 1.
//!
//! The supervisor is played by the test: it holds the socket that `NOTIFY_SOCKET` names, and the
//! listeners. Knows nothing of how the command does it.

mod activation;
mod notify;
mod process_one;
use ebbtide_lab::command as support;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use support::served::command;

/// `ebbtide serve` with these flags, started by a shell that does `first` before it becomes the
/// command: in it, `$$` is the process id that the command will have.
fn after(first: &str, flags: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{first}; exec \"$0\" serve \"$@\"")])
        .arg(command())
        .args(flags);
    shell
}

/// A directory of the test's own, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ebbtide-{}-{n}", id()));
        fs::create_dir(&dir).expect("a directory of our own");
        Self(dir)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is only temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}
