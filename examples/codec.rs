//! The HTTP/1.1 machine alone: bytes in, events out, and back. No socket, no server, no clock.
//!
//! This is what a fuzzer or a benchmark of the parser drives. The example reads requests from the
//! standard input, in pieces of 16 bytes to show that the size does not matter, and responses on the
//! standard output:
//!
//! `printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello' | cargo run --example codec`

use std::io::{Read, Write};
use std::mem::MaybeUninit;

use ebbtide::internals::h1::{Codec, Event, Limits, ResponseHead};

const DATE: &[u8; 37] = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn main() -> std::io::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let (log, response) = talk(bytes.chunks(16));
    eprint!("{log}");
    std::io::stdout().write_all(&response)
}

/// Feeds the pieces to a codec and answers every request. Returns what happened, and the responses.
fn talk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (String, Vec<u8>) {
    let (mut codec, limits) = (Codec::default(), Limits::default());
    let (mut log, mut response) = (String::new(), Vec::new());
    // Bytes that the codec did not consume are given to it again, with more behind them.
    let mut unread = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let mut fields = [const { MaybeUninit::uninit() }; 32];
            let (used, event) = match codec.receive(&unread, &mut fields, &limits) {
                Ok(received) => received,
                Err(bad) => {
                    // Only the refusal can still be sent on this connection.
                    log += &format!("refused: {bad}\n");
                    respond(&mut codec, &mut response, bad.status(), b"");
                    return (log, response);
                }
            };
            match event {
                Event::Head(head) => log += &format!("{} {}\n", head.method, head.target),
                Event::Body(data) => log += &format!("{} bytes of a body\n", data.len()),
                Event::End => log += "the end of the body\n",
                Event::NeedMore => {
                    unread.drain(..used);
                    break;
                }
                Event::Paused => {
                    respond(&mut codec, &mut response, 200, b"hello\n");
                    if !codec.next() {
                        return (log, response);
                    }
                }
            }
            unread.drain(..used);
        }
    }
    (log, response)
}

/// Writes a response of known length.
fn respond(codec: &mut Codec, out: &mut Vec<u8>, status: u16, body: &[u8]) {
    let head = ResponseHead {
        status,
        content_type: Some("text/plain"),
        fields: b"",
        length: Some(body.len() as u64),
        date: DATE,
    };
    if codec.begin(out, &head) == ebbtide::internals::h1::Framed::Length {
        out.extend_from_slice(body);
        codec.sent(body.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::talk;

    #[test]
    fn cuts_change_only_the_pieces_of_a_body() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let (log, response) = talk([&bytes[..]].into_iter());
        assert_eq!(
            log,
            "GET /a\nPOST /b\n5 bytes of a body\nthe end of the body\n"
        );
        for size in 1..bytes.len() {
            assert_eq!(talk(bytes.chunks(size)).1, response, "in pieces of {size}");
        }
        let response = String::from_utf8(response).expect("text");
        assert_eq!(response.matches("HTTP/1.1 200 OK\r\n").count(), 2);
        assert_eq!(response.matches("Connection: close\r\n").count(), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        let (log, response) = talk([&b"GET / HTTP/1.1\nHost: a\n\n"[..]].into_iter());
        assert_eq!(log, "refused: a line ends in LF without CR\n");
        assert!(response.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    }
}
