//! Out of descriptors: a server that may open few files.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::support::served::{self, Served};
use super::{Kind, connect, stop};

/// How many say nothing: several times what there is room for.
const SILENT: usize = 150;

/// A command that may open so many files.
fn cramped(files: u32, flags: &[&str]) -> Served {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -n {files}; exec "$0" "$@""#)]);
    command.arg(served::command());
    command.args(["serve", "--listen", "127.0.0.1:0", "--report", "json"]);
    command.args(flags);
    Served::launch_and_wait(command, 1)
}

#[test]
fn without_descriptors_the_kind_are_served_and_the_silent_make_room() {
    // More connections than files: it runs out of them for good, and accept says so.
    let flags = ["--max-connections", "1000", "--head-timeout", "1s"];
    let log = crowd_out(&cramped(64, &flags));
    let waits = log.iter().filter(|line| line.contains("waits for room"));
    // Once a time, however often it tries.
    assert!((1..=20).contains(&waits.count()), "{log:#?}");
}

#[test]
fn the_limit_of_connections_leaves_descriptors_for_the_rest() {
    // 64 are left for the rest.
    let log = crowd_out(&cramped(128, &["--head-timeout", "1s"]));
    let waits = log.iter().find(|line| line.contains("waits for room"));
    assert_eq!(waits, None, "it did not come to that");
}

/// More silent ones than there is room for, beside a kind one that is in and others that come.
fn crowd_out(served: &Served) -> Vec<String> {
    let mut kind = Kind::new(served.addr());
    kind.is_served();
    let begun = Instant::now();
    let silent: Vec<_> = (0..SILENT).map(|_| connect(served.addr())).collect();
    while begun.elapsed() < Duration::from_millis(800) {
        kind.is_served_on_the_kept();
    }
    // Whoever comes now waits behind all of them, each lot for a second, and is served.
    let (before, waits) = (cpu_ticks(served.pid()), Instant::now());
    kind.is_served();
    let (ticks, took) = (cpu_ticks(served.pid()) - before, waits.elapsed());
    // A hundred ticks are a second. A loop that spins would use them all.
    let busy = ticks as f64 / 100.0 / took.as_secs_f64();
    println!("the new one waited {took:?}, and the loop was busy for {busy:.2} of it");
    assert!(took > Duration::from_millis(500), "there was room for all");
    assert!(busy < 0.5, "it spins");
    drop((silent, kind));
    let log = served.log().lines();
    assert!(stop(served) > SILENT as i64);
    log
}

/// The time that a process has used, in hundredths of a second.
fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let numbers = after_name.split(' ').skip(11).take(2);
    numbers.map(|n| n.parse::<u64>().expect("a number")).sum()
}
