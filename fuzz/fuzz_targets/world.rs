//! Whole worlds: peers of any behaviour, faults, an application that does everything, signals, and
//! the laws that hold in each of them.
//!
//! What is opened is closed. No request is lost without a word. Each handler that ran has a
//! response. Nothing comes behind a close, and nothing lives past the deadline.

#![no_main]

use std::collections::BTreeMap;
use std::panic;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::internals::engine::{Config, HOOK_GRACE};
use ebbtide::internals::sys::sim::{Act, Faults, Manner, Pace, ResetAt, Setup};
use ebbtide::{DrainPolicy, End, Fill, Limits, Outcome, Response, Timeouts};

use ebbtide_lab::laws::{self, Conduct, Course, Expected};
use ebbtide_lab::wire::{LAST_CHUNK, chunk, get, pattern, post, post_head};
use ebbtide_lab::{Lab, SIGTERM, ms};

/// A world, and what happens in it.
#[derive(Arbitrary, Debug)]
struct World {
    seed: u8,
    chances: [u8; 6],
    batch: u8,
    max_open: Option<u8>,
    exhausted: Option<(u8, u8)>,
    reset: Option<(bool, u8)>,
    no_filter: bool,
    drain: [u8; 6],
    times: Option<[u8; 6]>,
    connections: Option<u8>,
    peers: Vec<Script>,
    /// The pauses before the signals.
    signals: Vec<u8>,
}

/// The behaviour of a peer.
#[derive(Arbitrary, Debug)]
struct Script {
    manner: [u8; 3],
    connects: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A whole request, in up to three pieces with a pause of this length between them.
    Ask {
        what: What,
        cuts: [u8; 2],
        gap: u8,
    },
    /// The beginning of a request, and nothing behind it.
    Half {
        what: What,
        cut: u8,
    },
    /// Any bytes.
    Say(Vec<u8>),
    Wait(u8),
    Fin,
    Leave,
    Reset,
    Take(u16),
    Behave([u8; 3]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum What {
    Say,
    Close,
    Empty,
    Later,
    Dropped,
    Hoard,
    Echo(u8),
    EchoChunked(u8),
    EchoExpecting(u8),
    Sink(u16),
    SinkRefuses,
    SinkPanics,
    TooLarge,
    Feed(u8),
    FeedFails,
    Sized(u8),
    Owned(u16),
    Shared(u16),
    Flood(u16),
    Refused,
    Missing,
    Panics,
    PanicsInAdmit,
    PanicsInSource,
    Mistaken,
    Shutdown,
    Cut,
}

fuzz_target!(
    init: {
        // A panic of the application is part of the script; any other panic is a finding.
        let found = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let scripted = info
                .location()
                .is_some_and(|at| at.file().ends_with("tests/lab/src/app.rs"));
            if !scripted {
                found(info);
            }
        }));
    },
    |world: World| {
        let first = live(&world);
        // The same script is the same world.
        if world.seed.is_multiple_of(8) {
            assert_eq!(first, live(&world));
        }
    }
);

/// Runs a world to its end, asserts the laws, and returns what came of it.
fn live(world: &World) -> (Outcome, u32, u64) {
    let mut stage = Play::new(world);
    for (n, script) in world.peers.iter().take(PEERS).enumerate() {
        stage.add(n, script);
    }
    // A last signal comes in any case.
    let waits = world.signals.iter().take(4).copied().chain([255]);
    let signals: Vec<u32> = waits
        .scan(0, |at, wait| {
            *at += u32::from(wait) * 8;
            Some(*at)
        })
        .collect();
    for at in &signals {
        stage.lab.sim().at(*at, Act::Signal(SIGTERM));
    }
    let last = signals[0] + limit(world) + HOOK_GRACE + SLACK;
    stage.rage(last);
    let (ended, outcome) = stage.lab.outcome().expect("it lives past its deadline");
    assert!(ended <= last);
    stage.lab.aftermath(1_000);
    stage.laws(world, &outcome);
    (outcome, ended, stage.lab.sim().digest())
}

struct Play {
    lab: Lab,
    peers: Vec<Conduct>,
}

impl Play {
    fn new(world: &World) -> Self {
        let chance = |n| chance(world, n);
        let faults = Faults {
            seed: world.seed.into(),
            short_reads: chance(0),
            short_writes: chance(1),
            one_byte: world.chances[0] == 255,
            interrupts: chance(2),
            early_returns: chance(3).max(u32::from(chance(3) > 0) * 2),
            spurious: chance(4),
            failed_accepts: chance(5),
            failed_registrations: [0, 0, 0, 3][usize::from(world.chances[5]) % 4],
            max_open: world.max_open.map(|max| u64::from(max % 8)),
            exhausted: match world.exhausted {
                Some((from, time)) => {
                    let from = u32::from(from) * 8;
                    from..from + u32::from(time) * 4
                }
                None => 0..0,
            },
            reset: world.reset.map(|(sent, at)| match sent {
                true => ResetAt::Sent(at.into()),
                false => ResetAt::Taken(at.into()),
            }),
            // Without delays within a turn, the deadline holds to the millisecond.
            held_up: 0,
        };
        let setup = Setup {
            listeners: 2,
            batch: usize::from(world.batch % 8) + 1,
            filter: !world.no_filter,
            faults,
            ..Setup::default()
        };
        let [notice, quiet, grace, head, spread, _] = world.drain.map(|n| ms(u64::from(n) * 4));
        let mut drain = DrainPolicy::new()
            .timeout(ms(u64::from(limit(world))))
            .delay(notice)
            .idle_grace(grace)
            .head_timeout(head)
            .close_spread(spread);
        if world.drain[1] > 0 {
            drain = drain.quiet(quiet);
        }
        let mut times = Timeouts::new();
        if let Some([head, body, write, idle, handler, linger]) = world.times {
            let millis = |n: u8| ms(u64::from(n) * 8);
            times = times
                .head(millis(head))
                .body(millis(body))
                .write(millis(write))
                .idle(millis(idle))
                .handler((handler > 0).then(|| millis(handler)))
                .linger(millis(linger));
        }
        let mut limits = Limits::new().body(1_000);
        if let Some(connections) = world.connections {
            limits = limits.connections(usize::from(connections % 8) + 1);
        }
        let config = Config {
            drain,
            timeouts: times,
            limits,
            ..Config::default()
        };
        let mut lab = Lab::with(setup, config);
        lab.patience = 1_000_000;
        Self {
            lab,
            peers: Vec::new(),
        }
    }

    /// Puts one more peer into the script.
    fn add(&mut self, n: usize, script: &Script) {
        let peer = self.lab.sim().peer(n % 2);
        let manner = manner_of(script.manner);
        self.lab.sim().behave(peer, manner);
        let mut at = u32::from(script.connects) * 4;
        self.lab.sim().at(at, Act::Connect(peer));
        let mut it = Conduct::new(peer, manner.takes);
        it.unkind = manner.takes != Pace::AtOnce || manner.window < 1_000;
        let mut over = false; // the peer has nothing more to say
        for (nth, step) in script.steps.iter().take(STEPS).enumerate() {
            let act = match step {
                Step::Ask { what, cuts, gap } => {
                    let (text, expected) = self.request(*what, &format!("{n}-{nth}"));
                    match expected {
                        Some(expected) if !it.wild => it.asks.push(expected),
                        Some(_) => {}
                        None => it.broken = true,
                    }
                    let mut rest = text.as_str();
                    let mut begun = None;
                    for cut in cuts {
                        let (one, more) = rest.split_at(usize::from(*cut).min(rest.len()));
                        if !one.is_empty() {
                            begun.get_or_insert(at);
                        }
                        let act = Act::Send(peer, one.to_owned().into());
                        self.lab.sim().at(at, act);
                        at += u32::from(*gap);
                        rest = more;
                    }
                    if !it.wild && !over {
                        it.begun.push(begun.unwrap_or(at));
                    }
                    Act::Send(peer, rest.to_owned().into())
                }
                Step::Half { what, cut } => {
                    let (text, _) = self.request(*what, &format!("{n}-{nth}"));
                    it.unkind = true;
                    it.wild = true;
                    let cut = usize::from(*cut).min(text.len());
                    Act::Send(peer, text[..cut].to_owned().into())
                }
                Step::Say(bytes) => {
                    it.wild |= !bytes.is_empty();
                    it.unkind = true;
                    Act::Send(peer, bytes.clone().into())
                }
                Step::Wait(millis) => {
                    at += u32::from(*millis) * 4;
                    continue;
                }
                Step::Fin => {
                    over = true;
                    Act::Fin(peer)
                }
                Step::Leave => {
                    over = true;
                    it.unkind = true;
                    Act::Leave(peer)
                }
                Step::Reset => {
                    over = true;
                    it.unkind = true;
                    Act::Reset(peer)
                }
                Step::Take(bytes) => Act::Take(peer, u64::from(*bytes)),
                Step::Behave(how) => {
                    it.unkind = true;
                    let manner = manner_of(*how);
                    it.takes = manner.takes; // as if from the beginning
                    self.lab.sim().behave(peer, manner);
                    continue;
                }
            };
            self.lab.sim().at(at, act);
        }
        self.peers.push(it);
    }

    /// Returns a request and its response; none if the application breaks it off, or everything.
    fn request(&mut self, what: What, nonce: &str) -> (String, Option<Expected>) {
        // Every target carries the number of its peer, so that runs can be counted.
        let to = |path: &str| format!("{path}?{nonce}");
        let body = |body: String| Some(Expected::Body(body));
        let status = |status| Some(Expected::Status(status));
        let refused = |status| Some(Expected::Refused(status));
        let ok = |path: &str, text: &str| (get(&to(path)), body(text.to_owned()));
        match what {
            What::Say => ok(&format!("/say/{nonce}"), &format!("{nonce}\n")),
            What::Close => ok("/close", "bye\n"),
            What::Empty => (get(&to("/empty")), status(204)),
            What::Later => ok("/later/x", &format!("{nonce}\n")),
            What::Dropped => (get(&to("/dropped")), status(500)),
            What::Hoard => ok("/hoard", "now\n"),
            What::Echo(n) => {
                let text = pattern(n.into());
                (post(&to("/echo"), &text), body(text))
            }
            What::EchoChunked(n) => {
                let text = pattern(usize::from(n) + 1);
                let (one, two) = text.split_at(text.len() / 2);
                let head = post_head(&to("/echo"), 0);
                let mut all = head.replace("Content-Length: 0", "Transfer-Encoding: chunked");
                for piece in [one, two] {
                    if !piece.is_empty() {
                        all += &chunk(piece);
                    }
                }
                (all + LAST_CHUNK, body(text))
            }
            What::EchoExpecting(n) => {
                let text = pattern(usize::from(n) + 1);
                let request = post(&to("/echo"), &text);
                let expect = "Expect: 100-continue\r\nContent-Length";
                (request.replacen("Content-Length", expect, 1), body(text))
            }
            What::Sink(n) => {
                let text = pattern(n.into());
                (post(&to("/sink"), &text), body(format!("{n}\n")))
            }
            // The cuts decide whether the sink refuses.
            What::SinkRefuses => (post(&to("/sink/refuse"), "ab"), None),
            What::SinkPanics => (post(&to("/sink/panic-end"), "ab"), status(500)),
            What::TooLarge => (post(&to("/small"), "more than ten"), refused(413)),
            What::Feed(pieces) => {
                let target = to("/feed/x");
                let feed = self.lab.app().feed(&target);
                for _ in 0..pieces % 8 {
                    feed.push(nonce);
                }
                feed.end(Fill::Done);
                (get(&target), body(nonce.repeat(usize::from(pieces % 8))))
            }
            What::FeedFails => {
                let target = to("/feed/x");
                self.lab.app().feed(&target).end(Fill::Failed);
                (get(&target), None)
            }
            What::Sized(n) => {
                let target = to("/sized/20");
                let feed = self.lab.app().feed(&target);
                feed.push(&"x".repeat(n.into()));
                feed.end(Fill::Done);
                (
                    get(&target),
                    (n >= 20).then(|| Expected::Body("x".repeat(20))),
                )
            }
            What::Owned(n) => ok(&format!("/owned/{n}"), &pattern(n.into())),
            What::Shared(n) => ok(&format!("/shared/{n}"), &pattern(n.into())),
            What::Flood(n) => (get(&to(&format!("/flood/{n}"))), status(200)),
            What::Refused => (get(&to("/refuse")), refused(403)),
            What::Missing => (get(&to("/missing")), refused(404)),
            What::Panics => (get(&to("/panic")), status(500)),
            What::PanicsInAdmit => (get(&to("/panic/admit")), refused(500)),
            What::PanicsInSource => (get(&to("/panic/source")), None),
            What::Mistaken => (get(&to("/mistaken")), status(500)),
            What::Shutdown => ok("/shutdown", "stopping\n"),
            What::Cut => ok("/cut", "cutting\n"),
        }
    }

    /// Runs the world to its end, and uses the tickets some time after they were taken.
    fn rage(&mut self, until: u32) {
        let mut held = BTreeMap::new();
        for millis in (0..=until).step_by(25) {
            self.lab.until(millis);
            held.append(&mut self.lab.app().tickets());
            let due = held.extract_if(.., |target, _| {
                (target.len() as u32 + millis / 25).is_multiple_of(3)
            });
            for (target, ticket) in due {
                let nonce = target.split_once('?').map_or("", |(_, nonce)| nonce);
                ticket.send(Response::text(200, format!("{nonce}\n")));
            }
            if self.lab.is_over() {
                return;
            }
        }
        self.lab.until(until);
    }

    fn laws(&mut self, world: &World, outcome: &Outcome) {
        let report = outcome.report.clone();
        let cut = outcome.end != End::Drained;
        assert_eq!(cut, report.cut > 0 || outcome.end == End::Cut);
        let ran = self.lab.app().ran.borrow().clone();
        let heads = u64::from(self.lab.app().admitted);
        assert!(heads <= report.requests && ran.len() <= heads as usize);
        let mut runs = vec![0; self.peers.len()];
        for target in &ran {
            let whose = target.split_once('?').and_then(|(_, n)| n.split_once('-'));
            let whose = whose.and_then(|(n, _)| n.parse::<usize>().ok());
            if let Some(runs) = whose.and_then(|n| runs.get_mut(n)) {
                *runs += 1;
            }
        }
        // Each handler that ran has a response, unless a connection broke. One that breaks may take
        // several responses with it.
        let broke = report.left + report.timed_out + report.aborted + report.cut;
        assert!(
            ran.len() as u64 <= report.answered || broke > 0,
            "a handler ran for nobody: {outcome}"
        );
        let course = Course {
            cut,
            hurried: true,
            held_up: false,
            forgets: chance(world, 5) > 0,
            disturbed: cut || world.reset.is_some() || world.times.is_some(),
            welcomes: world.chances[5] % 6 < 2
                && world.chances[5] % 4 < 3
                && world.max_open.is_none()
                && world.exhausted.is_none()
                && world.connections.is_none(),
        };
        for (peer, runs) in self.peers.iter().zip(runs) {
            laws::hold(self.lab.sim(), peer, runs, &course);
        }
    }
}

fn manner_of([takes, answers, window]: [u8; 3]) -> Manner {
    let pace = |n: u8| match n % 4 {
        0 | 1 => Pace::AtOnce,
        2 => Pace::After(u32::from(n)),
        _ => Pace::Never,
    };
    Manner {
        takes: pace(takes),
        answers: pace(answers),
        window: [256 << 10, 20_000, 1_000, 1][usize::from(window) % 4],
    }
}

/// Returns after how many calls one goes wrong in that way.
fn chance(world: &World, n: usize) -> u32 {
    [0, 0, 1, 2, 5, 20][usize::from(world.chances[n]) % 6]
}

fn limit(world: &World) -> u32 {
    u32::from(world.drain[5]) * 8
}

/// The bounds of what is played: a world of seconds.
const PEERS: usize = 12;
const STEPS: usize = 12;

/// The milliseconds beyond the deadline in which the last turn comes.
const SLACK: u32 = 5;
