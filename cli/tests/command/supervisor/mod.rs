//! The command under a supervisor: what it reports, the sockets it takes, and its life as process
//! 1.
//!
//! The test plays the supervisor: it holds the socket that `NOTIFY_SOCKET` names, and the
//! listeners.

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

/// Returns `ebbtide serve` with these flags. A shell runs `first` before it becomes the command;
/// `$$` there is the process id of the command.
fn after(first: &str, flags: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{first}; exec \"$0\" serve \"$@\"")])
        .arg(command())
        .args(flags);
    shell
}

/// A directory of one test, removed when dropped.
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
        // The rest stays in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
