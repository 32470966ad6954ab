//! slowhttptest, the tool that others try servers with, in its four modes.
//!
//! Where it is missing the test says so and is over: `.ci/run` installs it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use super::{serve, stop};

/// Connections of each mode, and for how many seconds.
const CONNECTIONS: &str = "400";
const SECONDS: &str = "8";

/// A mode: its flags, and the path and the flags of the server.
struct Mode {
    name: &'static str,
    flags: &'static [&'static str],
    path: &'static str,
    server: &'static [&'static str],
    /// Whether the tool must have seen that the server ended all of them. (Of a reset it hears
    /// only behind what it reads five bytes at a time.)
    ended: bool,
}

const MODES: &[Mode] = &[
    Mode {
        name: "slow headers",
        flags: &["-H", "-i", "1", "-x", "8"],
        path: "/plaintext",
        server: &["--head-timeout", "2s"],
        ended: true,
    },
    Mode {
        name: "slow body",
        flags: &["-B", "-i", "1", "-x", "8", "-s", "100000"],
        path: "/echo",
        server: &["--body-timeout", "2s"],
        ended: true,
    },
    Mode {
        name: "slow read",
        flags: &["-X", "-n", "1", "-w", "1", "-y", "512", "-z", "5"],
        path: "/bytes/300000",
        server: &["--write-timeout", "5s"],
        ended: false,
    },
    Mode {
        name: "ranges",
        flags: &["-R", "-a", "1", "-b", "3000", "-t", "HEAD"],
        path: "/bytes/300000",
        server: &[],
        ended: false,
    },
];

#[test]
fn it_never_finds_the_service_unavailable() {
    let found = Command::new("slowhttptest")
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        println!("SKIPPED: there is no slowhttptest; apt-get install slowhttptest");
        return;
    }
    thread::scope(|scope| {
        for mode in MODES {
            scope.spawn(|| run(mode));
        }
    });
}

fn run(mode: &Mode) {
    let served = serve(mode.server);
    let prefix = report_file(mode);
    let output = Command::new("slowhttptest")
        .args(["-c", CONNECTIONS, "-r", "200", "-l", SECONDS, "-p", "5"])
        .args(mode.flags)
        .args(["-u", &format!("http://{}{}", served.addr(), mode.path)])
        .args(["-g", "-o"])
        .arg(&prefix)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let table = fs::read_to_string(prefix.with_extension("csv"));
    let table = table.unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    for extension in ["csv", "html"] {
        let _ = fs::remove_file(prefix.with_extension(extension));
    }
    // Seconds, closed, pending, connected, and the connections again where its probe was answered.
    let rows = table.lines().skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(',').collect()).collect();
    let available = rows.iter().filter(|row| row[4] == CONNECTIONS).count();
    println!(
        "slowhttptest, {}: available in {available} of {} seconds",
        mode.name,
        rows.len()
    );
    assert!(rows.len() >= 2, "{}: {table}\n{said}", mode.name);
    assert_eq!(available, rows.len(), "{}:\n{table}", mode.name);
    if mode.ended {
        let ended = said.contains("No open connections left");
        assert!(ended, "{}:\n{said}", mode.name);
    }
    stop(&served);
}

/// Where it writes, without the ending that it adds.
fn report_file(mode: &Mode) -> PathBuf {
    let name = format!("slowhttptest-{}", mode.name.replace(' ', "-"));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
