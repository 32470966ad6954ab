//! The table of servers. A server joins by a row here, or by `--also` on the command line.
//!
//! Each server listens on 127.0.0.1 and the given port, and keeps connections open. `GET /plaintext`
//! gets 200, Content-Length and a short body; `GET /delay/{ms}` gets any 200 after that delay. A
//! signal starts the drain of a server that has one. Knows no figures.

use std::cell::LazyCell;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::floor;
#[cfg(feature = "rivals")]
use crate::rivals;

/// A server to measure.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) start: Start,
    /// Signal that starts the drain.
    pub(crate) stop: Signal,
    pub(crate) kind: Kind,
    /// Whether valgrind can run the server: JIT compilers and Go's threads fail.
    pub(crate) valgrind: bool,
    /// Connections that may begin together: fewer than any server's backlog.
    pub(crate) at_once: usize,
}

/// Kind of a server, for the reader of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A loop that is no HTTP server.
    Floor,
    /// ebbtide, the subject of the bench.
    Ours,
    /// A server that drains.
    Other,
    /// A server without a drain.
    #[cfg_attr(
        not(feature = "rivals"),
        expect(dead_code, reason = "all of this kind are rivals")
    )]
    NoDrain,
}

/// Ways to start a server, always in a process of its own.
pub(crate) enum Start {
    /// Function of this program that serves on a port until its drain is over.
    Here(fn(u16) -> io::Result<()>),
    /// Program, or the reason why it cannot run.
    Program(fn(&Place<'_>) -> Result<Command, String>),
    /// Shell command with `{port}`.
    Line(String),
}

/// Ports and directory for a program.
pub(crate) struct Place<'a> {
    /// Port to listen on.
    pub(crate) port: u16,
    /// Port of a server that delays responses, for servers that can only forward.
    pub(crate) upstream: u16,
    /// Directory for this process alone.
    pub(crate) dir: &'a Path,
}

/// Body of every response.
pub(crate) const HELLO: &str = "Hello, World!";

/// Returns all servers in the order of the tables.
pub(crate) fn all() -> Vec<Peer> {
    use Kind::{Floor, Ours};
    let here = |name: &str, kind, serve| Peer {
        name: name.to_owned(),
        start: Start::Here(serve),
        stop: Signal::SIGTERM,
        kind,
        valgrind: true,
        at_once: AT_ONCE,
    };
    let mut peers = vec![
        here("epoll (floor)", Floor, floor::epoll),
        here("epoll, polite (floor)", Floor, floor::epoll_polite),
        here("mio (floor)", Floor, floor::mio),
        here("mio + httparse (floor)", Floor, floor::mio_httparse),
        here("ebbtide", Ours, ebbtide),
        program("ebbtide serve", Ours, Signal::SIGTERM, true, ebbtide_serve),
    ];
    #[cfg(feature = "rivals")]
    peers.extend([
        here("may_minihttp", Kind::NoDrain, rivals::may),
        here("hyper", Kind::Other, rivals::hyper),
        here("axum", Kind::Other, rivals::axum),
        here("actix-web", Kind::Other, rivals::actix),
        Peer {
            // tiny_http never serves some connections when several begin together.
            at_once: 1,
            ..here("tiny_http", Kind::NoDrain, rivals::tiny)
        },
    ]);
    let (term, quit, usr1) = (Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGUSR1);
    peers.extend([
        program("nginx", Kind::Other, quit, true, nginx),
        program("HAProxy", Kind::Other, usr1, true, haproxy),
        program("Go net/http", Kind::Other, term, false, go),
        program(
            "Node + http-graceful-shutdown",
            Kind::Other,
            term,
            false,
            node,
        ),
        program(
            "Express + express-graceful-exit",
            Kind::Other,
            term,
            false,
            express,
        ),
    ]);
    peers
}

/// Returns the server of a flag: `NAME=COMMAND`, with `{port}` in the command.
pub(crate) fn also(text: &str) -> Result<Peer, String> {
    let (name, line) = text.split_once('=').ok_or("the form is NAME=COMMAND")?;
    if !line.contains("{port}") {
        return Err("the command has no {port}".to_owned());
    }
    Ok(Peer {
        name: name.to_owned(),
        start: Start::Line(line.to_owned()),
        stop: Signal::SIGTERM,
        kind: Kind::Other,
        valgrind: false,
        at_once: AT_ONCE,
    })
}

impl Peer {
    /// Returns the command that starts the server, or the reason why there is none.
    pub(crate) fn command(&self, place: &Place<'_>) -> Result<Command, String> {
        match &self.start {
            Start::Here(_) => {
                let mut command = this_program()?;
                command.args(["--serve", &self.name, "--port", &place.port.to_string()]);
                Ok(command)
            }
            Start::Program(command) => command(place),
            Start::Line(line) => {
                let mut command = Command::new("sh");
                let line = line.replace("{port}", &place.port.to_string());
                command.args(["-c", &format!("exec {line}")]);
                Ok(command)
            }
        }
    }
}

/// Returns the milliseconds of `/delay/{ms}`.
pub(crate) fn delay(path: &str) -> Option<u64> {
    path.strip_prefix("/delay/")?.parse().ok()
}

/// Returns a function that passes its value to `act` after a number of milliseconds. Values keep their
/// order, because all delays of a run are equal.
///
/// The thread starts with the first call only. With two threads, the C library spends some 30
/// instructions more on every system call that may wait.
pub(crate) fn later<T: Send + 'static>(act: impl Fn(T) + Send + 'static) -> impl Fn(u64, T) {
    let sender = LazyCell::new(|| {
        let (sender, receiver) = channel::<(Instant, T)>();
        thread::spawn(move || {
            for (due, what) in receiver {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                act(what);
            }
        });
        sender
    });
    move |millis, what| {
        // Sending works: the thread ends only after this sender.
        let _ = sender.send((Instant::now() + Duration::from_millis(millis), what));
    }
}

/// Serves with ebbtide as a library, with its defaults.
fn ebbtide(port: u16) -> io::Result<()> {
    use ebbtide::{Reply, Response, Server, Ticket};

    fn hello() -> Response {
        Response::text(200, HELLO)
    }
    let later = later(|ticket: Ticket| ticket.send(hello()));
    let outcome = Server::bind(("127.0.0.1", port))?.serve(move |request| {
        let Some(millis) = delay(request.path()) else {
            return Reply::from(hello());
        };
        let (reply, ticket) = request.later();
        later(millis, ticket);
        reply.into()
    })?;
    std::process::exit(outcome.code())
}

/// Returns the command `ebbtide serve` of this same build: see `main`.
fn ebbtide_serve(place: &Place<'_>) -> Result<Command, String> {
    let mut command = this_program()?;
    let listen = format!("127.0.0.1:{}", place.port);
    command.args(["ebbtide", "serve", "--listen", &listen]);
    Ok(command)
}

fn nginx(place: &Place<'_>) -> Result<Command, String> {
    let config = fill_in("nginx/nginx.conf", place)?;
    let mut command = installed("nginx")?;
    command.arg("-p").arg(place.dir).arg("-c").arg(config);
    command.arg("-e").arg(place.dir.join("error.log"));
    Ok(command)
}

fn haproxy(place: &Place<'_>) -> Result<Command, String> {
    let config = fill_in("haproxy/haproxy.cfg", place)?;
    let mut command = installed("haproxy")?;
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

/// Compiles the program first; Go caches the result.
fn go(place: &Place<'_>) -> Result<Command, String> {
    let built = out_dir().join("go-server");
    let mut build = installed("go")?;
    build
        .arg("build")
        .arg("-o")
        .arg(&built)
        .arg(servers("go/main.go"));
    let done = build.output().map_err(|error| error.to_string())?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let mut command = Command::new(built);
    command.arg(place.port.to_string()).env("GOMAXPROCS", "1");
    Ok(command)
}

fn node(place: &Place<'_>) -> Result<Command, String> {
    script("graceful.js", place)
}

fn express(place: &Place<'_>) -> Result<Command, String> {
    script("express.js", place)
}

fn script(name: &str, place: &Place<'_>) -> Result<Command, String> {
    if !servers("node/node_modules").exists() {
        return Err("no packages: run `npm ci` in benches/peers/servers/node".to_owned());
    }
    let mut command = installed("node")?;
    command
        .arg(servers("node").join(name))
        .arg(place.port.to_string());
    Ok(command)
}

fn program(
    name: &str,
    kind: Kind,
    stop: Signal,
    valgrind: bool,
    command: fn(&Place<'_>) -> Result<Command, String>,
) -> Peer {
    Peer {
        name: name.to_owned(),
        start: Start::Program(command),
        stop,
        kind,
        valgrind,
        at_once: AT_ONCE,
    }
}

fn this_program() -> Result<Command, String> {
    let exe = env::current_exe().map_err(|error| error.to_string())?;
    Ok(Command::new(exe))
}

/// Returns a program of the search path or of /usr/sbin, the directory of daemons.
fn installed(name: &str) -> Result<Command, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .map(Command::new)
        .ok_or_else(|| "not installed".to_owned())
}

/// Writes a configuration with its placeholders filled in, and returns its path.
fn fill_in(name: &str, place: &Place<'_>) -> Result<PathBuf, String> {
    let from = servers(name);
    let text = fs::read_to_string(&from).map_err(|error| error.to_string())?;
    let text = text
        .replace("{port}", &place.port.to_string())
        .replace("{upstream}", &place.upstream.to_string())
        .replace("{dir}", &place.dir.to_string_lossy());
    let to = place.dir.join(from.file_name().unwrap_or_default());
    fs::write(&to, text).map_err(|error| error.to_string())?;
    Ok(to)
}

/// Returns the path of a source or configuration of a server that is not built in.
fn servers(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("servers")
        .join(name)
}

/// Returns the directory of all results: `target/peers` of the crate.
pub(crate) fn out_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers")
}

/// Connections that begin together, unless a server needs fewer.
const AT_ONCE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_adds_a_peer() {
        let peer = also("mine=./mine --port {port}").unwrap();
        let place = Place {
            port: 81,
            upstream: 0,
            dir: Path::new("."),
        };
        let command = format!("{:?}", peer.command(&place).unwrap());
        assert!(command.contains("exec ./mine --port 81"), "{command}");
        assert!(also("mine").is_err());
        assert!(also("mine=./mine").is_err());
    }

    #[test]
    fn names_are_used_once() {
        let mut names: Vec<_> = all().into_iter().map(|peer| peer.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
