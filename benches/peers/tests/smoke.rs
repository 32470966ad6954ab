//! Runs each workload once, with a handful of connections, on every built-in server.
//!
//! The bench must build, the servers must keep its contract, and tables and plots must be written.

use std::process::Command;

#[test]
fn every_workload_runs_on_every_server_that_is_built_in() {
    let peers = [
        "floor",
        "ebbtide",
        "may_minihttp",
        "hyper",
        "axum",
        "actix-web",
        "tiny_http",
    ];
    let done = bench(&["--tiny", "--peer", &peers.join(",")]);
    let tables = done.unwrap_or_else(|said| panic!("{said}"));
    let rows = |name: &str| tables.lines().filter(|line| line.starts_with(name)).count();
    // Requests, latencies, idle connections and their drain, storms.
    assert_eq!(rows("| epoll (floor) |"), 4, "{tables}");
    assert_eq!(rows("| **ebbtide** |"), 4, "{tables}");
    if cfg!(feature = "rivals") {
        assert_eq!(rows("| hyper |"), 4, "{tables}");
    }
    let ours = tables
        .lines()
        .filter(|line| line.starts_with("| **ebbtide"));
    for row in ours {
        assert!(!row.contains('–'), "a figure is missing: {row}");
    }
    assert!(!tables.contains("\n* ebbtide"), "{tables}");
}

#[test]
fn a_server_that_does_not_come_up_is_absent_and_the_others_are_measured() {
    let also = "broken=sh -c 'echo no such thing; exit 3' {port}";
    let done = bench(&[
        "--tiny", "--work", "memory", "--peer", "epoll", "--also", also,
    ]);
    let tables = done.unwrap_or_else(|said| panic!("{said}"));
    assert!(
        tables.contains("* broken: absent: it ended at once"),
        "{tables}"
    );
    assert!(tables.contains("no such thing"), "{tables}");
    assert!(tables.contains("| epoll (floor) |"), "{tables}");
}

#[test]
fn bad_usage_is_reported() {
    assert!(bench(&["--also", "mine"]).is_err_and(|said| said.contains("NAME=COMMAND")));
    assert!(bench(&["--peer", "nobody"]).is_err_and(|said| said.contains("--list")));
}

/// Returns the standard output of the bench, or its standard error if it fails.
fn bench(args: &[&str]) -> Result<String, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_ebbtide-peers"))
        .args(args)
        .output()
        .unwrap();
    if out.status.success() {
        Ok(String::from_utf8(out.stdout).unwrap())
    } else {
        Err(String::from_utf8(out.stderr).unwrap())
    }
}
