//! Clients that break off: at every byte, and before they are accepted.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::support::{GET, HELLO, get, post};
use super::{Kind, connect, files_at_rest, reset, serve, stop, wait_for_files};
use ebbtide_lab::response::{Conversation, End};

#[test]
fn who_breaks_off_at_any_byte_leaves_nothing_behind() {
    let served = serve(&[]);
    let files = files_at_rest(&served) + 1; // the one that the kind one keeps
    let mut kind = Kind::new(served.addr());
    let chunked = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n";
    // The requests of the pipeline, and the response to each whole one.
    let pipelines: [Vec<(Vec<u8>, &[u8])>; 3] = [
        vec![(post("/echo", b"hello"), b"hello")],
        vec![(chunked.to_vec(), b"hello")],
        vec![(GET.to_vec(), HELLO), (GET.to_vec(), HELLO)],
    ];
    let mut connections = 0;
    for pipeline in &pipelines {
        let request: Vec<u8> = pipeline
            .iter()
            .flat_map(|(bytes, _)| bytes.clone())
            .collect();
        for at in 0..=request.len() {
            let mut stream = connect(served.addr());
            stream.write_all(&request[..at]).expect("write");
            reset(stream);

            // The client sends a FIN instead, and then reads.
            let mut stream = connect(served.addr());
            stream.write_all(&request[..at]).expect("write");
            stream.shutdown(Shutdown::Write).expect("shutdown");
            let mut response = Vec::new();
            stream.read_to_end(&mut response).expect("no reset");
            assert_responses(pipeline, at, &response);
            connections += 2;
        }
        kind.is_served();
    }
    wait_for_files(served.pid(), files);
    connections += kind.sum("aborts of requests") / 2 + 1;
    assert_eq!(stop(&served), connections as i64 + 1);
}

/// Asserts what follows this number of bytes of a pipeline and a FIN. Whole requests are answered,
/// a part of one is refused, and nothing comes where nothing had begun.
#[track_caller]
fn assert_responses(pipeline: &[(Vec<u8>, &[u8])], at: usize, response: &[u8]) {
    let (mut left, mut expected) = (at, Vec::new());
    for (request, body) in pipeline {
        if left >= request.len() {
            left -= request.len();
            expected.push((200, *body));
        } else if left > 0 {
            left = 0;
            expected.push((400, b"the request was not complete\n"));
        }
    }
    let mut conversation = Conversation::default();
    conversation.advance(response, Some(End::Fin), Instant::now());
    let said = response.escape_ascii().to_string();
    let whole = conversation.broken.is_none() && conversation.partial.is_none();
    assert!(whole, "{at}: {said:?}");
    let got: Vec<_> = conversation
        .responses
        .iter()
        .map(|response| (response.status, &response.body[..]))
        .collect();
    assert_eq!(got, expected, "{at}: {said:?}");
}

#[test]
fn who_breaks_off_in_a_response_leaves_nothing_behind() {
    let served = serve(&[]);
    let files = files_at_rest(&served) + 1; // the one that the kind one keeps
    let mut kind = Kind::new(served.addr());
    for path in ["/bytes/300", "/stream/50/0", "/bytes/3000000"] {
        for at in (0..400).step_by(3) {
            let mut stream = connect(served.addr());
            stream.write_all(&get(path)).expect("write");
            stream.read_exact(&mut vec![0; at]).expect("a response");
            reset(stream);
        }
        kind.is_served();
    }
    wait_for_files(served.pid(), files);
    drop(kind);
    stop(&served);
}

#[test]
fn a_storm_of_connects_and_resets_is_weathered() {
    const THREADS: usize = 4;
    const EACH: usize = 2_000;
    let served = serve(&[]);
    let mut kind = Kind::new(served.addr());
    let addr = served.addr();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let storm: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let mut stream = connect(addr);
                        if n % 2 == 0 {
                            stream.write_all(b"GET / HT").expect("write");
                        }
                        reset(stream);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for thread in storm {
                thread.join().expect("its connects succeed");
            }
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) {
            kind.is_served();
        }
    });
    kind.is_served();
    let connections = kind.sum("a storm") / 2 + 1;
    // Linux also hands out connections that were reset in the backlog. A full backlog, however,
    // drops the last packet of a handshake, and a client that resets then was never there. Each
    // thread loses at most one so: its next SYN finds the backlog full as well, and is sent again
    // only after a second.
    let most = (connections + THREADS * EACH) as i64;
    let opened = stop(&served);
    let overflows = 4 * THREADS as i64;
    assert!(
        (most - overflows..=most).contains(&opened),
        "{opened} of {most}"
    );
}
