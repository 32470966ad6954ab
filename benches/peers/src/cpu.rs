//! Affinity, CPU time and memory of processes.
//!
//! Knows no servers.

use std::fs;
use std::io;
use std::process::{self, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// The two processors of a run: the same one on a machine with a single processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) client: usize,
    pub(crate) server: usize,
}

impl Cpus {
    /// Returns the first and the last processor that this process may use.
    pub(crate) fn find() -> io::Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let mut allowed = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false));
        let client = allowed.next().unwrap_or(0);
        let server = allowed.next_back().unwrap_or(client);
        Ok(Self { client, server })
    }
}

/// Pins this thread, and processes it starts from now on, to one processor.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Sets the policy SCHED_BATCH for this process and its children; returns whether that worked.
///
/// A waking process then does not interrupt a running one: client and server take turns on one
/// processor.
pub(crate) fn take_turns() -> bool {
    Command::new("chrt")
        .args(["--batch", "--pid", "0", &process::id().to_string()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Returns a process and its living descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(pid)?))
        })
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        let of = tree[next];
        tree.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == of)
                .map(|(pid, _)| pid),
        );
        next += 1;
    }
    tree
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may itself contain some.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the CPU time of these processes, user and system, to the nanosecond.
pub(crate) fn spent(pids: &[u32]) -> Duration {
    let clock = |pid: &u32| {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(*pid).ok()?)).ok()?;
        clock.now().ok().map(Duration::from)
    };
    pids.iter().filter_map(clock).sum()
}

/// Returns the CPU time of all children that this process has waited for.
pub(crate) fn spent_by_exited() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Duration::ZERO;
    };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// Returns the memory of these processes in bytes (PSS: a shared page counts by its share).
pub(crate) fn memory(pids: &[u32]) -> u64 {
    let pss = |pid: &u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    pids.iter().filter_map(pss).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_its_tree_and_has_spent_time_and_memory() {
        let this = process::id();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let tree = tree(this);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.contains(&this) && tree.contains(&child.id()));
        assert!(spent(&[this]) > Duration::ZERO);
        assert!(memory(&[this]) > 100_000);
    }
}
