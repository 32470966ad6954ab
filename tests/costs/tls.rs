//! What an idle TLS connection costs in memory, and how much of that rustls keeps.
//!
//! The client runs in the simulator on the same thread, outside of the measurement.

use std::io::Write;
use std::mem::size_of;
use std::sync::Arc;

use allocation_counter::measure;
use ebbtide::TlsConfig;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Setup, Sim};
use ebbtide::internals::sys::tls::{Io, Tls};
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConnection, SupportedProtocolVersion};

use ebbtide_lab::app::App;
use ebbtide_lab::tls::{Client, IDENTITY, VERSIONS};
use ebbtide_lab::wire::{GET, pattern, post};

type Lab = ebbtide_lab::Lab<App, Tls<Sim>>;

fn lab() -> Lab {
    let tls = TlsConfig::new(IDENTITY.server()).unwrap();
    let sys = Tls::new(Sim::new(Setup::default()), tls);
    Lab::over(sys, Tls::inner, Config::default(), App::default())
}

/// The bytes of an idle connection beside those of rustls: three empty buffers with their lengths,
/// and the simulator's queue for the peer.
const OURS: i64 = 200;

/// Returns the bytes that an idle connection keeps after these requests: they become free when the
/// client resets.
fn kept(lab: &mut Lab, client: &mut Client, requests: &[String]) -> i64 {
    for request in requests {
        client.ask(lab, request);
        assert!(client.take_text().starts_with("HTTP/1.1 200 OK\r\n"));
    }
    lab.sim().reset(client.peer);
    let closed = lab.report().closed;
    let freed = measure(|| lab.turn()).bytes_current;
    assert_eq!(lab.report().closed, closed + 1);
    -freed
}

/// Returns the bytes that rustls keeps once it has read a request, in itself and on the heap.
fn alone(version: &'static SupportedProtocolVersion) -> i64 {
    let server = Arc::new(IDENTITY.server());
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(IDENTITY.client(version)), name).unwrap();
    client.writer().write_all(GET.as_bytes()).unwrap();
    let mut connection = UnbufferedServerConnection::new(server).unwrap();
    let (mut records, mut response) = (Vec::new(), Vec::new());
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
                    response.extend_from_slice(&room[..n]);
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
        let mut answered = &response[..];
        while !answered.is_empty() {
            client.read_tls(&mut answered).unwrap();
            client.process_new_packets().unwrap();
        }
        response.clear();
    }
    assert!(!connection.is_handshaking() && !client.is_handshaking());
    let freed = measure(|| drop(connection)).bytes_current;
    size_of::<UnbufferedServerConnection>() as i64 - freed
}

#[test]
fn an_idle_connection_has_what_rustls_keeps_and_little_more() {
    for version in VERSIONS {
        let mut lab = lab();
        // The first connections create what the loop shares, and the store of sessions.
        for _ in 0..300 {
            let mut first = Client::connect(&mut lab, version);
            first.ask(&mut lab, &post("/echo", &pattern(100_000)));
        }
        let rustls = alone(version);
        let upload = post("/echo", &pattern(200_000));
        for requests in [
            vec![GET.to_owned()],
            vec![upload, GET.to_owned(), GET.to_owned()],
        ] {
            let mut client = Client::connect(&mut lab, version);
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
fn a_connection_without_a_byte_has_nothing_of_tls() {
    let mut lab = lab();
    for version in VERSIONS {
        for _ in 0..100 {
            Client::connect(&mut lab, version);
        }
        let peers: Vec<_> = (0..8).map(|_| lab.sim().connect(0)).collect();
        let cost = measure(|| lab.turn());
        // The world keeps something, and TLS has no session, which would be more than a kilobyte.
        let each = cost.bytes_current / peers.len() as i64;
        assert!(each < 100, "{each} bytes each");
    }
}
