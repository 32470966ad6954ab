//! A peer that breaks off at any byte of an exchange, and bytes that arrive in any pieces.

use ebbtide::internals::sys::sim::{Faults, ResetAt};

use ebbtide_lab::Lab;
use ebbtide_lab::wire::{self, exchange, undated};

use super::same_in_any_pieces;

/// Plays the exchange with a peer that resets, and asserts what must hold afterwards.
#[track_caller]
fn broken_off(reset: ResetAt) {
    let (requests, expected) = exchange();
    let mut lab = Lab::faulty(Faults {
        reset: Some(reset),
        ..Faults::default()
    });
    let peer = lab.ask(requests);
    let got = lab.sim().got(peer);
    let (responses, rest) = wire::responses(got);
    let whole = undated(&got[..got.len() - rest.len()], 0);
    assert!(expected.starts_with(&whole), "{reset:?}: {whole}");
    assert_eq!(lab.open(), 0, "{reset:?}");
    let report = lab.report().clone();
    assert_eq!((report.opened, report.closed, report.panics), (1, 1, 0));
    let (runs, basin) = (lab.app().runs() as u64, lab.app().basin.clone());
    // At most one response was cut between its head and the end of its body.
    assert!(runs <= report.requests && report.requests <= runs + 1);
    assert!(responses.len() as u64 <= runs);
    let basin = basin.borrow();
    assert!(
        basin.bytes.is_empty() || basin.dropped,
        "a sink is left behind"
    );
    drop(basin);
    lab.signal();
    assert_eq!(lab.drains_at(2).left, report.left);
}

#[test]
fn a_reset_after_every_byte_that_the_peer_sent() {
    let (requests, _) = exchange();
    for k in 0..=requests.len() {
        broken_off(ResetAt::Sent(k as u64));
    }
}

#[test]
fn a_reset_after_every_byte_that_the_peer_took() {
    let (_, responses) = exchange();
    let dates = 5 * 37;
    for k in 1..=responses.len() + dates {
        broken_off(ResetAt::Taken(k as u64));
    }
}

#[test]
fn a_fin_after_every_byte_that_the_peer_sent() {
    let (requests, responses) = exchange();
    for k in 0..=requests.len() {
        let mut lab = Lab::new();
        let peer = lab.connect();
        lab.sim().send(peer, requests[..k].to_owned());
        lab.sim().fin(peer);
        lab.now();
        let got = lab.got(peer);
        let refusal = "HTTP/1.1 400 Bad Request";
        let whole = got.find(refusal).unwrap_or(got.len());
        assert!(responses.starts_with(&got[..whole]), "{k}");
        // A whole request has its response, and a part of one has a 400 or 408.
        assert!(whole < got.len() || lab.report().left == 0, "{k}: {got}");
        assert_eq!(lab.report().refused, lab.report().left);
        assert_eq!((lab.open(), lab.seen(peer).reset), (0, None));
        lab.finished_at(peer, 0);
    }
}

#[test]
fn the_same_bytes_in_any_pieces_are_answered_the_same() {
    let (requests, responses) = exchange();
    same_in_any_pieces(&requests, &responses);
}
