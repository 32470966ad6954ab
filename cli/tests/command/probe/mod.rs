//! `ebbtide probe`, against the command's own server and against servers that stop badly.
//!
//! The bad servers are this very program, started again: see `server`.

use ebbtide_lab::command as support;

mod bad;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::child::{Child, output};
use support::served::{Served, command, wait_refused};
use support::until;

/// Short times: the probe waits for a bad server until the deadline.
const SMALL: &[&str] = &[
    "--settle=40ms",
    "--pause=80ms",
    "--deadline=800ms",
    "--connections=3",
    "--slow-path=/slow",
    "--stream-path=/stream",
    "--upload-path=/upload",
];

/// Runs the server that the other tests start, when the environment says how bad it is.
#[test]
#[ignore = "a server for the other tests"]
fn server() {
    if let Ok(how) = env::var(bad::HOW) {
        bad::serve(&how);
    }
}

#[test]
fn the_own_server_loses_nothing() {
    let picture = temporary("own.svg");
    let output = probe(&[
        "--json",
        "--connections=4",
        "--deadline=20s",
        "--slow-path=/delay/1500",
        "--stream-path=/stream/30/50",
        "--timeline",
        picture.to_str().expect("text"),
    ]);
    let report = Found::parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:?}");
    assert_eq!(report.0["ok"], true);
    assert_eq!(
        (&report.0["lost"], &report.0["torn"]),
        (&0.into(), &0.into())
    );
    let expected = [
        ("empty", ""),
        ("fresh", "fin"),
        ("idle", "fin"),
        ("unread", "answered-with-close"),
        ("half-head", "answered-with-close"),
        ("half-next-head", "answered-with-close"),
        ("half-body", "answered-with-close"),
        ("handler", "answered-with-close"),
        ("streaming", "answered-and-closed"),
        ("pipelined", "answered-in-part"),
        ("backlog", "answered-with-close"),
        ("busy", "answered-with-close"),
        ("connecting", "turned-away"),
    ];
    let states = report.0["states"].as_array().expect("an array");
    assert_eq!(states.len(), expected.len());
    for (state, saw) in expected {
        let line = report.state(state);
        assert!(matches!(level(line), "ok" | "note"), "{line:#}");
        assert_eq!(line["exit_code"], Value::Null, "not its place");
        assert_eq!(line["stop"]["exit_code"], 0, "{line:#}");
        assert!(line["stop"]["lag_ms"].as_f64().is_some(), "{line:#}");
        assert!(
            line["stop"]["listener_closed_ms"].as_f64().is_some(),
            "{line:#}"
        );
        if state != "empty" {
            assert_eq!(line["saw"][saw], 4, "{line:#}");
        }
    }
    let text = fs::read_to_string(&picture).expect("a picture");
    fs::remove_file(&picture).expect("it is there");
    assert_drawn(&text, &report);
}

#[test]
fn a_server_that_dies_at_once_loses_what_it_had() {
    let report = probe_bad("dies", &[]);
    assert_eq!(level(report.state("empty")), "note");
    assert_eq!(report.state("empty")["stop"]["exit_signal"], 15);
    assert_eq!(level(report.state("fresh")), "note");
    for state in [
        "unread",
        "half-head",
        "half-body",
        "handler",
        "pipelined",
        "backlog",
    ] {
        let line = report.state(state);
        assert_eq!(level(line), "bad", "{line:#}");
        let lost = if state == "pipelined" { 9 } else { 3 };
        assert_eq!(line["lost"], lost, "{line:#}");
        let verdict = line["verdict"].as_str().expect("text");
        assert!(
            verdict.starts_with(&format!("LOST {lost} of {lost}, ")),
            "{verdict}"
        );
    }
    let streaming = report.state("streaming");
    assert_eq!(
        (level(streaming), &streaming["torn"]),
        ("bad", &3.into()),
        "{streaming:#}"
    );
    assert_eq!(report.0["torn"], 3);
}

#[test]
fn a_server_that_hangs_is_still_there() {
    let picture = temporary("hangs.html");
    let states = "--states=empty,fresh,handler,busy";
    let report = probe_bad(
        "hangs",
        &[states, "--timeline", picture.to_str().expect("text")],
    );
    for state in ["empty", "fresh", "handler", "busy"] {
        let line = report.state(state);
        assert_eq!(level(line), "bad", "{line:#}");
        assert_eq!(line["stop"]["exit_ms"], Value::Null, "{line:#}");
        let verdict = line["verdict"].as_str().expect("text");
        assert!(verdict.contains("STILL THERE at the deadline"), "{verdict}");
    }
    assert_eq!(report.state("fresh")["saw"]["hang"], 3);
    assert_eq!(report.state("busy")["saw"]["hang"], 3);
    // The server goes on serving, and does not announce an end.
    assert_eq!(report.state("handler")["saw"]["answered-without-close"], 3);
    assert_eq!(report.0["lost"], 0);

    let text = fs::read_to_string(&picture).expect("a picture");
    fs::remove_file(&picture).expect("it is there");
    assert!(text.starts_with("<!DOCTYPE html>"));
    let (from, to) = (
        text.find("<svg").expect("an svg"),
        text.find("</svg>").expect("its end"),
    );
    let svg = &text[from..to + 6];
    assert_drawn(svg, &report);
    assert!(svg.contains(">deadline</text>"));
}

#[test]
fn a_server_that_resets_is_seen_to() {
    let report = probe_bad("resets", &["--states=idle,handler,streaming,busy"]);
    let idle = report.state("idle");
    assert_eq!(
        (level(idle), &idle["saw"]["reset"]),
        ("note", &3.into()),
        "{idle:#}"
    );
    let handler = report.state("handler");
    assert_eq!(handler["saw"]["lost-by-reset"], 3, "{handler:#}");
    assert_eq!(handler["lost"], 3, "{handler:#}");
    let streaming = report.state("streaming");
    assert_eq!(streaming["saw"]["torn"], 3, "{streaming:#}");
    assert_eq!(report.state("handler")["stop"]["exit_code"], 5);
    assert!(
        idle["verdict"]
            .as_str()
            .expect("text")
            .contains("exit code 5"),
        "{idle:#}"
    );
}

#[test]
fn a_server_that_does_not_say_close_is_told_so() {
    let report = probe_with("forgets", &["--states=handler,half-head,streaming"], 0);
    for state in ["handler", "half-head"] {
        let line = report.state(state);
        assert_eq!(level(line), "note", "{line:#}");
        // The server also goes on accepting, which only shows after the handler's time.
        let verdict = line["verdict"].as_str().expect("text");
        assert!(verdict.starts_with("3 without close"), "{verdict}");
        assert_eq!(line["saw"]["answered-without-close"], 3, "{line:#}");
    }
    // The head left before the signal, and could not announce the close.
    let line = report.state("streaming");
    assert_eq!(
        (level(line), &line["saw"]["answered-and-closed"]),
        ("note", &3.into()),
        "{line:#}"
    );
}

#[test]
fn a_refusal_is_a_response_and_no_loss() {
    let report = probe_with("refuses", &["--states=half-head,half-body"], 0);
    for state in ["half-head", "half-body"] {
        let line = report.state(state);
        assert_eq!(
            (level(line), &line["saw"]["refused"]),
            ("note", &3.into()),
            "{line:#}"
        );
        let verdict = line["verdict"].as_str().expect("text");
        assert!(verdict.starts_with("3 refused with 503"), "{verdict}");
        assert_eq!(line["lost"], 0, "{line:#}");
    }
}

#[test]
fn all_states_can_be_put_to_one_server() {
    let output = probe(&[
        "--together",
        "--json",
        "--connections=2",
        "--slow-path=/delay/1500",
    ]);
    let report = Found::parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:?}");
    let states = report.0["states"].as_array().expect("an array");
    assert_eq!(states.len(), 12, "all but empty");
    // One server has one end.
    let exit = &states[0]["stop"]["exit_ms"];
    assert!(
        states.iter().all(|line| line["stop"]["exit_ms"] == *exit),
        "{report:?}"
    );
    assert_eq!(
        report.state("backlog")["saw"]["answered-with-close"],
        2,
        "{report:?}"
    );
}

#[test]
fn a_server_that_runs_is_sent_the_signal_and_nothing_else() {
    let served = Served::start(&["--report", "json"]);
    let url = format!("http://{}", served.addr());
    let pid = served.pid().to_string();
    let args = [
        "--json",
        "--pid",
        &pid,
        "--url",
        &url,
        "--connections=2",
        "--path=/plaintext",
    ];
    let output = probe(&args);
    let found = Found::parse(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    for state in ["unread", "backlog"] {
        let verdict = found.state(state)["verdict"].as_str().expect("text");
        assert!(verdict.contains("was not started here"), "{verdict}");
    }
    assert_eq!(
        found.state("handler")["verdict"],
        "skipped: needs --slow-path"
    );
    assert_eq!(found.state("idle")["saw"]["fin"], 2, "{found:?}");
    // One signal: a second would give exit code 3.
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
}

#[test]
fn what_cannot_be_made_is_skipped_with_the_reason() {
    let flags = ["--states=handler,streaming,half-body,fresh", "--json"];
    let own = [
        &flags[..],
        &[
            "--slow-path=/plaintext",
            "--stream-path=/bytes/9",
            "--upload-path=/nowhere",
        ],
    ];
    let output = probe(&own.concat());
    let report = Found::parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:?}");
    for (state, why) in [
        ("handler", "answers after"),
        ("streaming", "in one piece"),
        ("half-body", "POST /nowhere answers 404"),
    ] {
        let line = report.state(state);
        assert_eq!(level(line), "skipped");
        let verdict = line["verdict"].as_str().expect("text");
        assert!(verdict.contains(why), "{verdict}");
    }
    assert_eq!(level(report.state("fresh")), "ok", "{report:?}");
}

#[test]
fn who_skips_every_state_has_not_probed() {
    let output = probe(&["--states=handler", "--slow-path=/plaintext"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.ends_with("\nNothing was probed; 1 state skipped.\n"),
        "{text}"
    );
}

#[test]
fn the_table_has_a_line_for_each_state_and_a_conclusion() {
    let output = probe(&["--states=fresh,idle", "--connections=2"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(output.stderr.is_empty(), "no bar where no terminal is");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name));
    let title = line("STATE").expect("titles");
    for column in ["THE CLIENTS SAW", "LISTENER", "EXIT", "LAG", "VERDICT"] {
        assert!(title.contains(column), "{title}");
    }
    for name in ["fresh ", "idle "] {
        let line = line(name).expect("a line");
        assert!(line.contains(" 2 FIN ") && line.ends_with(" ok"), "{line}");
    }
    assert!(text.ends_with("\nNothing was lost.\n"), "{text}");
}

#[test]
fn where_there_is_nothing_to_probe_one_line_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("http://{}", taken.local_addr().expect("an address"));
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "never listens",
            &["--start-timeout=300ms"],
            "nothing listens on",
        ),
        ("speaks no HTTP", &[], "it says \"SSH-2.0-x\\r\\n\""),
        (
            "says nothing",
            &["--start-timeout=300ms"],
            "no response in 300ms",
        ),
        ("closes", &[], "without a response"),
        (
            "ends early",
            &[],
            "with exit code 7; its last words: no database",
        ),
        (
            "ends before the signal",
            &["--states=fresh"],
            "with exit code 8",
        ),
        ("dies", &["--url", &taken], "already"),
    ];
    for (how, flags, expected) in cases {
        let output = run_bad(how, flags);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{how}: {said}");
        assert_eq!(said.lines().count(), 1, "{how}: {said}");
        assert!(said.starts_with("ebbtide probe: "), "{how}: {said}");
        assert!(said.contains(expected), "{how}: {said}");
        assert!(output.stdout.is_empty(), "{how}");
    }
    for (args, expected) in [
        (
            &["--", "/no/such/program"][..],
            "cannot start \"/no/such/program\"",
        ),
        (
            &["--timeline=/no/such/dir/x.svg"],
            "--timeline: /no/such/dir/x.svg",
        ),
        (
            &["--upload-file=/no/such/file"],
            "--upload-file: /no/such/file",
        ),
        (
            &["--upload-file=/dev/zero"],
            "--upload-file: /dev/zero: it is a device; a regular file is needed",
        ),
        (&["--timeline=x.png"], "neither an .svg nor an .html"),
        (&["--pid=4242"], "--url"),
        (&["--pid=4242", "--url=http://127.0.0.1:1", "x"], "--pid"),
        (
            &["--pid=4242", "--url=http://127.0.0.1:1", "--group"],
            "--group",
        ),
        (&["--url=http://127.0.0.1:1"], "--url"),
        (&["--states=asleep"], "\"asleep\""),
        (
            &["--connections=0"],
            "--connections: \"0\" is not a number from 1 to 256",
        ),
        (&["--connections", "-1"], "--connections: \"-1\" is not"),
        (&["--settle", "-1s"], "--settle: \"-1s\" is not"),
        (&["--url=https://127.0.0.1:1", "x"], "only http:// is"),
        (&["--url=http://127.0.0.1:1/x", "x"], "by --path"),
        (&["--deadline=5"], "--deadline"),
        (&["--pause=6s"], "--pause"),
        (&["--header", "A: b\r\nC: d"], "--header"),
    ] {
        let output = probe(args);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn a_process_that_does_not_listen_where_it_should_is_asked_for_its_url() {
    let url = format!("--url=http://{}", free_port());
    let pid = format!("--pid={}", std::process::id());
    let output = probe(&[&pid, &url, "--start-timeout=50ms"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let asks = "after 50ms; is --url where the process of --pid listens?";
    assert!(said.contains(asks), "{said}");
}

#[test]
fn nothing_of_the_server_is_left_behind() {
    let addr = free_port();
    let url = format!("http://{addr}");
    // The shell dies of the signal, and its child does not get it.
    let this = env::current_exe().expect("this program");
    let shell = format!("'{}' {} & wait", this.display(), bad::ARGS.join(" "));
    let output = output(
        Command::new(command())
            .args([
                "probe",
                "--states=empty",
                "--deadline=800ms",
                "--url",
                &url,
                "--",
                "sh",
                "-c",
                &shell,
            ])
            .env(bad::HOW, "hangs")
            .stdin(Stdio::null()),
    );
    let text = str::from_utf8(&output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("STILL SERVING at the deadline: "), "{text}");
    wait_refused(addr);
}

#[test]
fn a_server_that_only_its_wrapper_ended_is_still_serving() {
    let this = env::current_exe().expect("this program");
    let shell = format!("'{}' {} & wait", this.display(), bad::ARGS.join(" "));
    for flags in [&[][..], &["--together"]] {
        let output = output(
            Command::new(command())
                .args(["probe", "--json", "--states=idle,busy,connecting,handler"])
                .args(SMALL)
                .args(flags)
                .args(["--", "sh", "-c", &shell])
                .env(bad::HOW, "hangs")
                .stdin(Stdio::null()),
        );
        let report = Found::parse(&output);
        assert_eq!(output.status.code(), Some(1), "{report:?}");
        assert_eq!(report.0["lost"], 0, "{report:?}");
        for state in ["idle", "busy", "connecting", "handler"] {
            let line = report.state(state);
            assert_eq!(level(line), "bad", "{line:#}");
            assert_eq!(line["stop"]["exit_signal"], 15, "the shell's: {line:#}");
            assert_eq!(line["stop"]["still_serving"], true, "{line:#}");
            let verdict = line["verdict"].as_str().expect("text");
            assert!(verdict.contains("start it with exec"), "{verdict}");
            assert!(!verdict.contains("stayed open"), "twice: {verdict}");
        }
    }
}

#[test]
fn a_process_that_was_only_the_wrapper_is_said_to_be_none_of_the_server() {
    let addr = free_port();
    let this = env::current_exe().expect("this program");
    let server = format!("'{}' {}", this.display(), bad::ARGS.join(" "));
    let mut wrapper = Child::start(
        Command::new("sh")
            .args(["-c", &format!("{server} >&2 & echo $!; wait")])
            .env(bad::HOW, "hangs")
            .env("PORT", addr.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut pid = String::new();
    let mut said = BufReader::new(wrapper.stdout.take().expect("a pipe"));
    said.read_line(&mut pid).expect("the server's id");
    let server = Pid::from_raw(pid.trim().parse().expect("a number"));
    let url = format!("--url=http://{addr}");
    let wrapper_id = format!("--pid={}", wrapper.pid());
    let flags = [&url, &wrapper_id, "--json", "--states=idle,connecting"];
    let output = probe(&[&flags[..], SMALL].concat());
    kill(server, Signal::SIGKILL).expect("it is there");
    wrapper.finish();
    let report = Found::parse(&output);
    assert_eq!(output.status.code(), Some(1), "{report:?}");
    for state in ["idle", "connecting"] {
        let verdict = report.state(state)["verdict"].as_str().expect("text");
        assert!(verdict.contains("--pid must be its own"), "{verdict}");
    }
    wait_refused(addr);
}

#[test]
fn the_signal_reaches_the_whole_group_if_asked_to() {
    let this = env::current_exe().expect("this program");
    let shell = format!("'{}' {} & wait", this.display(), bad::ARGS.join(" "));
    for (flags, end) in [(&["--group"][..], Value::from("fin")), (&[], Value::Null)] {
        let output = output(
            Command::new(command())
                .args(["probe", "--json", "--states=handler"])
                .args(SMALL)
                .args(flags)
                .args(["--", "sh", "-c", &shell])
                .env(bad::HOW, "forgets")
                .stdin(Stdio::null()),
        );
        let report = Found::parse(&output);
        let line = report.state("handler");
        let stays = end.is_null();
        assert_eq!(output.status.code(), Some(stays.into()), "{line:#}");
        assert_eq!(line["stop"]["exit_signal"], 15, "the shell's: {line:#}");
        assert_eq!(line["stop"]["still_serving"], stays, "{line:#}");
        let clients = line["clients"].as_array().expect("an array");
        assert!(
            clients.iter().all(|client| client["end"] == end),
            "{flags:?}: {line:#}"
        );
    }
}

#[test]
fn an_interrupted_probe_takes_the_server_along() {
    let addr = free_port();
    let url = format!("http://{addr}");
    let flags = ["--deadline=50s", "--states=empty", "--url", &url];
    let child = Child::start(bad_command("hangs", &flags).stdout(Stdio::null()));
    until("a server that listens", || TcpStream::connect(addr).ok());
    child.signal(Signal::SIGINT);
    let status = child.finish().status;
    assert_eq!(
        status.code(),
        None,
        "by the signal, as a shell expects: {status:?}"
    );
    wait_refused(addr);
}

#[test]
fn help_names_every_state_and_has_examples() {
    let output = probe(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0));
    for state in STATES {
        assert!(help.contains(&format!("\n  {state} ")), "{state}: {help}");
    }
    for code in 0..=2 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code}");
    }
    assert!(
        help.matches("  ebbtide probe ").count() >= 3,
        "examples: {help}"
    );
}

const STATES: [&str; 13] = [
    "empty",
    "fresh",
    "idle",
    "unread",
    "half-head",
    "half-next-head",
    "half-body",
    "handler",
    "streaming",
    "pipelined",
    "backlog",
    "busy",
    "connecting",
];

/// The report as JSON.
#[derive(Debug)]
struct Found(Value);

impl Found {
    #[track_caller]
    fn parse(output: &Output) -> Self {
        let text = str::from_utf8(&output.stdout).expect("text");
        match serde_json::from_str(text) {
            Ok(value) => Self(value),
            Err(error) => panic!("{error}: {output:?}"),
        }
    }

    #[track_caller]
    fn state(&self, name: &str) -> &Value {
        let states = self.0["states"].as_array().expect("an array");
        let found = states.iter().find(|line| line["state"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

fn level(line: &Value) -> &str {
    line["level"].as_str().expect("text")
}

/// Asserts that the picture is well formed, and that each connection has its rows.
fn assert_drawn(svg: &str, report: &Found) {
    let document = roxmltree::Document::parse(svg).expect("well-formed");
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let titles: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("title") || node.tag_name().name() == "title")
        .filter_map(|node| node.text())
        .collect();
    for line in report.0["states"].as_array().expect("an array") {
        let name = line["state"].as_str().expect("text");
        for n in 1..=line["clients"].as_array().expect("an array").len() {
            let start = format!("{name} {n}: ");
            let named = titles.iter().filter(|title| title.starts_with(&start));
            // A connection has at least a phase and the end.
            assert!(named.count() >= 2, "{start}: {titles:#?}");
        }
    }
}

/// Probes the command's own server, or the one that the arguments name.
fn probe(args: &[&str]) -> Output {
    output(
        Command::new(command())
            .arg("probe")
            .args(args)
            .stdin(Stdio::null()),
    )
}

/// Probes a bad server, which must be found to be one.
#[track_caller]
fn probe_bad(how: &str, flags: &[&str]) -> Found {
    probe_with(how, flags, 1)
}

#[track_caller]
fn probe_with(how: &str, flags: &[&str], code: i32) -> Found {
    let output = run_bad(how, &[&["--json"], flags].concat());
    let found = Found::parse(&output);
    assert_eq!(output.status.code(), Some(code), "{found:?}");
    found
}

fn run_bad(how: &str, flags: &[&str]) -> Output {
    output(&mut bad_command(how, flags))
}

fn bad_command(how: &str, flags: &[&str]) -> Command {
    let mut probe = Command::new(command());
    probe
        .arg("probe")
        .args(SMALL)
        .args(flags)
        .arg("--")
        .arg(env::current_exe().expect("this program"))
        .args(bad::ARGS)
        .env(bad::HOW, how)
        .stdin(Stdio::null());
    // The last of equal flags counts: the flags of a test replace the short times.
    let given = |flag: &str| flags.iter().any(|given| given.starts_with(flag));
    if given("--deadline") {
        probe = without(&probe, "--deadline=800ms");
    }
    probe
}

/// Returns the same command without an argument.
fn without(command: &Command, arg: &str) -> Command {
    let mut other = Command::new(command.get_program());
    other
        .args(command.get_args().filter(|given| *given != arg))
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null());
    other
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn temporary(name: &str) -> PathBuf {
    env::temp_dir().join(format!("ebbtide-probe-{}-{name}", std::process::id()))
}
