//! A response parses back as what the application meant, and nothing that the application passes on
//! splits it. The whole engine writes, and the strictest client reads.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Act, Faults, Setup};
use ebbtide::{BodyContext, Fill, Handler, Reply, Request, Response, Source};
use ebbtide_fuzz::grammar::{is_text, is_token};
use ebbtide_fuzz::response::{self, Fault, Framing};

use ebbtide_lab::Lab;

/// A connection: its requests, and what the application responds.
#[derive(Arbitrary, Debug)]
struct Talk {
    asks: Vec<Ask>,
    one_byte: bool,
    drain: bool,
}

#[derive(Arbitrary, Clone, Debug)]
struct Ask {
    head: bool,
    http10: bool,
    /// Whether the request has the Connection field that is not the default of its version.
    unusual: bool,
    status: u16,
    content_type: Option<String>,
    fields: Vec<(String, String)>,
    body: Body,
    close: bool,
}

#[derive(Arbitrary, Clone, Debug)]
enum Body {
    Empty,
    Bytes(Vec<u8>),
    Shared(Vec<u8>),
    Pieces(Vec<Vec<u8>>),
    Sized(u8, Vec<Vec<u8>>),
    Failing(Vec<Vec<u8>>),
}

fuzz_target!(|talk: Talk| {
    let setup = Setup {
        faults: Faults {
            one_byte: talk.one_byte,
            ..Faults::default()
        },
        ..Setup::default()
    };
    let mut asks = talk.asks;
    asks.truncate(8);
    let mut lab = Lab::run(setup, Config::default(), Scripted(asks.clone().into_iter()));
    lab.patience = 200_000;
    let peer = lab.connect();
    if talk.drain {
        lab.sim().act(Act::Signal(15)); // before the first response
    }
    let bytes: String = asks.iter().map(request).collect();
    lab.send(peer, bytes);
    lab.sim().fin(peer);
    lab.pass(5_000);

    let got = lab.sim().got(peer).to_vec();
    let seen = lab.sim().seen(peer);
    let mut rest = got.as_slice();
    for ask in &asks {
        let meant = Meant::of(ask, talk.drain);
        if meant.broken {
            // The connection is reset, so that no client takes the part for the whole. The
            // responses before it are whole.
            assert!(seen.reset.is_some() && seen.fin.is_none(), "{ask:?}");
            let read = response::read(rest, ask.head, false);
            assert_eq!(read.err(), Some(Fault::Short), "{ask:?}");
            return;
        }
        let read = response::read(rest, ask.head, seen.fin.is_some());
        let (response, after) = read.unwrap_or_else(|fault| {
            panic!("{fault:?}: {ask:?}: {}", rest.escape_ascii());
        });
        meant.compare(&response);
        httparse_agrees(rest, &response);
        rest = after;
        if response.close {
            break;
        }
    }
    assert_eq!(rest, b"", "bytes that nobody meant");
    assert!(seen.fin.is_some() && seen.reset.is_none(), "{seen:?}");
});

/// Returns the request.
fn request(ask: &Ask) -> String {
    let method = if ask.head { "HEAD" } else { "GET" };
    let (version, unusual) = match ask.http10 {
        true => ("1.0", "keep-alive"),
        false => ("1.1", "close"),
    };
    let connection = match ask.unusual {
        true => format!("Connection: {unusual}\r\n"),
        false => String::new(),
    };
    format!("{method} / HTTP/{version}\r\nHost: a\r\n{connection}\r\n")
}

/// The application.
struct Scripted(std::vec::IntoIter<Ask>);

impl Handler for Scripted {
    fn handle(&mut self, _: &Request<'_>) -> Reply {
        let ask = self.0.next().expect("as many requests as were sent");
        let mut response = Response::new(ask.status);
        if let Some(value) = ask.content_type {
            response = response.content_type(value);
        }
        for (name, value) in &ask.fields {
            response = response.field(name, value);
        }
        if ask.close {
            response = response.close();
        }
        match ask.body {
            Body::Empty => response,
            Body::Bytes(bytes) => response.body(bytes),
            Body::Shared(bytes) => response.body(std::sync::Arc::<[u8]>::from(bytes)),
            Body::Pieces(pieces) => response.source(Pieces(pieces.into_iter(), true)),
            Body::Failing(pieces) => response.source(Pieces(pieces.into_iter(), false)),
            Body::Sized(length, pieces) => {
                response.sized_source(length.into(), Pieces(pieces.into_iter(), true))
            }
        }
        .into()
    }
}

/// Pieces, and whether they are the whole body.
struct Pieces(std::vec::IntoIter<Vec<u8>>, bool);

impl Source for Pieces {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        match self.0.next() {
            Some(piece) => {
                out.extend_from_slice(&piece);
                Fill::More
            }
            None if self.1 => Fill::Done,
            None => Fill::Failed,
        }
    }
}

/// What a client must make of a response.
#[derive(Debug)]
struct Meant {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    framing: Framing,
    body: Vec<u8>,
    close: bool,
    keep_alive: bool,
    /// Whether the body cannot be made in full.
    broken: bool,
}

impl Meant {
    fn of(ask: &Ask, drain: bool) -> Self {
        let Some((content_type, fields)) = good(ask) else {
            return Self::of(&mistake(ask), drain);
        };
        let all = |pieces: &[Vec<u8>]| pieces.concat();
        let (body, length, mut broken) = match &ask.body {
            Body::Empty => (Vec::new(), Some(0), false),
            Body::Bytes(bytes) | Body::Shared(bytes) => (bytes.clone(), Some(bytes.len()), false),
            Body::Pieces(pieces) => (all(pieces), None, false),
            Body::Failing(pieces) => (all(pieces), None, true),
            Body::Sized(length, pieces) => {
                let length = usize::from(*length);
                let mut body = all(pieces);
                let short = body.len() < length;
                body.truncate(length);
                (body, Some(length), short)
            }
        };
        let framing = match (ask.status, length) {
            (204, _) | (304, None | Some(0)) => Framing::Unsaid,
            (205, _) => Framing::Length(0),
            (_, Some(length)) => Framing::Length(length as u64),
            (_, None) if ask.http10 => Framing::Unsaid,
            (_, None) => Framing::Chunked,
        };
        let bodiless = ask.head || matches!(ask.status, 204 | 205 | 304);
        broken &= !bodiless;
        // A piece without bytes lets go what came before it. Otherwise nothing has left when the
        // source breaks, and another response takes its place.
        let all_have_bytes = match &ask.body {
            Body::Failing(pieces) | Body::Sized(_, pieces) => pieces.iter().all(|p| !p.is_empty()),
            _ => true,
        };
        if broken && all_have_bytes {
            let instead = Ask {
                close: true,
                ..mistake(ask)
            };
            return Self::of(&instead, drain);
        }
        let until_close = ask.http10 && length.is_none() && !matches!(ask.status, 204 | 205 | 304);
        let close = ask.close || drain || ask.http10 != ask.unusual || until_close;
        let mut all_fields = vec![("Date".to_owned(), DATE.to_vec())];
        all_fields.extend(content_type.map(|value| ("Content-Type".to_owned(), value)));
        all_fields.extend(fields);
        Self {
            status: ask.status,
            fields: all_fields,
            framing,
            body: if bodiless { Vec::new() } else { body },
            close,
            keep_alive: ask.http10 && !close,
            broken,
        }
    }

    fn compare(&self, response: &response::Response<'_>) {
        assert_eq!(response.status, self.status);
        assert_eq!(response.reason, ebbtide::internals::h1::reason(self.status));
        let fields: Vec<_> = response
            .fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();
        assert_eq!(fields, self.fields);
        assert_eq!(response.framing, self.framing);
        assert_eq!(response.body, self.body);
        assert_eq!(response.close, self.close);
        assert_eq!(response.keep_alive, self.keep_alive);
    }
}

/// The Content-Type and the other fields of a response that can be written.
type Fields = (Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

/// Returns the fields, if all of them can be written.
fn good(ask: &Ask) -> Option<Fields> {
    let value = |text: &str| -> Option<Vec<u8>> {
        let text = text.trim_matches([' ', '\t']);
        let good = text.bytes().all(is_text);
        good.then(|| text.as_bytes().to_vec())
    };
    if !(200..600).contains(&ask.status) {
        return None;
    }
    let mut content_type = match &ask.content_type {
        Some(text) => Some(value(text)?),
        None => None,
    };
    let mut fields = Vec::new();
    for (name, text) in &ask.fields {
        let ours = [
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "trailer",
            "upgrade",
            "date",
        ];
        let lower = name.to_ascii_lowercase();
        if !is_token(name.as_bytes()) || ours.contains(&lower.as_str()) {
            return None;
        }
        let value = value(text)?;
        match lower.as_str() {
            "content-type" => content_type = Some(value),
            _ => fields.push((name.clone(), value)),
        }
    }
    // An empty Content-Type is none.
    Some((content_type.filter(|value| !value.is_empty()), fields))
}

/// Returns what is sent in place of a response that cannot be written.
fn mistake(ask: &Ask) -> Ask {
    Ask {
        status: 500,
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        fields: Vec::new(),
        body: Body::Bytes(b"the server made a mistake\n".to_vec()),
        close: false,
        ..ask.clone()
    }
}

/// Asserts that httparse reads the same head.
fn httparse_agrees(bytes: &[u8], response: &response::Response<'_>) {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut room);
    match theirs.parse(bytes) {
        Ok(status) => assert!(status.is_complete()),
        Err(error) => return assert_eq!(error, httparse::Error::TooManyHeaders),
    }
    assert_eq!(theirs.code, Some(response.status));
    for (name, value) in &response.fields {
        let found = |field: &&httparse::Header<'_>| field.name == *name && field.value == *value;
        assert!(theirs.headers.iter().any(|field| found(&field)), "{name}");
    }
}

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
