//! Server-sent events in the simulated world: fan-out, slow subscribers, reconnects, the drain.

use ebbtide::internals::drain::SHORT_GRACE;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::sse::{Event, Options, Slow, Topic};
use ebbtide::{DrainPolicy, Handler, Request, Timeouts};

use ebbtide_lab::wire::{LAST_CHUNK, get};
use ebbtide_lab::{EVERYTHING, Lab, SIGTERM, ms, reluctant};

/// Returns a laboratory in which every request subscribes.
fn lab(topic: &Topic, setup: Setup, config: Config) -> Lab<impl Handler> {
    let topic = topic.clone();
    let mut lab = Lab::run(setup, config, move |request: &Request<'_>| {
        topic.subscribe(request)
    });
    lab.patience = 100_000;
    lab
}

fn plain(topic: &Topic) -> Lab<impl Handler> {
    lab(topic, Setup::default(), Config::default())
}

/// Returns the request of a client that reconnects after the event with this id.
fn after(id: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n")
}

/// Returns a subscriber's stream without head and framing, and whether the stream has ended.
#[track_caller]
fn stream<H: Handler>(lab: &mut Lab<H>, peer: PeerId) -> (String, bool) {
    let all = lab.got(peer);
    let (head, mut rest) = all.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/event-stream"),
        "{head}"
    );
    assert!(head.contains("\r\nCache-Control: no-store"), "{head}");
    let mut text = String::new();
    loop {
        if rest.is_empty() {
            return (text, false);
        }
        if rest == LAST_CHUNK {
            return (text, true);
        }
        let (size, behind) = rest.split_once("\r\n").expect("a size");
        let size = usize::from_str_radix(size, 16).expect("hexadecimal");
        text += &behind[..size];
        rest = behind[size..]
            .strip_prefix("\r\n")
            .expect("the end of a chunk");
    }
}

/// Returns the data of the events of a stream, and the delays for a reconnect, in milliseconds.
fn read(text: &str) -> (Vec<String>, Vec<u64>) {
    let (mut events, mut hints) = (Vec::new(), Vec::new());
    for block in text.split_terminator("\n\n") {
        if let Some(hint) = block.strip_prefix("retry: ") {
            hints.push(hint.parse().expect("a number"));
        } else if let Some((_, data)) = block.split_once("data: ") {
            events.push(data.to_owned());
        } else {
            assert_eq!(block, ":");
        }
    }
    (events, hints)
}

/// Returns the data of the events in a subscriber's stream.
#[track_caller]
fn events<H: Handler>(lab: &mut Lab<H>, peer: PeerId) -> Vec<String> {
    read(&stream(lab, peer).0).0
}

/// Returns the id of the event with this data.
fn id_of(text: &str, data: &str) -> String {
    let end = format!("\ndata: {data}\n");
    let before = text.split_once(&end).expect("that event").0;
    let id = before.rsplit("id: ").next().expect("an id");
    id.lines().next().expect("a line").to_owned()
}

fn publish(topic: &Topic, range: std::ops::Range<u32>) {
    for n in range {
        topic.publish(&Event::new(n.to_string()));
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Lets a peer take bytes until the server has no more.
fn take_all<H: Handler>(lab: &mut Lab<H>, peer: PeerId) {
    let mut before = u64::MAX;
    while lab.report().bytes_out != before {
        before = lab.report().bytes_out;
        lab.sim().take(peer, EVERYTHING);
        lab.now();
    }
}

#[test]
fn an_event_reaches_fifteen_thousand_subscribers_at_once() {
    const COUNT: u32 = 15_000;
    let topic = Topic::new();
    let setup = Setup {
        backlog: COUNT as usize,
        ..Setup::default()
    };
    let mut lab = lab(&topic, setup, Config::default());
    let peers: Vec<_> = (0..COUNT)
        .map(|_| {
            let peer = lab.sim().connect(0);
            lab.sim().send(peer, get("/"));
            peer
        })
        .collect();
    lab.pass(1);
    assert_eq!(lab.count(Phase::Handler), COUNT);
    let event = Event::new("x".repeat(1_000)).kind("big").id("7");
    let before = (lab.turns, lab.report().bytes_out);
    assert_eq!(topic.publish(&event), COUNT as usize);
    lab.now();
    // A turn wakes some thousands, so that other connections do not wait for all of them.
    assert!(lab.turns - before.0 < 20, "{} turns", lab.turns - before.0);
    let length = "id: 7\nevent: big\ndata: \n\n".len() + 1_000;
    let chunk = length + format!("{length:x}\r\n\r\n").len();
    let sent = lab.report().bytes_out - before.1;
    assert_eq!(sent, u64::from(COUNT) * chunk as u64);
    let mut hints = Vec::new();
    for peer in peers {
        let (events, hint) = read(&stream(&mut lab, peer).0);
        assert_eq!(events, ["x".repeat(1_000)]);
        hints.extend(hint);
    }
    // No fiftieth of the spread has twice its share of the clients.
    let mut buckets = [0; 50];
    for hint in hints {
        assert!((1_000..=6_000).contains(&hint));
        buckets[((hint - 1_000) / 100).min(49) as usize] += 1;
    }
    assert!(buckets.iter().all(|count| *count < 600), "{buckets:?}");

    lab.signal();
    lab.drains_at(1 + SHORT_GRACE);
    assert_eq!(topic.numbers().subscribers, 0);
}

#[test]
fn a_client_that_reconnects_gets_what_it_missed() {
    let topic = Topic::with(Options::new().events(5));
    let mut lab = plain(&topic);
    let first = lab.ask(get("/"));
    publish(&topic, 0..5);
    lab.now();
    assert_eq!(events(&mut lab, first), numbers(0..5));
    let text = stream(&mut lab, first).0;
    for (missed, id) in [
        (numbers(3..5), id_of(&text, "2")),
        (vec![], id_of(&text, "4")),
        // An id of another process or topic gets all events in the ring.
        (numbers(0..5), "00000000-2".into()),
        (numbers(0..5), "garbage".into()),
        // A number that no event has yet gets nothing.
        (
            vec![],
            id_of(&text, "4").replace("-4", "-18446744073709551615"),
        ),
    ] {
        let peer = lab.ask(after(&id));
        assert_eq!(events(&mut lab, peer), missed, "{id}");
    }
    publish(&topic, 5..8);
    // The ring has dropped some: the client gets the rest.
    let peer = lab.ask(after(&id_of(&text, "0")));
    assert_eq!(events(&mut lab, peer), numbers(3..8));
    // A client without an id gets the events from now on.
    let new = lab.ask(get("/"));
    publish(&topic, 8..9);
    lab.now();
    assert_eq!(events(&mut lab, new), numbers(8..9));
    assert_eq!(events(&mut lab, first), numbers(0..9));
}

#[test]
fn ids_of_ones_own_are_found_as_well() {
    let topic = Topic::new();
    let mut lab = plain(&topic);
    for (id, data) in [("a", "1"), ("ü b", "2"), ("a", "3"), ("c", "4")] {
        topic.publish(&Event::new(data).id(id));
    }
    for (id, missed) in [("ü b", &["3", "4"][..]), ("a", &["4"]), ("c", &[])] {
        let peer = lab.ask(after(id));
        assert_eq!(events(&mut lab, peer), missed, "{id}");
    }
}

#[test]
fn a_slow_subscriber_loses_events_and_holds_up_nobody() {
    let topic = Topic::with(Options::new().events(16));
    let mut lab = plain(&topic);
    let quick = lab.ask(get("/"));
    let slow = lab.connect_as(reluctant(1_000));
    lab.send(slow, get("/"));
    for n in 0..1_000 {
        publish(&topic, n..n + 1);
        lab.now();
    }
    assert_eq!(events(&mut lab, quick), numbers(0..1_000));
    assert_eq!(lab.count(Phase::Reply), 1);
    take_all(&mut lab, slow);
    let got = events(&mut lab, slow);
    let skipped = 1_000 - got.len();
    assert_eq!(topic.numbers().skipped, skipped as u64);
    assert!(skipped > 500, "{skipped}");
    // The events are in order, with one gap, and behind it all that the ring holds.
    let expected = [numbers(0..got.len() as u32 - 16), numbers(984..1_000)].concat();
    assert_eq!(got, expected);
    assert_eq!(topic.numbers().closed, 0);
}

#[test]
fn or_its_stream_ends_and_it_comes_back_for_the_rest() {
    let topic = Topic::with(Options::new().events(16).slow(Slow::Close));
    let mut lab = plain(&topic);
    let slow = lab.connect_as(reluctant(1_000));
    lab.send(slow, get("/"));
    for n in 0..1_000 {
        publish(&topic, n..n + 1);
        lab.now();
    }
    take_all(&mut lab, slow);
    let (text, ended) = stream(&mut lab, slow);
    assert!(ended, "the stream continues");
    let (got, hints) = read(&text);
    assert_eq!(got, numbers(0..got.len() as u32));
    assert_eq!(hints.len(), 2, "one at the beginning, one at the end");
    assert_eq!(
        (topic.numbers().closed, topic.numbers().subscribers),
        (1, 0)
    );
    let last = id_of(&text, got.last().expect("some came"));
    lab.still_open(slow); // the next request may use the connection
    let again = lab.ask(after(&last));
    assert_eq!(events(&mut lab, again), numbers(984..1_000));
}

#[test]
fn a_subscriber_that_takes_nothing_is_given_up() {
    let topic = Topic::new();
    let config = Config {
        timeouts: Timeouts::new().write(ms(5_000)),
        ..Config::default()
    };
    let mut lab = lab(&topic, Setup::default(), config);
    let slow = lab.connect_as(reluctant(100));
    lab.send(slow, get("/"));
    lab.pass(6_000);
    lab.reset_at(slow, 5_000);
    assert_eq!(topic.numbers().subscribers, 0);
}

#[test]
fn heartbeats_go_to_clients_that_wait_and_are_not_saved_up() {
    let topic = Topic::new();
    let mut lab = plain(&topic);
    let peer = lab.ask(get("/"));
    let begin = stream(&mut lab, peer).0;
    for _ in 0..3 {
        topic.heartbeat();
    }
    lab.now();
    assert_eq!(stream(&mut lab, peer).0, format!("{begin}:\n\n"));
    topic.heartbeat();
    publish(&topic, 0..1);
    lab.now();
    let text = stream(&mut lab, peer).0;
    assert_eq!(
        text.matches(":\n\n").count(),
        1,
        "an event takes the place of a heartbeat: {text}"
    );
    topic.heartbeat();
    lab.now();
    assert!(stream(&mut lab, peer).0.ends_with("data: 0\n\n:\n\n"));
}

#[test]
fn a_drain_sends_what_was_published_and_when_to_come_back() {
    let topic = Topic::with(Options::new().retry(ms(500), ms(1_000)));
    let mut lab = plain(&topic);
    let quick = lab.ask(get("/"));
    let slow = lab.connect_as(reluctant(300));
    lab.send(slow, get("/"));
    lab.until(500);
    publish(&topic, 0..10);
    lab.sim().signal(SIGTERM);
    lab.turn();
    let (text, ended) = stream(&mut lab, quick);
    let (got, hints) = read(&text);
    assert_eq!((got, ended), (numbers(0..10), true));
    assert_eq!(hints.len(), 2);
    assert!(hints.iter().all(|hint| (500..=1_500).contains(hint)));
    lab.until(500 + SHORT_GRACE);
    lab.finished_at(quick, 500 + SHORT_GRACE);

    // Events from now on are for the next server; the slow client gets those before.
    publish(&topic, 10..20);
    lab.until(900);
    lab.still_open(slow);
    take_all(&mut lab, slow);
    lab.until(900 + SHORT_GRACE);
    take_all(&mut lab, slow); // our FIN
    let report = lab.drains_at(900 + SHORT_GRACE);
    let (text, ended) = stream(&mut lab, slow);
    assert_eq!((read(&text).0, ended), (numbers(0..10), true));
    assert_eq!(
        (report.requests, report.answered, report.aborted),
        (2, 2, 0)
    );
}

#[test]
fn a_client_that_subscribes_in_a_drain_is_told_to_reconnect() {
    let topic = Topic::new();
    let config = Config {
        drain: DrainPolicy::new().delay(ms(1_000)),
        ..Config::default()
    };
    let mut lab = lab(&topic, Setup::default(), config);
    publish(&topic, 0..1);
    lab.signal();
    let peer = lab.ask(after("x"));
    let (text, ended) = stream(&mut lab, peer);
    let (events, hints) = read(&text);
    assert_eq!((events, hints.len(), ended), (numbers(0..1), 2, true));
    assert!(lab.got(peer).contains("\r\nConnection: close\r\n"));
}

#[test]
fn an_http_1_0_client_is_sent_the_bare_stream_and_head_is_no_subscriber() {
    let topic = Topic::new();
    let mut lab = plain(&topic);
    let old = lab.ask("GET / HTTP/1.0\r\n\r\n");
    let head = lab.ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(topic.numbers().subscribers, 1);
    assert!(lab.got(head).ends_with("\r\n\r\n"));
    publish(&topic, 0..2);
    lab.now();
    topic.publish(&Event::new("y".repeat(5_000)));
    lab.now();
    let all = lab.got(old);
    let (_, text) = all.split_once("\r\n\r\n").expect("a head");
    assert_eq!(read(text).0, ["0", "1", &"y".repeat(5_000)]);
    lab.signal();
    assert!(lab.got(old).ends_with("\n\n"));
    lab.drains_at(2);
}

#[test]
fn whatever_the_sockets_do_every_stream_is_whole() {
    for seed in 0..10 {
        let topic = Topic::with(Options::new().events(10_000));
        let setup = Setup {
            faults: Faults {
                seed,
                short_writes: 2,
                interrupts: 5,
                spurious: 3,
                one_byte: seed % 5 == 0,
                ..Faults::default()
            },
            ..Setup::default()
        };
        let most = if setup.faults.one_byte { 100 } else { 9_000 };
        let mut lab = lab(&topic, setup, Config::default());
        let mut peers = Vec::new();
        for n in 0..60_u32 {
            if n % 6 == 0 {
                let peer = lab.connect_as(ebbtide_lab::slow(n));
                lab.send(peer, get("/"));
                peers.push((peer, n));
            }
            // Small and large events, alone and together.
            for part in 0..n % 4 {
                let filler = "z".repeat((n * 211 % most) as usize);
                topic.publish(&Event::new(format!("{n} {part} {filler}")));
            }
            lab.pass(n % 3);
        }
        let signal = lab.millis() + 1;
        lab.sim().at(signal, Act::Signal(SIGTERM));
        lab.until(signal + 20_000);
        assert!(lab.is_over(), "seed {seed}");
        for (peer, since) in peers {
            let expected = (since..60).flat_map(|n| (0..n % 4).map(move |part| (n, part)));
            let expected: Vec<_> = expected.map(|(n, part)| format!("{n} {part}")).collect();
            let (text, ended) = stream(&mut lab, peer);
            let got: Vec<_> = read(&text)
                .0
                .iter()
                .map(|data| {
                    let (name, filler) = data.rsplit_once(' ').expect("a filler");
                    assert!(filler.bytes().all(|byte| byte == b'z'));
                    name.to_owned()
                })
                .collect();
            assert_eq!((got, ended), (expected, true), "seed {seed}, since {since}");
        }
    }
}
