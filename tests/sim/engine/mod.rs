//! The engine on the simulated world: order, fairness, limits, back-pressure, and what one
//! connection suffers from the faults of another.

mod bodies;
mod capacity;
mod cuts;
mod exchange;
mod fairness;
mod faults;
mod odd;
mod times;
mod tunnels;
mod weeks;

use ebbtide::internals::tracker::Phase;
use ebbtide_lab::wire::undated;
use ebbtide_lab::{Dice, Lab};

/// Asserts that requests get the same responses whole, cut anywhere, byte by byte and in pieces.
#[track_caller]
fn same_in_any_pieces(requests: &str, responses: &str) {
    let phase = |lab: &Lab| Phase::ALL.map(|phase| lab.count(phase));
    let mut whole = Lab::new();
    whole.ask(requests.to_owned());
    let after = phase(&whole);
    for cut in 0..=requests.len() {
        let mut lab = Lab::new();
        let peer = lab.ask(requests[..cut].to_owned());
        lab.send(peer, requests[cut..].to_owned());
        assert_eq!(lab.got(peer), responses, "cut at {cut}");
        assert_eq!(phase(&lab), after, "cut at {cut}");
    }
    let mut lab = Lab::new();
    let peer = lab.connect();
    for byte in requests.bytes() {
        lab.send(peer, vec![byte]);
    }
    assert_eq!(lab.got(peer), responses, "byte by byte");
    for seed in 0..200 {
        let mut lab = Lab::new();
        let peer = lab.connect();
        let at = lab.send_in_pieces(peer, requests, &mut Dice::new(seed));
        assert_eq!(undated(lab.sim().got(peer), at), responses, "seed {seed}");
    }
}
