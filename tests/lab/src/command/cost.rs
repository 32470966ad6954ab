//! What is measured of a process with very many connections, and room to have them.
//!
//! Knows Linux; no requests.

use std::fs;
use std::io::{self, Write};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `most` connections, or how many the limit on open files allows, here and in the command, which
/// inherits it. Raises the limit as far as it goes without privileges, and says so where it is too
/// low.
pub fn connections(most: usize) -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let files = soft.max(hard.min(20_000));
    setrlimit(Resource::RLIMIT_NOFILE, files, hard).unwrap();
    let room = usize::try_from(files).unwrap().saturating_sub(256);
    if room < most {
        tell(&format!(
            "{room} connections instead of {most}: no more open files are allowed"
        ));
    }
    room.min(most)
}

/// The anonymous memory of a process that is resident, in bytes: its heap and stacks, without the
/// program's own pages.
pub fn anonymous(pid: i32) -> usize {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|l| l.strip_prefix("Anonymous:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<usize>().unwrap() * 1024
}

/// Prints a figure, past the test harness: a figure is worth showing when the test passes.
pub fn tell(line: &str) {
    io::stderr()
        .write_all(format!("cost: {line}\n").as_bytes())
        .unwrap();
}
