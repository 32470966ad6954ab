//! User-space instructions for a request through the whole server on real sockets, beside the least
//! that a server on mio with httparse can do. `Floor` knows no limit, no time, no phase and no
//! `Date`, and answers whatever parses with the same bytes.
//!
//! callgrind (valgrind) counts the instructions and sees no kernel. Client and server take turns on
//! one thread, and 64 connections are ready in each turn. Every run gives the same figures within a
//! few instructions, so the bench asserts bounds on them. The times beside them include system
//! calls and are for comparison only: another machine has other times.
//!
//! `cargo bench --bench instructions` prints the figures. `cargo bench --bench instructions --
//! --keep` names files for `callgrind_annotate`, which shows where the instructions go.
//!
//! What helped, in instructions for a small request after each step: the common head parsed by
//! words instead of by httparse, 3,133 to 2,607; responses used in place, with fewer copies, 2,523;
//! cold paths out of line, 2,403; the last head cached, and a simpler handler here, 2,162; one scan
//! for each line, 1,869; inlining, 1,730; the head in its place, and a static body cached with it,
//! 1,622. Other work had made that 1,638. Then came: names told by their first eight bytes, and the
//! target validated in blocks of sixteen, 1,579; `Host` by words, and the rest of a head as one
//! slice, 1,525; names returned in registers, eight fields for a short head, and no drop of what
//! owns nothing, 1,419. Two rules cost 29, after their notes went where a request rarely is: what
//! begins like a head and is none keeps its time, and a request from before a signal is not late,
//! 1,448. Skipping what the end of a request has cleared made it 1,427. One state machine for a
//! connection, with one door for its inputs, made it 1,436.
//!
//! What did not help: all of a pass inlined into the loop over events (+20, because registers ran
//! out); patterns of byte slices instead of comparisons of arrays, which compare byte by byte
//! (+500). Safe Rust has no way around two costs: `str::from_utf8` of a target that is known to be
//! ASCII (45), and room for fields that must be initialised (18).

mod timer;

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ebbtide::internals::engine::{Config, Engine, Inbox};
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::real::Real;
use ebbtide::internals::sys::signals::{STOP_SIGNALS, Signals};
use ebbtide::{Handler, ListenOptions, Listener, Request, Response};
use httparse::Status;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// What the clients do, and the most instructions that a request of it may cost.
struct Workload {
    name: &'static str,
    /// What a client sends at once.
    sends: fn() -> Vec<u8>,
    requests: usize,
    /// Whether a connection is for one request.
    anew: bool,
    /// Whether the handler looks the path up, and answers 404 for an unknown one.
    routed: bool,
    most: u64,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "small",
        sends: || SMALL.into(),
        requests: 1,
        anew: false,
        routed: false,
        most: 1_450,
    },
    Workload {
        name: "routed",
        sends: || SMALL.into(),
        requests: 1,
        anew: false,
        routed: true,
        most: 1_560,
    },
    Workload {
        name: "browser",
        sends: || BROWSER.into(),
        requests: 1,
        anew: false,
        routed: false,
        most: 3_200,
    },
    Workload {
        name: "pipelined",
        sends: || SMALL.repeat(16).into(),
        requests: 16,
        anew: false,
        routed: false,
        most: 1_030,
    },
    Workload {
        name: "churn",
        sends: || SMALL.into(),
        requests: 1,
        anew: true,
        routed: false,
        most: 2_415,
    },
];

/// A request of `curl`, with the host and the port of a test.
const SMALL: &str = "GET /plaintext HTTP/1.1\r\n\
    Host: localhost:8080\r\n\
    User-Agent: curl/8.14.1\r\n\
    Accept: */*\r\n\
    \r\n";

/// A request of a browser, 0.6 KiB.
const BROWSER: &str = "GET /a/page/of/this/site HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/another/page\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\
    \r\n";

const BODY: &str = "Hello, World!";

fn main() {
    let args: Vec<_> = env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == COUNTED) {
        let workload = WORKLOADS.iter().find(|known| known.name == args[at + 1]);
        run(&args[at + 2], workload.expect("a workload"), COUNTED_ROUNDS);
        return;
    }
    timer::begin();
    let keep = args.iter().any(|arg| arg == "--keep");
    let counting = timer::measuring() && {
        let valgrind = valgrind_works();
        if let Err(reason) = &valgrind {
            println!("no instructions are counted: {reason}");
        }
        valgrind.is_ok()
    };
    let mut over = Vec::new();
    for workload in WORKLOADS {
        print!("{:<10}", workload.name);
        for server in SERVERS {
            let rounds = if timer::measuring() { 500 } else { 3 };
            let nanos = run(server, workload, rounds);
            print!("  {server} {nanos:>6.0} ns");
            if counting {
                let file = keep.then(|| format!("callgrind.{server}.{}", workload.name));
                let count = count(server, workload, file.as_deref());
                print!(" {count:>6} instructions");
                if *server == SERVERS[0] && count > workload.most {
                    over.push(format!("{}: {count}, not {}", workload.name, workload.most));
                }
            }
        }
        println!();
    }
    assert!(
        over.is_empty(),
        "more instructions than there may be: {over:?}"
    );
}

const SERVERS: &[&str] = &["ebbtide", "floor"];

/// The argument of the process that callgrind counts. The workload and the server follow.
const COUNTED: &str = "--counted";

const COUNTED_ROUNDS: usize = 20;

/// Runs this program under callgrind. Returns the instructions of `measured` for each request.
fn count(server: &str, workload: &Workload, keep: Option<&str>) -> u64 {
    let out = keep.map_or_else(
        || PathBuf::from("/dev/null"),
        |name| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
    );
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("this program has a path"))
        .args([COUNTED, workload.name, server])
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let total = said
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    if keep.is_some() {
        print!(" ({})", out.display());
    }
    let total = total.filter(|total| *total > 0);
    let requests = COUNTED_ROUNDS * CONNECTIONS * workload.requests;
    total.unwrap_or_else(|| panic!("callgrind counts nothing: {said}")) / requests as u64
}

fn valgrind_works() -> Result<(), String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("valgrind is not installed".into())
        }
        Err(error) => Err(format!("valgrind does not start: {error}")),
    }
}

/// Lets clients and a server take turns. Returns the server's nanoseconds for each request.
fn run(server: &str, workload: &Workload, rounds: usize) -> f64 {
    match server {
        "ebbtide" if workload.routed => rounds_of(&mut ebbtide(routed), workload, rounds),
        "ebbtide" => rounds_of(&mut ebbtide(unrouted), workload, rounds),
        _ => rounds_of(&mut Floor::new(), workload, rounds),
    }
}

fn rounds_of(server: &mut impl Server, workload: &Workload, rounds: usize) -> f64 {
    let sends = (workload.sends)();
    let mut clients = connect(server.addr());
    let mut answered = 0;
    let mut best = Duration::MAX;
    let warm = rounds.min(10);
    for round in 0..warm + rounds {
        if workload.anew {
            clients.clear();
            while server.closed() < (round * CONNECTIONS) as u64 {
                server.turn();
            }
            clients = connect(server.addr());
        }
        for client in &mut clients {
            client.write_all(&sends).expect("the server reads");
        }
        answered += (CONNECTIONS * workload.requests) as u64;
        if round < warm {
            assert_ne!(warm_up(server, answered), 0);
        } else {
            let begun = Instant::now();
            measured(server, answered);
            best = best.min(begun.elapsed());
        }
        for client in &mut clients {
            read_responses(client, workload.requests);
        }
    }
    best.as_secs_f64() * 1e9 / (CONNECTIONS * workload.requests) as f64
}

/// The function that callgrind counts, by the name on its command line.
#[inline(never)]
fn measured(server: &mut impl Server, answered: u64) {
    while server.answered() < answered {
        server.turn();
    }
}

/// Does the same before the measurement, in a function of its own. It returns its turns, without
/// which the compiler would merge the two functions.
#[inline(never)]
fn warm_up(server: &mut impl Server, answered: u64) -> u32 {
    let mut turns = 0;
    while server.answered() < answered {
        server.turn();
        turns += 1;
    }
    turns
}

fn connect(addr: SocketAddr) -> Vec<TcpStream> {
    let client = || {
        let client = TcpStream::connect(addr)?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, io::Error>(client)
    };
    let clients = (0..CONNECTIONS).map(|_| client().expect("loopback connects"));
    clients.collect()
}

fn read_responses(client: &mut TcpStream, requests: usize) {
    let mut bytes = [0; 64 * 1024];
    let mut left = requests;
    while left > 0 {
        let n = client.read(&mut bytes).expect("the server answers");
        assert!(n > 0, "the server closed");
        let text = str::from_utf8(&bytes[..n]).expect("responses are text");
        left -= text.matches(BODY).count(); // bodies arrive whole, as they were written
    }
}

const CONNECTIONS: usize = 64;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is measured turn by turn.
trait Server {
    fn addr(&self) -> SocketAddr;
    fn turn(&mut self);
    fn answered(&self) -> u64;
    fn closed(&self) -> u64;
}

/// The cheapest handler.
fn unrouted(_: &Request<'_>) -> Response {
    Response::text(200, BODY)
}

/// A common handler.
fn routed(request: &Request<'_>) -> Response {
    match request.path() {
        "/" => Response::text(200, "the root"),
        "/plaintext" => Response::text(200, BODY),
        _ => Response::text(404, "no such page"),
    }
}

/// The server as programs run it, with every default on, and signals.
fn ebbtide(handler: impl Handler) -> impl Server {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, &ListenOptions::new()).expect("loopback has a port");
    let addr = listener.local_addr().unwrap();
    let signals = Signals::install(&STOP_SIGNALS).expect("signals can be caught");
    let real = Real::new(vec![listener], Some(signals)).expect("there are descriptors");
    let inbox = Inbox::new(real.waker());
    Ebbtide {
        engine: Engine::new(real, handler, Config::default(), inbox),
        addr,
    }
}

struct Ebbtide<H> {
    engine: Engine<Real, H>,
    addr: SocketAddr,
}

impl<H: Handler> Server for Ebbtide<H> {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    #[inline]
    fn turn(&mut self) {
        self.engine.turn().expect("the selector works");
    }

    #[inline]
    fn answered(&self) -> u64 {
        self.engine.report().answered
    }

    fn closed(&self) -> u64 {
        self.engine.report().closed
    }
}

/// Bare mio with httparse.
struct Floor {
    poll: Poll,
    events: Events,
    listener: mio::net::TcpListener,
    connections: Slab<mio::net::TcpStream>,
    input: Box<[u8]>,
    output: Vec<u8>,
    answered: u64,
    closed: u64,
}

const LISTENER: Token = Token(usize::MAX);

impl Floor {
    fn new() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).expect("loopback has a port");
        listener.set_nonblocking(true).expect("a socket's option");
        let mut listener = mio::net::TcpListener::from_std(listener);
        let poll = Poll::new().expect("there are descriptors");
        let registry = poll.registry();
        let registered = registry.register(&mut listener, LISTENER, Interest::READABLE);
        registered.expect("a socket can be watched");
        Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            connections: Slab::new(),
            input: vec![0; 64 * 1024].into(),
            output: Vec::new(),
            answered: 0,
            closed: 0,
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true).expect("a socket's option");
            let entry = self.connections.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            let token = Token(entry.key());
            let registered = self.poll.registry().register(&mut stream, token, both);
            registered.expect("a socket can be watched");
            entry.insert(stream);
        }
    }

    #[inline]
    fn serve(&mut self, key: usize) {
        let stream = &mut self.connections[key];
        let mut at = 0;
        match stream.read(&mut self.input) {
            Ok(0) => {
                self.connections.remove(key);
                self.closed += 1;
                return;
            }
            Ok(n) => {
                while at < n {
                    let mut fields = [const { MaybeUninit::uninit() }; 100];
                    let mut request = httparse::Request::new(&mut []);
                    let rest = &self.input[at..n];
                    match request.parse_with_uninit_headers(rest, &mut fields) {
                        Ok(Status::Complete(len)) => at += len,
                        other => panic!("clients here send whole requests: {other:?}"),
                    }
                    self.output.extend_from_slice(RESPONSE);
                    self.answered += 1;
                }
            }
            Err(_) => return,
        }
        let written = stream.write(&self.output).expect("clients here read");
        assert_eq!(written, self.output.len());
        self.output.clear();
    }
}

impl Server for Floor {
    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    #[inline]
    fn turn(&mut self) {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.poll
            .poll(&mut events, None)
            .expect("the selector works");
        for event in &events {
            match event.token() {
                LISTENER => self.accept(),
                Token(key) if event.is_readable() => self.serve(key),
                _ => {}
            }
        }
        self.events = events;
    }

    #[inline]
    fn answered(&self) -> u64 {
        self.answered
    }

    fn closed(&self) -> u64 {
        self.closed
    }
}

/// Returns ebbtide's response, with the date of a moment.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 13\r\n\
    \r\n\
    Hello, World!";
