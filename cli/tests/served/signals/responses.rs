//! Responses under way when the signal comes, and requests that come with it (r08, r09, r10, r15,
//! r22, r23, r26, r27, r30).

use std::time::Instant;

use super::support::client::Client;
use super::support::{GET, HELLO, PATIENCE, get, post, post_head};
use super::{PROMPT, assert_served, runs, serve};
use ebbtide_lab::response::Response;

const R10_RUNS: usize = 5;
const R10_UPLOAD: usize = 8 << 20;

#[test]
fn r08_pipelined_requests_run_if_and_only_if_they_are_answered() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&[&get("/delay/300")[..], GET, GET].concat());
    served.settle();
    served.terminate();

    client.end();
    let responses: Vec<Response> =
        client.look(|seen| seen.conversation.finals().cloned().collect());
    client.assert_ends(responses.len());
    let (last, before) = responses.split_last().expect("the first was under way");
    last.assert_last();
    assert!(
        before.iter().all(|response| !response.says_close()),
        "{before:?}"
    );
    let expected = [&b"done"[..], HELLO, HELLO];
    assert!(
        responses
            .iter()
            .zip(expected)
            .all(|(response, body)| response.body == body)
    );
    drop(client);
    let (_, report) = served.wait_report(0);
    // `settle` made one more.
    let responses = responses.len() as i64 + 1;
    assert_eq!(
        (report.requests(), report.answered()),
        (responses, responses)
    );
}

#[test]
fn r09_stream_that_began_as_keep_alive_ends_and_closes() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/stream/10/100"));
    client.wait(PATIENCE, |seen| (!seen.bytes.is_empty()).then_some(()));
    served.terminate();

    let response = client.response(0);
    assert_eq!(
        response.body.iter().filter(|byte| **byte == b'\n').count(),
        10
    );
    let closed = client.assert_ends(1);
    assert!(closed - response.done < PROMPT);
    drop(client);
    let (exit, _) = served.wait_report(0);
    assert!(exit.at - response.done < PROMPT);
}

#[test]
fn r09_who_asks_again_behind_a_stream_that_did_not_say_close_is_answered() {
    // A busy machine may take longer than the usual grace to run this client.
    let served = serve(&["--idle-grace", "5s"]);
    let clients: Vec<Client> = (0..20).map(|_| Client::connect(served.addr())).collect();
    for client in &clients {
        client.send(&get("/stream/5/20"));
        client.wait(PATIENCE, |seen| (!seen.bytes.is_empty()).then_some(()));
    }
    served.terminate();
    for client in &clients {
        client.response(0);
        client.exchange(1, GET).assert_last();
        client.assert_ends(2);
    }
    drop(clients);
    served.wait_report(0);
}

#[test]
fn r10_unread_upload_does_not_eat_the_response() {
    for _ in 0..runs(R10_RUNS) {
        upload_is_refused(&["--max-body", "64KiB"], "/echo", 413);
        upload_is_refused(&[], "/plaintext", 405);
    }
}

fn upload_is_refused(flags: &[&str], path: &str, status: u16) {
    let served = serve(flags);
    let client = Client::connect(served.addr());
    client.send(&post_head(path, R10_UPLOAD));
    served.terminate();
    let piece = vec![b'x'; R10_UPLOAD / 16];
    for _ in 0..16 {
        // The server may refuse; its response must still be readable.
        client.try_send(&piece);
    }
    assert_eq!(client.response(0).status, status);
    client.end();
    drop(client);
    served.wait_report(0);
}

#[test]
fn r15_busy_client_is_not_served_for_ever() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    for n in 0..50 {
        client.exchange(n, GET);
    }
    served.terminate_after(|| client.send(GET));
    let mut responses = 51;
    let mut last = client.response(50);
    while !last.says_close() {
        // The server may answer what was in the socket when it woke without a close; no more.
        assert!(responses < 52, "served on: {last}");
        last = client.exchange(responses, GET);
        responses += 1;
    }
    last.assert_last();
    client.assert_ends(responses);
    drop(client);
    let (exit, _) = served.wait_report(0);
    assert!(exit.at - last.done < PROMPT);
}

#[test]
fn r22_upload_goes_on_when_the_rest_is_there_with_the_signal() {
    let body: Vec<u8> = (0..128 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let request = post("/echo", &body);
    let (first, rest) = request.split_at(request.len() / 2);

    let at_once = serve(&[]);
    let client = Client::connect(at_once.addr());
    client.send(first);
    at_once.settle();
    at_once.terminate_after(|| client.send(rest));
    assert_served(&client.response(0), &body);
    client.assert_ends(1);
    drop(client);
    at_once.wait_report(0);

    let later = serve(&[]);
    let client = Client::connect(later.addr());
    client.send(first);
    later.settle();
    later.terminate();
    later.wait_refused();
    client.send(rest);
    assert_echoed(&client, &body);
    drop(client);
    later.wait_report(0);
}

fn assert_echoed(client: &Client, body: &[u8]) {
    let response = client.response(0);
    assert_eq!(response.status, 200);
    assert!(response.body == body, "not what was sent: {response}");
    response.assert_last();
    client.assert_ends(1);
}

#[test]
fn r23_no_exit_before_the_last_byte() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&get("/stream/10/60"));
    served.settle();
    served.terminate();
    // Each chunk except the last shows that the process must still be there.
    for chunk in 0..9 {
        let text = format!("chunk {chunk}\n");
        let came = client.wait(PATIENCE, |seen| {
            let came = seen
                .bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            (came || seen.end.is_some()).then_some(())
        });
        assert!(
            came.is_some() && served.is_running(),
            "gone at chunk {chunk}"
        );
    }
    client.response(0);
    client.assert_ends(1);
    drop(client);
    served.wait_report(0);
}

#[test]
fn r26_expectation_that_comes_with_the_signal_is_answered() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.exchange(0, GET);
    served.terminate_after(|| client.send(&expecting(4)));
    let status = client.wait(PROMPT, |seen| {
        let second = seen
            .conversation
            .responses
            .get(1)
            .map(|response| response.status);
        second.or_else(|| seen.end.map(|_| 0))
    });
    match status {
        Some(100) => {
            client.send(b"body");
            assert_served(&client.response(1), b"body");
        }
        Some(417 | 503) => client.response(1).assert_last(),
        other => panic!("silence, or something else: {other:?}"),
    }
    client.assert_ends(2);
    drop(client);
    served.wait_report(0);
}

#[test]
fn r26_body_that_was_called_for_before_the_signal_is_taken() {
    let served = serve(&[]);
    let client = Client::connect(served.addr());
    client.send(&expecting(4));
    let called = |response: &Response| response.status == 100;
    let status = client.wait(PATIENCE, |seen| {
        seen.conversation.responses.first().map(called)
    });
    assert_eq!(status, Some(true));
    served.terminate();
    served.wait_refused();
    client.send(b"body");
    assert_echoed(&client, b"body");
    drop(client);
    served.wait_report(0);
}

fn expecting(length: usize) -> Vec<u8> {
    let head = post_head("/echo", length);
    [&head[..head.len() - 2], b"Expect: 100-continue\r\n\r\n"].concat()
}

#[test]
fn r27_half_closed_client_is_answered() {
    let served = serve(&[]);
    let waiting = Client::connect(served.addr());
    waiting.send(&get("/delay/300"));
    waiting.shut();
    served.settle();
    let late = Client::connect(served.addr());
    late.exchange(0, GET);
    served.terminate_after(|| {
        late.send(GET);
        late.shut();
    });
    assert_served(&late.response(1), HELLO);
    late.assert_ends(2);
    let response = waiting.response(0);
    assert_eq!(response.body, b"done");
    response.assert_last();
    waiting.assert_ends(1);
    drop((late, waiting));
    served.wait_report(0);
}

#[test]
fn r30_every_response_of_a_drain_says_close_once() {
    const REQUESTS: &[(&str, &str, u16)] = &[
        ("GET", "GET /plaintext HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        (
            "GET",
            "GET /plaintext HTTP/1.1\r\nHost: t\r\nConnection: keep-alive\r\n\r\n",
            200,
        ),
        (
            "GET",
            "GET /plaintext HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            200,
        ),
        (
            "GET",
            "GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            200,
        ),
        ("HEAD", "HEAD /plaintext HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        ("GET", "GET /json HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        ("GET", "GET /bytes/100000 HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        ("GET", "GET /stream/3/10 HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        ("GET", "GET /delay/50 HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        (
            "POST",
            "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab",
            200,
        ),
        ("GET", "GET /no/such HTTP/1.1\r\nHost: t\r\n\r\n", 404),
        ("GET", "GET /echo HTTP/1.1\r\nHost: t\r\n\r\n", 405),
        ("GET", "GET /plaintext HTTP/1.1\r\n\r\n", 400),
    ];
    // The loop has taken the signal before the requests come, and none of them is too late.
    let served = serve(&["--idle-grace", "8s", "--linger", "8s"]);
    let clients: Vec<_> = REQUESTS
        .iter()
        .map(|_| Client::connect(served.addr()))
        .collect();
    for (client, (method, ..)) in clients.iter().zip(REQUESTS) {
        client.expect_methods(&["GET".to_owned(), (*method).to_owned()]);
        assert!(!client.exchange(0, GET).says_close());
    }
    served.terminate();
    served.wait_refused();
    for (client, (_, request, status)) in clients.iter().zip(REQUESTS) {
        let response = client.exchange(1, request.as_bytes());
        assert_eq!(response.status, *status, "{request:?}");
        response.assert_last();
        client.assert_ends(2);
    }
    drop(clients);
    served.wait_report(0);
}

#[test]
fn late_requests_can_be_rejected_or_dropped() {
    for (policy, status) in [
        ("reject", Some(503)),
        ("reject:429", Some(429)),
        ("drop", None),
    ] {
        let served = serve(&["--late-requests", policy, "--idle-grace", "8s"]);
        let client = Client::connect(served.addr());
        client.exchange(0, GET);
        let in_time = Client::connect(served.addr());
        in_time.send(&get("/delay/300"));
        served.settle();
        served.terminate();
        served.wait_refused();
        client.send(GET);
        if let Some(status) = status {
            let response = client.response(1);
            assert_eq!(response.status, status);
            response.assert_last();
            let advised = response.field("Retry-After").next().is_some();
            assert!(advised || status != 503, "{response}");
        }
        client.assert_ends(1 + usize::from(status.is_some()));
        // Requests from before the signal are served under every policy.
        assert_eq!(in_time.response(0).body, b"done");
        in_time.assert_ends(1);
        drop((client, in_time));
        served.wait_report(0);
    }
}

#[test]
fn a_development_server_does_not_drain() {
    let served = serve(&["--dev"]);
    let client = Client::connect(served.addr());
    client.send(&get("/delay/60000"));
    served.settle();
    let signalled = Instant::now();
    served.terminate();
    let exit = served.wait_exit(PATIENCE);
    assert_eq!(exit.code, Some(3), "{:?}", served.log());
    let took = exit.at - signalled;
    assert!(took < PROMPT, "exit after {took:?}");
    client.end();
}
