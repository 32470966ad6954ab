//! The records in any pieces, in both directions.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Faults, Manner, Pace, Setup};
use rustls::SupportedProtocolVersion;

use ebbtide_lab::tls::{Client, IDENTITY, TLS13, VERSIONS};
use ebbtide_lab::wire::{GET, LAST_CHUNK, exchange, get, ok, pattern, post};

use super::{tls_lab, tls_lab_with};

/// Plays the exchange with the client's bytes cut before these offsets. Returns the number of
/// bytes.
#[track_caller]
fn in_pieces(version: &'static SupportedProtocolVersion, cut: impl Fn(usize) -> bool) -> usize {
    let (requests, responses) = exchange();
    let mut lab = tls_lab();
    let mut client = Client::connect(&mut lab, version);
    client.say(&requests);
    let mut at = 0;
    client.talk_by(&mut lab, |lab, peer, bytes| {
        let mut piece = Vec::new();
        for byte in bytes {
            if cut(at) && !piece.is_empty() {
                lab.sim().send(peer, std::mem::take(&mut piece));
                lab.now();
            }
            piece.push(byte);
            at += 1;
        }
        lab.sim().send(peer, piece);
    });
    assert_eq!(client.error, None);
    assert_eq!(client.take_text(), responses);
    assert_eq!(client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
    at
}

#[test]
fn the_clients_bytes_whole_cut_at_each_offset_and_byte_by_byte() {
    for version in VERSIONS {
        let length = in_pieces(version, |_| false);
        for offset in 1..length {
            in_pieces(version, |at| at == offset);
        }
        in_pieces(version, |_| true);
    }
}

#[test]
fn several_records_in_one_read_and_one_record_in_several() {
    for size in [1, 3, 16 << 10, 100_000, 300_000] {
        let body = pattern(size);
        let mut lab = tls_lab();
        let mut client = Client::idle(&mut lab, &TLS13);
        client.ask(&mut lab, &(post("/echo", &body) + GET));
        assert_eq!(client.take_text(), ok(&body) + &ok("hello\n"), "{size}");
    }
}

#[test]
fn responses_through_a_window_of_any_size_are_whole() {
    for window in [1, 7, 100, 4_000, 20_000, 70_000] {
        for version in VERSIONS {
            let size = if window < 100 { 3_000 } else { 200_000 };
            let mut lab = tls_lab();
            let manner = Manner {
                takes: Pace::After(1),
                window,
                ..Manner::default()
            };
            let mut client = Client::connect_as(&mut lab, manner, IDENTITY.client(version));
            client.say(&(get(&format!("/owned/{size}")) + &get(&format!("/flood/{size}"))));
            for _ in 0..20_000 {
                client.talk(&mut lab);
                if lab.sim().resting() && lab.report().answered == 2 {
                    break;
                }
                lab.pass(1);
            }
            lab.pass(2);
            client.talk(&mut lab);
            let got = client.take_text();
            let whole = got.starts_with(&ok(&pattern(size))) && got.ends_with(LAST_CHUNK);
            assert!(whole, "a window of {window}: {} bytes", got.len());
            assert_eq!(lab.report().answered, 2);
        }
    }
}

#[test]
fn a_system_that_takes_a_byte_at_a_time_and_interrupts() {
    for version in VERSIONS {
        for seed in 0..8 {
            let faults = Faults {
                seed,
                one_byte: seed % 2 == 0,
                short_reads: 3,
                short_writes: 3,
                interrupts: 4,
                early_returns: 5,
                spurious: 6,
                ..Faults::default()
            };
            let setup = Setup {
                faults,
                ..Setup::default()
            };
            let (requests, responses) = exchange();
            let mut lab = tls_lab_with(setup, Config::default());
            let mut client = Client::connect(&mut lab, version);
            client.ask(&mut lab, &requests);
            assert_eq!(client.take_text(), responses, "seed {seed}");
        }
    }
}

#[test]
fn an_event_that_says_nothing_new_changes_nothing() {
    let mut lab = tls_lab();
    let mut client = Client::connect(&mut lab, &TLS13);
    client.say(GET);
    let hello = client.flight();
    let (first, second) = hello.split_at(hello.len() / 2);
    lab.sim().send(client.peer, first.to_vec());
    for _ in 0..5 {
        lab.pass(1);
    }
    lab.sim().send(client.peer, second.to_vec());
    client.talk(&mut lab);
    assert_eq!(client.take_text(), ok("hello\n"));
}
