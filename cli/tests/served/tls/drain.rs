//! The drain over TLS on real sockets, where only the kernel knows the order of events.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use super::support::folder::Folder;
use super::support::tls::{Client, End};
use super::support::{GET, HELLO, PATIENCE, get, post, post_head};
use super::{IDENTITY, serve};
use ebbtide_lab::response::Response;
use ebbtide_lab::tls::{TLS13, VERSIONS};

#[track_caller]
fn assert_last(response: &Response, body: &[u8]) {
    response.assert_last();
    assert_eq!(response.status, 200);
    assert!(response.body == body, "another body");
}

#[test]
fn the_idle_leave_with_a_close_notify() {
    let folder = Folder::new("tls-idle");
    let served = serve(&folder, &[]);
    let mut clients: Vec<_> = VERSIONS
        .into_iter()
        .map(|version| Client::connect(served.addr(), &Arc::new(IDENTITY.client(version))))
        .collect();
    for client in &mut clients {
        assert_eq!(client.exchange(GET).body, HELLO);
    }
    served.terminate();
    for client in &mut clients {
        client.assert_ends();
    }
    drop(clients);
    let (_, report) = served.wait_report(0);
    assert_eq!((report.requests(), report.answered()), (2, 2));
}

#[test]
fn a_request_that_is_in_the_kernel_at_the_signal_is_answered() {
    for version in VERSIONS {
        let folder = Folder::new("tls-kernel");
        let served = serve(&folder, &[]);
        let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(version)));
        client.exchange(GET);
        served.terminate_after(|| client.send(&post("/echo", b"in time")));
        assert_last(&client.response(), b"in time");
        client.assert_ends();
        drop(client);
        let (_, report) = served.wait_report(0);
        assert_eq!((report.requests(), report.answered()), (2, 2));
    }
}

#[test]
fn a_part_of_a_record_that_is_in_the_kernel_at_the_signal_is_too() {
    let folder = Folder::new("tls-part");
    let served = serve(&folder, &[]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    client.exchange(GET);
    let records = client.records(GET);
    served.terminate_after(|| client.send_raw(&records[..3]));
    served.wait_refused();
    client.send_raw(&records[3..]);
    assert_last(&client.response(), HELLO);
    client.assert_ends();
    drop(client);
    served.wait_report(0);
}

#[test]
fn a_handshake_in_progress_finishes() {
    for version in VERSIONS {
        let folder = Folder::new("tls-shake");
        let served = serve(&folder, &[]);
        let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(version)));
        let hello = client.records(b"");
        served.terminate_after(|| client.send_raw(&hello[..100]));
        served.wait_refused();
        client.send_raw(&hello[100..]);
        assert_last(&client.exchange(GET), HELLO);
        client.assert_ends();
        drop(client);
        served.wait_report(0);
    }
}

#[test]
fn a_handshake_in_the_backlog_finishes() {
    let folder = Folder::new("tls-backlog");
    let served = serve(&folder, &[]);
    let config = Arc::new(IDENTITY.client(&TLS13));
    let mut clients = served.terminate_after(|| {
        let mut clients: Vec<_> = (0..50)
            .map(|_| Client::connect(served.addr(), &config))
            .collect();
        for client in &mut clients {
            let hello = client.records(b"");
            client.send_raw(&hello);
        }
        clients
    });
    for client in &mut clients {
        assert_last(&client.exchange(GET), HELLO);
        client.assert_ends();
    }
    drop(clients);
    let (_, report) = served.wait_report(0);
    assert_eq!((report.requests(), report.answered()), (50, 50));
}

#[test]
fn a_handshake_that_stops_is_given_up_in_time() {
    let folder = Folder::new("tls-stops");
    let served = serve(&folder, &["--drain-head-timeout", "300ms"]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    let hello = client.records(b"");
    served.terminate_after(|| client.send_raw(&hello[..100]));
    let (_, report) = served.wait_report(0);
    assert_eq!((report.end(), report.requests()), ("drained", 0));
}

#[test]
fn an_upload_in_progress_completes() {
    for version in VERSIONS {
        let folder = Folder::new("tls-upload");
        let served = serve(&folder, &[]);
        let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(version)));
        let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        client.send(&post_head("/echo", body.len()));
        client.send(&body[..1_000_000]);
        served.terminate();
        served.wait_refused();
        client.send(&body[1_000_000..]);
        assert_last(&client.response(), &body);
        client.assert_ends();
        drop(client);
        served.wait_report(0);
    }
}

/// The response is much longer than the sockets hold, and the client pauses for longer than the
/// linger.
#[test]
fn a_slow_reader_gets_everything() {
    let folder = Folder::new("tls-slow");
    let served = serve(&folder, &[]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    client.send(&get("/bytes/30000000"));
    client.socket().peek(&mut [0; 1]).expect("it has begun");
    served.terminate();
    served.wait_progress();
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, 30_000_000));
    client.assert_ends();
    drop(client);
    served.wait_report(0);
}

/// The kernel has the whole response, and the client has read nothing.
#[test]
fn the_exit_waits_until_what_was_written_is_delivered() {
    let folder = Folder::new("tls-delivered");
    let served = serve(&folder, &[]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    client.exchange(GET);
    client.send(&get("/bytes/4000000"));
    client.socket().peek(&mut [0; 1]).expect("it has begun");
    served.terminate();
    served.wait_progress();
    assert_eq!(client.response().body.len(), 4_000_000);
    client.assert_ends();
    drop(client);
    served.wait_report(0);
}

#[test]
fn what_the_deadline_cuts_does_not_look_whole() {
    for (request, version) in [
        ("GET /stream/1000000/5 HTTP/1.1\r\nHost: t\r\n\r\n", "1.1"),
        // The body ends with the connection: only TCP and TLS can show the cut.
        ("GET /stream/1000000/5 HTTP/1.0\r\nHost: t\r\n\r\n", "1.0"),
    ] {
        let folder = Folder::new("tls-cut");
        let served = serve(&folder, &["--drain-timeout", "500ms"]);
        let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
        client.send(request.as_bytes());
        client.socket().peek(&mut [0; 1]).expect("it has begun");
        served.terminate();
        let (bytes, end) = client.end();
        assert!(!bytes.is_empty());
        assert_eq!(end, End::Reset, "HTTP/{version}");
        let (_, report) = served.wait_report(1);
        assert_eq!((report.end(), report.aborted()), ("deadline", 1));
    }
}

#[test]
fn a_body_that_ends_with_the_connection_ends_with_a_close_notify() {
    let folder = Folder::new("tls-whole");
    let served = serve(&folder, &[]);
    let mut client = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    client.send(b"GET /stream/20/1 HTTP/1.0\r\nHost: t\r\n\r\n");
    let (bytes, end) = client.end();
    assert!(bytes.ends_with(b"chunk 19\n"), "{} bytes", bytes.len());
    assert_eq!(end, End::Clean);
}

#[test]
fn a_storm_of_handshakes_does_not_hold_up_those_who_are_served() {
    let folder = Folder::new("tls-storm");
    let served = serve(&folder, &[]);
    let config = Arc::new(IDENTITY.client(&TLS13));
    let mut live = Client::connect(served.addr(), &config);
    live.exchange(GET);
    let mut clients: Vec<_> = served.while_stopped(|| {
        let mut clients: Vec<_> = (0..500)
            .map(|_| Client::connect(served.addr(), &config))
            .collect();
        for client in &mut clients {
            let hello = client.records(b"");
            client.send_raw(&hello);
        }
        live.send(GET);
        clients
    });
    let begun = Instant::now();
    assert_eq!(live.response().body, HELLO);
    let first = begun.elapsed();
    // The last client was accepted last.
    let last = clients.last_mut().expect("there are some");
    last.socket().read_exact(&mut [0; 1]).expect("its turn");
    let all = begun.elapsed();
    assert!(first < all && all < PATIENCE, "{first:?} of {all:?}");
    println!("a request was answered {first:?} into a storm of 500 handshakes that took {all:?}");
}
