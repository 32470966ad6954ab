//! The routes of `ebbtide serve`, for curl, load generators and drains.
//!
//! Each route shows one way to answer: at once, from the request's body, later from another thread,
//! or in pieces with or without a length.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::timer::Timer;
use super::websocket::Echo;
use crate::files::Files;
use crate::values::number;
use ebbtide::sse::{Event, Topic};
use ebbtide::{
    Admit, BodyContext, BodyWaker, Fill, Handler, Head, Reply, Request, Response, Source,
};

/// Answers the demo's routes.
#[derive(Debug)]
pub(super) struct Demo {
    timer: Timer,
    max_body: u64,
    files: Option<Files>,
    /// Publishes an event a second, from the first subscriber on.
    ticks: Option<Topic>,
    websocket: Echo,
}

impl Demo {
    /// Makes the demo, which buffers bodies up to `max_body` bytes for `/echo` and serves files at
    /// all other paths.
    pub(super) fn new(timer: Timer, max_body: u64, files: Option<Files>) -> Self {
        Self {
            timer,
            max_body,
            files,
            ticks: None,
            websocket: Echo::new(),
        }
    }
}

/// The route of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Plaintext,
    Json,
    Echo,
    Delay { millis: u32 },
    Bytes { length: u64 },
    Stream { chunks: u64, millis: u32 },
    Events,
    WebSocket,
    Health,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/plaintext" => Self::Plaintext,
            "/json" => Self::Json,
            "/echo" => Self::Echo,
            "/events" => Self::Events,
            "/health" => Self::Health,
            "/ws" => Self::WebSocket,
            _ => return Self::with_numbers(path),
        })
    }

    fn with_numbers(path: &str) -> Option<Self> {
        let (name, numbers) = path.strip_prefix('/')?.split_once('/')?;
        Some(match name {
            "delay" => Self::Delay {
                millis: number(numbers)?,
            },
            "bytes" => Self::Bytes {
                length: number(numbers)?,
            },
            "stream" => {
                let (chunks, millis) = numbers.split_once('/')?;
                Self::Stream {
                    chunks: number(chunks)?,
                    millis: number(millis)?,
                }
            }
            _ => return None,
        })
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Echo => "POST",
            Self::WebSocket => "GET",
            _ => "GET, HEAD",
        }
    }

    fn allows(self, method: &str) -> bool {
        match self {
            Self::Echo => method == "POST",
            Self::WebSocket => method == "GET",
            _ => matches!(method, "GET" | "HEAD"),
        }
    }
}

impl Handler for Demo {
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        match Route::of(head.path()) {
            None if self.files.is_none() => Admit::Refuse(not_here()),
            None if !matches!(head.method, "GET" | "HEAD") => not_allowed("GET, HEAD"),
            Some(route) if !route.allows(head.method) => not_allowed(route.allow()),
            Some(Route::Echo) => Admit::Buffer(self.max_body),
            Some(_) | None => Admit::Take,
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        let response = match Route::of(request.path()) {
            Some(Route::Plaintext) => Response::new(200).content_type("text/plain").body(HELLO),
            Some(Route::Json) => {
                let body = r#"{"message":"Hello, World!"}"#;
                Response::new(200)
                    .content_type("application/json")
                    .body(body)
            }
            Some(Route::Echo) => echo(request),
            Some(Route::Delay { millis }) => return self.delay(request, millis),
            Some(Route::Bytes { length }) => bytes(length),
            Some(Route::Stream { chunks, millis }) => {
                let stream = Chunks {
                    next: 0,
                    chunks,
                    every: Duration::from_millis(millis.into()),
                    due: Instant::now(),
                    timer: self.timer.clone(),
                };
                Response::new(200).content_type("text/plain").source(stream)
            }
            Some(Route::WebSocket) => self.websocket.answer(request),
            Some(Route::Events) => self.ticks().subscribe(request),
            None => match &self.files {
                Some(files) => files.answer(request),
                None => not_here(), // `admit` has refused it already
            },
            Some(Route::Health) => not_here(), // the server itself answers it
        };
        response.into()
    }
}

impl Demo {
    fn ticks(&mut self) -> &Topic {
        self.ticks.get_or_insert_with(|| {
            let topic = Topic::new();
            tick(topic.clone(), self.timer.clone(), Instant::now(), 0);
            topic
        })
    }

    /// Answers after this time from the timer's thread.
    fn delay(&self, request: &Request<'_>, millis: u32) -> Reply {
        let (later, ticket) = request.later();
        let time = Instant::now() + Duration::from_millis(millis.into());
        self.timer.at(time, move || {
            ticket.send(Response::new(200).content_type("text/plain").body("done"));
        });
        later.into()
    }
}

fn not_here() -> Response {
    Response::text(404, "not here\n")
}

fn not_allowed(allow: &'static str) -> Admit {
    Admit::Refuse(Response::text(405, "this path has no such method\n").field("Allow", allow))
}

/// Publishes a tick, and schedules the next.
fn tick(topic: Topic, timer: Timer, time: Instant, n: u64) {
    let sent = SystemTime::now().duration_since(UNIX_EPOCH);
    let sent = sent.unwrap_or_default().as_micros();
    topic.publish(&Event::new(format!(r#"{{"tick":{n},"sent_us":{sent}}}"#)));
    let next = time + TICK;
    let again = timer.clone();
    timer.at(next, move || tick(topic, again, next, n + 1));
}

/// Returns the request's body with its type.
fn echo(request: &Request<'_>) -> Response {
    let mut response = Response::new(200).body(request.body().to_vec());
    match response.try_field("Content-Type", kind(request.field("content-type"))) {
        Ok(()) => response,
        Err(_) => response.content_type(BINARY),
    }
}

/// Returns the type of an echo: the type of the request, unless it is missing or cannot be sent
/// back unchanged.
fn kind(sent: Option<&[u8]>) -> &str {
    match sent.map(str::from_utf8) {
        Some(Ok(kind)) if !kind.is_empty() => kind,
        _ => BINARY,
    }
}

/// Returns a body of this length: a part of the constant block, or a source that repeats the block.
fn bytes(length: u64) -> Response {
    let response = Response::new(200).content_type(BINARY);
    match usize::try_from(length)
        .ok()
        .and_then(|length| BLOCK.get(..length))
    {
        Some(bytes) => response.body(bytes),
        None => response.sized_source(length, Blocks),
    }
}

/// Repeats the same block; the server stops at the length.
struct Blocks;

impl Source for Blocks {
    fn fill(&mut self, out: &mut Vec<u8>, _: &BodyContext<'_>) -> Fill {
        out.extend_from_slice(&BLOCK);
        Fill::More
    }
}

/// Sends `chunk 0`, `chunk 1` and so on, one chunk each, at its time.
struct Chunks {
    next: u64,
    chunks: u64,
    every: Duration,
    due: Instant,
    timer: Timer,
}

impl Source for Chunks {
    fn fill(&mut self, out: &mut Vec<u8>, context: &BodyContext<'_>) -> Fill {
        if self.next == self.chunks {
            return Fill::Done;
        }
        let now = Instant::now();
        if now >= self.due {
            out.extend_from_slice(format!("chunk {}\n", self.next).as_bytes());
            self.next += 1;
            self.due += self.every;
        }
        if self.next == self.chunks {
            return Fill::Done;
        }
        if now >= self.due {
            return Fill::More;
        }
        let waker: BodyWaker = context.waker();
        self.timer.at(self.due, move || waker.wake());
        Fill::Pending
    }
}

/// The time between two events.
const TICK: Duration = Duration::from_secs(1);

const HELLO: &str = "Hello, World!";
const BINARY: &str = "application/octet-stream";

/// Lines of digits.
static BLOCK: [u8; 64 * 1024] = {
    let mut block = [b'\n'; 64 * 1024];
    let mut at = 0;
    while at < block.len() {
        if at % 64 != 63 {
            block[at] = b'0' + (at % 64 % 10) as u8;
        }
        at += 1;
    }
    block
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_somewhere_or_nowhere() {
        let stream = Route::Stream {
            chunks: 3,
            millis: 20,
        };
        let cases: &[(&str, Option<Route>)] = &[
            ("/plaintext", Some(Route::Plaintext)),
            ("/delay/250", Some(Route::Delay { millis: 250 })),
            ("/events", Some(Route::Events)),
            ("/bytes/0", Some(Route::Bytes { length: 0 })),
            ("/stream/3/20", Some(stream)),
            ("/", None),
            ("", None),
            ("*", None),
            ("/plaintext/", None),
            ("/Plaintext", None),
            ("/delay", None),
            ("/delay/", None),
            ("/delay/+1", None),
            ("/delay/-1", None),
            ("/bytes/99999999999999999999999", None),
            ("/stream/3", None),
            ("/stream/3/20/1", None),
            ("/stream//20", None),
            ("/delay/1/2", None),
            ("//plaintext", None),
            ("/plain%zztext", None),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of(path), *route, "{path}");
        }
    }

    #[test]
    fn a_type_is_sent_back_as_it_came_or_not_at_all() {
        for kept in ["text/plain", "text/plain; charset=utf-8", "x/é"] {
            assert_eq!(kind(Some(kept.as_bytes())), kept);
        }
        for other in [None, Some(&b""[..]), Some(b"text/\xe9"), Some(b"\xff")] {
            assert_eq!(kind(other), BINARY, "{other:?}");
        }
    }
}
