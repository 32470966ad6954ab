//! Endless input: extensions, trailers, heads, pipelines that nobody reads.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use super::support::{get, until};
use super::{Kind, Stands, connect, memory, read_some, serve, stop};

/// The most bytes that are sent of anything: much more than any limit.
const MOST: usize = 64 << 20;

#[test]
fn what_never_ends_is_refused_and_costs_nothing() {
    const CHUNKED: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
    let cases: &[(&str, String, &str, u16)] = &[
        (
            "extensions of a chunk",
            CHUNKED.to_owned() + "1",
            ";x=y",
            431,
        ),
        (
            "chunks with extensions",
            CHUNKED.into(),
            "1;x=y\r\nx\r\n",
            431,
        ),
        ("trailers", CHUNKED.to_owned() + "0\r\n", "X: y\r\n", 431),
        ("one trailer", CHUNKED.to_owned() + "0\r\nX: ", "y", 431),
        ("fields", HEAD.into(), "X: y\r\n", 431),
        ("one field", HEAD.to_owned() + "X: ", "y", 431),
        ("a target", "GET /".into(), "x", 414),
        ("empty lines", String::new(), "\r\n", 400),
        ("chunks", CHUNKED.into(), "1\r\nx\r\n", 413),
    ];
    let served = serve(&["--max-body", "1MiB"]);
    let mut kind = Kind::new(served.addr());
    kind.is_served();
    let before = memory(served.pid());
    for (title, begin, again, status) in cases {
        let mut stream = connect(served.addr());
        stream.write_all(begin.as_bytes()).expect("write");
        let piece = again.repeat(16_000 / again.len());
        let (mut got, mut sent) = (Vec::new(), 0);
        while read_some(&mut stream, 4096, &mut got) == Stands::Open && got.is_empty() {
            assert!(sent < MOST, "{title}: nobody minds");
            // The response comes before the end of the linger, and so before a reset.
            stream.write_all(piece.as_bytes()).expect("write");
            sent += piece.len();
        }
        let expected = format!("HTTP/1.1 {status} ");
        let said = got.escape_ascii();
        assert!(got.starts_with(expected.as_bytes()), "{title}: {said}");
        kind.is_served();
    }
    let grown = memory(served.pid()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    drop(kind);
    stop(&served);
}

#[test]
fn a_peer_that_pipelines_and_does_not_read_is_no_longer_read() {
    const CROWD: usize = 20;
    let served = serve(&["--write-timeout", "2s"]);
    let mut kind = Kind::new(served.addr());
    kind.is_served();
    let before = memory(served.pid());
    let asks = get("/bytes/1000").repeat(500);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = connect(served.addr());
        let short = Some(Duration::from_millis(20));
        stream.set_write_timeout(short).expect("a timeout");
        // The loop ends when the server reads no more, and the buffers on both sides are full.
        let mut sent = 0;
        loop {
            match stream.write(&asks) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            assert!(sent < MOST, "it reads without end");
        }
        crowd.push(stream);
        kind.is_served();
    }
    // Each connection has an output of 64 KiB, one read behind it, and the buffers around these.
    let grown = memory(served.pid()).saturating_sub(before);
    println!("{CROWD} pipelines: {grown} bytes more");
    assert!(grown < CROWD as u64 * (512 << 10), "{grown} bytes more");
    for stream in &mut crowd {
        // The reset follows the bytes that had come.
        let mut buffer = vec![0; 1 << 20];
        let error = until("a reset", || {
            kind.is_served_on_the_kept();
            // A read before the end would make room.
            stream.take_error().expect("asked")
        });
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let _ = stream.read(&mut buffer);
    }
    drop((crowd, kind));
    stop(&served);
}
