//! What a TLS connection costs, by the allocator's own account: idle, between two requests, and
//! how much of that is rustls's own.
//!
//! On the simulator, with the client on the same thread but outside of what is counted.

#![cfg(feature = "tls")]

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "sim_tls/lab.rs"]
mod lab;
mod sim_support;

use std::io::Write;
use std::mem::size_of;
use std::sync::Arc;

use allocation_counter::measure;
use ebbtide::internals::sys::tls::Io;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConnection, SupportedProtocolVersion};

use certificates::VERSIONS;
use lab::{Client, IDENTITY, Lab};
use sim_support::wire::{GET, pattern, post};

/// Bytes that may be freed with an idle connection besides those of rustls: three empty buffers and
/// their lengths, and the simulator's own queue for what a peer sends.
const OURS: i64 = 200;

/// What the server has of an idle connection that was answered these: it is what becomes free when
/// the client resets.
fn kept(lab: &mut Lab, client: &mut Client, requests: &[String]) -> i64 {
    for request in requests {
        client.say(request);
        lab.talk(client);
        assert!(client.take_text().starts_with("HTTP/1.1 200 OK\r\n"));
    }
    lab.sim().reset(client.peer);
    let closed = lab.engine.report().closed;
    let freed = measure(|| lab.turn()).bytes_current;
    assert_eq!(lab.engine.report().closed, closed + 1);
    -freed
}

/// What rustls alone has of a connection once a request was read from it: by itself, and on the
/// heap.
fn alone(version: &'static SupportedProtocolVersion) -> i64 {
    let server = Arc::new(IDENTITY.server());
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(IDENTITY.client(version)), name).unwrap();
    client.writer().write_all(GET.as_bytes()).unwrap();
    let mut connection = UnbufferedServerConnection::new(server).unwrap();
    let (mut records, mut answer) = (Vec::new(), Vec::new());
    let mut room = vec![0; 16 * 1024];
    loop {
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        if records.is_empty() {
            break;
        }
        let mut done = false;
        while !done {
            let UnbufferedStatus { discard, state } = connection.process_tls_records(&mut records);
            match state.unwrap() {
                ConnectionState::EncodeTlsData(mut data) => {
                    let n = data.encode(&mut room).unwrap();
                    answer.extend_from_slice(&room[..n]);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::ReadTraffic(mut traffic) => {
                    assert_eq!(
                        traffic.next_record().unwrap().unwrap().payload,
                        GET.as_bytes()
                    );
                }
                _ => done = true,
            }
            records.drain(..discard);
        }
        let mut answered = &answer[..];
        while !answered.is_empty() {
            client.read_tls(&mut answered).unwrap();
            client.process_new_packets().unwrap();
        }
        answer.clear();
    }
    assert!(!connection.is_handshaking() && !client.is_handshaking());
    let freed = measure(|| drop(connection)).bytes_current;
    size_of::<UnbufferedServerConnection>() as i64 - freed
}

#[test]
fn an_idle_connection_has_what_rustls_keeps_and_little_more() {
    for version in VERSIONS {
        let mut lab = Lab::new();
        // What the loop keeps for all of them, and the store of sessions, is made by the first.
        for _ in 0..300 {
            let mut first = lab.connect(version);
            first.say(&post("/echo", &pattern(100_000)));
            lab.talk(&mut first);
        }
        let rustls = alone(version);
        let upload = post("/echo", &pattern(200_000));
        for requests in [
            vec![GET.to_owned()],
            vec![upload, GET.to_owned(), GET.to_owned()],
        ] {
            let mut client = lab.connect(version);
            let kept = kept(&mut lab, &mut client, &requests);
            let name = client.tls.protocol_version().unwrap();
            println!(
                "sizes: {name:?}: {kept} bytes idle after {} requests, of which rustls alone \
                 {rustls}; besides, {} in its entry",
                requests.len(),
                size_of::<Io<u32>>()
            );
            let ours = kept - rustls;
            assert!((0..=OURS).contains(&ours), "{kept} bytes, rustls {rustls}");
        }
    }
}

#[test]
fn who_has_only_connected_has_nothing_of_tls() {
    let mut lab = Lab::new();
    for version in VERSIONS {
        for _ in 0..100 {
            lab.connect(version);
        }
        let peers: Vec<_> = (0..8).map(|_| lab.sim().connect(0)).collect();
        let cost = measure(|| lab.turn());
        // Something of the world's, and no session, which has more than a kilobyte.
        let each = cost.bytes_current / peers.len() as i64;
        assert!(each < 100, "{each} bytes each");
    }
}
