//! What it costs to receive heads of three sizes and a chunked body, through [`Codec`] and through
//! bare httparse. httparse looks neither at framing nor at `Host`, nor for bare line feeds. A head
//! takes both ways of the server: the fast path, which nearly every head takes, and httparse, which
//! reads what the fast path refuses.
//!
//! `cargo bench --bench parse`

mod timer;

use std::hint::black_box;
use std::mem::MaybeUninit;

use ebbtide::internals::h1::{Codec, EMPTY_HEADER, Event, Limits};
use httparse::Status;

/// The number of rounds in each figure.
const REPEATS: usize = 1000;

const SMALL: &str =
    "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: wrk/4.2\r\n\r\n";

const BROWSER: &str = "GET /a/page/of/this/site?with=a&longish=query HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/another/page/of/this/site\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=none; seen=1,2,3,5,8; group=0123456789abcdef0123456789abcdef0123; locale=en-GB\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    If-None-Match: \"0123456789abcdef\"\r\n\
    Priority: u=0, i\r\n\
    \r\n";

const UPLOAD: &str =
    "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

fn main() {
    timer::begin();
    let filler = "0123456789abcdef".repeat(256);
    let padding = &filler[..4096 - BROWSER.len() - "X-Long: \r\n".len()];
    let large = BROWSER.replace("\r\n\r\n", &format!("\r\nX-Long: {padding}\r\n\r\n"));
    for head in [SMALL, BROWSER, &large] {
        let plain = per_run(|| receive_fast_head(head.as_bytes()));
        let other = per_run(|| receive_head(head.as_bytes()));
        let bare = per_run(|| bare_head(head.as_bytes()));
        for (way, ours) in [("plain", plain), ("other", other)] {
            let (bytes, ratio) = (head.len(), ours / bare);
            let rate = bytes as f64 / ours; // a byte a nanosecond is a gigabyte a second
            println!(
                "{way} head of {bytes} bytes: {ours:.1} ns, {rate:.2} GB/s; httparse alone \
                 {bare:.1} ns, ratio {ratio:.2}"
            );
        }
    }
    let body = format!("400\r\n{}\r\n", &filler[..1024]).repeat(CHUNKS) + "0\r\n\r\n";
    let ours = per_run(|| receive_body(UPLOAD.as_bytes(), body.as_bytes()));
    let bare = per_run(|| bare_body(body.as_bytes()));
    let rate = body.len() as f64 / ours;
    // The bytes of a chunk are borrowed, and nothing reads them.
    let (ours, bare, ratio) = (ours / CHUNKS as f64, bare / CHUNKS as f64, ours / bare);
    println!(
        "chunk of 1024 bytes: {ours:.1} ns, {rate:.2} GB/s; httparse alone {bare:.1} ns, \
         ratio {ratio:.2}"
    );
}

fn per_run(work: impl Fn()) -> f64 {
    timer::nanos_each(REPEATS, || (), |()| (0..REPEATS).for_each(|_| work()))
}

fn receive_fast_head(bytes: &[u8]) {
    let mut fields = [EMPTY_HEADER; 16]; // the most that the server gives
    let mut codec = Codec::default();
    let received = codec.receive_fast(black_box(bytes), &mut fields, &Limits::default());
    assert!(matches!(received, Some((n, _)) if n == bytes.len()));
    black_box(&received);
}

fn receive_head(bytes: &[u8]) {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut codec = Codec::default();
    let event = codec.receive(black_box(bytes), &mut fields, &Limits::default());
    assert!(matches!(event, Ok((n, Event::Head(_))) if n == bytes.len()));
    black_box(&event);
}

fn bare_head(bytes: &[u8]) {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let end = request.parse_with_uninit_headers(black_box(bytes), &mut fields);
    assert_eq!(end, Ok(Status::Complete(bytes.len())));
    black_box(&request);
}

/// A body in one piece, behind a head that counts in the figure but not in the bytes.
fn receive_body(head: &[u8], mut bytes: &[u8]) {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut codec = Codec::default();
    let limits = Limits::default();
    assert!(codec.receive(head, &mut fields, &limits).is_ok());
    let mut received = 0;
    loop {
        match codec.receive(black_box(bytes), &mut [], &limits) {
            Ok((n, Event::Body(piece))) => {
                received += piece.len();
                bytes = &bytes[n..];
            }
            Ok((n, Event::End)) => {
                assert_eq!((n, received), (bytes.len(), CHUNKS * 1024));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn bare_body(mut bytes: &[u8]) {
    let mut received = 0;
    loop {
        match httparse::parse_chunk_size(black_box(bytes)) {
            Ok(Status::Complete((_, 0))) => break,
            Ok(Status::Complete((line, size))) => {
                received += size;
                bytes = &bytes[line + size as usize + "\r\n".len()..];
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, CHUNKS as u64 * 1024);
}

/// Chunks of a body, each of 1 KiB.
const CHUNKS: usize = 64;

/// Room for as many fields as the default limit allows.
const FIELDS: usize = 100;
