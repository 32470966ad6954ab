//! Many peers at random around the signal: nothing lost, nothing mixed up, nothing leaked.

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, PeerId, Setup};
use ebbtide::{End, Response};

use ebbtide_lab::Dice;
use ebbtide_lab::response;
use ebbtide_lab::wire::{self, get, post};
use ebbtide_lab::{Lab, SIGTERM};

const SIGNAL: u32 = 1_000;

/// Returns a world whose waits report a random number of events, with the signal at [`SIGNAL`].
fn lab(dice: &mut Dice) -> Lab {
    let setup = Setup {
        batch: 1 + dice.below(40) as usize,
        filter: dice.one_in(2),
        ..Setup::default()
    };
    let mut lab = Lab::with(setup, Config::default());
    lab.sim().at(SIGNAL, Act::Signal(SIGTERM));
    lab
}

/// Returns the responses that a peer has got, all whole.
#[track_caller]
fn whole(lab: &mut Lab, peer: PeerId) -> Vec<response::Response> {
    let (responses, rest) = wire::responses(lab.sim().got(peer));
    assert_eq!(rest, b"", "{peer:?} has half a response");
    responses
}

#[test]
fn r07_every_handler_that_ran_was_heard() {
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let mut lab = lab(&mut dice);
        lab.until(SIGNAL - 20);
        let peers: Vec<PeerId> = (0..100).map(|_| lab.connect()).collect();
        let mut asked = vec![0; peers.len()];
        for millis in SIGNAL - 20..SIGNAL + 60 {
            for (n, peer) in peers.iter().enumerate() {
                // The peer asks again some time after its response.
                if whole(&mut lab, *peer).len() == asked[n] && dice.one_in(3) {
                    let kind = dice.pick(&["say", "later"]);
                    lab.sim()
                        .send(*peer, get(&format!("/{kind}/{n}-{}", asked[n])));
                    asked[n] += 1;
                }
            }
            for (target, ticket) in lab.app().tickets() {
                let text = target.replacen("/later/", "", 1) + "\n";
                ticket.send(Response::text(200, text));
            }
            lab.until(millis);
        }
        let (_, outcome) = lab.outcome().expect("nobody is left");
        assert_eq!(outcome.end, End::Drained);
        let mut heard = 0;
        for (n, peer) in peers.iter().enumerate() {
            let responses = whole(&mut lab, *peer);
            for (nth, response) in responses.iter().enumerate() {
                assert_eq!(
                    (response.status, response.text()),
                    (200, format!("{n}-{nth}\n").as_str())
                );
                let last = nth + 1 == responses.len();
                assert!(
                    last || !response.says_close(),
                    "a response behind one that says close"
                );
            }
            assert_eq!(lab.seen(*peer).reset, None);
            assert!(lab.seen(*peer).fin.is_some());
            heard += responses.len();
        }
        assert_eq!(lab.app().runs(), heard, "seed {seed}");
        assert_eq!(outcome.report.answered, heard as u64);
    }
}

#[test]
fn r19_each_that_gets_in_is_answered() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut lab = lab(&mut dice);
        let mut peers = Vec::new();
        for n in 0..300 {
            let peer = lab.sim().peer(0);
            let at = SIGNAL - 10 + dice.below(20);
            lab.sim().at(at, Act::Connect(peer));
            let request = get(&format!("/say/{n}"));
            lab.sim().at(at, Act::Send(peer, request.into()));
            peers.push(peer);
        }
        lab.until(SIGNAL + 100);
        let (_, outcome) = lab.outcome().expect("nobody is left");
        assert_eq!(outcome.end, End::Drained);
        let (mut inside, mut outside) = (0, 0);
        for (n, peer) in peers.into_iter().enumerate() {
            let seen = lab.seen(peer);
            assert_eq!(seen.reset, None, "seed {seed}");
            let responses = whole(&mut lab, peer);
            if seen.connected {
                assert_eq!((responses.len(), responses[0].status), (1, 200));
                assert_eq!(responses[0].text(), format!("{n}\n"));
                assert!(seen.fin.is_some());
                inside += 1;
            } else {
                assert!(responses.is_empty() && seen.refused.is_some());
                outside += 1;
            }
        }
        assert!(inside > 50 && outside > 50, "{inside} in, {outside} out");
        assert_eq!(lab.app().runs(), inside);
        assert_eq!(outcome.report.opened, inside as u64);
    }
}

#[test]
fn r20_thousands_that_abort_at_any_byte_leave_nothing_behind() {
    let mut dice = Dice::new(20);
    let mut lab = lab(&mut dice);
    lab.patience = 100_000;
    let request = post("/echo", "0123456789") + &get("/owned/5000") + &get("/flood/100000");
    let mut peers = Vec::new();
    for _ in 0..4_000 {
        let peer = lab.sim().peer(0);
        let at = SIGNAL - 10 + dice.below(20);
        lab.sim().at(SIGNAL - 10, Act::Connect(peer));
        let cut = dice.below(request.len() as u32 + 1) as usize;
        let (one, two) = request[..cut].split_at(dice.below(cut as u32 + 1) as usize);
        lab.sim().at(at, Act::Send(peer, one.to_owned().into()));
        lab.sim().at(at + 1, Act::Send(peer, two.to_owned().into()));
        let end = at + dice.below(4);
        let act = match dice.below(3) {
            0 => Act::Reset(peer),
            1 => Act::Leave(peer),
            _ => Act::Fin(peer),
        };
        lab.sim().at(end, act);
        peers.push(peer);
    }
    // A peer that stays with half a head would have two seconds; here all of them leave.
    lab.until(SIGNAL + 100);
    let (at, outcome) = lab.outcome().expect("nobody is left");
    assert!(at <= SIGNAL + 26, "it ended at {at}");
    assert_eq!((outcome.end, outcome.report.opened), (End::Drained, 4_000));
    assert!(lab.app().runs() > 1_000);
}

#[test]
fn r21_slots_and_tokens_that_are_used_again_mix_nobody_up() {
    for seed in 0..10 {
        let mut dice = Dice::new(seed);
        let mut lab = lab(&mut dice);
        lab.patience = 200_000;
        let mut peers = Vec::new();
        for n in 0..1_500 {
            let peer = lab.sim().peer(0);
            let at = dice.below(SIGNAL);
            lab.sim().at(at, Act::Connect(peer));
            for nth in 0..1 + dice.below(3) {
                let kind = dice.pick(&["say", "later"]);
                let request = get(&format!("/{kind}/{n}-{nth}"));
                lab.sim()
                    .at(at + dice.below(3), Act::Send(peer, request.into()));
            }
            let end = at + dice.below(30);
            match dice.below(4) {
                0 => lab.sim().at(end, Act::Reset(peer)),
                1 => lab.sim().at(end, Act::Leave(peer)),
                _ => {}
            }
            peers.push(peer);
        }
        let mut held = Vec::new();
        for millis in (0..SIGNAL + 200).step_by(3) {
            lab.until(millis);
            held.extend(lab.app().tickets());
            // Some tickets are used now, and some after another connection has the slot.
            for _ in 0..held.len().div_ceil(2) {
                let (target, ticket) = held.swap_remove(dice.below(held.len() as u32) as usize);
                let text = target.replacen("/later/", "", 1) + "\n";
                ticket.send(Response::text(200, text));
            }
        }
        lab.until(SIGNAL + 200);
        let (_, outcome) = lab.outcome().expect("nobody is left");
        assert_eq!(outcome.end, End::Drained);
        let mut heard = 0;
        for (n, peer) in peers.into_iter().enumerate() {
            let (responses, _) = wire::responses(lab.sim().got(peer));
            for response in &responses {
                let (whose, _) = response.text().split_once('-').expect("a nonce");
                assert_eq!(
                    whose,
                    n.to_string(),
                    "seed {seed}: somebody else's response"
                );
            }
            heard += responses.len();
        }
        assert!(heard > 1_000, "{heard}");
    }
}
