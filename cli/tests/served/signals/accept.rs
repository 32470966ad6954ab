//! Clients that are about to connect when the signal comes, and clients that leave (r03, r13, r14,
//! r19, r20, r33).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::support::client::Client;
use super::support::{GET, HELLO, PATIENCE, get, post, until};
use super::{PROMPT, assert_served, runs, serve};
use ebbtide_lab::Dice;
use ebbtide_lab::response::{Conversation, End, Response};

const R03_CLIENTS: usize = 50;
const R19_ROUNDS: usize = 4;
const R19_THREADS: usize = 20;
const R20_CLIENTS: usize = 300;

#[test]
fn r03_requests_in_the_backlog_are_answered() {
    let served = serve(&[]);
    let clients = served.terminate_after(|| connect_all(served.addr(), GET));
    for client in clients {
        assert_served(&client.response(0), HELLO);
        client.assert_ends(1);
    }
    let (_, report) = served.wait_report(0);
    assert_eq!(report.opened(), R03_CLIENTS as i64);
    assert_eq!(
        (report.requests(), report.answered()),
        (report.opened(), report.opened())
    );
}

#[test]
fn r03_silence_in_the_backlog_is_closed_politely() {
    let served = serve(&[]);
    let clients = served.terminate_after(|| connect_all(served.addr(), b""));
    let signalled = Instant::now();
    for client in clients {
        client.assert_ends(0);
    }
    let (exit, report) = served.wait_report(0);
    assert_eq!(report.opened(), R03_CLIENTS as i64);
    let took = exit.at.saturating_duration_since(signalled);
    assert!(took < PROMPT, "exit after {took:?}");
}

fn connect_all(addr: SocketAddr, send: &[u8]) -> Vec<Client> {
    let connect = |_| {
        let client = Client::connect(addr);
        client.send(send);
        client
    };
    (0..R03_CLIENTS).map(connect).collect()
}

#[test]
fn r13_r14_connecting_in_a_drain_is_refused_and_never_accepted_in_vain() {
    let served = serve(&[]);
    let holder = Client::connect(served.addr());
    holder.send(&get("/delay/2500"));
    served.settle();
    served.terminate();
    until("a refused connection", || {
        knock(served.addr(), "/plaintext").is_none().then_some(())
    });
    let held = holder.look(|seen| seen.conversation.finals().count() == 0 && seen.end.is_none());
    assert!(held, "refused only when all was over");
    holder.response(0).assert_last();
    holder.assert_ends(1);
    drop(holder);
    served.wait_report(0);
}

#[test]
fn r14_with_a_delay_new_connections_are_answered_first() {
    let served = serve(&["--drain-delay", "600ms"]);
    served.terminate();
    // Readiness changes first; from then on every response says close.
    let health = until("a failed check", || {
        let health = knock(served.addr(), "/health").expect("it listens");
        (health.status != 200).then_some(health)
    });
    assert_eq!(health.status, 503);
    health.assert_last();
    let response = knock(served.addr(), "/plaintext").expect("it still listens");
    assert_eq!(response.status, 200);
    response.assert_last();
    until("a refused connection", || {
        knock(served.addr(), "/plaintext").is_none().then_some(())
    });
    served.wait_report(0);
}

#[test]
fn r14_a_delay_ends_early_when_nobody_comes() {
    let served = serve(&["--drain-delay", "20s", "--drain-quiet", "200ms"]);
    served.terminate();
    let (_, report) = served.wait_report(0);
    let took = report.drain_millis();
    assert!((200..20_000).contains(&took), "{took} ms");
}

#[test]
fn r33_a_check_of_health_fails_before_anyone_is_refused() {
    let served = serve(&["--drain-delay", "300ms"]);
    let check = || knock(served.addr(), "/health").map(|response| response.status);
    assert_eq!(check(), Some(200));
    // A check on a kept connection fails too.
    let kept = Client::connect(served.addr());
    assert_eq!(kept.exchange(0, &get("/health")).status, 200);
    served.terminate_after(|| kept.send(&get("/health")));
    let told = kept.response(1);
    assert_eq!((told.status, &told.body[..]), (503, &b"draining"[..]));
    told.assert_last();
    kept.assert_ends(2);
    drop(kept);
    // The client asks as fast as it can until it is refused. Each accepted connection is answered.
    let seen: Vec<u16> = std::iter::from_fn(check).collect();
    println!("{} checks failed before the first was refused", seen.len());
    assert!(
        !seen.is_empty() && seen.iter().all(|status| *status == 503),
        "{seen:?}"
    );
    served.wait_report(0);
}

#[test]
fn r19_no_connection_falls_between_accept_and_shutdown() {
    for _ in 0..runs(R19_ROUNDS) {
        let served = serve(&[]);
        let addr = served.addr();
        let responses = thread::scope(|scope| {
            let knocking: Vec<_> = (0..R19_THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let responses = std::iter::from_fn(|| knock(addr, "/plaintext"));
                        responses.filter(|response| response.status == 200).count()
                    })
                })
                .collect();
            for _ in 0..20 {
                knock(addr, "/plaintext").expect("it listens");
            }
            served.terminate();
            let responses = knocking
                .into_iter()
                .map(|thread| thread.join().expect("no loss"));
            responses.sum::<usize>() as i64 + 20
        });
        let (_, report) = served.wait_report(0);
        assert_eq!(
            (report.requests(), report.answered()),
            (responses, responses)
        );
    }
}

/// Connects, asks and reads to the end. Returns `None` if the connection was refused.
fn knock(addr: SocketAddr, path: &str) -> Option<Response> {
    let mut stream = match TcpStream::connect_timeout(&addr, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
        Err(error) => panic!("neither let in nor refused: {error}"),
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = get(path);
    let request = [&request[..request.len() - 2], b"Connection: close\r\n\r\n"].concat();
    let mut bytes = Vec::new();
    stream
        .write_all(&request)
        .and_then(|()| stream.read_to_end(&mut bytes))
        .unwrap_or_else(|error| panic!("let in, then {error} after {} bytes", bytes.len()));
    let mut conversation = Conversation::default();
    conversation.advance(&bytes, Some(End::Fin), Instant::now());
    let response = conversation.finals().next().cloned();
    Some(response.unwrap_or_else(|| panic!("let in, then no response: {conversation:?}")))
}

#[test]
fn r20_books_balance_when_clients_leave_at_any_byte() {
    let served = serve(&[]);
    let holder = Client::connect(served.addr());
    holder.send(&get("/delay/1500"));
    let request = post("/echo", &[b'x'; 2000]);
    let mut dice = Dice::new(20);
    let clients: Vec<_> = (0..runs(R20_CLIENTS))
        .map(|_| {
            // A part of the head, or of the body, is something to wait for.
            let sent = 1 + dice.index(request.len() - 2);
            let mut stream = TcpStream::connect(served.addr()).expect("connect");
            stream.write_all(&request[..sent]).expect("write");
            (stream, sent)
        })
        .collect();
    served.settle();
    served.terminate();
    served.wait_refused();
    let aborted = clients.len() as i64;
    for (n, (mut stream, sent)) in clients.into_iter().enumerate() {
        let more = dice.index(request.len() - sent);
        // The server may have closed it already.
        let _ = stream.write_all(&request[sent..sent + more]);
        if n % 3 != 0 {
            let zero = Some(Duration::ZERO);
            SockRef::from(&stream).set_linger(zero).expect("linger");
        }
    }
    assert_eq!(holder.response(0).body, b"done");
    holder.assert_ends(1);
    drop(holder);
    let (_, report) = served.wait_report(0);
    assert_eq!(report.end(), "drained");
    assert!(report.opened() >= aborted + 2, "{report:?}");
}
