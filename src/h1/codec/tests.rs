use super::*;
use crate::h1::{EMPTY_HEADER, reason};
use RequestError::{
    BareLf, Coding, Connect, Expectation, Host, Length, Syntax, Target, TooManyFields, Version,
};

const DATE: &[u8; 37] = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

const LIMITS: Limits = Limits {
    head: 200,
    fields: 4,
    chunk_extras: 20,
};

fn response(status: u16, length: Option<u64>) -> ResponseHead<'static> {
    ResponseHead {
        status,
        content_type: None,
        fields: b"",
        length,
        date: DATE,
    }
}

fn describe(head: &Head<'_, '_>) -> String {
    let mut text = format!("{} {} 1.{}", head.method, head.target, head.minor);
    for field in head.fields {
        text += &format!(" {}={}", field.name, field.value.escape_ascii());
    }
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => text += &format!(", length {length}"),
        Framing::Chunked => text += ", chunked",
    }
    if !head.keep_alive {
        text += ", close";
    }
    if head.expects_continue {
        text += ", expects";
    }
    text
}

/// Logs what happens on a connection whose peer sends these pieces and gets a response to each
/// complete request; the last line is the final state.
fn log<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut codec = Codec::default();
    let (mut log, mut body) = (Vec::new(), None::<String>);
    let mut rd = Vec::new();
    for piece in pieces {
        rd.extend_from_slice(piece);
        loop {
            let mut room = [EMPTY_HEADER; 16];
            { codec }.receive_fast(&rd, &mut room, &LIMITS); // compares itself with httparse
            let mut fields = [const { MaybeUninit::uninit() }; 8];
            let (n, event) = match codec.receive(&rd, &mut fields, &LIMITS) {
                Ok(received) => received,
                Err(bad) => {
                    assert!(codec.is_last() && !codec.request_done() && !codec.next());
                    let again = codec.receive(&rd, &mut fields, &LIMITS);
                    assert_eq!(again, Err(bad), "an error stays");
                    log.extend(body.take());
                    log.push(format!("{bad:?}"));
                    return log;
                }
            };
            match event {
                Event::Head(head) => {
                    let mut fields = [const { MaybeUninit::uninit() }; 4];
                    let again = Head::parse(&rd[..n], &mut fields);
                    assert_eq!(again, Ok(head), "a head can be parsed again");
                    log.push(describe(&head));
                }
                Event::Body(data) => {
                    assert!(!data.is_empty());
                    let data = data.escape_ascii().to_string();
                    *body.get_or_insert_with(|| "body ".to_owned()) += &data;
                }
                Event::End => {
                    assert!(codec.request_done());
                    log.extend(body.take());
                    log.push("end".to_owned());
                }
                Event::NeedMore => {
                    rd.drain(..n);
                    assert!(rd.is_empty() || !codec.is_blank());
                    break;
                }
                Event::Paused => {
                    assert_eq!(n, 0);
                    let framed = codec.begin(&mut Vec::new(), &response(200, Some(0)));
                    assert_eq!(framed, Framed::None);
                    if !codec.next() {
                        assert!(codec.is_last());
                        log.push("last".to_owned());
                        return log;
                    }
                    assert_eq!(codec, Codec::default());
                }
            }
            rd.drain(..n);
        }
    }
    log.extend(body);
    if codec.request_open() {
        log.push("open".to_owned());
    } else if !codec.is_blank() {
        log.push(format!("{} of a head", rd.len()));
    }
    log
}

/// Asserts that the log is the same for the whole, for every cut at one offset (for short cases,
/// at two), and byte by byte.
#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    let text = bytes.escape_ascii();
    assert_eq!(log([bytes]), expected, "whole: {text}");
    assert_eq!(log(bytes.chunks(1)), expected, "byte by byte: {text}");
    for a in 0..=bytes.len() {
        let (first, rest) = bytes.split_at(a);
        assert_eq!(log([first, rest]), expected, "cut at {a}: {text}");
        if bytes.len() <= 80 {
            for b in 0..=rest.len() {
                let (second, third) = rest.split_at(b);
                let log = log([first, second, third]);
                assert_eq!(log, expected, "cut at {a} and {}: {text}", a + b);
            }
        }
    }
}

#[test]
fn good_requests_are_the_same_however_they_are_cut() {
    const CASES: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET / 1.1 Host=a"]),
        (b"GET / HTTP/1.0\r\n\r\n", &["GET / 1.0, close", "last"]),
        (
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            &["GET / 1.0 Connection=keep-alive"],
        ),
        (
            b"GET /a?b HTTP/1.1\r\nHost:  a \r\nX:\r\nY:\t \r\nZ:a\tb\xff\r\n\r\n",
            &["GET /a?b 1.1 Host=a X= Y= Z=a\\tb\\xff"],
        ),
        (
            b"GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n",
            &["GET http://a/b 1.1 Host=c"],
        ),
        (
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &["OPTIONS * 1.1 Host=a"],
        ),
        // Empty lines first, and nothing else.
        (b"\r\n", &[]),
        (b"\r\n\r\n", &[]),
        (
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET / 1.1 Host=a"],
        ),
        // Bodies.
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            &[
                "POST / 1.1 Host=a Content-Length=5, length 5",
                "body hello",
                "end",
            ],
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            &["POST / 1.1 Host=a Content-Length=0"],
        ),
        (
            b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
            &[
                "POST / 1.0 Content-Length=1 Expect=100-continue, length 1, close",
                "body x",
                "end",
                "last",
            ],
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            &[
                "POST / 1.1 Host=a Content-Length=1 Expect=100-continue, length 1, expects",
                "open",
            ],
        ),
        (
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
              5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
            &[
                "PUT / 1.1 Host=a Transfer-Encoding=Chunked, chunked",
                "body hello!",
                "end",
            ],
        ),
        // Several requests.
        (
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET /1 1.1 Host=a", "GET /2 1.1 Host=a"],
        ),
        (
            b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\r\n\
              POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\ntwo\r\n0\r\n\r\n\
              GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
              GET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
            &[
                "POST /1 1.1 Host=a Content-Length=3, length 3",
                "body one",
                "end",
                "POST /2 1.1 Host=a Transfer-Encoding=chunked, chunked",
                "body two",
                "end",
                "GET /3 1.1 Host=a Connection=close, close",
                "last",
            ],
        ),
        // Incomplete requests.
        (b"\r", &["1 of a head"]),
        (b"\r\n\r", &["1 of a head"]),
        (b"G", &["1 of a head"]),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r", &["26 of a head"]),
        (
            b"GET \0 is not looked at until the head is whole",
            &["46 of a head"],
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
            &[
                "POST / 1.1 Host=a Content-Length=5, length 5",
                "body hell",
                "open",
            ],
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            &[
                "POST / 1.1 Host=a Transfer-Encoding=chunked, chunked",
                "body hello",
                "open",
            ],
        ),
    ];
    for (bytes, expected) in CASES {
        check(bytes, expected);
    }
}

#[test]
fn bad_heads_are_refused_the_same_however_they_are_cut() {
    const CASES: &[(&[u8], RequestError)] = &[
        // Line ends.
        (b"\n", BareLf),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        (b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\nHost: a\n\n", BareLf),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\n\n", BareLf),
        (b"GET / HTTP/1.1\n\r\n", BareLf),
        // A bare LF takes precedence over other errors of the head.
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\nX: y\n\r\n", BareLf),
        (b"GET\0/ HTTP/1.1\r\nX: y\n\r\n", BareLf),
        (
            b"GET / HTTP/1.1\r\n1: \r\n2: \r\n3: \r\n4: \r\n5: \n\r\n",
            BareLf,
        ),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"\r\n\r\n\r\n", Syntax),
        (b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Syntax),
        // The request line.
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"\x16\x03\x01\x02", Syntax),
        (b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", Syntax),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET /\r\n\r\n", Syntax),
        (b"GET / \r\n\r\n", Syntax),
        (b"GET\r\n\r\n", Syntax),
        (b"GET / HTT\r\n\r\n", Syntax),
        (b"GET / HTTP/1.\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/11.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/a.b\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", Syntax),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Version),
        (b"GET / HTTP/0.9\r\n\r\n", Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Version),
        // Targets.
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", Syntax), // not UTF-8 either
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", Connect),
        // Fields.
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", Syntax),
        (b"GET / HTTP/1.1\r\n\r\n", Host),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", Host),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n1:\r\n2:\r\n3:\r\n4:\r\n\r\n",
            TooManyFields,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            Length,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
            Coding,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
            Expectation,
        ),
    ];
    for (bytes, bad) in CASES {
        check(bytes, &[&format!("{bad:?}")]);
        let more = [bytes, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]].concat();
        check(&more, &[&format!("{bad:?}")]);
    }
}

#[test]
fn bad_bodies_are_refused_the_same_however_they_are_cut() {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CASES: &[(&[u8], &[&str])] = &[
        (b"x\r\n", &["Chunk"]),
        (b"5\r\nhello!", &["body hello", "Chunk"]),
        (
            b"1\r\nx\r\n1;xxxxxxxxxxxxxxxxxxxx",
            &["body x", "ChunkExtras"],
        ),
    ];
    for (body, expected) in CASES {
        let head = "POST / 1.1 Host=a Transfer-Encoding=chunked, chunked";
        check(&[HEAD, body].concat(), &[&[head], *expected].concat());
    }
}

#[test]
fn the_limits_of_a_head_hold_however_it_is_cut() {
    let head = |target: usize, value: usize| {
        let (a, b) = ("a".repeat(target), "b".repeat(value));
        format!("GET /{a} HTTP/1.1\r\nHost: {b}\r\n\r\n").into_bytes()
    };
    const REST: usize = "GET / HTTP/1.1\r\nHost: \r\n\r\n".len();
    let most = LIMITS.head as usize - REST;
    let largest = head(0, most);
    assert_eq!(largest.len(), 200);
    check(&largest, &[&format!("GET / 1.1 Host={}", "b".repeat(most))]);
    check(&head(0, most + 1), &["HeadTooLarge"]);
    check(&head(300, 1), &["TargetTooLong"]);
    // Empty lines do not count towards the limit.
    let later = [b"\r\n\r\n", &largest[..]].concat();
    check(&later, &[&format!("GET / 1.1 Host={}", "b".repeat(most))]);
    // The LF of the request line must be within the limit.
    let line = head(0, 0).len() - "Host: \r\n\r\n".len();
    check(&head(200 - line, 1), &["HeadTooLarge"]);
    check(&head(201 - line, 1), &["TargetTooLong"]);
}

#[test]
fn a_head_byte_by_byte_is_scanned_not_parsed() {
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    head.resize(64 * 1024 - 4, b'y');
    head.extend_from_slice(b"\r\n\r\n");
    let mut codec = Codec::default();
    let mut fields = [const { MaybeUninit::uninit() }; 8];
    let limits = Limits::default();
    for len in 1..head.len() {
        let event = codec.receive(&head[..len], &mut fields, &limits);
        assert_eq!(event, Ok((0, Event::NeedMore)));
        // httparse tries the bytes only while the scan is fresh. The tests of `scan` prove that
        // each byte is then searched once.
        assert!(!codec.is_blank());
    }
    let (n, event) = codec.receive(&head, &mut fields, &limits).unwrap();
    assert!(matches!(event, Event::Head(_)));
    assert_eq!(n, head.len());
}

#[test]
fn a_body_is_given_out_before_more_is_asked_for() {
    let mut codec = Codec::default();
    let mut fields = [const { MaybeUninit::uninit() }; 8];
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe";
    let (n, _) = codec.receive(bytes, &mut fields, &LIMITS).unwrap();
    let rest = &bytes[n..];
    let event = codec.receive(rest, &mut fields, &LIMITS);
    assert_eq!(event, Ok((5, Event::Body(b"he"))));
    assert!(codec.request_open() && !codec.request_done());
    let event = codec.receive(b"", &mut fields, &LIMITS);
    assert_eq!(event, Ok((0, Event::NeedMore)));
}

#[test]
fn room_for_fields_is_a_limit_too() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for (room, good) in [(0, false), (1, false), (2, true)] {
        let mut fields = [const { MaybeUninit::uninit() }; 2];
        let event = Codec::default().receive(bytes, &mut fields[..room], &LIMITS);
        assert_eq!(event.is_ok(), good, "{room}");
        if !good {
            assert_eq!(event, Err(TooManyFields));
        }
    }
}

/// Returns a codec that has received these bytes.
fn received(bytes: &[u8]) -> Codec {
    let mut codec = Codec::default();
    let mut fields = [const { MaybeUninit::uninit() }; 8];
    let _ = codec.receive(bytes, &mut fields, &Limits::default());
    codec
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const GET_10: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const GET_10_KEEP: &[u8] = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD_10: &[u8] = b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const HEAD_BAD: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";
const POST_OPEN: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
const BAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[test]
fn a_response_is_framed_by_request_status_and_length() {
    // Each case has the lines behind the date.
    type Case = (&'static [u8], u16, Option<u64>, &'static str, Framed);
    const LENGTH_0: &str = "Content-Length: 0\r\n";
    const LENGTH_5: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    const CLOSE_5: &str = "Content-Length: 5\r\nConnection: close\r\n";
    const KEEP_5: &str = "Content-Length: 5\r\nConnection: keep-alive\r\n";
    const CLOSE: &str = "Connection: close\r\n";
    const CASES: &[Case] = &[
        (GET, 200, Some(5), LENGTH_5, Framed::Length),
        (GET, 200, Some(0), "Content-Length: 0\r\n", Framed::None),
        (GET, 200, None, CHUNKED, Framed::Chunked),
        (GET, 404, Some(5), LENGTH_5, Framed::Length),
        (GET, 299, Some(5), LENGTH_5, Framed::Length),
        (GET, 204, Some(5), "", Framed::None),
        (GET, 204, None, "", Framed::None),
        (GET, 205, Some(5), LENGTH_0, Framed::None),
        (GET, 205, None, LENGTH_0, Framed::None),
        (GET, 304, Some(5), LENGTH_5, Framed::None),
        (GET, 304, Some(0), "", Framed::None),
        (GET, 304, None, "", Framed::None),
        (GET_CLOSE, 200, Some(5), CLOSE_5, Framed::Length),
        (GET_CLOSE, 204, None, CLOSE, Framed::None),
        (GET_10, 200, Some(5), CLOSE_5, Framed::Length),
        (GET_10, 200, None, CLOSE, Framed::UntilClose),
        (GET_10_KEEP, 200, Some(5), KEEP_5, Framed::Length),
        (GET_10_KEEP, 200, None, CLOSE, Framed::UntilClose),
        (
            GET_10_KEEP,
            204,
            None,
            "Connection: keep-alive\r\n",
            Framed::None,
        ),
        (HEAD, 200, Some(5), LENGTH_5, Framed::None),
        (HEAD, 200, None, CHUNKED, Framed::None),
        (HEAD_10, 200, Some(5), KEEP_5, Framed::None),
        (HEAD_10, 200, None, CLOSE, Framed::None),
        (POST_OPEN, 413, Some(5), CLOSE_5, Framed::Length),
        (BAD, 400, Some(5), CLOSE_5, Framed::Length),
        (HEAD_BAD, 400, Some(5), CLOSE_5, Framed::None),
    ];
    for (request, status, length, lines, framed) in CASES {
        let mut codec = received(request);
        let mut out = b"before".to_vec();
        let case = format!("{} {status} {length:?}", request.escape_ascii());
        assert_eq!(
            codec.begin(&mut out, &response(*status, *length)),
            *framed,
            "{case}"
        );
        let reason = reason(*status);
        let date = str::from_utf8(DATE).unwrap();
        let expected = format!("beforeHTTP/1.1 {status} {reason}\r\n{date}{lines}\r\n");
        assert_eq!(str::from_utf8(&out), Ok(expected.as_str()), "{case}");
        assert_eq!(codec.is_last(), lines.contains("close"), "{case}");
        assert!(codec.response_begun());
        assert_eq!(codec.response_done(), *framed == Framed::None, "{case}");
        let left = (*framed == Framed::Length).then_some(5);
        assert_eq!(codec.remaining(), left, "{case}");
    }
}

#[test]
fn type_and_fields_stand_between_date_and_framing() {
    let mut out = Vec::new();
    let head = ResponseHead {
        content_type: Some("text/plain"),
        fields: b"Allow: GET\r\nX: y\r\n",
        ..response(405, Some(12))
    };
    received(GET).begin(&mut out, &head);
    let expected = "HTTP/1.1 405 Method Not Allowed\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Type: text/plain\r\n\
        Allow: GET\r\n\
        X: y\r\n\
        Content-Length: 12\r\n\
        \r\n";
    assert_eq!(str::from_utf8(&out), Ok(expected));
}

#[test]
fn a_length_is_counted_down() {
    let mut codec = received(GET);
    let mut out = Vec::new();
    codec.begin(&mut out, &response(200, Some(5)));
    out.clear();
    codec.sent(3);
    assert_eq!(codec.remaining(), Some(2));
    codec.chunk(&mut out, b"not for a known length");
    assert!(!codec.end(&mut out), "two bytes are missing");
    assert!(!codec.response_done() && !codec.next());
    codec.sent(2);
    assert!(codec.response_done() && codec.end(&mut out));
    assert!(out.is_empty());
    assert!(codec.next());
    assert_eq!(codec, Codec::default());
}

#[test]
fn chunks_are_what_our_own_decoder_reads() {
    let mut codec = received(GET);
    let mut out = Vec::new();
    codec.begin(&mut out, &response(200, None));
    out.clear();
    codec.chunk(&mut out, b"hello");
    codec.chunk(&mut out, b"");
    codec.chunk(&mut out, &[b'x'; 300]);
    codec.sent(305); // no effect on a chunked body
    assert!(!codec.response_done());
    assert!(codec.end(&mut out) && codec.next());
    assert!(out.starts_with(b"5\r\nhello\r\n12c\r\nx") && out.ends_with(b"x\r\n0\r\n\r\n"));

    let mut chunked = Chunked::default();
    let (mut at, mut body) = (0, 0);
    loop {
        let (n, step) = chunked.step(&out[at..], 0).unwrap();
        at += n;
        match step {
            Step::Data(data) => body += data.len(),
            Step::End => break,
            Step::NeedMore => panic!("the end is missing"),
        }
    }
    assert_eq!((at, body), (out.len(), 305));
}

#[test]
fn http_1_0_reads_until_the_close() {
    let mut codec = received(GET_10_KEEP);
    let mut out = Vec::new();
    codec.begin(&mut out, &response(200, None));
    out.clear();
    codec.chunk(&mut out, b"as it is");
    assert!(codec.end(&mut out) && codec.response_done());
    assert_eq!(out, b"as it is");
    assert!(!codec.next());
}

#[test]
fn an_early_response_is_the_last() {
    let mut codec = received(POST_OPEN);
    assert!(!codec.is_last());
    codec.begin(&mut Vec::new(), &response(200, Some(0)));
    assert!(codec.is_last() && codec.request_open());
    let mut fields = [const { MaybeUninit::uninit() }; 8];
    for event in [Event::Body(b"x"), Event::End, Event::Paused] {
        let received = codec.receive(b"x", &mut fields, &LIMITS);
        assert_eq!(received.map(|(_, event)| event), Ok(event));
    }
    assert!(codec.request_done() && codec.response_done() && !codec.next());
}

#[test]
fn a_stopped_connection_says_so() {
    let mut codec = received(GET);
    codec.stop();
    let mut out = Vec::new();
    codec.begin(&mut out, &response(200, Some(0)));
    assert!(out.ends_with(b"\r\nConnection: close\r\n\r\n"));
    assert!(!codec.next());
}

#[test]
fn interim_responses_leave_the_final_one_to_come() {
    const LINK: &[u8] = b"Link: </a>\r\n";
    let hints = ResponseHead {
        fields: LINK,
        ..response(103, None)
    };
    let mut codec = received(POST_OPEN);
    let mut out = Vec::new();
    assert_eq!(codec.begin(&mut out, &hints), Framed::None);
    let expected = [b"HTTP/1.1 103 Early Hints\r\n", &DATE[..], LINK, b"\r\n"].concat();
    assert_eq!(out, expected);
    assert!(!codec.response_begun() && !codec.is_last());

    let mut codec = received(GET_10_KEEP);
    out.clear();
    codec.begin(&mut out, &hints);
    assert!(out.is_empty(), "HTTP/1.0 knows no interim responses");

    let mut codec = received(GET);
    let upgrade = ResponseHead {
        fields: b"Connection: Upgrade\r\nUpgrade: x\r\n",
        ..response(101, None)
    };
    codec.begin(&mut out, &upgrade);
    assert_eq!(
        out.windows(11)
            .filter(|window| window == b"Connection:")
            .count(),
        1
    );
    assert!(codec.response_done() && !codec.next());
}

#[test]
fn blank_is_between_requests() {
    assert!(received(b"").is_blank() && received(b"\r\n").is_blank());
    for bytes in [b"\r", b"G", GET, GET_10, POST_OPEN, BAD] {
        assert!(!received(bytes).is_blank(), "{}", bytes.escape_ascii());
    }
    let mut stopped = Codec::default();
    stopped.stop();
    assert!(!stopped.is_blank());
}
