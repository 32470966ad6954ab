//! When the process ends, and what it reports (r11, r16, r24).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use super::support::client::Client;
use super::support::served::Served;
use super::support::{GET, PATIENCE, get, outlast_action, spin_until};
use super::{PROMPT, runs, serve};

const R16_RUNS: usize = 50;
const R24_RUNS: u32 = 20;
/// The latest moment of the signal, after the start.
const R24_LATEST: Duration = Duration::from_millis(50);

#[test]
fn r11_exit_waits_for_the_peer_to_have_everything() {
    const LENGTH: usize = 16 << 20;
    /// The bytes that the server's kernel holds for a slow reader when the server has written all.
    const UNREAD: usize = 1 << 20;

    let served = serve(&[]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .set_recv_buffer_size(32 * 1024)
        .expect("a small buffer");
    socket.connect(&served.addr().into()).expect("connect");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(&get(&format!("/bytes/{LENGTH}")))
        .expect("write");
    let mut seen = Vec::new();
    read_until(&mut stream, &mut seen, LENGTH / 10);
    served.terminate();
    served.wait_refused();
    read_until(&mut stream, &mut seen, LENGTH - UNREAD);
    // Neither the last write nor the end of the linger says that the peer has it all.
    served.wait_progress();
    stream.read_to_end(&mut seen).expect("the rest");

    let head = seen
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    assert_eq!(seen.len() - head - 4, LENGTH);
    drop(stream);
    served.wait_report(0);
}

fn read_until(stream: &mut TcpStream, seen: &mut Vec<u8>, length: usize) {
    let missing = (length - seen.len()) as u64;
    let read = stream.take(missing).read_to_end(seen).expect("read");
    assert_eq!(read as u64, missing);
}

#[test]
fn r16_exit_follows_the_last_byte_at_once() {
    let mut lags: Vec<Duration> = (0..runs(R16_RUNS)).map(|_| exit_lag()).collect();
    lags.sort_unstable();
    let p99 = lags[(lags.len() * 99).div_ceil(100) - 1];
    let median = lags[lags.len() / 2];
    println!("exit after the last byte: median {median:?}, p99 {p99:?}");
    assert!(p99 < PROMPT, "{lags:?}");
}

/// Returns the time from the last byte of the last response to the end of the process.
fn exit_lag() -> Duration {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/30"));
    served.settle();
    served.terminate();
    let response = client.response(0);
    client.assert_ends(1);
    drop(client);
    let (exit, _) = served.wait_report(0);
    exit.at.saturating_duration_since(response.done)
}

#[test]
fn r24_signal_at_any_moment_of_the_start() {
    for n in 0..=R24_RUNS {
        for _ in 0..runs(1) {
            let started = Instant::now();
            let served = Served::spawn(&["--report", "json"]);
            spin_until(started + R24_LATEST * n / R24_RUNS);
            served.terminate();
            let exit = served.wait_exit(PATIENCE);
            // The kernel ends a process without a handler; a server that listens must have one.
            let listened = served
                .log()
                .lines()
                .iter()
                .any(|line| line.contains("listening on"));
            let killed = exit.status.signal() == Some(Signal::SIGTERM as i32) && !listened;
            assert!(
                exit.code == Some(0) || killed,
                "{exit:?}; {:?}",
                served.log()
            );
        }
    }
}

#[test]
fn r24_the_same_signal_twice_at_once_is_one() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/300"));
    served.settle();
    // The kernel merges two equal pending signals.
    served.terminate_after(|| served.terminate());
    assert_eq!(client.response(0).body, b"done");
    client.assert_ends(1);
    drop(client);
    served.wait_report(0);
}

#[test]
fn r24_two_signals_at_once_always_end_it() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.exchange(0, GET);
    served.terminate_after(|| served.signal(Signal::SIGINT));
    client.end();
    drop(client);
    let code = served.wait_exit(PATIENCE).code;
    assert!(matches!(code, Some(0 | 3)), "{code:?}; {:?}", served.log());
}

/// GNU `timeout` signals its child and then the group; a parent passes a Ctrl-C on.
#[test]
fn r24_signals_of_one_action_are_one() {
    let mut tried = 0;
    for others in [[Signal::SIGTERM; 3], [Signal::SIGINT; 3]] {
        loop {
            let served = serve(&[]);
            let client = Client::connect(served.addr());
            client.send(&get("/delay/300"));
            served.settle();
            let start = Instant::now();
            served.terminate();
            for (n, other) in others.into_iter().enumerate() {
                spin_until(start + Duration::from_millis(8) * (n as u32 + 1));
                served.signal(other);
            }
            tried += 1;
            if start.elapsed() > Duration::from_millis(40) && tried < 10 {
                continue; // a busy machine held the test
            }
            assert_eq!(client.response(0).body, b"done");
            client.assert_ends(1);
            drop(client);
            served.wait_report(0);
            break;
        }
    }
}

#[test]
fn r24_signals_that_a_freeze_brings_late_are_of_the_same_action() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/500"));
    served.settle();
    served.terminate();
    served.while_stopped(|| {
        outlast_action();
        served.terminate();
    });
    assert_eq!(client.response(0).body, b"done");
    client.assert_ends(1);
    drop(client);
    served.wait_report(0);
}

#[test]
fn r24_two_signals_at_once_are_one_and_the_next_cuts_with_a_response() {
    for _ in 0..runs(5) {
        let served = serve(&[]);
        let client = Client::connect(served.addr());
        client.send(&get("/delay/60000"));
        served.settle();
        served.terminate_after(|| served.signal(Signal::SIGINT));
        served.wait_refused();
        outlast_action();
        served.terminate();
        assert_cut(&served, &client);
    }
}

#[test]
fn r24_a_third_signal_cuts_with_a_response_where_the_second_ended_the_delay() {
    for _ in 0..runs(5) {
        let served = serve(&["--drain-delay", "20s"]);
        let client = Client::connect(served.addr());
        client.send(&get("/delay/60000"));
        served.settle();
        served.terminate();
        served.settle(); // it still accepts
        outlast_action();
        served.terminate();
        served.wait_refused();
        outlast_action();
        served.terminate();
        assert_cut(&served, &client);
    }
}

/// Asserts the report of a cut, and the 503 of a request whose head was not sent.
#[track_caller]
fn assert_cut(served: &Served, client: &Client) {
    let (_, report) = served.wait_report(3);
    assert_eq!((report.end(), report.forced_503()), ("cut", 1));
    let response = client.response(0);
    assert_eq!(response.status, 503);
    response.assert_last();
}

#[test]
fn r24_signals_of_the_drain_leave_the_exit_delay_alone() {
    const DELAY: Duration = Duration::from_millis(700);
    let flags = ["--exit-delay", "700ms", "--drain-delay", "20s"];

    // Two at once are one.
    let served = serve(&flags[..2]);
    let start = Instant::now();
    served.terminate_after(|| served.signal(Signal::SIGINT));
    let (exit, _) = served.wait_report(0);
    assert!(exit.at - start >= DELAY, "after {:?}", exit.at - start);

    // The second signal ends the drain delay; only a signal in the exit delay ends that.
    let served = serve(&flags);
    served.terminate();
    served.settle();
    outlast_action();
    let start = Instant::now();
    served.terminate();
    let (exit, _) = served.wait_report(0);
    assert!(exit.at - start >= DELAY, "after {:?}", exit.at - start);
}

#[test]
fn r24_second_signal_means_now() {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let served = serve(&[]);
        let client = Client::connect(served.addr());
        client.send(&get("/delay/60000"));
        served.settle();
        served.terminate();
        served.wait_refused();
        outlast_action();
        let signalled = Instant::now();
        served.signal(second);
        let (exit, report) = served.wait_report(3);
        assert_eq!(report.end(), "cut");
        assert!(exit.at - signalled < PROMPT);
        // A head that was not sent can still announce the cut.
        let response = client.response(0);
        assert_eq!(response.status, 503);
        response.assert_last();
    }
}
