//! Many handshakes at once, sessions that are resumed, and server names.

use std::sync::Arc;

use ebbtide::TlsConfig;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Manner, Setup};
use ebbtide::internals::tracker::Phase;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig};

use ebbtide_lab::tls::{Client, IDENTITY, Identity, TLS13, VERSIONS};
use ebbtide_lab::wire::{GET, ok};

use super::{Lab, speaking, tls_lab};

/// Connects clients whose first flight arrives in one batch.
fn herd(lab: &mut Lab, size: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..size).map(|_| Client::connect(lab, &TLS13)).collect();
    for client in &mut clients {
        client.say(GET);
        let hello = client.flight();
        lab.sim().send(client.peer, hello);
    }
    clients
}

fn greeted(lab: &mut Lab, clients: &[Client]) -> usize {
    let sim = lab.sim();
    clients
        .iter()
        .filter(|client| !sim.got(client.peer).is_empty())
        .count()
}

#[test]
fn a_storm_of_handshakes_goes_on_a_few_a_turn_and_the_live_are_served_meanwhile() {
    let mut lab = tls_lab();
    let mut live = Client::idle(&mut lab, &TLS13);
    let mut clients = herd(&mut lab, 100);
    let mut before = 0;
    for _ in 0..13 {
        live.say(GET);
        let record = live.flight();
        lab.sim().send(live.peer, record);
        lab.turn();
        live.hear(lab.sim());
        assert_eq!(live.take_text(), ok("hello\n"), "in the same turn");
        let now = greeted(&mut lab, &clients);
        assert!(now - before <= 8, "{before} and then {now}");
        before = now;
    }
    assert_eq!(before, 100, "each has had its turn");
    for client in &mut clients {
        client.talk(&mut lab);
        assert_eq!(client.take_text(), ok("hello\n"));
    }
}

#[test]
fn those_that_wait_for_their_turn_are_not_taken_for_idle() {
    let mut lab = tls_lab();
    let mut clients = herd(&mut lab, 100);
    lab.sim().signal(15);
    lab.turn();
    assert_eq!(lab.count(Phase::Fresh), 0);
    for client in &mut clients {
        client.talk(&mut lab);
        let got = client.take_text();
        assert!(got.contains("Connection: close"), "{got}");
    }
    let millis = lab.millis();
    let outcome = lab.ends_at(millis + 2);
    assert_eq!((outcome.code(), outcome.report.answered), (0, 100));
}

#[test]
fn those_that_leave_while_they_wait_are_forgotten() {
    let mut lab = tls_lab();
    let clients = herd(&mut lab, 100);
    lab.turn();
    for client in &clients[50..] {
        lab.sim().reset(client.peer);
    }
    lab.now();
    assert_eq!(greeted(&mut lab, &clients[..50]), 50);
    assert_eq!(lab.engine().counts().iter().sum::<u32>(), 50);
}

/// The closed ones were the first of the queue, and hold up nobody behind them.
#[test]
fn those_that_have_left_take_no_share_of_a_turn() {
    let mut lab = tls_lab();
    let clients = herd(&mut lab, 100);
    lab.turn();
    for client in &clients[8..84] {
        lab.sim().reset(client.peer);
    }
    lab.turn(); // they are closed here
    let before = greeted(&mut lab, &clients);
    lab.turn();
    lab.turn();
    assert!(greeted(&mut lab, &clients) - before >= 2 * 8 - before % 8);
    assert_eq!(greeted(&mut lab, &clients), 24);
}

/// Connects one client twice, and returns the kinds of the handshakes.
fn twice(tls: TlsConfig) -> Vec<Option<HandshakeKind>> {
    let mut kinds = Vec::new();
    for version in VERSIONS {
        let mut lab = speaking(Setup::default(), Config::default(), tls.clone());
        let config = IDENTITY.client(version);
        for _ in 0..2 {
            let mut client = Client::connect_as(&mut lab, Manner::default(), config.clone());
            client.ask(&mut lab, GET);
            assert_eq!(client.take_text(), ok("hello\n"));
            kinds.push(client.tls.handshake_kind());
        }
    }
    kinds
}

#[test]
fn a_session_is_taken_up_again() {
    let (full, resumed) = (Some(HandshakeKind::Full), Some(HandshakeKind::Resumed));
    let tickets = |server: &mut ServerConfig| {
        server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    };
    for with in [tickets, |_: &mut ServerConfig| {}] {
        let mut server = IDENTITY.server();
        with(&mut server);
        let tls = TlsConfig::new(server).unwrap();
        assert_eq!(twice(tls), [full, resumed, full, resumed]);
    }
}

fn certified(identity: &Identity) -> CertifiedKey {
    let provider = rustls::crypto::ring::default_provider();
    let cert = rustls::pki_types::pem::PemObject::from_pem_slice(identity.cert_pem().as_bytes());
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(identity.key_pem().as_bytes());
    CertifiedKey::from_der(vec![cert.unwrap()], key.unwrap(), &provider).unwrap()
}

#[test]
fn a_resolver_of_the_users_chooses_by_name() {
    let (one, two) = (
        Identity::new(&["one.example"]),
        Identity::new(&["two.example"]),
    );
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver.add("one.example", certified(&one)).unwrap();
    resolver.add("two.example", certified(&two)).unwrap();
    let server =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
    let tls = TlsConfig::new(server).unwrap();
    let mut lab = speaking(Setup::default(), Config::default(), tls);
    for (identity, name, right) in [
        (&one, "one.example", true),
        (&two, "two.example", true),
        (&one, "two.example", false),
        (&one, "six.example", false),
    ] {
        let peer = Client::connect(&mut lab, &TLS13).peer;
        let mut client = Client::asking_for(peer, identity.client(&TLS13), name);
        client.ask(&mut lab, GET);
        assert_eq!(client.error.is_none(), right, "{name}");
        assert_eq!(!client.take().is_empty(), right, "{name}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_drops_nobody() {
    let other = Identity::new(&["a.example"]);
    let tls = TlsConfig::new(IDENTITY.server()).unwrap();
    let mut lab = speaking(Setup::default(), Config::default(), tls.clone());
    let mut before = Client::idle(&mut lab, &TLS13);
    tls.replace(other.server()).unwrap();
    let mut after = Client::connect_as(&mut lab, Manner::default(), other.client(&TLS13));
    after.ask(&mut lab, GET);
    assert_eq!(after.take_text(), ok("hello\n"));
    before.ask(&mut lab, GET);
    assert_eq!(before.take_text(), ok("hello\n"));
    let mut late = Client::connect(&mut lab, &TLS13);
    late.talk(&mut lab);
    assert!(late.error.is_some(), "the old one is shown no longer");
}

#[test]
fn what_this_server_cannot_keep_to_is_refused_when_it_is_configured() {
    let mut early = IDENTITY.server();
    early.max_early_data_size = 1_000;
    let error = TlsConfig::new(early).unwrap_err().to_string();
    assert!(error.contains("early data"), "{error}");
    let mut h2 = IDENTITY.server();
    h2.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let error = TlsConfig::new(h2).unwrap_err().to_string();
    assert!(error.contains("h2"), "{error}");
}
