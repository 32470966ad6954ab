//! The strict reader is strict: what it refuses, what it takes, and how it deals with cuts.

use std::time::Instant;

use super::judge;
use ebbtide_lab::response::{Conversation, End, Framing};

fn read(method: &str, bytes: &[u8], end: Option<End>) -> Conversation {
    let mut conversation = Conversation::default();
    conversation.expect_methods(&[method.to_owned()]);
    conversation.advance(bytes, end, Instant::now());
    conversation
}

#[test]
fn what_breaks_a_rule_is_refused() {
    const REFUSED: &[(&str, &str)] = &[
        ("another protocol", "SSH-2.0-x\r\n"),
        ("a version that is not 1.x", "HTTP/2.0 200 OK\r\n\r\n"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
        ("no space after the status", "HTTP/1.1 200\r\n\r\n"),
        ("a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
        ("a bare CR", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"),
        (
            "a space before the colon",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        ),
        ("a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
        ("a NUL", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a length with a sign",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        ),
        (
            "both framings",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "another coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        ),
        (
            "chunked in 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "a length on a 204",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a length on a 100",
            "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a chunk size with 0x",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na",
        ),
        (
            "a chunk too long",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ),
    ];
    for (what, bytes) in REFUSED {
        assert!(
            read("GET", bytes.as_bytes(), None).broken.is_some(),
            "{what} was taken"
        );
    }
}

#[test]
fn every_framing_is_read_however_it_is_cut() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                           3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nT: u\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 \r\n\r\nabc";
    let taken = [
        ("GET", CHUNKED, Framing::Chunked, "abc0123456789"),
        ("GET", LENGTH, Framing::Length, "abc"),
        ("HEAD", HEAD, Framing::None, ""),
        ("GET", UNTIL_CLOSE, Framing::UntilClose, "abc"),
    ];
    for (method, bytes, framing, body) in taken {
        let mut conversation = Conversation::default();
        conversation.expect_methods(&[method.to_owned()]);
        for length in 1..bytes.len() {
            conversation.advance(&bytes.as_bytes()[..length], None, Instant::now());
            assert!(conversation.broken.is_none(), "{conversation:?}");
            assert!(conversation.responses.is_empty(), "{length} of {bytes:?}");
            assert!(conversation.partial.is_some(), "{length} of {bytes:?}");
        }
        conversation.advance(bytes.as_bytes(), Some(End::Fin), Instant::now());
        let response = &conversation.responses[0];
        assert_eq!(
            (response.framing, &response.body[..]),
            (framing, body.as_bytes())
        );
        assert_eq!(conversation.partial, None);
    }
}

#[test]
fn a_reset_does_not_complete_a_body() {
    let bytes = b"HTTP/1.0 200 OK\r\n\r\nabc";
    let conversation = read("GET", bytes, Some(End::Reset));
    assert!(conversation.responses.is_empty() && conversation.partial.is_some());
}

#[test]
fn a_body_after_head_is_noticed() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    assert!(
        read("HEAD", bytes, None)
            .broken
            .is_some_and(|broken| broken.not_http)
    );
}

#[test]
fn an_interim_response_is_not_final() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let conversation = read("GET", bytes, None);
    let statuses: Vec<_> = conversation.responses.iter().map(|r| r.status).collect();
    assert_eq!(statuses, [100, 204]);
    assert_eq!(conversation.finals().count(), 1);
}

#[test]
fn dates_are_read_exactly() {
    let seconds = |text| judge::imf_fixdate(text).map(|time| time.as_secs());
    assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    assert_eq!(
        seconds("Thu, 29 Feb 2024 23:59:59 GMT"),
        Some(1_709_251_199)
    );
    for wrong in [
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
    ] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
}
