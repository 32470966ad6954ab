//! The library in a program: on a thread, stopped by its handle, with hooks and guards.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ebbtide::{
    BodyContext, DrainPolicy, End, Fill, Handle, Handler, LateRequests, Limits, Pipe, Request,
    Response, Running, Server, Signals, Source, StatusQuery, Trigger,
};

use super::{
    PATIENCE, ask, ask_again, connect, hello, read_all, read_to, server, ticketed, wait_until,
};

/// Runs the server with a request in flight that is answered once the drain has begun.
fn drain_with_one_in_flight(server: Server) -> ebbtide::Outcome {
    let (running, tickets) = ticketed(server);
    let mut client = ask(running.local_addr().unwrap(), "/");
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    running.handle().shutdown();
    let waiter = thread::spawn(move || {
        wait_until(|| ticket.draining());
        ticket.send(Response::text(200, "late but whole\n"));
    });
    let text = read_all(&mut client);
    assert!(text.contains("Connection: close\r\n"), "{text}");
    assert!(text.ends_with("late but whole\n"), "{text}");
    drop(client);
    waiter.join().unwrap();
    running.wait().unwrap()
}

#[test]
fn a_spawned_server_serves_and_returns_its_outcome() {
    let running = server().spawn(hello).unwrap();
    let mut client = ask(running.local_addr().unwrap(), "/");
    read_to(&mut client, "HTTP/1.1 200 OK");
    let closer = thread::spawn(move || read_all(&mut client));
    let outcome = running.shutdown().unwrap();
    assert!(closer.join().unwrap().ends_with("hello\n"));
    assert_eq!((outcome.end, outcome.code()), (End::Drained, 0));
    let report = outcome.report;
    assert_eq!((report.opened, report.closed, report.answered), (1, 1, 1));
    assert_eq!(report.trigger, "shutdown");
}

#[test]
fn shutdown_from_a_handler_and_from_many_threads_is_one_drain() {
    let running = server()
        .spawn(|request: &Request<'_>| {
            request.handle().shutdown();
            Response::text(200, "stopping\n")
        })
        .unwrap();
    let handles: Vec<Handle> = (0..8).map(|_| running.handle().clone()).collect();
    let mut client = ask(running.local_addr().unwrap(), "/");
    assert!(read_all(&mut client).ends_with("stopping\n"));
    drop(client);
    for handle in handles {
        thread::spawn(move || handle.shutdown()).join().unwrap();
    }
    assert_eq!(running.wait().unwrap().end, End::Drained);
}

#[test]
fn a_dropped_server_is_cut_and_leaves_nothing_behind() {
    let (running, tickets) = ticketed(server());
    let addr = running.local_addr().unwrap();
    let mut client = ask(addr, "/");
    let _ticket = tickets.recv_timeout(PATIENCE).unwrap();
    drop(running);
    assert!(read_all(&mut client).starts_with("HTTP/1.1 503 "));
    assert!(TcpStream::connect(addr).is_err(), "it still listens");
}

#[test]
fn hooks_run_in_order_around_the_drain() {
    let (sender, stations) = channel();
    let tell = |sender: &Sender<String>| sender.clone();
    let (one, two, three, four) = (tell(&sender), tell(&sender), tell(&sender), sender);
    let server = server()
        .on_trigger(move |trigger| {
            assert_eq!(*trigger, Trigger::Shutdown);
            one.send(format!("trigger: {trigger}")).unwrap();
        })
        .on_listener_closed(move || two.send("listener closed".into()).unwrap())
        .on_drained(move |report| {
            assert_eq!(report.opened, report.closed);
            three.send(format!("drained: {}", report.answered)).unwrap();
        })
        .on_exit(move |outcome| four.send(format!("exit: {}", outcome.code())).unwrap());
    let outcome = drain_with_one_in_flight(server);
    assert_eq!(outcome.code(), 0);
    let told: Vec<_> = stations.try_iter().collect();
    let expected = [
        "trigger: shutdown",
        "listener closed",
        "drained: 1",
        "exit: 0",
    ];
    assert_eq!(told, expected);
}

#[test]
fn until_the_first_hook_returns_every_socket_is_as_it_was() {
    let (go, wait) = channel::<()>();
    let running = server()
        .on_trigger(move |_| wait.recv_timeout(PATIENCE).unwrap())
        .spawn(hello)
        .unwrap();
    let addr = running.local_addr().unwrap();
    let mut idle = ask(addr, "/");
    read_to(&mut idle, "HTTP/1.1 200 OK");
    running.handle().shutdown();
    wait_until(|| running.handle().draining());
    // The listener accepts, and responses say close.
    let mut fresh = ask(addr, "/");
    let text = read_all(&mut fresh);
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("Connection: close"));
    drop(fresh);
    // The idle connection is served too.
    ask_again(&mut idle, "/");
    go.send(()).unwrap();
    assert_eq!(read_all(&mut idle).matches("hello\n").count(), 2);
    drop(idle);
    assert_eq!(running.wait().unwrap().code(), 0);
}

#[test]
fn a_hook_that_panics_is_exit_code_4_and_the_others_run() {
    let exit = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&exit);
    let outcome = drain_with_one_in_flight(
        server()
            .on_drained(|_| panic!("a panic that the test wants"))
            .on_exit(move |outcome| *seen.lock().unwrap() = Some(outcome.code())),
    );
    assert_eq!((outcome.end, outcome.code()), (End::HookFailed, 4));
    assert_eq!(outcome.report.failed_hooks, ["on_drained"]);
    assert_eq!(*exit.lock().unwrap(), Some(4));
}

fn guarded(server: Server) -> (Running, ebbtide::Guard) {
    let running = server.spawn(hello).unwrap();
    let guard = running.handle().guard("flush queue");
    (running, guard)
}

#[test]
fn a_guard_holds_the_drain_until_it_is_dropped() {
    let drained = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&drained);
    let (running, guard) = guarded(server().on_drained(move |_| *seen.lock().unwrap() = true));
    let addr = running.local_addr().unwrap();
    running.handle().shutdown();
    wait_until(|| TcpStream::connect(addr).is_err()); // the listener is closed
    assert!(!*drained.lock().unwrap(), "drained with a guard held");
    drop(guard);
    let outcome = running.wait().unwrap();
    assert_eq!(outcome.code(), 0);
    assert!(*drained.lock().unwrap() && outcome.report.held.is_empty());
}

#[test]
fn a_guard_does_not_hold_the_deadline_and_is_named() {
    let limit = Duration::from_millis(200);
    let (running, guard) = guarded(server().drain(DrainPolicy::new().timeout(limit)));
    let outcome = running.shutdown().unwrap();
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert_eq!(outcome.report.held, ["flush queue"]);
    assert!(outcome.to_string().contains(r#""flush queue" still held"#));
    drop(guard);
}

#[test]
fn the_deadline_covers_a_request_that_is_never_answered() {
    let limit = Duration::from_millis(200);
    let (running, tickets) = ticketed(server().drain(DrainPolicy::new().timeout(limit)));
    let mut client = ask(running.local_addr().unwrap(), "/slow");
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    let outcome = running.shutdown().unwrap();
    assert_eq!((outcome.end, outcome.code()), (End::Deadline, 1));
    assert_eq!(outcome.report.forced_503, 1);
    let text = read_all(&mut client);
    assert!(
        text.starts_with("HTTP/1.1 503 ") && text.contains("Retry-After: "),
        "{text}"
    );
    ticket.send(Response::new(200)); // the connection has ended
}

#[test]
fn the_loop_says_where_it_stands() {
    let (running, tickets) = ticketed(server());
    let mut client = ask(running.local_addr().unwrap(), "/slow?now");
    let ticket = tickets.recv_timeout(PATIENCE).unwrap();
    let _fresh = connect(running.local_addr().unwrap());
    let status = |query| running.handle().status(query, PATIENCE).unwrap();
    let page = StatusQuery::new().take(10);
    wait_until(|| status(page).phases.fresh == 1);
    let serving = status(page);
    assert_eq!((serving.stage, serving.left_millis), ("serving", None));
    assert_eq!((serving.phases.handler, serving.report.requests), (1, 1));
    let [connection] = &serving.connections[..] else {
        panic!("{:?}", serving.connections)
    };
    assert_eq!(connection.request, "GET /slow?now");
    assert_eq!(connection.peer.addr(), client.local_addr().ok());
    let all = page.all(true);
    assert_eq!(status(all).connections.len(), 2);
    let second = all.skip(1);
    assert_eq!(status(second).connections.len(), 1);

    running.handle().shutdown();
    let draining = status(page);
    assert_eq!(draining.stage, "draining");
    assert!(draining.left_millis.is_some_and(|left| left <= 25_000));
    let progress = draining.progress.unwrap();
    // A drain has a timeout by default.
    assert_eq!((progress.connections, progress.limit_millis), (2, 25_000));
    ticket.send(Response::new(204));
    read_all(&mut client);
    drop(client);
    let handle = running.handle().clone();
    assert_eq!(running.wait().unwrap().code(), 0);
    assert_eq!(handle.status(page, PATIENCE), None);
}

#[test]
fn readiness_is_answered_without_the_handler() {
    let limit = DrainPolicy::new()
        .delay(PATIENCE)
        .quiet(Duration::from_millis(50));
    let running = server().health("/ready").drain(limit).spawn(hello).unwrap();
    let addr = running.local_addr().unwrap();
    let check = |expected: &str| {
        let mut client = connect(addr);
        client
            .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let text = read_all(&mut client);
        assert!(text.contains(expected), "{text}");
        assert!(
            text.starts_with("HTTP/1.1 200 ") == expected.ends_with("\nok"),
            "{text}"
        );
    };
    check("\r\n\r\nok");
    running.handle().set_ready(false);
    check("\r\n\r\nnot ready");
    running.handle().set_ready(true);
    check("\r\n\r\nok");
    let start = Instant::now();
    running.handle().shutdown();
    wait_until(|| running.handle().draining());
    check("\r\n\r\ndraining");
    // The delay would last ten seconds; it ends early after 50 quiet ms.
    let outcome = running.wait().unwrap();
    assert_eq!(outcome.code(), 0);
    assert!(start.elapsed() < PATIENCE, "the delay did not end early");
}

#[test]
#[cfg(unix)]
fn the_signals_that_were_chosen_drain_it() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;

    let signals = Signals::install(&[Signal::SIGUSR2 as i32]).unwrap();
    let running = server().signals(signals).spawn(hello).unwrap();
    kill(getpid(), Signal::SIGUSR2).unwrap();
    let outcome = running.wait().unwrap();
    assert_eq!(
        (outcome.end, &*outcome.report.trigger),
        (End::Drained, "SIGUSR2")
    );
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_reason() {
    struct Never;
    impl Source for Never {
        fn fill(&mut self, _: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
            Fill::Done
        }
    }
    let late = |response| server().late_requests(LateRequests::Reject(response));
    let cases = [
        (
            server().health("healthz"),
            "the health path \"healthz\" has no slash in front",
        ),
        (
            server().limits(Limits::new().connections(0)),
            "a limit of 0 connections serves nobody",
        ),
        (
            late(Response::new(503).source(Never)),
            "a body from a source can be sent once, and not to all late requests",
        ),
        (
            late(Response::new(503).field("Date", "now")),
            "the response to late requests: Date is written by the server",
        ),
    ];
    for (server, why) in cases {
        let error = server.spawn(hello).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let line = format!("cannot run: {why}: invalid input parameter");
        assert_eq!(error.to_string(), line);
    }
}

#[test]
fn a_handler_may_be_chosen_at_run_time_and_may_fail_with_a_response() {
    fn number(request: &Request<'_>) -> Result<Response, Response> {
        let text = request.query().unwrap_or_default();
        let bad = |_| Response::text(400, "no number\n");
        let number: u8 = text.parse().map_err(bad)?;
        Ok(Response::text(200, format!("{number}\n")))
    }
    let handlers: [(Box<dyn Handler + Send>, &str); 2] = [
        (Box::new(hello), "hello\n"),
        (Box::new(number), "no number\n"),
    ];
    for (handler, expected) in handlers {
        let running = server().spawn(handler).unwrap();
        let mut client = ask(running.local_addr().unwrap(), "/?x");
        running.handle().shutdown();
        assert!(read_all(&mut client).ends_with(expected));
        assert_eq!(running.wait().unwrap().code(), 0);
    }
}

#[test]
fn a_handler_that_would_wait_for_its_own_loop_is_told_so() {
    let running = server()
        .spawn(|request: &Request<'_>| {
            let (writer, _pipe) = Pipe::new(1);
            writer.send("fits").unwrap();
            let (refused, forever) = (writer.send("more"), Duration::MAX);
            let status = request.handle().status(StatusQuery::new(), forever);
            Response::text(200, format!("{refused:?}, {}\n", status.is_none()))
        })
        .unwrap();
    let mut client = ask(running.local_addr().unwrap(), "/");
    running.handle().shutdown();
    assert!(read_all(&mut client).ends_with("Err(OnLoop(4 bytes)), true\n"));
    assert_eq!(running.wait().unwrap().code(), 0);
}

#[test]
fn a_request_has_every_field_of_a_name_and_the_host_that_is_meant() {
    let running = server()
        .spawn(|request: &Request<'_>| {
            let cookies: Vec<_> = request.fields_named("cookie").collect();
            let cookies = String::from_utf8_lossy(&cookies.join(&b'|')).into_owned();
            let host = request.authority().unwrap_or("nobody");
            Response::text(
                200,
                format!("{cookies} {host} {}\n", request.minor_version()),
            )
        })
        .unwrap();
    let mut client = connect(running.local_addr().unwrap());
    let head = "GET http://a.example:8/ HTTP/1.1\r\nHost: b.example\r\nCookie: one\r\nX: y\r\ncookie: two\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    running.handle().shutdown();
    assert!(read_all(&mut client).ends_with("\r\n\r\none|two a.example:8 1\n"));
    assert_eq!(running.wait().unwrap().code(), 0);
}
