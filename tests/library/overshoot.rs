//! The one deadline, while each thing that a drain waits for hangs in turn (r17), and connections
//! that would live for ever (r28).
//!
//! Hooks and guards belong to the application, so these tests run in the program. `cargo test
//! --test library overshoot -- --nocapture` prints how long after the deadline `run` returns. A
//! busy machine only adds time, so the best of some tries counts.

use std::any::Any;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ebbtide::{
    BodyContext, DrainPolicy, End, Fill, Request, Response, Running, Server, Source, StatusQuery,
};

use super::{PATIENCE, connect, hello, read_all, read_to, server, ticketed, wait_until};

const LIMIT: Duration = Duration::from_millis(200);

/// The contract allows this in all cases.
const OVERSHOOT: Duration = Duration::from_millis(50);

const TRIES: usize = 5;

/// A server that waits for something, and what keeps that from happening.
type Hung = (Running, Box<dyn Any>);

/// What hangs, how the server then ends, and a function that brings it about.
type Stage = (&'static str, End, fn(Server) -> Hung);

#[test]
fn r17_the_deadline_holds_whatever_hangs() {
    let stages: [Stage; 12] = [
        ("a handler", End::Deadline, |server| asked(server, GET)),
        ("half a head", End::Deadline, |server| {
            asked(server, "GET / HT")
        }),
        ("a silent upload", End::Deadline, |server| {
            asked(
                server,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
            )
        }),
        ("a reader that stops", End::Deadline, |server| {
            streaming(server, Endless)
        }),
        ("a stream without news", End::Deadline, |server| {
            streaming(server, Silent)
        }),
        ("a peer that keeps its side", End::Drained, lingering),
        ("a guard", End::Deadline, |server| {
            let running = server.spawn(hello).unwrap();
            let guard = running.handle().guard("flush queue");
            (running, Box::new(guard))
        }),
        ("on_trigger", End::HookFailed, |server| {
            hook(|hang| server.on_trigger(move |_| hang()))
        }),
        ("on_listener_closed", End::HookFailed, |server| {
            hook(|hang| server.on_listener_closed(hang))
        }),
        ("on_drained", End::HookFailed, |server| {
            hook(|hang| server.on_drained(move |_| hang()))
        }),
        ("on_exit", End::HookFailed, |server| {
            hook(|hang| server.on_exit(move |_| hang()))
        }),
        ("a delay", End::Drained, |server| {
            let delay = DrainPolicy::new().timeout(LIMIT).delay(PATIENCE);
            (server.drain(delay).spawn(hello).unwrap(), Box::new(()))
        }),
    ];
    for (stage, end, hang) in stages {
        let mut best = Duration::MAX;
        for _ in 0..TRIES {
            let drain = DrainPolicy::new()
                .timeout(LIMIT)
                .head_timeout(PATIENCE)
                .linger(PATIENCE);
            let server = server().drain(drain);
            let (running, held) = hang(server);
            let start = Instant::now();
            let outcome = running.shutdown().unwrap();
            let took = start.elapsed();
            drop(held);
            assert_eq!(outcome.end, end, "{stage}: {outcome}");
            assert_eq!(outcome.report.opened, outcome.report.closed, "{stage}");
            if end == End::HookFailed {
                assert_eq!(outcome.report.failed_hooks[0], stage);
            }
            // The clock of the loop is that of the turn, which may have begun before the call.
            assert!(took > LIMIT / 2, "{stage}: given up after {took:?}");
            best = best.min(took.saturating_sub(LIMIT));
            if best <= OVERSHOOT {
                break;
            }
        }
        println!("{stage} hung: out {best:?} after the deadline");
        assert!(best <= OVERSHOOT, "{stage}: {best:?} after the deadline");
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends a request that waits for ever.
fn asked(server: Server, request: &str) -> Hung {
    let (running, tickets) = ticketed(server);
    let stream = send(&running, request);
    // The request has reached the server.
    wait_until(|| {
        let status = running.handle().status(StatusQuery::default(), PATIENCE);
        let phases = status.expect("it runs").phases;
        phases.head + phases.body + phases.handler > 0
    });
    (running, Box::new((stream, tickets)))
}

fn streaming(server: Server, source: impl Source + Clone + Sync + 'static) -> Hung {
    let running = server
        .spawn(move |_: &Request<'_>| Response::new(200).source(source.clone()))
        .unwrap();
    let mut stream = send(&running, GET);
    stream.read_exact(&mut [0; 12]).unwrap();
    (running, Box::new(stream))
}

/// Sends a request whose response says close, and does not close.
fn lingering(server: Server) -> Hung {
    let running = server.spawn(hello).unwrap();
    let mut stream = send(
        &running,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    stream.read_to_end(&mut Vec::new()).unwrap();
    (running, Box::new(stream))
}

/// Sets a hook that returns at the end of the test.
fn hook(set: impl FnOnce(Box<dyn FnOnce() + Send>) -> Server) -> Hung {
    let (held, never) = channel::<()>();
    let hang = move || {
        let _ = never.recv_timeout(PATIENCE);
    };
    (set(Box::new(hang)).spawn(hello).unwrap(), Box::new(held))
}

fn send(running: &Running, request: &str) -> TcpStream {
    let mut stream = connect(running.local_addr().unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// A source as fast as its peer takes it.
#[derive(Clone)]
struct Endless;

impl Source for Endless {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.resize(64 * 1024, b'x');
        Fill::More
    }
}

/// A source that sends something once, and then nothing.
#[derive(Clone)]
struct Silent;

impl Source for Silent {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.extend_from_slice(b"hello\n");
        Fill::Pending
    }
}

/// A source that ends at the drain, as an upgraded connection may.
struct LongLived {
    greeted: bool,
    told: std::sync::mpsc::Sender<Instant>,
    farewell: bool,
}

impl Source for LongLived {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        if context.draining() {
            self.told.send(Instant::now()).unwrap();
            out.extend_from_slice(b"goodbye\n");
            return if self.farewell {
                Fill::Done
            } else {
                Fill::Pending
            };
        }
        if !self.greeted {
            out.extend_from_slice(b"hello\n");
            self.greeted = true;
        }
        Fill::Pending
    }
}

fn long_lived(farewell: bool) -> (Running, TcpStream, Receiver<Instant>) {
    let (sender, told) = channel();
    let running = server()
        .drain(DrainPolicy::new().timeout(LIMIT))
        .spawn(move |_: &Request<'_>| {
            Response::new(200).source(LongLived {
                greeted: false,
                told: sender.clone(),
                farewell,
            })
        })
        .unwrap();
    let mut stream = send(&running, GET);
    read_to(&mut stream, "hello\n\r\n");
    (running, stream, told)
}

#[test]
fn r28_a_connection_that_lives_for_ever_is_told_at_once_and_says_goodbye() {
    let mut delays = Vec::new();
    for _ in 0..TRIES {
        let (running, mut stream, told) = long_lived(true);
        let signalled = Instant::now();
        running.handle().shutdown();
        let told = told.recv_timeout(PATIENCE).unwrap();
        let rest = read_all(&mut stream);
        assert_eq!(rest, "8\r\ngoodbye\n\r\n0\r\n\r\n");
        drop(stream);
        assert_eq!(running.wait().unwrap().end, End::Drained);
        delays.push(told - signalled);
    }
    println!("told after {delays:?}");
    assert!(
        delays
            .iter()
            .any(|delay| *delay <= Duration::from_millis(10)),
        "{delays:?}"
    );
}

#[test]
fn r28_one_that_does_not_go_is_counted_and_cut_at_the_deadline() {
    let (running, mut stream, told) = long_lived(false);
    let start = Instant::now();
    running.handle().shutdown();
    told.recv_timeout(PATIENCE).unwrap();
    let status = running.handle().status(StatusQuery::default(), PATIENCE);
    let progress = status
        .and_then(|status| status.progress)
        .expect("it drains");
    assert_eq!((progress.connections, progress.gone), (1, 0));
    let outcome = running.wait().unwrap();
    assert!(start.elapsed() > LIMIT / 2); // the clock of the turn, as above
    assert_eq!((outcome.end, outcome.report.aborted), (End::Deadline, 1));
    // The response breaks off and does not look complete.
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).is_err());
    assert!(!rest.ends_with(b"0\r\n\r\n"));
}
