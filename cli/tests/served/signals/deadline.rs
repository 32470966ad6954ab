//! What the deadline cuts, and that it covers everything (r12, r17).

use std::time::{Duration, Instant};

use super::support::client::Client;
use super::support::served::Served;
use super::support::{GET, PATIENCE, get, post_head};
use super::{PROMPT, serve};
use ebbtide_lab::response::End;

const DEADLINE: Duration = Duration::from_millis(500);
const FLAGS: &[&str] = &["--drain-timeout", "500ms"];

#[test]
fn r12_cut_stream_does_not_look_complete() {
    for version in ["1.0", "1.1"] {
        let served = serve(FLAGS);
        let client = Client::connect(served.addr());
        let request = format!("GET /stream/1000000/5 HTTP/{version}\r\nHost: t\r\n\r\n");
        client.send(request.as_bytes());
        client.wait(PATIENCE, |seen| (!seen.bytes.is_empty()).then_some(()));
        served.terminate();

        let (end, _) = client.end();
        assert_eq!(
            end,
            End::Reset,
            "HTTP/{version}: a FIN says that this was all"
        );
        let torn = client.look(|seen| seen.conversation.finals().count() == 0);
        assert!(
            torn,
            "HTTP/{version}: {}",
            client.look(|seen| seen.describe())
        );
        let (_, report) = served.wait_report(1);
        assert_eq!((report.end(), report.aborted()), ("deadline", 1));
    }
}

#[test]
fn r17_deadline_covers_a_silent_upload() {
    let served = serve(FLAGS);
    let client = Client::connect(served.addr());
    client.send(&post_head("/echo", 1000));
    client.send(&[b'x'; 500]);
    served.settle();
    assert_cut_at_the_deadline(&served);
    client.end();
}

#[test]
fn r17_deadline_covers_a_reader_that_stops() {
    let served = serve(FLAGS);
    let client = Client::connect(served.addr());
    client.set_reading(false);
    client.send(&get("/bytes/67108864"));
    served.settle();
    assert_cut_at_the_deadline(&served);
    client.set_reading(true);
    assert_eq!(client.end().0, End::Reset);
}

#[test]
fn r17_deadline_answers_those_whom_the_application_keeps_waiting() {
    let served = serve(FLAGS);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/60000"));
    served.settle();
    let report = assert_cut_at_the_deadline(&served);
    let response = client.response(0);
    assert_eq!(response.status, 503);
    assert!(response.field("Retry-After").next().is_some(), "{response}");
    response.assert_last();
    assert_eq!(report, 1, "one was forced");
}

/// Asserts exit code 1 close to the deadline, and returns how many requests got a 503.
fn assert_cut_at_the_deadline(served: &Served) -> i64 {
    let signalled = Instant::now();
    served.terminate();
    let (exit, report) = served.wait_report(1);
    assert_eq!(report.end(), "deadline");
    let took = exit.at - signalled;
    assert!(took < DEADLINE + PROMPT, "exit after {took:?}");
    assert!(
        took > DEADLINE - Duration::from_millis(20),
        "exit after {took:?}, too early"
    );
    report.forced_503()
}

#[test]
fn r17_linger_does_not_wait_for_a_peer_that_never_closes() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/100"));
    served.settle();
    served.terminate();
    let response = client.response(0);
    client.assert_ends(1);
    // The client stays, silent.
    let (exit, _) = served.wait_report(0);
    let took = exit.at - response.done;
    assert!(took < PROMPT, "exit after {took:?}");
}

#[test]
fn r17_linger_is_within_the_deadline() {
    let served = serve(&["--drain-timeout", "500ms", "--linger", "60s"]);
    let client = Client::connect(served.addr());
    client.exchange(0, GET);
    let signalled = Instant::now();
    served.terminate();
    client.assert_ends(1);
    let exit = served.wait_exit(PATIENCE);
    let took = exit.at - signalled;
    assert!(took < DEADLINE + PROMPT, "exit after {took:?}");
}
