//! Storms: hundreds of peers of every behaviour in a world of random faults, and the laws that hold
//! in every one.
//!
//! A seed determines a storm, and a failure prints it.

use std::collections::BTreeMap;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, Manner, Pace, PeerId, Setup};
use ebbtide::{DrainPolicy, End, Fill, Limits, Outcome, Response};

use ebbtide_lab::Dice;
use ebbtide_lab::laws::{self, Conduct, Course, Expected};
use ebbtide_lab::wire::{LAST_CHUNK, chunk, get, pattern, post, post_head};
use ebbtide_lab::{Lab, SIGTERM, ms};

const STORMS: u64 = 200;
const PEERS: u32 = 250;
const SIGNAL: u32 = 1_000;
const LIMIT: u32 = 3_000;

/// A storm: its world, and its peers.
struct Storm {
    lab: Lab,
    dice: Dice,
    peers: Vec<Conduct>,
    failed_accepts: bool,
    /// Time passes within a turn, so that two events of a turn have no known order.
    held_up: bool,
    /// Some peers never take anything.
    stubborn: bool,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut chance = |of: &[u32]| dice.pick(of);
        let faults = Faults {
            seed,
            short_reads: chance(&[0, 0, 3, 10]),
            short_writes: chance(&[0, 0, 3, 10]),
            one_byte: false,
            interrupts: chance(&[0, 0, 5, 50]),
            held_up: chance(&[0, 0, 100]),
            early_returns: chance(&[0, 0, 5]),
            spurious: chance(&[0, 0, 2, 10]),
            failed_accepts: chance(&[0, 0, 50]),
            failed_registrations: chance(&[0, 0, 50]),
            max_open: [None, None, Some(60)][chance(&[0, 1, 2]) as usize],
            exhausted: [0..0, 300..500, 900..1_100][chance(&[0, 1, 2]) as usize].clone(),
            reset: None,
        };
        let setup = Setup {
            listeners: 2,
            batch: chance(&[1, 7, 1_024]) as usize,
            filter: chance(&[0, 1]) == 0,
            faults,
            ..Setup::default()
        };
        let config = Config {
            drain: DrainPolicy::new()
                .timeout(ms(u64::from(LIMIT)))
                .delay(ms(u64::from(chance(&[0, 0, 200]))))
                .idle_grace(ms(u64::from(chance(&[0, 25, 25, 500]))))
                .close_spread(ms(u64::from(chance(&[0, 0, 300])))),
            limits: Limits::new().connections(chance(&[100, 10_000]) as usize),
            ..Config::default()
        };
        let failed_accepts = setup.faults.failed_accepts > 0;
        let held_up = setup.faults.held_up > 0;
        let mut lab = Lab::with(setup, config);
        lab.patience = 100_000;
        lab.sim().at(SIGNAL, Act::Signal(SIGTERM));
        Self {
            lab,
            dice,
            peers: Vec::new(),
            failed_accepts,
            held_up,
            stubborn: seed.is_multiple_of(4),
        }
    }

    /// Puts one more peer into the script.
    fn add(&mut self, n: u32) {
        let listener = self.dice.below(2) as usize;
        let peer = self.lab.sim().peer(listener);
        let stubborn = if self.stubborn {
            Pace::Never
        } else {
            Pace::AtOnce
        };
        let takes = self
            .dice
            .pick(&[Pace::AtOnce, Pace::AtOnce, Pace::After(5), stubborn]);
        self.lab.sim().behave(
            peer,
            Manner {
                takes,
                answers: self
                    .dice
                    .pick(&[Pace::AtOnce, Pace::After(20), Pace::Never]),
                window: self.dice.pick(&[500, 20_000, 256 << 10]),
            },
        );
        let mut at = self.dice.below(SIGNAL + 50);
        self.lab.sim().at(at, Act::Connect(peer));
        let mut it = Conduct::new(peer, takes);
        for nth in 0..self.dice.below(5) {
            let (bytes, expected) = self.request(n, nth);
            it.asks.push(expected);
            let (first, last) = self.say(peer, at, &bytes);
            it.begun.push(first);
            at = last;
            at += self.dice.pick(&[0, 0, 3, 40, 200]);
        }
        it.unkind = true;
        let end = at + self.dice.below(60);
        match self.dice.below(8) {
            0 => self.lab.sim().at(end, Act::Reset(peer)),
            1 => self.lab.sim().at(end, Act::Leave(peer)),
            2 => {
                let half = post_head("/echo", 10) + "half";
                let cut = self.dice.below(half.len() as u32) as usize;
                self.say(peer, at, &half[..cut]);
            }
            3 => {
                self.say(peer, at, "nonsense\r\n\r\n");
            }
            4 => {
                self.lab.sim().at(end, Act::Fin(peer));
                it.unkind = false;
            }
            _ => it.unkind = false,
        }
        self.peers.push(it);
    }

    /// Returns a request, and its response.
    fn request(&mut self, n: u32, nth: u32) -> (String, Expected) {
        // Every target carries the number of its peer, so that runs can be counted.
        let nonce = format!("{n}-{nth}");
        let to = |path: &str| format!("{path}?{nonce}");
        match self.dice.below(9) {
            0 | 1 => (
                get(&to(&format!("/say/{nonce}"))),
                Expected::Body(nonce + "\n"),
            ),
            2 => (get(&to("/later/x")), Expected::Body(nonce + "\n")),
            3 => (post(&to("/echo"), &nonce), Expected::Body(nonce)),
            4 => {
                let head = post_head(&to("/echo"), 0);
                let head = head.replace("Content-Length: 0", "Transfer-Encoding: chunked");
                (head + &chunk(&nonce) + LAST_CHUNK, Expected::Body(nonce))
            }
            5 => {
                let target = to("/feed/x");
                let feed = self.lab.app().feed(&target);
                feed.push(&nonce);
                feed.push("!");
                feed.end(Fill::Done);
                (get(&target), Expected::Body(nonce + "!"))
            }
            6 => (get(&to("/owned/30000")), Expected::Body(pattern(30_000))),
            7 => (get(&to("/refuse")), Expected::Refused(403)),
            _ => (get(&to("/panic")), Expected::Status(500)),
        }
    }

    /// Sends bytes in up to three pieces from that moment on. Returns the moments of the first byte
    /// and of the last.
    fn say(&mut self, peer: PeerId, mut at: u32, mut text: &str) -> (u32, u32) {
        let mut first = None;
        for _ in 0..self.dice.below(3) {
            let (one, rest) = text.split_at(self.dice.below(text.len() as u32 + 1) as usize);
            self.lab
                .sim()
                .at(at, Act::Send(peer, one.to_owned().into()));
            if !one.is_empty() {
                first.get_or_insert(at);
            }
            at += self.dice.below(4);
            text = rest;
        }
        self.lab
            .sim()
            .at(at, Act::Send(peer, text.to_owned().into()));
        (first.unwrap_or(at), at)
    }

    /// Runs the storm to its end, and uses the tickets some time after they were taken.
    fn rage(&mut self) -> (u32, Outcome) {
        let mut held = BTreeMap::new();
        for millis in (0..SIGNAL + LIMIT + 60).step_by(10) {
            self.lab.until(millis);
            held.append(&mut self.lab.app().tickets());
            let targets: Vec<String> = held.keys().cloned().collect();
            for target in targets {
                if self.dice.one_in(3) {
                    let ticket = held.remove(&target).expect("it is there");
                    let text = target.replace("/later/x?", "") + "\n";
                    ticket.send(Response::text(200, text));
                }
            }
        }
        // Nothing lives past the timeout and 50 ms.
        let ended = self.lab.outcome().expect("it goes on beyond its limit");
        self.lab.aftermath(1_000);
        ended
    }
}

fn storm(seed: u64) -> (Outcome, u32, u64) {
    let mut storm = Storm::new(seed);
    for n in 0..PEERS {
        storm.add(n);
    }
    let (ended, outcome) = storm.rage();
    assert!(ended <= SIGNAL + LIMIT + 50, "it ended at {ended}");
    let report = &outcome.report;
    let cut = outcome.end != End::Drained;
    assert_eq!(cut, report.cut > 0);
    let mut runs = vec![0; storm.peers.len()];
    for target in storm.lab.app().ran.borrow().iter() {
        let (_, nonce) = target.split_once('?').expect("a nonce");
        let (whose, _) = nonce.split_once('-').expect("a peer");
        runs[whose.parse::<usize>().expect("a number")] += 1;
    }
    let mut heard = 0;
    let course = Course {
        cut,
        hurried: false,
        disturbed: false, // the deadline cuts others, long after a kind peer has its responses
        held_up: storm.held_up,
        welcomes: false,
        forgets: storm.failed_accepts,
    };
    for (peer, runs) in storm.peers.iter().zip(runs) {
        heard += laws::hold(storm.lab.sim(), peer, runs, &course) as u64;
    }
    // The report accounts for every response that no peer got.
    let runs = storm.lab.app().runs() as u64;
    assert!(heard <= runs && runs <= report.requests);
    assert!(heard <= report.answered, "heard more than was said");
    let lost = report.left + report.timed_out + report.cut;
    assert!(
        runs <= report.answered + lost,
        "a handler ran for nobody: {outcome}"
    );
    (outcome, ended, storm.lab.sim().digest())
}

#[test]
fn the_laws_hold_in_every_storm() {
    let (mut ends, mut digests) = (BTreeMap::new(), 0_u64);
    for seed in 0..STORMS {
        let result = std::panic::catch_unwind(|| storm(seed));
        let Ok((outcome, _, digest)) = result else {
            panic!("storm {seed}");
        };
        digests = digests.rotate_left(1) ^ digest;
        *ends.entry(outcome.end.name()).or_insert(0) += 1;
    }
    println!("{STORMS} storms of {PEERS} peers, digest {digests:x}: {ends:?}");
    assert!(ends.len() > 1, "storms that are all alike: {ends:?}");
}

#[test]
fn a_storm_is_its_seed() {
    for seed in 0..5 {
        assert_eq!(storm(seed), storm(seed));
    }
}
