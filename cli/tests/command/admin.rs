//! The admin listener and `ebbtide ctl`: who may ask, what they answer, and until when.

use ebbtide_lab::command as support;

use std::env::temp_dir;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{MetricNumber, PrometheusType, PrometheusValue};
use serde_json::Value;

use ebbtide_lab::response::{Conversation, End, Response};
use support::child::{Child, output};
use support::client::Client;
use support::served::{Served, command, run};
use support::{GET, PATIENCE, get, outlast_action, post_head, until};

/// A directory of one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = temp_dir().join(format!("ebbtide-admin-{}-{n}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("text").to_owned()
    }

    /// Returns the flag's value for a Unix socket.
    fn unix(&self) -> String {
        format!("unix:{}", self.path("s"))
    }

    /// Writes a file with this content and mode.
    fn file(&self, name: &str, content: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a server with a Unix socket for its admin listener.
fn served_on(directory: &Directory) -> Served {
    Served::start(&["--admin", &directory.unix(), "--report", "json"])
}

/// Asks by the socket of [`served_on`]; `\n` parts the lines of the head.
#[track_caller]
fn ask(directory: &Directory, head: &str) -> Response {
    let stream = UnixStream::connect(directory.path("s")).expect("connect");
    exchange(stream, head)
}

/// Sends one request, given without its last empty line, and returns the response.
#[track_caller]
fn exchange(mut stream: impl Read + Write, head: &str) -> Response {
    let head = head.replace('\n', "\r\n") + "\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("write");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read");
    let mut conversation = Conversation::default();
    let method = head.split(' ').next().expect("a method").to_owned();
    conversation.expect_methods(&[method]);
    conversation.advance(&bytes, Some(End::Fin), Instant::now());
    let response = conversation.finals().next().cloned();
    response.unwrap_or_else(|| panic!("no response: {conversation:?}"))
}

/// Returns the TCP address of the admin listener, from the log.
fn tcp(served: &Served) -> String {
    let line = served.log().wait_line("admin on http://", PATIENCE);
    let (_, addr) = line.rsplit_once('/').expect("an address");
    addr.to_owned()
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {response}"))
}

fn status(directory: &Directory) -> Value {
    let response = ask(directory, "GET /status HTTP/1.1\nHost: a");
    assert_eq!(response.status, 200, "{response}");
    json(&response)
}

/// Runs `ebbtide ctl` to its end.
fn ctl(args: &[&str]) -> Output {
    start_ctl(args).finish()
}

fn start_ctl(args: &[&str]) -> Child {
    let mut ctl = Command::new(command());
    ctl.arg("ctl").args(args).env_remove("EBBTIDE_ADMIN");
    let quiet = ctl.stdin(Stdio::null());
    Child::start(quiet.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Returns the stdout of a successful run.
#[track_caller]
fn told(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    String::from_utf8(output.stdout).expect("text")
}

/// Asserts the exit code, nothing on stdout, and one line on stderr that contains `about`.
#[track_caller]
fn assert_fails(output: &Output, code: i32, about: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "something on stdout");
    assert!(stderr.contains(about), "not about {about:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "not one line: {stderr}");
}

/// Begins an upload of which the server has two bytes and waits for two more.
fn upload(served: &Served, directory: &Directory) -> Client {
    let client = Client::connect(served.addr());
    client.send(&post_head("/echo", 4));
    client.send(b"ab");
    wait_until(directory, |status| {
        status["connections"][0]["bytes_in"] == 2
    });
    client
}

/// Asks for the status until it is as wanted.
#[track_caller]
fn wait_until(directory: &Directory, wanted: impl Fn(&Value) -> bool) {
    until("such a status", || wanted(&status(directory)).then_some(()));
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let path = PathBuf::from(directory.path("s"));
    let file = fs::symlink_metadata(&path).expect("the socket");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    let entries = fs::read_dir(&directory.0).expect("entries").count();
    assert_eq!(entries, 1, "something was left beside it");
    assert_eq!(status(&directory)["stage"], "serving");
    served.terminate();
    served.wait_report(0);
    assert!(!path.exists());
}

#[test]
fn a_socket_that_was_left_behind_is_replaced() {
    let directory = Directory::new();
    let first = served_on(&directory);
    first.signal(Signal::SIGKILL);
    first.wait_exit(PATIENCE);
    assert!(Path::new(&directory.path("s")).exists());
    let second = served_on(&directory);
    assert_eq!(status(&directory)["pid"], second.pid());
}

#[test]
fn what_is_in_use_or_no_socket_is_left_alone() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let serve = |place: &str| run(&["serve", "--listen", "127.0.0.1:0", "--admin", place]);
    assert_fails(&serve(&directory.unix()), 2, "a process listens there");
    assert_eq!(status(&directory)["pid"], served.pid());
    let file = directory.file("file", "kept", 0o600);
    assert_fails(&serve(&format!("unix:{file}")), 2, "is no socket");
    assert_eq!(fs::read_to_string(file).expect("the file"), "kept");
    let nowhere = format!("unix:{}", directory.path("none/s"));
    assert_fails(&serve(&nowhere), 2, "its directory must exist");
}

#[test]
fn a_token_file_is_held_to_its_rules() {
    let directory = Directory::new();
    let files = [
        (
            directory.file("short", "0123456789abcde\n", 0o600),
            "at least 16",
        ),
        (directory.file("open", TOKEN, 0o604), "readable by everyone"),
        (
            directory.file("words", "0123456789 abcdefgh", 0o600),
            "more than one word",
        ),
        (
            directory.file("long", &"x".repeat(5_000), 0o600),
            "too long",
        ),
        (directory.path("none"), "cannot be read"),
    ];
    for (file, about) in &files {
        let flags = ["--admin", "0.0.0.0:0", "--admin-token-file", file];
        let output = run(&[&["serve", "--listen", "127.0.0.1:0"], &flags[..]].concat());
        assert_fails(&output, 2, about);
        assert_fails(&output, 2, &format!("{file:?}"));
    }
    let pipe = directory.path("pipe");
    mkfifo(&*pipe, Mode::S_IRUSR).expect("a pipe");
    for (file, about) in [(&*pipe, "it is a pipe"), ("/dev/zero", "it is a device")] {
        let about = format!("the token file {file:?} cannot be read: {about}");
        let flags = ["--admin", "0.0.0.0:0", "--admin-token-file", file];
        let output = run(&[&["serve", "--listen", "127.0.0.1:0"], &flags[..]].concat());
        assert_fails(&output, 2, &format!("ebbtide: --admin-token-file: {about}"));
        let asking = ["--admin", "unix:/no/such/s", "--token-file", file, "status"];
        assert_fails(
            &ctl(&asking),
            2,
            &format!("ebbtide ctl: --token-file: {about}"),
        );
    }
    assert_fails(
        &run(&["serve", "--admin", "0.0.0.0:0"]),
        2,
        "--admin-token-file",
    );
    assert_fails(
        &run(&["serve", "--admin-token-file", &files[0].0]),
        2,
        "without --admin",
    );
}

#[test]
fn with_a_token_every_request_needs_it() {
    let directory = Directory::new();
    let file = directory.file("token", &format!(" {TOKEN}\n\n"), 0o640);
    let served = Served::start(&[
        "--admin",
        "0.0.0.0:0",
        "--admin-token-file",
        &file,
        "--report",
        "json",
    ]);
    let addr = tcp(&served).replace("0.0.0.0", "127.0.0.1");
    let ask = |head: &str| exchange(TcpStream::connect(&addr).expect("connect"), head);
    for target in ["/status", "/metrics", "/nothing"] {
        for credentials in [
            "",
            "\nAuthorization: Bearer 0123456789abcdeF",
            "\nAuthorization: Bearer 0123456789abcdef0",
            "\nAuthorization: Basic 0123456789abcdef",
            "\nX-Ebbtide-Admin: 1",
        ] {
            let response = ask(&format!("GET {target} HTTP/1.1\nHost: a{credentials}"));
            assert_eq!(response.status, 401, "{credentials}: {response}");
            assert!(response.field_has("WWW-Authenticate", "Bearer"));
        }
    }
    let response = ask(&format!(
        "GET /status HTTP/1.1\nHost: a\nAuthorization: Bearer {TOKEN}"
    ));
    assert_eq!(json(&response)["stage"], "serving");

    assert_fails(&ctl(&["--admin", &addr, "status"]), 1, "401");
    assert_fails(&ctl(&["--admin", &addr, "wait"]), 1, "--token-file");
    told(ctl(&["--admin", &addr, "--token-file", &file, "status"]));
    // The token alone allows the stop.
    let response = ask(&format!(
        "POST /shutdown HTTP/1.1\nHost: a\nAuthorization: Bearer {TOKEN}"
    ));
    assert_eq!(response.status, 202, "{response}");
    served.wait_report(0);
}

#[test]
fn a_browser_is_refused() {
    let directory = Directory::new();
    let by_unix = served_on(&directory);
    let by_tcp = Served::start(&["--admin", "127.0.0.1:0"]);
    let addr = tcp(&by_tcp);
    let ask_tcp = |head: &str| exchange(TcpStream::connect(&addr).expect("connect"), head);
    const CASES: &[(&str, u16)] = &[
        ("GET /status HTTP/1.1\nHost: localhost", 200),
        ("HEAD /status HTTP/1.1\nHost: 127.0.0.1:80", 200),
        (
            "GET /status HTTP/1.1\nHost: localhost\nOrigin: https://evil.example",
            403,
        ),
        ("GET /status HTTP/1.1\nHost: localhost\nOrigin: null", 403),
        ("POST /shutdown HTTP/1.1\nHost: localhost", 403),
        ("POST /cut HTTP/1.1\nHost: localhost", 403),
        (
            "POST /shutdown HTTP/1.1\nHost: localhost\nContent-Type: text/plain\nContent-Length: 0",
            403,
        ),
        (
            "POST /shutdown HTTP/1.1\nHost: localhost\nOrigin: http://localhost\nX-Ebbtide-Admin: 1",
            403,
        ),
        (
            "OPTIONS /shutdown HTTP/1.1\nHost: localhost\nOrigin: http://a.example\n\
             Access-Control-Request-Method: POST\nAccess-Control-Request-Headers: x-ebbtide-admin",
            403,
        ),
    ];
    for (head, expected) in CASES {
        for response in [ask(&directory, head), ask_tcp(head)] {
            assert_eq!(response.status, *expected, "{head}: {response}");
            let consent = response.field("Access-Control-Allow-Origin").count();
            assert_eq!(consent, 0, "{response}");
        }
    }
    // The DNS of a page can make its own name lead here.
    for host in ["evil.example", "localhost.evil.example:80", "192.0.2.1"] {
        let head = format!("GET /status HTTP/1.1\nHost: {host}");
        assert_eq!(ask_tcp(&head).status, 403, "{host}");
    }
    for served in [by_unix, by_tcp] {
        assert!(served.is_running());
        served.settle();
    }
}

#[test]
fn every_route_has_its_methods() {
    let directory = Directory::new();
    let _served = served_on(&directory);
    const CASES: &[(&str, u16, Option<&str>)] = &[
        ("GET /", 404, None),
        ("GET /status/", 404, None),
        ("POST /nothing", 404, None),
        ("POST /status", 405, Some("GET, HEAD")),
        ("DELETE /connections", 405, Some("GET, HEAD")),
        ("POST /metrics", 405, Some("GET, HEAD")),
        ("GET /shutdown", 405, Some("POST")),
        ("GET /cut", 405, Some("POST")),
        ("HEAD /metrics", 200, None),
        ("HEAD /connections", 200, None),
    ];
    for (line, expected, allow) in CASES {
        let response = ask(
            &directory,
            &format!("{line} HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1"),
        );
        assert_eq!(response.status, *expected, "{line}: {response}");
        let allowed = response.field("Allow").next();
        assert_eq!(allowed, allow.map(str::as_bytes), "{line}: {response}");
    }
    let with_body = "POST /cut HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1\nContent-Length: 1";
    assert_eq!(ask(&directory, with_body).status, 413);
}

#[test]
fn connections_come_in_pages() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let idle = [
        Client::connect(served.addr()),
        Client::connect(served.addr()),
    ];
    for client in &idle {
        client.exchange(0, GET);
    }
    let uploading = upload(&served, &directory);
    let page = |query: &str| {
        let head = format!("GET /connections{query} HTTP/1.1\nHost: a");
        let response = ask(&directory, &head);
        assert_eq!(response.status, 200, "{query}: {response}");
        assert!(response.field_has("Content-Type", "application/json"));
        let page = json(&response)["connections"].as_array().cloned();
        page.expect("an array")
    };
    let busy = page("");
    assert_eq!(busy.len(), 1, "{busy:?}");
    assert_eq!(busy[0]["request"], "POST /echo");
    assert_eq!(busy[0]["phase"], "body");
    assert_eq!(busy[0]["bytes_in"], 2);
    let numbers = |query: &str| -> Vec<_> {
        let number = |connection: &Value| connection["number"].as_u64();
        page(query).iter().map(number).collect()
    };
    let all = numbers("?all=1");
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(numbers("?all=1&take=2"), all[..2]);
    assert_eq!(numbers("?skip=1&take=1&all=1"), all[1..2]);
    assert_eq!(page("?take=0").len(), 0);
    assert_eq!(page("?skip=1000&all=0").len(), 0);
    for (query, about) in [
        (
            "?take=1001",
            "take: \"1001\" is not a number from 0 to 1000\n",
        ),
        (
            "?take=ten&skip=1",
            "take: \"ten\" is not a number from 0 to 1000\n",
        ),
        ("?take=1&skip=-1", "skip: \"-1\" is not a number"),
        ("?all=maybe", "all: \"maybe\" is not a number from 0 to 1\n"),
        ("?page=2", "\"page\" is not known"),
    ] {
        let head = format!("GET /connections{query} HTTP/1.1\nHost: a");
        let response = ask(&directory, &head);
        assert_eq!(response.status, 400, "{query}: {response}");
        let body = String::from_utf8_lossy(&response.body);
        assert!(body.starts_with(about), "{query}: {body}");
    }
    uploading.send(b"cd");
    assert_eq!(uploading.response(0).body, b"abcd");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let idle = Client::connect(served.addr());
    idle.exchange(0, GET);
    idle.exchange(1, GET);
    let _uploading = upload(&served, &directory);
    let scrape = || {
        let response = ask(&directory, "GET /metrics HTTP/1.1\nHost: a");
        let kind = response.field("Content-Type").next();
        let expected = &b"text/plain; version=0.0.4; charset=utf-8"[..];
        assert_eq!(kind, Some(expected), "{response}");
        String::from_utf8(response.body).expect("text")
    };
    let text = scrape();
    let metrics = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let value = |family: &str, labels: &[&str]| {
        let family = &metrics.families[family];
        let labels: Vec<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        let sample = family.get_sample_by_label_values(&labels);
        match &sample.unwrap_or_else(|| panic!("{family:?}")).value {
            PrometheusValue::Gauge(MetricNumber::Int(n)) => *n,
            PrometheusValue::Counter(counter) => counter.value.as_f64() as i64,
            other => panic!("{other:?}"),
        }
    };
    for (name, family) in &metrics.families {
        assert!(!family.help.is_empty(), "{name} has no help");
        assert!(name.starts_with("ebbtide_"), "{name}");
        let counts = family.family_type == PrometheusType::Counter;
        assert_eq!(name.ends_with("_total"), counts, "{name}");
    }
    assert_eq!(value("ebbtide_connections", &["idle"]), 1);
    assert_eq!(value("ebbtide_connections", &["body"]), 1);
    assert_eq!(value("ebbtide_stage", &["serving"]), 1);
    assert_eq!(value("ebbtide_stage", &["draining"]), 0);
    assert_eq!(value("ebbtide_build_info", &[env!("CARGO_PKG_VERSION")]), 1);
    assert_eq!(value("ebbtide_connections_opened_total", &[]), 2);
    assert_eq!(value("ebbtide_requests_total", &[]), 3);
    assert_eq!(value("ebbtide_responses_total", &[]), 2);
    assert!(value("ebbtide_received_bytes_total", &[]) > 0);
    assert!(!text.contains("\nebbtide_drain_left_seconds "), "{text}");

    served.terminate();
    served.wait_refused();
    let text = scrape();
    parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(
        text.contains("\nebbtide_stage{stage=\"draining\"} 1\n"),
        "{text}"
    );
    let left = text
        .lines()
        .find_map(|line| line.strip_prefix("ebbtide_drain_left_seconds "));
    let left: f64 = left.expect("a sample").parse().expect("a number");
    assert!(left > 0.0 && left <= 25.0, "{left}");
}

#[test]
fn it_answers_until_the_drain_is_over_and_told_twice_is_told_once() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let uploading = upload(&served, &directory);
    for _ in 0..3 {
        let shutdown = "POST /shutdown HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1";
        let response = ask(&directory, shutdown);
        assert_eq!(response.status, 202, "{response}");
        assert_eq!(json(&response)["accepted"], "shutdown");
    }
    served.wait_refused();
    let draining = status(&directory);
    assert_eq!(draining["stage"], "draining");
    assert!(
        draining["left_millis"]
            .as_u64()
            .is_some_and(|left| left <= 25_000)
    );
    assert_eq!(draining["phases"]["body"], 1);
    assert_eq!(draining["connections"][0]["request"], "POST /echo");
    uploading.send(b"cd");
    assert_eq!(uploading.response(0).body, b"abcd");
    uploading.assert_ends(1);
    drop(uploading);
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    let reasons = served.log().lines();
    let reasons = reasons
        .iter()
        .filter(|line| line.contains("shutdown: draining"));
    assert_eq!(reasons.count(), 1, "{:?}", served.log());
    assert!(!Path::new(&directory.path("s")).exists());
}

#[test]
fn who_may_not_ask_holds_no_place() {
    /// More clients than there are places.
    const MANY: usize = 40;
    let directory = Directory::new();
    let file = directory.file("token", TOKEN, 0o600);
    let flags = ["--admin", "127.0.0.1:0", "--admin-token-file", &file];
    let served = Served::start(&flags);
    let addr = tcp(&served);
    let greet = |request: &[u8]| {
        let mut stream = TcpStream::connect(&addr).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request).expect("write");
        stream
    };
    // Each of these is refused for a reason of its own and keeps its end open; others never ask.
    let paths = ["/status", "/none", "/cut"];
    let refused: Vec<_> = (0..MANY)
        .map(|n| {
            let path = paths[n % paths.len()];
            greet(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        })
        .collect();
    let silent: Vec<_> = (0..MANY).map(|_| greet(b"GET /sta")).collect();
    let token = fs::read_to_string(&file).expect("the token");
    let token = token.trim();
    let start = Instant::now();
    for (path, status) in [("/status", 200), ("/none", 404), ("/cut", 405)] {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        let mut stream = greet(head.as_bytes());
        let mut response = [0; 12];
        stream.read_exact(&mut response).expect("a response");
        assert_eq!(&response, format!("HTTP/1.1 {status}").as_bytes());
        if status != 200 {
            stream.read_to_end(&mut Vec::new()).expect("its end");
        }
    }
    let took = start.elapsed();
    println!("answered after {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    for mut stream in refused {
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("its end");
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
    }
    drop(silent);
}

#[test]
fn signals_after_it_was_told_to_stop_end_the_notice_and_then_cut() {
    let directory = Directory::new();
    let flags = ["--report", "json", "--drain-delay", "20s"];
    let served = Served::start(&[&["--admin", &directory.unix()], &flags[..]].concat());
    let held = Client::connect(served.addr());
    held.send(&get("/delay/60000"));
    wait_until(&directory, |status| status["phases"]["handler"] == 1);
    let shutdown = "POST /shutdown HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1";
    assert_eq!(ask(&directory, shutdown).status, 202);
    // The first client need not know that the server stops already.
    served.terminate();
    served.log().wait_line("stopping already", PATIENCE);
    outlast_action();
    served.terminate();
    served.wait_refused();
    outlast_action();
    served.terminate();
    let (_, report) = served.wait_report(3);
    assert_eq!((report.end(), report.forced_503()), ("cut", 1));
    assert_eq!(held.response(0).status, 503);
}

#[test]
fn who_asks_for_nothing_more_holds_up_no_end() {
    const LIMIT: Duration = Duration::from_millis(300);
    let over = |cut: bool| {
        let directory = Directory::new();
        let flags = ["--report", "json", "--drain-timeout", "300ms"];
        let served = Served::start(&[&["--admin", &directory.unix()], &flags[..]].concat());
        let held = Client::connect(served.addr());
        held.send(&get("/delay/60000"));
        let mut half = UnixStream::connect(directory.path("s")).expect("connect");
        half.write_all(b"GET /sta").expect("write");
        wait_until(&directory, |status| status["phases"]["handler"] == 1);
        let start = Instant::now();
        served.terminate();
        if cut {
            served.wait_refused();
            outlast_action();
            let start = Instant::now();
            served.terminate();
            return served.wait_report(3).0.at - start;
        }
        let (exit, _) = served.wait_report(1);
        (exit.at - start).saturating_sub(LIMIT)
    };
    // The best of some tries counts: a busy machine only adds time.
    for cut in [false, true] {
        let best = (0..TRIES).map(|_| over(cut)).min().expect("some");
        println!("cut: {cut}: gone {best:?} later");
        assert!(best < AT_ONCE, "{best:?}");
    }
}

/// The time of a prompt exit, on a machine without other work.
const AT_ONCE: Duration = Duration::from_millis(100);
const TRIES: usize = 5;

#[test]
fn a_signal_ends_the_exit_delay_of_any_drain() {
    let directory = Directory::new();
    let flags = ["--report", "json", "--exit-delay", "20s"];
    let served = Served::start(&[&["--admin", &directory.unix()], &flags[..]].concat());
    let shutdown = "POST /shutdown HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1";
    assert_eq!(ask(&directory, shutdown).status, 202);
    served.log().wait_line("\"exit_code\":0", PATIENCE);
    served.terminate();
    served.wait_report(0);
}

#[test]
fn a_cut_cuts() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let held = Client::connect(served.addr());
    held.send(&get("/delay/60000"));
    wait_until(&directory, |status| status["phases"]["handler"] == 1);
    let cut = "POST /cut HTTP/1.1\nHost: a\nX-Ebbtide-Admin: 1";
    let response = ask(&directory, cut);
    assert_eq!(response.status, 202, "{response}");
    assert_eq!(json(&response)["accepted"], "cut");
    assert_eq!(held.response(0).status, 503);
    let (_, report) = served.wait_report(3);
    assert_eq!(report.forced_503(), 1);
}

#[test]
fn ctl_tells_people_and_programs() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let admin = directory.unix();
    let uploading = upload(&served, &directory);
    let ask = |args: &[&str]| told(ctl(&[&["--admin", &admin], args].concat()));
    let text = ask(&["status"]);
    assert!(text.contains("\nstage    serving\n"), "{text}");
    assert!(text.contains("POST /echo"), "{text}");
    let parsed: Value = serde_json::from_str(&ask(&["status", "--json"])).expect("JSON");
    assert_eq!(parsed["pid"], served.pid());
    let text = ask(&["connections"]);
    assert_eq!(text.lines().count(), 2, "{text}");
    let parsed: Value = serde_json::from_str(&ask(&["--json", "connections"])).expect("JSON");
    assert_eq!(parsed["connections"][0]["phase"], "body");
    uploading.send(b"cd");
    uploading.response(0);
    let text = ask(&["connections"]);
    assert!(text.contains("--all"), "{text}");
    assert!(ask(&["connections", "--all", "--take", "1"]).contains("idle"));

    // By the environment.
    let mut by_environment = Command::new(command());
    by_environment
        .args(["ctl", "status"])
        .env("EBBTIDE_ADMIN", &admin);
    told(output(&mut by_environment));

    assert_eq!(ask(&["shutdown"]), "the server drains\n");
    served.wait_report(0);
}

#[test]
fn ctl_has_an_exit_code_for_each_way_to_fail() {
    let directory = Directory::new();
    let admin = directory.unix();
    assert_fails(&ctl(&["status"]), 2, "EBBTIDE_ADMIN");
    assert_fails(&ctl(&["--admin", "here", "status"]), 2, "unix:PATH");
    assert_fails(&ctl(&["--admin", &admin]), 2, "a command is missing");
    assert_fails(&ctl(&["--admin", &admin, "stop"]), 2, "stop");
    let no_file = ["--admin", &admin, "--token-file", "/nowhere", "status"];
    assert_fails(
        &ctl(&no_file),
        2,
        "--token-file: the token file \"/nowhere\"",
    );
    let long = format!("unix:/{}", "x".repeat(199));
    let why = "the path has 200 bytes, and ";
    assert_fails(&ctl(&["--admin", &long, "status"]), 3, why);
    for ask in ["status", "connections", "shutdown", "cut"] {
        assert_fails(&ctl(&["--admin", &admin, ask]), 3, "is the server running?");
    }
    // A client that only waits for the end succeeds.
    let gone = ["--admin", &admin, "wait"];
    assert_eq!(told(ctl(&gone)), "the server has gone\n");
    assert_eq!(told(ctl(&[&gone[..], &["--json"]].concat())), "");
    drop(UnixListener::bind(directory.path("s")).expect("listen"));
    assert_eq!(told(ctl(&gone)), "the server has gone\n", "left behind");
    let served = served_on(&directory);
    let impatient = ["--admin", &admin, "wait", "--timeout", "50ms"];
    assert_fails(&ctl(&impatient), 1, "has not gone within 50ms");
    // The word to stop arrives, but a connection is still open when the limit is over.
    let uploading = upload(&served, &directory);
    let impatient = ["--admin", &admin, "shutdown", "--wait", "--timeout", "50ms"];
    assert_fails(&ctl(&impatient), 1, "has not gone within 50ms");
    assert_eq!(status(&directory)["stage"], "draining");
    let progress = &status(&directory)["progress"];
    assert_eq!(
        (&progress["connections"], &progress["gone"]),
        (&1.into(), &0.into())
    );
    assert_eq!(progress["limit_millis"], 25_000);
    let text = told(ctl(&["--admin", &admin, "status"]));
    assert!(text.contains(" left; 0 of 1 connections gone\n"), "{text}");
    drop(uploading);
    served.wait_report(0);
    assert_fails(
        &ctl(&["--admin", &admin, "shutdown", "--timeout", "1s"]),
        2,
        "--wait",
    );

    let served = served_on(&directory);
    // The served port is no admin listener, and answers 404.
    let wrong = served.addr().to_string();
    assert_fails(&ctl(&["--admin", &wrong, "status"]), 1, "404");
}

#[test]
fn ctl_tells_it_to_stop_and_waits() {
    let directory = Directory::new();
    let served = served_on(&directory);
    let uploading = upload(&served, &directory);
    let admin = directory.unix();
    let waiting = ["--admin", &admin, "shutdown", "--wait", "--timeout", "1m"];
    let waiting = start_ctl(&waiting);
    served.wait_refused();
    uploading.send(b"cd");
    assert_eq!(uploading.response(0).body, b"abcd");
    drop(uploading);
    let output = waiting.finish();
    assert_eq!(told(output), "the server has gone\n");
    served.wait_report(0);
}

/// Answers the next connection as a server with that process id, and keeps the connection.
fn greet(listener: &UnixListener, pid: u32) -> UnixStream {
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        request.extend_from_slice(&byte);
    }
    assert!(request.starts_with(b"GET /status HTTP/1.1\r\n"));
    let body = format!("{{\"pid\":{pid}}}");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).expect("write");
    stream
}

/// Answers in the place of the server, because only the test can tell when `ctl` has connected.
#[test]
fn ctl_waits_until_the_server_has_gone() {
    let directory = Directory::new();
    let path = directory.path("s");
    for last in [Last::Removed, Last::LeftBehind, Last::Successor] {
        let listener = UnixListener::bind(&path).expect("listen");
        let admin = directory.unix();
        let waiting = start_ctl(&["--admin", &admin, "wait", "--timeout", "1m"]);
        // A closed connection does not mean that the server has gone.
        drop(greet(&listener, 1));
        let connection = greet(&listener, 1);
        let successor = match last {
            Last::Removed => {
                fs::remove_file(&path).expect("removed");
                drop((connection, listener));
                None
            }
            Last::LeftBehind => {
                // The listener goes first; `ctl` could otherwise connect once more.
                drop(listener);
                drop(connection);
                None
            }
            Last::Successor => {
                drop(connection);
                Some(greet(&listener, 2))
            }
        };
        let output = waiting.finish();
        assert_eq!(told(output), "the server has gone\n", "{last:?}");
        drop(successor);
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn ctl_is_not_misled_by_a_server_that_goes_while_it_is_asked() {
    let directory = Directory::new();
    let path = directory.path("s");
    let listener = UnixListener::bind(&path).expect("listen");
    let waiting = start_ctl(&["--admin", &directory.unix(), "wait"]);
    let (stream, _) = listener.accept().expect("a connection");
    fs::remove_file(&path).expect("removed");
    drop((listener, stream));
    let output = waiting.finish();
    assert_eq!(told(output), "the server has gone\n");
}

/// The ways in which a server goes.
#[derive(Clone, Copy, Debug)]
enum Last {
    Removed,
    LeftBehind,
    Successor,
}

const TOKEN: &str = "0123456789abcdef";
