//! Connections without a whole request when the signal comes: fresh, idle, and half-sent heads
//! (r01, r02, r04, r05, r06, r18, r25, r29, r31).

use std::time::{Duration, Instant};

use super::support::beat::Metronome;
use super::support::client::Client;
use super::support::{GET, HELLO, post, spin_until};
use super::{PROMPT, assert_served, runs, serve};

const R01_RUNS: usize = 5;
/// Clients of a run of r02, and the time between their writes: from 0 to 20 ms after the signal.
const R02_CLIENTS: u32 = 100;
const R02_STEP: Duration = Duration::from_micros(200);
const R25_CLIENTS: usize = 100;
const R31_CLIENTS: u32 = 500;

#[test]
fn r01_unread_request_on_an_idle_socket() {
    for _ in 0..runs(R01_RUNS) {
        let served = serve(&[]);
        let client = Client::connect(served.addr());
        client.exchange(0, GET);
        served.terminate_after(|| client.send(&post("/echo", b"in time")));

        let response = client.response(1);
        assert_served(&response, b"in time");
        client.assert_ends(2);
        drop(client);
        let (_, report) = served.wait_report(0);
        assert_eq!((report.requests(), report.answered()), (2, 2));
    }
}

#[test]
fn r02_request_and_close_cross() {
    for _ in 0..runs(1) {
        a_request_after_the_signal_is_answered_or_sees_the_end("25ms");
        a_request_after_the_signal_is_answered_or_sees_the_end("0s");
    }
}

fn a_request_after_the_signal_is_answered_or_sees_the_end(idle_grace: &str) {
    // The clients close when all have written, not when they see the FIN, so the linger is long.
    let served = serve(&["--idle-grace", idle_grace, "--linger", "8s"]);
    let clients: Vec<_> = (0..R02_CLIENTS)
        .map(|_| Client::connect(served.addr()))
        .collect();
    for client in &clients {
        client.exchange(0, GET);
    }
    served.terminate();
    let signalled = Instant::now();
    for (n, client) in (0..).zip(&clients) {
        spin_until(signalled + n * R02_STEP);
        client.send(GET);
    }
    let mut responses = 0;
    for client in clients {
        // The request is answered in full, or only the FIN comes. The server may answer the first
        // ones before it learns of the signal, so not every response says close.
        client.end();
        let count = client.look(|seen| seen.conversation.finals().count());
        assert!((1..=2).contains(&count));
        client.assert_ends(count);
        responses += count as i64;
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(
        (report.requests(), report.answered()),
        (responses, responses)
    );
}

#[test]
fn r04_fresh_socket_does_not_block() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    served.settle();
    let signalled = Instant::now();
    served.terminate();
    let closed = client.assert_ends(0);
    assert!(
        closed - signalled < PROMPT,
        "closed after {:?}",
        closed - signalled
    );
    drop(client);
    let (exit, _) = served.wait_report(0);
    assert!(
        exit.at - signalled < PROMPT,
        "exit after {:?}",
        exit.at - signalled
    );
}

#[test]
fn r05_half_a_first_head_may_finish() {
    half_a_head_may_finish(0);
}

#[test]
fn r05_half_a_first_head_is_bounded() {
    half_a_head_is_bounded(0);
}

#[test]
fn r06_half_a_head_on_a_reused_connection_may_finish() {
    half_a_head_may_finish(1);
}

#[test]
fn r06_half_a_head_on_a_reused_connection_is_bounded() {
    half_a_head_is_bounded(1);
}

fn half_a_head_may_finish(exchanges_before: usize) {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    for n in 0..exchanges_before {
        client.exchange(n, GET);
    }
    let idle = Client::connect(served.addr());
    idle.exchange(0, GET);
    let (first, rest) = GET.split_at(17);
    client.send(first);
    served.settle();
    served.terminate();
    served.wait_refused();
    idle.assert_ends(1); // the half head has outlived the grace
    client.send(rest);

    let response = client.response(exchanges_before);
    assert_eq!(response.status, 200);
    response.assert_last();
    client.assert_ends(exchanges_before + 1);
    drop(client);
    served.wait_report(0);
}

fn half_a_head_is_bounded(exchanges_before: usize) {
    let limit = Duration::from_millis(400);
    let served = serve(&["--drain-head-timeout", "400ms"]);
    let client = Client::connect(served.addr());
    for n in 0..exchanges_before {
        client.exchange(n, GET);
    }
    client.send(&GET[..17]);
    served.settle();
    let signalled = Instant::now();
    served.terminate();

    let (_, closed) = client.end();
    assert_closed_for_a_late_head(&client, exchanges_before);
    let took = closed - signalled;
    assert!(took < limit + PROMPT, "closed after {took:?}");
    assert!(took > limit / 2, "closed after {took:?}, before the limit");
    drop(client);
    let (exit, _) = served.wait_report(0);
    assert!(exit.at - signalled < limit + PROMPT);
}

#[test]
fn r18_dripped_head_is_cut_in_a_drain() {
    let limit = Duration::from_millis(400);
    let served = serve(&["--drain-head-timeout", "400ms", "--linger", "8s"]);
    let client = Client::connect(served.addr());
    client.send(b"GET /plaintext HTTP/1.1\r\nX-Slow: ");
    // The pace is the subject: a byte with each piece of a stream, which outlives the limit.
    let mut beats = Metronome::start(served.addr(), 200, Duration::from_millis(50));
    served.settle();
    let signalled = Instant::now();
    served.terminate();
    while client.look(|seen| seen.end.is_none()) {
        client.try_send(b"x");
        beats.beat();
    }
    let (_, closed) = client.end();
    assert_closed_for_a_late_head(&client, 0);
    assert!(closed - signalled < limit + PROMPT);
    drop((client, beats));
    served.wait_report(0);
}

/// Asserts the end of a connection whose head never came: a 408 or nothing, and a FIN.
fn assert_closed_for_a_late_head(client: &Client, exchanges_before: usize) {
    let responses = client.look(|seen| seen.conversation.finals().count());
    client.assert_ends(responses);
    if responses > exchanges_before {
        let response = client.response(exchanges_before);
        assert_eq!(response.status, 408);
        response.assert_last();
        client.assert_ends(exchanges_before + 1);
    }
}

#[test]
fn r25_half_of_the_idle_have_a_request_in_the_same_batch() {
    let served = serve(&[]);
    let clients: Vec<_> = (0..R25_CLIENTS)
        .map(|_| Client::connect(served.addr()))
        .collect();
    for client in &clients {
        client.exchange(0, GET);
    }
    served.terminate_after(|| {
        clients
            .iter()
            .step_by(2)
            .for_each(|client| client.send(GET))
    });
    for (n, client) in clients.into_iter().enumerate() {
        if n % 2 == 0 {
            assert_served(&client.response(1), HELLO);
            client.assert_ends(2);
        } else {
            client.assert_ends(1);
        }
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(report.answered(), (R25_CLIENTS + R25_CLIENTS / 2) as i64);
}

#[test]
fn r29_linger_is_bounded() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.exchange(0, GET);
    let signalled = Instant::now();
    served.terminate();
    // The client sends on after the FIN, and does not close.
    client.assert_ends(1);
    client.outlast_linger();
    let (exit, _) = served.wait_report(0);
    assert!(
        exit.at - signalled < PROMPT,
        "exit after {:?}",
        exit.at - signalled
    );
}

#[test]
fn a_long_grace_leaves_the_idle_time_for_one_more_request() {
    let served = serve(&["--idle-grace", "5s"]);
    let [busy, silent] = [(); 2].map(|()| Client::connect(served.addr()));
    busy.exchange(0, GET);
    let fresh = Client::connect(served.addr());
    silent.exchange(0, GET);
    served.terminate();
    served.wait_refused();
    // A fresh connection has no grace.
    fresh.assert_ends(0);
    assert_served(&busy.exchange(1, GET), HELLO);
    busy.assert_ends(2);
    let still_there = silent.look(|seen| seen.end.is_none());
    assert!(still_there, "closed before its grace was over");
    drop((busy, silent, fresh));
    served.wait_report(0);
}

/// The simulator has every moment. A busy machine only adds time, so here no close may be early.
#[test]
fn r31_idle_connections_are_closed_one_by_one_over_the_spread() {
    const SPREAD: Duration = Duration::from_secs(1);
    // The server's clock has milliseconds.
    const TICKS: Duration = Duration::from_millis(10);
    let served = serve(&["--close-spread", "1s"]);
    let clients: Vec<_> = (0..R31_CLIENTS)
        .map(|_| {
            let client = Client::connect(served.addr());
            client.exchange(0, GET);
            client
        })
        .collect();
    let signalled = Instant::now();
    served.terminate();
    // The connection that has been idle for longest ends first.
    for (n, client) in (1..).zip(clients) {
        let took = client.assert_ends(1) - signalled;
        assert!(took + TICKS >= SPREAD * n / R31_CLIENTS, "{n}: {took:?}");
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(report.opened(), i64::from(R31_CLIENTS));
}
