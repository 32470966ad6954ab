//! Clients that are slow on purpose: in a head, in a body, in reading.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::support::PATIENCE;
use super::support::beat::Metronome;
use super::support::{get, post_head};
use super::{Kind, Stands, connect, read_some, serve, stop, write_some};

/// Slow clients.
const CROWD: usize = 200;

/// The time between two steps of a slow client. The pace is the subject of these tests.
pub(super) const BEAT: Duration = Duration::from_millis(50);

/// The most steps, in a minute.
const BEATS: usize = 1_200;

/// Starts the beats of the clients of a server.
pub(super) fn beats(addr: SocketAddr) -> Metronome {
    Metronome::start(addr, BEATS, BEAT)
}

/// One slow client.
pub(super) struct Slow {
    pub(super) stream: TcpStream,
    pub(super) got: Vec<u8>,
    pub(super) stands: Stands,
}

/// Lets a crowd begin and go on at every beat, until the server has ended all of them, while kind
/// clients are served. Returns the fate of each, the time that it took, and how many were kind.
fn outlast(
    addr: SocketAddr,
    begin: impl Fn(SocketAddr) -> TcpStream,
    go_on: impl Fn(&mut TcpStream),
    reads: usize,
) -> (Vec<Slow>, Duration, Kind) {
    let (mut kind, mut beats) = (Kind::new(addr), beats(addr));
    let begun = Instant::now();
    let mut crowd: Vec<_> = (0..CROWD)
        .map(|_| Slow {
            stream: begin(addr),
            got: Vec::new(),
            stands: Stands::Open,
        })
        .collect();
    while crowd.iter().any(|slow| slow.stands == Stands::Open) {
        assert!(begun.elapsed() < PATIENCE, "they hold on");
        kind.is_served();
        for slow in &mut crowd {
            if slow.stands == Stands::Open {
                go_on(&mut slow.stream);
                slow.stands = read_some(&mut slow.stream, reads, &mut slow.got);
            }
        }
        beats.beat();
    }
    (crowd, begun.elapsed(), kind)
}

pub(super) fn drips(stream: &mut TcpStream) {
    write_some(stream, b"x");
}

#[track_caller]
pub(super) fn all_hear_408(crowd: &[Slow]) {
    for slow in crowd {
        let got = slow.got.escape_ascii().to_string();
        assert!(slow.got.starts_with(b"HTTP/1.1 408 "), "{got:?}");
        assert_eq!(slow.stands, Stands::Finished, "{got:?}");
    }
}

#[test]
fn slow_heads_are_answered_408() {
    let served = serve(&["--head-timeout", "1s"]);
    let (crowd, took, kind) = outlast(
        served.addr(),
        |addr| {
            let mut stream = connect(addr);
            write_some(&mut stream, b"GET /plaintext HTTP/1.1\r\nHost: a\r\nX: ");
            stream
        },
        drips,
        4096,
    );
    all_hear_408(&crowd);
    assert!(took >= Duration::from_secs(1), "too early: {took:?}");
    // The kind client keeps one connection and makes others; one more has the beats.
    let connections = kind.sum("slow heads") / 2 + 2 + CROWD;
    drop(crowd);
    assert_eq!(stop(&served), connections as i64);
}

#[test]
fn slow_bodies_are_answered_408() {
    let served = serve(&["--body-timeout", "1s"]);
    let (crowd, took, _) = outlast(
        served.addr(),
        |addr| {
            let mut stream = connect(addr);
            write_some(&mut stream, &post_head("/echo", 100_000));
            stream
        },
        drips,
        4096,
    );
    all_hear_408(&crowd);
    assert!(took >= Duration::from_secs(1), "too early: {took:?}");
    drop(crowd);
    stop(&served);
}

#[test]
fn slow_readers_are_reset() {
    let served = serve(&["--write-timeout", "1s"]);
    let (crowd, took, _) = outlast(
        served.addr(),
        |addr| asks_through_a_straw(addr, "/bytes/50000000"),
        |_| {},
        100,
    );
    for slow in &crowd {
        assert_eq!(slow.stands, Stands::Reset, "what came must not look whole");
    }
    assert!(took >= Duration::from_secs(1), "too early: {took:?}");
    drop(crowd);
    stop(&served);
}

#[test]
fn a_reader_that_is_slow_but_goes_on_has_all_the_time_it_needs() {
    const SIZE: usize = 8 << 20;
    let served = serve(&["--write-timeout", "300ms"]);
    let (mut beats, begun) = (beats(served.addr()), Instant::now());
    let mut reader = asks_through_a_straw(served.addr(), &format!("/bytes/{SIZE}"));
    let mut got = Vec::new();
    while got.len() < SIZE {
        // 128 KiB at a beat: three seconds, ten times the limit, and far above the least rate.
        let stands = read_some(&mut reader, 128 << 10, &mut got);
        assert_eq!(stands, Stands::Open, "after {} bytes", got.len());
        beats.beat();
    }
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "that was not slow"
    );
    drop((reader, beats));
    stop(&served);
}

/// Opens a connection with a small buffer, and sends a request.
fn asks_through_a_straw(addr: SocketAddr, path: &str) -> TcpStream {
    asks_with_buffer(addr, path, 64 << 10)
}

/// Opens a connection with the smallest buffer, and sends a request. The server then learns of
/// every few kilobytes that are read; with a larger buffer it would learn late.
pub(super) fn asks_through_a_hair(addr: SocketAddr, path: &str) -> TcpStream {
    asks_with_buffer(addr, path, HAIR)
}

/// The bytes of the smallest buffer.
pub(super) const HAIR: usize = 4 << 10;

fn asks_with_buffer(addr: SocketAddr, path: &str, bytes: usize) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(bytes).expect("a buffer");
    socket.connect(&addr.into()).expect("connect");
    let mut stream = TcpStream::from(socket);
    write_some(&mut stream, &get(path));
    stream
}
