//! Peers that speak something else, or TLS with faults.

use ebbtide::TlsConfig;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Manner, PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use rustls::AlertDescription;

use ebbtide_lab::slow;
use ebbtide_lab::tls::{Client, IDENTITY, TLS13, VERSIONS};
use ebbtide_lab::wire::{self, GET, ok, post_head};

use super::{Lab, speaking, tls_lab};

/// Connects a peer that sends these bytes without TLS.
fn stranger(lab: &mut Lab, bytes: &[u8]) -> PeerId {
    let peer = lab.sim().connect(0);
    lab.now();
    lab.sim().send(peer, bytes.to_vec());
    lab.now();
    peer
}

/// Returns the alert at the end: a record of type 21 with a level and a description.
fn last_alert(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [.., 21, 3, _, 0, 2, 2, description] => Some(*description),
        _ => None,
    }
}

#[test]
fn plain_http_is_told_that_the_port_speaks_tls() {
    for request in [
        GET,
        "POST /echo HTTP/1.1\r\n",
        "G",
        "PRI * HTTP/2.0\r\n\r\n",
    ] {
        let mut lab = tls_lab();
        let peer = stranger(&mut lab, request.as_bytes());
        let now = lab.millis();
        let got = wire::undated(lab.sim().got(peer), now);
        let (responses, rest) = wire::responses(got.as_bytes());
        let [response] = &responses[..] else {
            panic!("{request:?}: {got}");
        };
        assert_eq!((response.status, response.says_close()), (400, true));
        assert_eq!(response.text(), "this port speaks TLS: use https\n");
        assert!(rest.is_empty());
        let seen = lab.sim().seen(peer);
        assert!(seen.fin.is_some() && seen.reset.is_none(), "{seen:?}");
        assert_eq!(lab.app().runs(), 0);
        assert_eq!(lab.report().refused, 1);
    }
}

#[test]
fn a_response_to_a_plain_head_has_no_body() {
    let mut lab = tls_lab();
    for request in ["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD "] {
        let peer = stranger(&mut lab, request.as_bytes());
        let got = lab.sim().got(peer);
        assert!(got.starts_with(b"HTTP/1.1 400 ") && got.ends_with(b"\r\n\r\n"));
    }
    let peer = stranger(&mut lab, b"HEAD"); // the read before had a space behind it
    assert!(lab.sim().got(peer).ends_with(b"use https\n"));
}

/// The rest of the body arrives while the server reads it out, and is no error of TLS.
#[test]
fn plain_http_with_a_large_body_gets_its_response_too() {
    let mut lab = tls_lab();
    let request = post_head("/echo", 1 << 20) + &wire::pattern(1 << 20);
    let peer = stranger(&mut lab, request.as_bytes());
    let got = String::from_utf8(lab.sim().got(peer).to_vec()).unwrap();
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
    assert_eq!(lab.sim().seen(peer).reset, None);
}

#[test]
fn bytes_that_are_no_record_get_an_alert_and_a_fin() {
    let long = [&[22, 3, 1, 0xff, 0xff][..], &[0; 100]].concat();
    let strange = [&[99, 3, 3, 0, 5][..], &[0; 5]].concat();
    let empty_hello = vec![22, 3, 1, 0, 4, 1, 0, 0, 0];
    for bytes in [long, strange, empty_hello, vec![0x80; 40]] {
        let mut lab = tls_lab();
        let peer = stranger(&mut lab, &bytes);
        let got = lab.sim().got(peer).to_vec();
        assert!(last_alert(&got).is_some(), "{bytes:?}: {got:?}");
        let seen = lab.sim().seen(peer);
        assert!(seen.fin.is_some() && seen.reset.is_none(), "{seen:?}");
        assert_eq!(lab.engine().counts(), [0; 8]);
        assert_eq!(lab.report().left, 1);
    }
}

/// A close with unread bytes is a reset, which would overtake the alert on its way to a slow peer.
#[test]
fn an_alert_arrives_also_where_more_was_sent_than_one_read_takes() {
    let mut lab = tls_lab();
    let peer = lab.connect_as(slow(10));
    lab.sim().send(peer, vec![0x80; 200_000]);
    lab.pass(100);
    let got = lab.sim().got(peer).to_vec();
    assert!(last_alert(&got).is_some(), "{got:?}");
    lab.finished(peer);
}

#[test]
fn a_protocol_that_is_not_spoken_here_gets_its_alert() {
    let mut lab = tls_lab();
    let mut config = IDENTITY.client(&TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = Client::connect_as(&mut lab, Default::default(), config);
    client.talk(&mut lab);
    let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(client.error, Some(alert));
    lab.finished(client.peer);
}

#[test]
fn every_version_that_is_served_is_offered() {
    for (offered, agreed) in [
        (&["http/1.0"][..], Some("http/1.0")),
        (&["http/1.0", "http/1.1"], Some("http/1.1")),
        (&["h2", "http/1.0"], Some("http/1.0")),
        (&[], None),
    ] {
        let mut lab = tls_lab();
        let mut config = IDENTITY.client(&TLS13);
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let mut client = Client::connect_as(&mut lab, Manner::default(), config);
        client.ask(&mut lab, GET);
        assert_eq!(client.take_text(), ok("hello\n"), "{offered:?}");
        assert_eq!(client.tls.alpn_protocol(), agreed.map(str::as_bytes));
    }
}

#[test]
fn a_changed_record_is_an_alert_and_not_a_request() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        client.say(GET);
        let mut record = client.flight();
        *record.last_mut().unwrap() ^= 1;
        lab.sim().send(client.peer, record);
        lab.now();
        client.hear(lab.sim());
        let alert = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(client.error, Some(alert));
        assert_eq!(lab.app().runs(), 1, "the first");
    }
}

/// A handshake message announces 60,000 bytes, and comes in records of one byte, or of 16,000 with
/// a part of the next.
#[test]
fn a_handshake_that_never_ends_is_not_kept_and_gets_an_alert() {
    let record = |length: usize| {
        [
            &[22, 3, 1][..],
            &(length as u16).to_be_bytes(),
            &vec![0; length],
        ]
        .concat()
    };
    for (piece, cut) in [
        (record(1), 0),
        (record(16_000), 0),
        (record(16_000), 3),
        (record(16_000), 9_000),
    ] {
        let mut lab = tls_lab();
        let peer = stranger(&mut lab, &[22, 3, 1, 0, 4, 1, 0, 0xea, 0x60]);
        lab.sim().send(peer, piece[..cut].to_vec());
        let piece = [&piece[cut..], &piece[..cut]].concat();
        for _ in 0..10_000 {
            lab.sim().send(peer, piece.clone());
            lab.now();
            if lab.open() == 0 {
                break;
            }
        }
        let got = lab.sim().got(peer).to_vec();
        assert_eq!(
            last_alert(&got),
            Some(50),
            "{} {cut}: decode_error",
            piece.len()
        );
        lab.finished(peer);
    }
}

/// The certificates of a client are as long a message, and in TLS 1.3 its records are encrypted.
#[test]
fn a_chain_of_certificates_that_is_too_long_gets_an_alert() {
    for version in VERSIONS {
        let (server, client) = IDENTITY.with_clients(version, 120);
        let tls = TlsConfig::new(server).expect("a configuration");
        let mut lab = speaking(Setup::default(), Config::default(), tls);
        let mut client = Client::connect_as(&mut lab, Manner::default(), client);
        client.talk_by(&mut lab, |lab, peer, bytes| {
            for piece in bytes.chunks(10_001) {
                lab.sim().send(peer, piece.to_vec());
                lab.now();
            }
        });
        let told = matches!(client.error, Some(rustls::Error::AlertReceived(_)));
        assert!(told, "{version:?}: {:?}", client.error);
        lab.finished(client.peer);
    }
}

#[test]
fn a_peer_that_says_close_notify_has_said_all() {
    for version in VERSIONS {
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, version);
        client.say(GET);
        client.goodbye();
        client.talk(&mut lab);
        assert_eq!(client.take_text(), ok("hello\n"));
        assert_eq!(lab.engine().counts(), [0; 8]);
        assert_eq!(lab.sim().seen(client.peer).reset, None);
    }
}

/// Plain HTTP does the same at a FIN in the middle of a request.
#[test]
fn a_close_in_the_middle_of_a_request_is_told_so() {
    let mut lab = tls_lab();
    let mut client = Client::idle(&mut lab, &TLS13);
    client.say(&post_head("/echo", 100));
    client.say("half of");
    client.goodbye();
    client.talk(&mut lab);
    assert!(client.take_text().starts_with("HTTP/1.1 400 "));
    assert!(client.told);
}

#[test]
fn peers_that_vanish_in_the_middle_of_a_handshake_leave_nothing_behind() {
    for version in VERSIONS {
        for at in [0, 1, 100] {
            let mut lab = tls_lab();
            let mut client = Client::connect(&mut lab, version);
            let hello = client.flight();
            lab.sim().send(client.peer, hello[..at].to_vec());
            lab.now();
            lab.sim().fin(client.peer);
            lab.now();
            assert_eq!(lab.engine().counts(), [0; 8], "after {at} bytes");
        }
        let mut lab = tls_lab();
        let mut client = Client::connect(&mut lab, version);
        let hello = client.flight();
        lab.sim().send(client.peer, hello);
        lab.now();
        assert_eq!(lab.count(Phase::Head), 1);
        lab.sim().reset(client.peer);
        lab.now();
        assert_eq!(lab.engine().counts(), [0; 8]);
    }
}
