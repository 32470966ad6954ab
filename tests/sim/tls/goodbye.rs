//! The last record of the layer comes before our FIN on every way out that is not a reset (RFC 5246
//! §7.2.1, RFC 8446 §6.1).

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::Setup;
use ebbtide::{DrainPolicy, Limits, Timeouts, TunnelAction};

use ebbtide_lab::ms;
use ebbtide_lab::tls::{Client, VERSIONS};
use ebbtide_lab::wire::{GET, get, pattern, post_head, upgrade};

use super::{Lab, tls_lab, tls_lab_with};

/// What a client and its server do until the server ends the connection.
type WayOut = (&'static str, fn(&mut Lab, &mut Client));

fn signal(lab: &mut Lab) {
    lab.sim().signal(15);
    lab.now();
}

fn cut(lab: &mut Lab) {
    lab.engine().handle().cut();
    lab.now();
}

const WAYS: &[WayOut] = &[
    ("close_notify, idle", |lab, client| {
        client.ask(lab, GET);
        client.goodbye();
    }),
    ("close_notify before a request", |lab, client| {
        client.talk(lab);
        lab.pass(5);
        client.goodbye();
    }),
    (
        "close_notify with the end of the handshake",
        |lab, client| {
            let hello = client.flight();
            lab.sim().send(client.peer, hello);
            lab.now();
            client.hear(lab.sim());
            if client.tls.is_handshaking() {
                client.talk(lab); // TLS 1.2 has another round trip
            }
            client.goodbye();
        },
    ),
    ("close_notify behind a request", |lab, client| {
        client.talk(lab);
        client.say(GET);
        client.goodbye();
    }),
    ("close_notify in a request", |lab, client| {
        client.talk(lab);
        client.say("GET / HT");
        client.goodbye();
    }),
    ("close_notify and a FIN", |lab, client| {
        client.ask(lab, GET);
        client.goodbye();
        let record = client.flight();
        lab.sim().send(client.peer, record);
        lab.sim().fin(client.peer);
    }),
    ("close_notify and more", |lab, client| {
        client.ask(lab, GET);
        client.goodbye();
        let record = client.flight();
        lab.sim()
            .send(client.peer, [record, vec![7; 1_000]].concat());
    }),
    ("a FIN alone, idle", |lab, client| {
        client.ask(lab, GET);
        lab.sim().fin(client.peer);
    }),
    ("a FIN alone before a request", |lab, client| {
        client.talk(lab);
        lab.sim().fin(client.peer);
    }),
    ("a FIN alone in a request", |lab, client| {
        client.ask(lab, "GET / HT");
        lab.sim().fin(client.peer);
    }),
    ("a response that says close", |lab, client| {
        client.ask(lab, "GET / HTTP/1.0\r\n\r\n");
    }),
    ("no request", |lab, client| {
        client.ask(lab, "no request\r\n\r\n");
    }),
    ("an upload that is refused", |lab, client| {
        client.ask(lab, &post_head("/echo", 5 << 20));
        client.ask(lab, &pattern(200_000));
    }),
    ("the time of an idle connection", |lab, client| {
        client.ask(lab, GET);
        lab.pass(75_000);
    }),
    ("the time of a first request", |lab, client| {
        client.talk(lab);
        lab.pass(10_000);
    }),
    ("the time of a head", |lab, client| {
        client.ask(lab, "GET / HT");
        lab.pass(10_000);
    }),
    ("the time of a body", |lab, client| {
        client.ask(lab, &post_head("/echo", 10));
        lab.pass(30_000);
    }),
    ("the time of a handler", |lab, client| {
        client.ask(lab, &get("/later/x"));
        lab.pass(60_000);
    }),
    ("a drain, idle", |lab, client| {
        client.ask(lab, GET);
        lab.pass(1_000);
        signal(lab);
    }),
    ("a drain, just answered", |lab, client| {
        client.ask(lab, GET);
        signal(lab);
        lab.pass(30);
    }),
    ("a drain before a request", |lab, client| {
        client.talk(lab);
        signal(lab);
        lab.pass(30);
    }),
    ("a cut, idle", |lab, client| {
        client.ask(lab, GET);
        cut(lab);
    }),
    ("a cut in a handler", |lab, client| {
        client.ask(lab, &get("/later/x"));
        signal(lab);
        cut(lab);
    }),
    ("a tunnel that closes", |lab, client| {
        let tube = lab.app().tube("/tunnel/x");
        tube.at("receive", "bye", TunnelAction::Close);
        client.ask(lab, &upgrade("/tunnel/x"));
        client.ask(lab, "x");
    }),
    ("a tunnel whose peer closes", |lab, client| {
        client.ask(lab, &upgrade("/tunnel/x"));
        client.goodbye();
    }),
    ("a tunnel whose peer sends a FIN", |lab, client| {
        client.ask(lab, &upgrade("/tunnel/x"));
        lab.sim().fin(client.peer);
    }),
    ("a tunnel whose grace is over", |lab, client| {
        client.ask(lab, &upgrade("/tunnel/x"));
        signal(lab);
        lab.pass(300);
    }),
];

fn config() -> Config {
    Config {
        limits: Limits::new().linger_bytes(50_000),
        timeouts: Timeouts::new().handler(Some(ms(60_000))),
        drain: DrainPolicy::new().tunnel_grace(ms(300)),
        ..Config::default()
    }
}

#[test]
fn every_way_out_says_close_notify_before_the_fin() {
    for version in VERSIONS {
        for (name, way) in WAYS {
            let mut lab = tls_lab_with(Setup::default(), config());
            let mut client = Client::connect(&mut lab, version);
            way(&mut lab, &mut client);
            client.talk(&mut lab);
            assert_eq!(client.error, None, "{name}");
            assert!(client.told, "{name}: a FIN without close_notify");
            lab.finished(client.peer);
        }
    }
}

#[test]
fn a_handshake_that_ends_half_way_gets_an_alert() {
    for version in VERSIONS {
        for (flight, at) in [(0, 1), (0, 5), (0, 100), (1, 3)] {
            let mut lab = tls_lab();
            let mut client = Client::connect(&mut lab, version);
            if flight == 1 {
                let hello = client.flight();
                lab.sim().send(client.peer, hello);
                lab.now();
                client.hear(lab.sim());
            }
            let bytes = client.flight();
            lab.sim().send(client.peer, bytes[..at].to_vec());
            lab.sim().fin(client.peer);
            lab.now();
            client.hear(lab.sim());
            let told = matches!(client.error, Some(rustls::Error::AlertReceived(_)));
            assert!(told, "{flight} {at}: {:?}", client.error);
            lab.finished(client.peer);
        }
    }
}

/// A client that has sent nothing when our FIN leaves has not begun to speak TLS.
#[test]
fn a_handshake_that_begins_behind_our_fin_is_read_out() {
    let mut lab = tls_lab();
    let mut client = Client::connect(&mut lab, VERSIONS[1]);
    signal(&mut lab);
    lab.pass(30);
    lab.finished(client.peer);
    client.talk(&mut lab);
    lab.finished(client.peer);
    assert!(lab.sim().got(client.peer).is_empty());
}
