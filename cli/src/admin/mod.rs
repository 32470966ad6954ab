//! The admin listener shows the state of the server to people and Prometheus, and takes the order
//! to stop.
//!
//! The listener is a server of this library with a thread of its own. The listener answers until
//! the served loop has ended, also during the drain. Each status comes from the served loop; while
//! a handler holds that loop, the status is 503 within a second.

mod access;
pub(crate) mod args;
mod metrics;

use std::process;
use std::time::Duration;

use log::LevelFilter;
use serde::Serialize;

use self::access::Access;
pub(super) use self::access::INTENT;
use self::args::{Flags, Place};
use crate::token::Token;
use crate::values;
use ebbtide::{
    Admit, Connection, DrainPolicy, Handle, Handler, Head, Limits, ListenOptions, Listener, Reply,
    Request, Response, Running, Server, Status, StatusQuery, Timeouts,
};

/// An admin listener that is bound and does not answer yet.
#[derive(Debug)]
pub(super) struct Admin {
    place: Place,
    server: Server,
    access: Access,
}

impl Admin {
    /// Binds the listener, if the flags ask for one. `shared` says that a predecessor may still serve
    /// on the sockets of this server: its admin listener may then be there too. The predecessor keeps
    /// a Unix socket until it ends; a port is shared.
    ///
    /// # Errors
    ///
    /// The token file is wrong, or the system refuses to listen on the place.
    pub(super) fn bind(flags: &Flags, shared: bool) -> Result<Option<Self>, String> {
        let Some(place) = flags.admin.clone() else {
            return Ok(None);
        };
        let token = flags.admin_token_file.as_deref().map(Token::read);
        let token = token.transpose();
        let token = token.map_err(|error| format!("--admin-token-file: {error}"))?;
        let admin = Self::listen(place, token, shared);
        admin.map(Some).map_err(|error| format!("--admin: {error}"))
    }

    fn listen(place: Place, token: Option<Token>, shared: bool) -> Result<Self, ebbtide::Error> {
        let (listener, open) = match &place {
            Place::Unix(path) if shared => (Listener::unix_successor(path)?, Access::Unix),
            Place::Unix(path) => (Listener::unix(path)?, Access::Unix),
            Place::Tcp(addr) => (
                Listener::bind(addr, &ListenOptions::new().reuse_port(shared))?,
                Access::Loopback,
            ),
        };
        let limits = Limits::new().connections(CONNECTIONS).body(0);
        let times = Timeouts::new().head(ASK).idle(IDLE).linger(PART);
        // No request here may hold up the exit of the process.
        let drain = DrainPolicy::new()
            .idle_grace(Duration::ZERO)
            .timeout(FAREWELL);
        Ok(Self {
            place,
            server: Server::from(listener)
                .limits(limits)
                .timeouts(times)
                .drain(drain),
            access: token.map_or(open, Access::Token),
        })
    }

    /// Returns the place, with the port it got.
    pub(super) fn place(&self) -> Place {
        match self.place {
            Place::Unix(_) => self.place.clone(),
            Place::Tcp(addr) => Place::Tcp(self.server.local_addr().unwrap_or(addr)),
        }
    }

    /// Starts to answer on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system cannot set up the event loop or start the thread.
    pub(super) fn start(self, served: &Handle) -> Result<Running, ebbtide::Error> {
        self.server.spawn(Desk {
            served: served.clone(),
            access: self.access,
            patience: PATIENCE,
        })
    }
}

/// Ends an admin listener, once the served loop has ended with `left` of its deadline.
pub(super) fn end(running: Running, left: Duration) {
    // The log already has the drain of the served loop; a second one would confuse.
    log::set_max_level(log::max_level().min(LevelFilter::Warn));
    if left < FAREWELL {
        // A request that still waits here gets no more time than the served requests had.
        running.handle().cut();
    }
    if let Err(error) = running.shutdown() {
        log::warn!("the admin listener: {error}");
    }
}

/// Answers the requests.
struct Desk {
    served: Handle,
    access: Access,
    patience: Duration,
}

/// The routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Status,
    Connections,
    Metrics,
    Shutdown,
    Cut,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/status" => Self::Status,
            "/connections" => Self::Connections,
            "/metrics" => Self::Metrics,
            "/shutdown" => Self::Shutdown,
            "/cut" => Self::Cut,
            _ => return None,
        })
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Shutdown | Self::Cut => "POST",
            _ => "GET, HEAD",
        }
    }
}

impl Handler for Desk {
    /// Closes the connection of a refused request, because the listener has few places.
    fn admit(&mut self, head: &Head<'_, '_>) -> Admit {
        match self.refusal(head) {
            Some(refusal) => Admit::Refuse(refusal.close()),
            None => Admit::NoBody,
        }
    }

    fn handle(&mut self, request: &Request<'_>) -> Reply {
        let answered = match Route::of(request.path()) {
            Some(Route::Status) => self.status(),
            Some(Route::Connections) => self.connections(request.query()),
            Some(Route::Metrics) => self.metrics(),
            Some(Route::Shutdown) => {
                self.served.shutdown();
                Ok(accepted("shutdown"))
            }
            Some(Route::Cut) => {
                self.served.cut();
                Ok(accepted("cut"))
            }
            None => Err(Response::text(404, "not here\n")), // `admit` has refused it already
        };
        let response = answered.unwrap_or_else(|refusal| refusal);
        response.field("Cache-Control", "no-store").into()
    }
}

impl Desk {
    /// Checks access first: a client without access does not learn the routes.
    fn refusal(&self, head: &Head<'_, '_>) -> Option<Response> {
        let refusal = self.access.refusal(head);
        refusal.or_else(|| match Route::of(head.path()) {
            None => Some(Response::text(404, "not here\n")),
            Some(route) => {
                let allow = route.allow();
                let allows = allow.split(", ").any(|method| method == head.method);
                let refusal =
                    || Response::text(405, "this path has no such method\n").field("Allow", allow);
                (!allows).then(refusal)
            }
        })
    }

    fn status(&self) -> Result<Response, Response> {
        #[derive(Serialize)]
        struct Body {
            pid: u32,
            version: &'static str,
            #[serde(flatten)]
            status: Status,
        }
        let body = Body {
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION"),
            status: self.ask(StatusQuery::new().take(OLDEST))?,
        };
        Ok(json(200, &body))
    }

    fn connections(&self, query: Option<&str>) -> Result<Response, Response> {
        #[derive(Serialize)]
        struct Body {
            connections: Vec<Connection>,
        }
        let query = page(query.unwrap_or_default())
            .map_err(|why| Response::text(400, format!("{why}\n").into_bytes()))?;
        let connections = self.ask(query)?.connections;
        Ok(json(200, &Body { connections }))
    }

    fn metrics(&self) -> Result<Response, Response> {
        let text = metrics::text(&self.ask(StatusQuery::default())?);
        Ok(Response::new(200)
            .content_type(metrics::CONTENT_TYPE)
            .body(text.into_bytes()))
    }

    /// Waits for the status of the served loop. Other requests wait meanwhile, because all of them
    /// need that loop.
    fn ask(&self, query: StatusQuery) -> Result<Status, Response> {
        self.served
            .status(query, self.patience)
            .ok_or_else(|| Response::text(503, "the loop does not answer\n"))
    }
}

/// Returns the page of connections that a query asks for.
fn page(text: &str) -> Result<StatusQuery, String> {
    let mut query = StatusQuery::new().take(PAGE);
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "skip" => query = query.skip(number(name, value, u32::MAX as usize)?),
            "take" => query = query.take(number(name, value, MOST)?),
            "all" => query = query.all(number(name, value, 1)? == 1),
            _ => {
                return Err(format!(
                    "{name:?} is not known; there are skip, take and all"
                ));
            }
        }
    }
    Ok(query)
}

fn number(name: &str, value: &str, most: usize) -> Result<usize, String> {
    let number = values::number(value).filter(|number| *number <= most);
    number.ok_or_else(|| format!("{name}: {value:?} is not a number from 0 to {most}"))
}

fn accepted(what: &'static str) -> Response {
    #[derive(Serialize)]
    struct Body {
        accepted: &'static str,
    }
    json(202, &Body { accepted: what })
}

/// Returns a response in JSON, with a line end for a terminal.
fn json(status: u16, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            let response = Response::new(status).content_type("application/json");
            response.body(bytes)
        }
        // Strings and numbers always serialize.
        Err(error) => Response::text(500, format!("{error}\n").into_bytes()),
    }
}

/// The time that the served loop has to describe itself: far longer than a turn, and short enough
/// for a probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest time for the last responses after the end of the served loop, within its deadline.
const FAREWELL: Duration = Duration::from_millis(200);

/// Enough for a few people and their programs; the served clients need the descriptors.
const CONNECTIONS: usize = 32;

/// The time that a connection may stay idle. The listener answers in one turn, and its clients are
/// close by. `ctl wait` and Prometheus connect again; no usual scrape interval ends just as the
/// listener closes idle connections.
const ASK: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(3);

/// The time that a refused peer has to close.
const PART: Duration = Duration::from_millis(250);

/// Connections that a status names.
const OLDEST: usize = 10;

/// Connections of a page, by default and at most: a turn of the served loop collects them.
const PAGE: usize = 100;
const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::held::Held;

    #[test]
    fn a_page_has_bounds_and_names() {
        let all = StatusQuery::new().skip(7).take(1_000).all(true);
        assert_eq!(page("skip=7&take=1000&all=1"), Ok(all));
        for text in ["", "all=0"] {
            assert_eq!(page(text), Ok(StatusQuery::new().take(PAGE)));
        }
        for (text, why) in [
            ("take=1001", "take: \"1001\" is not a number from 0 to 1000"),
            ("take=-1", "take: \"-1\" is not"),
            ("take=+1", "take: \"+1\" is not"),
            ("skip=x&take=1", "skip: \"x\" is not"),
            ("skip", "skip: \"\" is not"),
            ("all=yes", "all: \"yes\" is not a number from 0 to 1"),
            ("limit=5", "\"limit\" is not known"),
        ] {
            let error = page(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    fn ask(addr: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_loop_that_is_held_shows() {
        let mut held = Held::start();
        let desk = Desk {
            served: held.handle(),
            access: Access::Loopback,
            patience: Duration::from_millis(1),
        };
        let admin = Server::bind("127.0.0.1:0").unwrap().spawn(desk).unwrap();
        held.hold();
        for path in ["/status", "/connections", "/metrics"] {
            let text = ask(admin.local_addr().unwrap(), path);
            assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
            assert!(
                text.ends_with("\r\n\r\nthe loop does not answer\n"),
                "{text}"
            );
        }
        held.release();
    }
}
