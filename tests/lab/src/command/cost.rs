//! Memory of a process with very many connections, and room to have them, on Linux.

use std::fs;
use std::io::{self, Write};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Returns `most`, or how many connections the limit on open files allows. Raises the limit as far
/// as it goes without privileges, also for the command, and prints where it is too low.
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

/// Returns the resident anonymous memory of a process, in bytes: its heap and stacks, without the
/// pages of the program.
pub fn anonymous(pid: i32) -> usize {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|l| l.strip_prefix("Anonymous:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<usize>().unwrap() * 1024
}

/// Prints a figure past the test harness, which hides the output of tests that pass.
pub fn tell(line: &str) {
    io::stderr()
        .write_all(format!("cost: {line}\n").as_bytes())
        .unwrap();
}
