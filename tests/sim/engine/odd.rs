//! Odd responses of an application, and odd moments: nothing spins, nothing is forgotten, and the
//! report counts each.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{PeerId, Setup};
use ebbtide::internals::tracker::Phase;
use ebbtide::{
    Admit, BodyContext, BodyWaker, DrainPolicy, End, Fill, Flow, Handler, Head, Reply, Request,
    Response, Sink, Source, Timeouts,
};

use ebbtide_lab::wire::{GET, get, ok, post_head};
use ebbtide_lab::{Lab, ms, reluctant};

/// The size of a read, in bytes.
const READ: usize = 64 * 1024;

fn lab<H: Handler>(config: Config, handler: H) -> Lab<H> {
    Lab::run(Setup::default(), config, handler)
}

/// Returns the same at every call, after this number of bytes.
struct Saying(Fill, usize);

impl Source for Saying {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.resize(self.1, b'z');
        self.1 = 0;
        self.0.clone()
    }
}

fn says(fill: Fill, bytes: usize) -> impl Handler {
    move |_: &Request<'_>| Response::new(200).source(Saying(fill.clone(), bytes))
}

#[test]
fn the_last_request_of_a_passs_share_is_received_to_its_end() {
    // 63 requests and the head of an upload fill one read; the next read has the body.
    let mut lab = Lab::new();
    let peer = lab.connect();
    let last = post_head("/echo", 5);
    let (each, first) = ((READ - last.len()) / 63, (READ - last.len()) % 63);
    let mut bytes = String::new();
    for n in 0..63 {
        let length = each + usize::from(n < first);
        let bare = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let filler = "a".repeat(length - bare);
        bytes += &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n");
    }
    bytes += &last;
    assert_eq!(bytes.len(), READ);
    lab.send(peer, bytes + "hello");
    assert!(lab.got(peer).ends_with(&ok("hello")), "it was forgotten");
    assert_eq!(lab.report().answered, 64);
}

#[test]
fn a_source_that_has_more_and_nothing_is_given_up() {
    let mut lab = lab(Config::default(), says(Fill::More, 0));
    let peer = lab.ask(GET);
    lab.pass(1);
    lab.reset_at(peer, 0);
    assert!(lab.turns < 100, "{} turns of nothing", lab.turns);
    assert_eq!(lab.report().aborted, 1);
}

/// Gives some bytes, and then returns this.
struct Then(usize, Fill);

impl Source for Then {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        if self.0 == 0 {
            return self.1.clone();
        }
        out.resize(std::mem::take(&mut self.0), b'z');
        Fill::More
    }
}

#[test]
fn a_source_that_fails_before_a_byte_has_left_is_a_500() {
    for (sized, bytes, fill) in [
        (false, 0, Fill::Failed),
        (false, 9, Fill::Failed),
        (true, 9, Fill::Failed),
        (true, 9, Fill::Done),
        (true, 0, Fill::Done),
    ] {
        let what = format!("{sized}, {bytes}, {fill:?}");
        let mut lab = lab(Config::default(), move |_: &Request<'_>| {
            let source = Then(bytes, fill.clone());
            match sized {
                true => Response::new(200).sized_source(10, source),
                false => Response::new(200).source(source),
            }
        });
        for method in ["GET", "HEAD"] {
            let peer = lab.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            let got = lab.got(peer);
            if method == "HEAD" {
                assert!(got.starts_with("HTTP/1.1 200 "), "{what}: {got}"); // the source is not asked
                continue;
            }
            assert!(got.starts_with("HTTP/1.1 500 "), "{what}: {got}");
            assert!(got.contains("\r\nConnection: close\r\n"), "{what}: {got}");
            assert!(
                got.ends_with("\r\n\r\nthe server made a mistake\n"),
                "{what}: {got}"
            );
            assert_eq!(got.matches("HTTP/1.1").count(), 1, "{what}: {got}");
            lab.finished_at(peer, 0);
        }
        assert_eq!(
            (lab.report().answered, lab.report().aborted),
            (2, 0),
            "{what}"
        );
    }
}

#[test]
fn a_source_that_fails_before_the_signal_is_counted_but_no_fault_of_the_drain() {
    let mut lab = Lab::new();
    let feed = lab.app().feed("/feed/x");
    feed.push("half");
    let peer = lab.ask(get("/feed/x"));
    feed.end(Fill::Failed);
    lab.now();
    lab.reset_at(peer, 0);
    lab.signal();
    lab.pass(5_000);
    let (_, outcome) = lab.outcome().expect("drained");
    assert_eq!((outcome.report.aborted, outcome.report.cut), (1, 0));
    assert_eq!((outcome.end, outcome.code()), (End::Drained, 0));
}

#[test]
fn a_write_timeout_within_the_drain_is_a_cut() {
    let config = Config {
        timeouts: Timeouts::new().write(Duration::from_secs(1)),
        ..Config::default()
    };
    let large = |_: &Request<'_>| Response::new(200).body(vec![b'x'; 1 << 20]);
    let mut lab = lab(config, large);
    let peer = lab.connect_as(reluctant(1_000));
    lab.sim().send(peer, GET);
    lab.now();
    assert_eq!(lab.count(Phase::Reply), 1);
    lab.signal();
    lab.pass(5_000);
    let (_, outcome) = lab.outcome().expect("drained");
    assert_eq!((outcome.report.timed_out, outcome.report.cut), (1, 1));
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert!(
        outcome
            .to_string()
            .starts_with("1 connection cut in a drain")
    );
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a panic that the test wants");
    }
}

impl Source for Bomb {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.push(b'x');
        Fill::Done
    }
}

#[test]
fn a_source_whose_drop_panics_does_not_end_the_server() {
    let bomb = |request: &Request<'_>| match request.path() {
        "/bomb" => Response::new(200).source(Bomb),
        _ => Response::text(200, "hello\n"),
    };
    let mut lab = lab(Config::default(), bomb);
    for head in ["GET", "HEAD"] {
        let peer = lab.ask(format!("{head} /bomb HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(lab.got(peer).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let peer = lab.ask(GET);
    assert_eq!(lab.got(peer), ok("hello\n"));
}

#[test]
fn the_shortest_linger_does_not_spin_behind_a_slow_peer() {
    let drain = DrainPolicy::new()
        .linger(Duration::ZERO)
        .timeout(Duration::from_secs(2));
    let mut lab = Lab::draining_by(drain);
    let peer = lab.connect_as(reluctant(1_000));
    lab.send(peer, get("/"));
    lab.now();
    lab.signal();
    let turns = lab.turns;
    lab.pass(2_000);
    assert!(lab.turns - turns < 300, "{} turns", lab.turns - turns);
    assert!(lab.is_over());
}

/// Takes a body, pauses after its first piece, and leaves its waker for the test.
struct Pausing {
    wakers: Rc<RefCell<Vec<BodyWaker>>>,
    bytes: usize,
}

impl Sink for Pausing {
    fn receive(&mut self, bytes: &[u8], context: &BodyContext<'_>) -> Flow {
        self.bytes += bytes.len();
        self.wakers.borrow_mut().push(context.waker());
        Flow::Pause
    }

    fn end(&mut self, _: &Request<'_>) -> Reply {
        Response::text(200, self.bytes.to_string()).into()
    }
}

struct Pauses(Rc<RefCell<Vec<BodyWaker>>>);

impl Handler for Pauses {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        match head.path() {
            "/none" => Admit::NoBody,
            _ => Admit::Stream(Box::new(Pausing {
                wakers: Rc::clone(&self.0),
                bytes: 0,
            })),
        }
    }

    fn handle(&mut self, _: &Request<'_>) -> Reply {
        Response::new(204).into()
    }
}

#[test]
fn a_waker_of_an_earlier_request_wakes_nobody() {
    let wakers = Rc::default();
    let mut lab = lab(Config::default(), Pauses(Rc::clone(&wakers)));
    let peer = lab.ask(post_head("/sink", 5) + "hello");
    wakers.borrow()[0].wake();
    lab.now();
    assert_eq!(lab.got(peer), ok("5"));
    lab.send(peer, post_head("/sink", 2) + "hi");
    wakers.borrow()[0].wake();
    lab.now();
    assert_eq!(lab.got(peer), ok("5"), "the old waker woke the new sink");
    assert_eq!(lab.count(Phase::Handler), 1);
    wakers.borrow()[1].wake();
    lab.now();
    assert_eq!(lab.got(peer), ok("5") + &ok("2"));
}

#[test]
fn no_body_is_called_for_that_would_be_refused() {
    let mut lab = lab(Config::default(), Pauses(Rc::default()));
    let head = "POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let peer = lab.ask(format!("{head}{framing}\r\n\r\n"));
        assert!(lab.got(peer).starts_with("HTTP/1.1 413 "), "{framing}");
    }
}

/// A response to HEAD has no body (RFC 9110 §9.3.2), whichever part of the server makes it.
#[test]
fn no_response_of_the_server_to_a_head_has_a_body() {
    let body = "Content-Length: 9\r\n\r\nhalf";
    let late = get("/later/x");
    type Then = fn(&mut Lab, PeerId);
    let time_up: Then = |lab, _| lab.pass(60_000);
    let cut: Then = |lab, _| {
        lab.engine().handle().cut();
        lab.now();
    };
    let fin: Then = |lab, peer| {
        lab.sim().fin(peer);
        lab.now();
    };
    let head = |request: &str| request.replacen("GET", "HEAD", 1);
    for (request, then, status) in [
        ("HEAD / HT".to_owned(), time_up, "408 "),
        ("\r\nHEAD ".to_owned(), time_up, "408 "),
        (
            head(GET).replace("\r\n\r\n", "\r\n") + body,
            time_up,
            "408 ",
        ),
        (head(&late), time_up, "503 "),
        ("HEAD / HT".to_owned(), cut, "503 "),
        (head(&late), cut, "503 "),
        ("HEAD / HT".to_owned(), fin, "400 "),
        ("HEAD / HTTP/9.9\r\n\r\n".to_owned(), time_up, "505 "),
        (
            "HEAD / HTTP/1.1\r\nHost: a\r\nX: ".to_owned() + &"x".repeat(70_000),
            time_up,
            "431 ",
        ),
        (head(GET) + "HEAD / HT", time_up, "408 "),
    ] {
        let mut lab = Lab::timed_by(Timeouts::new().handler(Some(ms(50_000))));
        let peer = lab.ask(request.clone());
        then(&mut lab, peer);
        let got = lab.got(peer);
        let last = &got[got.rfind("HTTP/1.1 ").expect("a response")..];
        assert!(
            last.starts_with(&format!("HTTP/1.1 {status}")),
            "{request:?}: {got}"
        );
        assert!(last.ends_with("\r\n\r\n"), "{request:?}: {got}");
        assert!(
            !last.contains("Content-Length: 0"),
            "the length of the body to a GET: {got}"
        );
    }
    // A request that is unread when the deadline comes, and a method that is not known.
    for (request, has_body) in [
        ("HEAD / HTTP/1.1\r\n", false),
        ("HEA", true),
        ("GET / HT", true),
    ] {
        let mut lab = Lab::new();
        let peer = lab.idle();
        lab.engine().handle().cut();
        lab.sim().send(peer, request);
        lab.now();
        let got = lab.got_then(peer);
        assert!(got.starts_with("HTTP/1.1 503 "), "{request:?}: {got}");
        assert_eq!(!got.ends_with("\r\n\r\n"), has_body, "{request:?}: {got}");
    }
}
