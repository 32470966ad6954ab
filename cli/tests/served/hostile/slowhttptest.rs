//! slowhttptest, a public tool of slow attacks, in its four modes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use super::support::child::Child;
use super::support::client::Client;
use super::support::served::Served;
use super::{counted, serve, stop};
use ebbtide_needs::needs;

/// Connections of a mode, and the seconds that it lasts at most.
const CONNECTIONS: i64 = 400;
const SECONDS: &str = "12";

/// Connections of the slow readers. A megabyte and more goes to each before it is blocked, and all
/// must time out before the seconds are over.
const READERS: i64 = 100;

/// The length of the file of which ranges are asked for.
const FILE: usize = 300_000;

/// A mode: the tool's flags, the path, the server's flags, and the fate of the connections.
struct Mode {
    name: &'static str,
    connections: i64,
    flags: &'static [&'static str],
    path: &'static str,
    server: &'static [&'static str],
    /// What the test does beside the tool, until the tool ends.
    meanwhile: fn(&Served, &Child),
    /// How many connections a timeout must have ended, by the server's report, and how many of
    /// these in the middle of a response.
    timed_out: i64,
    aborted: i64,
    /// Whether the tool must have seen that the server ended all connections. It notices a reset
    /// only behind bytes that it reads five at a time.
    ended: bool,
}

const MODES: &[Mode] = &[
    Mode {
        name: "slow headers",
        connections: CONNECTIONS,
        flags: &["-H", "-i", "1", "-x", "8"],
        path: "/plaintext",
        server: &["--head-timeout", "2s"],
        meanwhile: nothing,
        timed_out: CONNECTIONS,
        aborted: 0,
        ended: true,
    },
    Mode {
        name: "slow body",
        connections: CONNECTIONS,
        flags: &["-B", "-i", "1", "-x", "8", "-s", "100000"],
        path: "/echo",
        server: &["--body-timeout", "2s"],
        meanwhile: nothing,
        timed_out: CONNECTIONS,
        aborted: 0,
        ended: true,
    },
    Mode {
        name: "slow read",
        connections: READERS,
        flags: &["-X", "-n", "1", "-w", "1", "-y", "512", "-z", "5"],
        // Both kernels' buffers hold much less, so the server is left with the rest.
        path: "/bytes/50000000",
        server: &["--write-timeout", "2s"],
        meanwhile: nothing,
        timed_out: READERS,
        aborted: READERS,
        ended: false,
    },
    Mode {
        name: "ranges",
        connections: CONNECTIONS,
        // Only GET has ranges; the tool's default is HEAD.
        flags: &["-R", "-a", "1", "-b", "3000", "-t", "GET"],
        path: "/file",
        server: &["--root", ROOT],
        meanwhile: ask_for_ranges,
        timed_out: 0,
        aborted: 0,
        ended: true,
    },
];

/// The directory with the file.
const ROOT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/slowhttptest-root");

#[needs("slowhttptest", "command -v slowhttptest")]
#[test]
fn it_never_finds_the_service_unavailable() {
    let file: Vec<u8> = (0..FILE).map(byte).collect();
    fs::create_dir_all(ROOT).expect("a directory");
    fs::write(format!("{ROOT}/file"), file).expect("a file");
    thread::scope(|scope| {
        for mode in MODES {
            scope.spawn(|| run(mode));
        }
    });
}

fn run(mode: &Mode) {
    let served = serve(mode.server);
    let prefix = report_file(mode);
    let connections = mode.connections.to_string();
    let mut command = Command::new("slowhttptest");
    command
        .args(["-c", &connections, "-r", "200", "-l", SECONDS, "-p", "5"])
        .args(mode.flags)
        .args(["-u", &format!("http://{}{}", served.addr(), mode.path)])
        .args(["-g", "-o"])
        .arg(&prefix)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let tool = Child::start(&mut command);
    (mode.meanwhile)(&served, &tool);
    let output = tool.finish();
    let said = String::from_utf8_lossy(&output.stdout);
    let table = fs::read_to_string(prefix.with_extension("csv"));
    let table = table.unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    for extension in ["csv", "html"] {
        let _ = fs::remove_file(prefix.with_extension(extension));
    }
    // The columns: seconds, closed, pending, connected, and the connections again where the probe
    // was answered.
    let rows = table.lines().skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(',').collect()).collect();
    let available = rows.iter().filter(|row| row[4] == connections).count();
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
    for (name, expected) in [("timed_out", mode.timed_out), ("aborted", mode.aborted)] {
        assert_eq!(counted(&served, name), expected, "{}: {name}", mode.name);
    }
    // All requests are valid and none too long: the server read the ranges.
    assert_eq!(counted(&served, "refused"), 0, "{}", mode.name);
}

fn nothing(_: &Served, _: &Child) {}

/// Asks for as many ranges as the server honours while the tool runs. The tool's own field has a
/// range that ends before it begins, so the server ignores it and sends the whole file.
fn ask_for_ranges(served: &Served, tool: &Child) {
    let client = Client::connect(served.addr());
    let mut asked = 0;
    let mut ask = |set: &str| {
        let head = format!("GET /file HTTP/1.1\r\nHost: t.example\r\nRange: bytes={set}\r\n\r\n");
        asked += 1;
        client.exchange(asked - 1, head.as_bytes())
    };
    let one = ask("1000-1009");
    let expected: Vec<u8> = (1000..1010).map(byte).collect();
    assert_eq!((one.status, one.body), (206, expected));
    let tools: Vec<String> = (0..=3000).map(|last| format!("1-{last}")).collect();
    let whole = ask(&format!("0-,{}", tools.join(",")));
    assert_eq!((whole.status, whole.body.len()), (200, FILE));
    // Overlapping ranges of many blocks: together as long as a request may ask for.
    let many: Vec<String> = (0..16).map(|n| format!("{n}-{}", n + 18_000)).collect();
    while tool.is_running() {
        let parts = ask(&many.join(","));
        assert_eq!(parts.status, 206);
        assert!(parts.body.len() > 16 * 18_000);
    }
    assert!(asked > 3, "it was over at once");
}

/// Returns the byte of the file at a place.
const fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Returns where the tool writes, without the extension that it adds.
fn report_file(mode: &Mode) -> PathBuf {
    let name = format!("slowhttptest-{}", mode.name.replace(' ', "-"));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
