//! The command line: help, mistakes, addresses, readiness, and the lines on stderr.

use ebbtide_lab::command as support;
use ebbtide_needs::needs;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, pipe};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use support::child::Child;
use support::client::Client;
use support::report::Report;
use support::served::{Served, command, run};
use support::{GET, HELLO, PATIENCE, get, outlast_action, until};

const FLAGS: &[&str] = &[
    "--listen",
    "--drain-timeout",
    "--drain-delay",
    "--drain-quiet",
    "--health-path",
    "--drain-head-timeout",
    "--tunnel-grace",
    "--late-requests",
    "--idle-grace",
    "--close-spread",
    "--linger",
    "--signals",
    "--exit-delay",
    "--dev",
    "--reuse-port",
    "--head-timeout",
    "--body-timeout",
    "--write-timeout",
    "--min-progress",
    "--idle-timeout",
    "--handler-timeout",
    "--admin",
    "--admin-token-file",
    "--max-head",
    "--max-headers",
    "--max-body",
    "--max-connections",
    "--log-connections",
    "--report",
    "--root",
    "--symlinks",
    "--dot-files",
];

#[test]
fn help_names_every_flag() {
    let output = run(&["serve", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "help is not an error");
    let help = String::from_utf8(output.stdout).expect("text");
    for flag in FLAGS {
        let named = help
            .split_whitespace()
            .any(|word| word.trim_end_matches(',') == *flag);
        assert!(named, "no {flag} in the help:\n{help}");
    }

    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(help.contains("serve"), "no command in the help:\n{help}");
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let help = run(&["serve", "--help"]).stdout;
    let help = String::from_utf8(help).expect("text");
    for code in ["0", "1", "2", "3", "4"] {
        let line = help.lines().any(|line| line.trim_start().starts_with(code));
        assert!(line, "nothing about exit code {code}:\n{help}");
    }
}

#[test]
fn a_mistake_is_one_line_and_exit_code_2() {
    const MISTAKES: &[(&[&str], &str)] = &[
        (&["serve", "--drain-timeout", "soon"], "--drain-timeout"),
        (&["serve", "--linger", "5"], "--linger"),
        (&["serve", "--idle-grace", "-1s"], "--idle-grace"),
        (&["serve", "--signals", "TERM,NOSUCH"], "NOSUCH"),
        (&["serve", "--signals", "KILL"], "KILL"),
        (&["serve", "--signals", "SIGKILL"], "KILL"),
        (&["serve", "--signals", "STOP"], "STOP"),
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["serve", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--listen", "127.0.0.1:99999"], "99999"),
        (&["serve", "--late-requests", "sometimes"], "sometimes"),
        (&["serve", "--late-requests", "reject:200"], "reject"),
        (&["serve", "--max-headers", "many"], "--max-headers"),
        (
            &["serve", "--max-head", "99999999999GiB"],
            "\"99999999999GiB\" is too large; at most 1GiB",
        ),
        (
            &["serve", "--handler-timeout", "-1s"],
            "--handler-timeout: \"-1s\"",
        ),
        (
            &["serve", "--log-connections", "-1s"],
            "--log-connections: \"-1s\"",
        ),
        (
            &["serve", "--max-connections", "-1"],
            "--max-connections: \"-1\"",
        ),
        (&["serve", "--max-body", "-1"], "--max-body: \"-1\""),
        (&["ctl", "wait", "--timeout", "-1s"], "--timeout: \"-1s\""),
        (&["ctl", "connections", "--take", "-1"], "--take: \"-1\""),
        (&["serve", "--max-body", "64XB"], "--max-body"),
        (&["serve", "--report", "verse"], "verse"),
        (&["serve", "--drain-timeout"], "--drain-timeout"),
        (&["serve", "--exit-delay", "26s"], "--exit-delay"),
        (&["serve", "--admin", "0.0.0.0:1"], "--admin-token-file"),
        (&["serve", "--admin-token-file", "/x"], "--admin"),
        (
            &["serve", "--listen=127.0.0.1:0", "--admin=unix:/no/such/s"],
            "ebbtide: --admin: cannot listen on the Unix socket \"/no/such/s\"",
        ),
        (
            &[
                "serve",
                "--listen=127.0.0.1:0",
                "--admin=127.0.0.1:0",
                "--admin-token-file=/no/such",
            ],
            "ebbtide: --admin-token-file: the token file \"/no/such\"",
        ),
        (&["ctl", "shutdown", "--timeout", "1s"], "--wait"),
        (&["serve", "--root", "/no/such"], "--root: /no/such"),
        (&["serve", "--root", "/dev/null"], "--root: /dev/null"),
        (
            &["serve", "--root", "/", "--symlinks", "some"],
            "--symlinks",
        ),
        (&["serve", "--dot-files"], "--root"),
        (&["serve", "surplus"], "surplus"),
        (&["swerve"], "swerve"),
    ];
    for (args, about) in MISTAKES {
        assert_mistake(args, about);
    }
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let about = format!("ebbtide: --listen: cannot listen on {addr}: ");
    assert_mistake(&["serve", "--listen", &addr], &about);
    // One listener that fails is enough.
    assert_mistake(
        &["serve", "--listen", "127.0.0.1:0", "--listen", &addr],
        &addr,
    );
}

#[needs("a device that is always full", "test -c /dev/full")]
#[test]
fn what_cannot_be_written_is_no_success() {
    let full = || {
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("a device")
    };
    for args in [
        &[][..],
        &["--help"],
        &["--version"],
        &["help"],
        &["serve", "--help"],
        &["ctl", "--help"],
        &["ctl", "wait", "--help"],
        &["probe", "--help"],
        &["ctl", "--admin", "unix:/no/such/s", "wait"],
        &["probe", "--states", "empty"],
        &["probe", "--states", "empty", "--json"],
    ] {
        let output = run_into(args, full());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to stdout: No space"),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        // A pager that was left has seen enough.
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let output = run_into(args, writer);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    }
}

/// The system's word alone would blame another process.
#[test]
fn a_server_that_is_in_its_own_way_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    drop(taken);
    let addr = |ip: &str| format!("{ip}:{port}");
    for (first, second) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")] {
        let (first, second) = (addr(first), addr(second));
        let args = ["serve", "--listen", &first, "--listen", &second];
        assert_mistake(&args, &format!("ebbtide: --listen: {second} is "));
        assert_mistake(&args, "leave one out");
        let args = [
            "serve",
            "--listen",
            &first,
            "--reuse-port",
            "--admin",
            &second,
        ];
        assert_mistake(
            &args,
            &format!("--admin: this server serves its clients on {second}"),
        );
    }
}

#[needs("an IPv6 loopback", "grep -q '^0*1 ' /proc/net/if_inet6")]
#[test]
fn both_families_have_a_listener_each() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    drop(taken);
    let addrs = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
    for [first, second] in [[0, 1], [1, 0]].map(|order| order.map(|n: usize| &*addrs[n])) {
        let served = Served::start(&["--listen", first, "--listen", second]);
        for ip in ["127.0.0.1", "[::1]"] {
            let addr = format!("{ip}:{port}").parse().expect("an address");
            assert_eq!(Client::connect(addr).exchange(0, GET).body, HELLO);
        }
        served.settle();
    }
}

/// Runs the command with this stdout to its end.
fn run_into(args: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut ebbtide = Command::new(command());
    ebbtide.args(args).stdin(Stdio::null());
    ebbtide.stdout(stdout).stderr(Stdio::piped());
    Child::start(&mut ebbtide).finish()
}

/// Asserts exit code 2, nothing on stdout, and one line on stderr that is about `about`.
fn assert_mistake(args: &[&str], about: &str) {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}: something on stdout");
    assert!(
        stderr.contains(about),
        "{args:?}: not about {about}: {stderr}"
    );
    // The first of two listeners may have been announced before the second failed.
    let complaints = stderr.lines().filter(|line| !line.contains("listening on"));
    assert_eq!(complaints.count(), 1, "{args:?}: not one line: {stderr}");
}

#[test]
fn port_0_prints_the_port_it_got() {
    let served = Served::start(&["--listen", "127.0.0.1:0"]);
    assert_ne!(served.addr().port(), 0);
    assert_eq!(Client::connect(served.addr()).exchange(0, GET).body, HELLO);
}

#[test]
fn several_listeners_serve_and_drain_together() {
    let served = Served::start(&[
        "--report",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
    ]);
    let [first, second] = *served.addrs() else {
        panic!("not two listeners: {:?}", served.log());
    };
    assert_ne!(first, second);
    let clients = [Client::connect(first), Client::connect(second)];
    for client in &clients {
        assert_eq!(client.exchange(0, GET).body, HELLO);
    }
    served.terminate();
    for client in clients {
        client.assert_ends(1);
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(report.opened(), 2);
    for addr in [first, second] {
        let refused = TcpStream::connect(addr).map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    }
}

#[needs("an IPv6 loopback", "grep -q '^0*1 ' /proc/net/if_inet6")]
#[test]
fn ipv6_is_served() {
    let served = Served::start(&["--listen", "[::1]:0"]);
    assert!(served.addr().is_ipv6(), "{:?}", served.log());
    assert_eq!(Client::connect(served.addr()).exchange(0, GET).body, HELLO);
}

#[test]
fn readiness_fails_before_the_listener_closes() {
    let served = Served::start(&["--report", "json", "--drain-delay", "1s"]);
    let client = Client::connect(served.addr());
    let healthy = client.exchange(0, &get("/health"));
    assert_eq!((healthy.status, &healthy.body[..]), (200, &b"ok"[..]));
    assert!(!healthy.says_close());

    // The loop takes the signal with the request or before it.
    served.terminate_after(|| ());
    let draining = until("a failed check", || {
        let response = Client::connect(served.addr()).exchange(0, &get("/health"));
        (response.status != 200).then_some(response)
    });
    assert_eq!(
        (draining.status, &draining.body[..]),
        (503, &b"draining"[..])
    );
    draining.assert_last();
    // The server still answers everything else, also on new connections.
    let late = Client::connect(served.addr());
    let response = late.exchange(0, GET);
    assert_eq!((response.status, &response.body[..]), (200, HELLO));
    response.assert_last();
    late.assert_ends(1);

    drop((client, late));
    served.wait_refused();
    served.wait_report(0);
}

#[test]
fn a_server_whose_log_nobody_reads_still_tells_by_its_exit_code() {
    let mut serve = Command::new(command());
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let mut child = Child::start(serve.stderr(Stdio::piped()));
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains(" drains in ") {
        line.clear();
        assert!(
            log.read_line(&mut line).expect("a line") > 0,
            "no more lines"
        );
    }
    drop(log); // every line from now on is a broken pipe
    child.signal(Signal::SIGTERM);
    assert_eq!(child.finish().status.code(), Some(0));
}

#[test]
fn json_report_is_the_last_line() {
    let served = Served::start(&["--report", "json"]);
    let client = Client::connect(served.addr());
    for n in 0..3 {
        client.exchange(n, GET);
    }
    served.terminate();
    client.assert_ends(3);
    drop(client);
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    assert_eq!((report.opened(), report.closed()), (1, 1));
    assert_eq!((report.requests(), report.answered()), (3, 3));
    assert_eq!((report.forced_503(), report.aborted()), (0, 0));
    let reports = served
        .log()
        .lines()
        .iter()
        .filter(|line| line.starts_with('{'))
        .count();
    assert_eq!(reports, 1, "{:?}", served.log());
}

#[test]
fn text_report_says_how_it_ended() {
    let served = Served::start(&[]);
    served.terminate();
    assert_eq!(served.wait_exit(PATIENCE).code, Some(0));
    let log = served.log().lines();
    assert!(log.iter().any(|line| line.contains("drained")), "{log:#?}");
    assert!(!log.iter().any(|line| line.starts_with('{')), "{log:#?}");
}

#[test]
fn an_exit_delay_comes_after_the_report_and_is_ended_by_a_second_signal() {
    const DELAY: Duration = Duration::from_millis(300);
    let served = Served::start(&["--report", "json", "--exit-delay", "300ms"]);
    let start = Instant::now();
    served.terminate();
    served.log().wait_line("\"exit_code\":0", PATIENCE);
    let reported = Instant::now();
    let (exit, report) = served.wait_report(0);
    assert!(exit.at - start >= DELAY, "after {:?}", exit.at - start);
    assert!(exit.at > reported);
    assert!(report.drain_millis() < 300, "{report:?}");

    let served = Served::start(&["--report", "json", "--exit-delay", "20s"]);
    served.terminate();
    served.log().wait_line("\"exit_code\":0", PATIENCE);
    outlast_action();
    served.terminate();
    assert_eq!(served.wait_exit(PATIENCE).code, Some(0));

    // A cut is over at once; and the deadline covers the delay.
    let served = Served::start(&["--exit-delay", "20s", "--dev"]);
    served.terminate();
    assert_eq!(served.wait_exit(PATIENCE).code, Some(3));
    let served = Served::start(&["--exit-delay", "1s", "--drain-timeout", "1s"]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/20000"));
    served.settle();
    served.terminate();
    assert_eq!(served.wait_exit(PATIENCE).code, Some(1));
}

#[test]
fn no_report_prints_none() {
    let quiet = Served::start(&["--report", "none"]);
    let loud = Served::start(&["--report", "json"]);
    let lines = [&quiet, &loud].map(|served| {
        served.terminate();
        assert_eq!(served.wait_exit(PATIENCE).code, Some(0));
        served.log().lines()
    });
    // The logs are the same, except for the report.
    assert_eq!(lines[0].len() + 1, lines[1].len(), "{lines:#?}");
    Report::parse(&lines[1]);
    assert!(
        !lines[0].iter().any(|line| line.starts_with('{')),
        "{lines:#?}"
    );
}

#[test]
fn connections_are_counted_in_the_log() {
    let served = Served::start(&["--log-connections", "100ms"]);
    let idle = [
        Client::connect(served.addr()),
        Client::connect(served.addr()),
    ];
    for client in &idle {
        client.exchange(0, GET);
    }
    let waiting = Client::connect(served.addr());
    waiting.send(&get("/delay/5000"));
    let line = served.log().wait_line("1 handler", PATIENCE);
    assert!(line.contains("2 idle"), "{line}");
    // The line comes again, with new figures.
    drop(idle);
    served.log().wait_line(": 1 handler", PATIENCE);
}

#[test]
fn a_signal_shows_what_the_oldest_wait_for_and_how_many_more() {
    let served = Served::start(&[]);
    let waiting: Vec<_> = (0..23)
        .map(|n| {
            let client = Client::connect(served.addr());
            client.send(&get(&format!("/delay/{}", 60_000 + n)));
            client
        })
        .collect();
    let idle = Client::connect(served.addr());
    idle.exchange(0, GET);
    served.signal(Signal::SIGUSR1);
    served.log().wait_line("  and 3 more", PATIENCE);
    let log = served.log().lines();
    assert!(
        log.iter()
            .any(|line| line.contains("connections: 1 idle, 23 handler")),
        "{log:#?}"
    );
    let rows = log.iter().filter(|line| line.contains(" (handler for "));
    let paths = rows.filter_map(|line| line.split(" GET ").nth(1)?.split(' ').next());
    let expected: Vec<_> = (0..20).map(|n| format!("/delay/{}", 60_000 + n)).collect();
    assert_eq!(paths.collect::<Vec<_>>(), expected);
    // The server goes on.
    assert_eq!(idle.exchange(1, GET).body, HELLO);
    drop((waiting, idle));
}

#[test]
fn the_environment_says_how_much_is_logged() {
    let logged = |level| {
        let mut command = Command::new(command());
        command.args(["serve", "--listen", "127.0.0.1:0", "--report", "none"]);
        let child = Child::start(command.env("RUST_LOG", level).stderr(Stdio::piped()));
        // A signal before the handler would kill the process.
        until("a handler of the signal", || {
            let caught = caught(child.pid()) & (1 << (Signal::SIGTERM as u32 - 1));
            (caught != 0).then_some(())
        });
        child.signal(Signal::SIGTERM);
        let output = child.finish();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).expect("text")
    };
    assert_eq!(logged("error"), "");
    assert!(!logged("info").contains(" DEBUG "));
    let debug = logged("ebbtide=debug");
    let line = " DEBUG ebbtide::engine::stop: the listeners are closed\n";
    assert!(debug.contains(line), "{debug}");
    // A filter that would silence everything is ignored.
    for (level, warnings) in [("", 0), ("bogus", 1)] {
        let log = logged(level);
        assert!(log.contains(" INFO  pid "), "{level}: {log}");
        assert_eq!(log.matches(" WARN  RUST_LOG: ").count(), warnings, "{log}");
    }
}

/// Returns the signals that a process catches, one bit each.
fn caught(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number")
}

#[test]
fn signals_can_be_chosen() {
    let served = Served::start(&["--report", "json", "--signals", "USR1,SIGHUP"]);
    served.signal(Signal::SIGHUP);
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
}
