//! What connections and requests cost, in allocations and in time of the CPU.
//!
//! A test turns the engine by hand, in the simulator and on the kernel's loopback, with the client
//! on the same thread. The allocator counts by thread, so a figure holds everything that the server
//! did and nothing of another test. The clients allocate nothing.

#[cfg(feature = "tls")]
mod tls;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use nix::time::{ClockId, clock_gettime};

use ebbtide::internals::engine::{Config, Engine, Inbox, Turn};
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::real::Real;
use ebbtide::internals::sys::sim::{PeerId, Setup, Sim};
use ebbtide::sse::{Event, Topic};
use ebbtide::{
    Handler, ListenOptions, Listener, Reply, Request, Response, Tunnel, TunnelAction, TunnelIo,
};

/// Requests by name, in the pieces in which they arrive, and the number of their responses.
const REQUESTS: &[(&str, &[&str], u64)] = &[
    ("a GET", &[GET], 1),
    ("a HEAD", &["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"], 1),
    ("a GET as browsers send it", &[BROWSER], 1),
    (
        "a GET in pieces",
        &["GET / HT", "TP/1.1\r\nHost: a\r", "\n\r\n"],
        1,
    ),
    (
        "a POST",
        &["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"],
        1,
    ),
    (
        "a POST in chunks and in pieces",
        &[
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "3\r\nhel\r\n2\r\n",
            "lo\r\n0\r\n\r\n",
        ],
        1,
    ),
    (
        "four GETs in one segment",
        &["GET / HTTP/1.1\r\nHost: a\r\n\r\n\
           GET / HTTP/1.1\r\nHost: a\r\n\r\n\
           GET / HTTP/1.1\r\nHost: a\r\n\r\n\
           GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
        4,
    ),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const BROWSER: &str = "GET /a/page?of=this&site=1 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    \r\n";

#[test]
fn a_request_allocates_nothing_on_the_simulator() {
    for (name, pieces, responses) in REQUESTS {
        let (mut engine, peers) = simulated(4);
        let mut ask = |rounds: u64| {
            let before = engine.report().answered;
            for _ in 0..rounds {
                for piece in *pieces {
                    for peer in &peers {
                        engine.sys().send(*peer, *piece);
                    }
                    engine.turn().unwrap();
                }
            }
            let answered = engine.report().answered - before;
            assert_eq!(answered, rounds * responses * 4, "{name}");
        };
        ask(WARM_UP);
        let cost = measure(|| ask(1000));
        assert_eq!(cost, AllocationInfo::default(), "{name}");
    }
}

#[test]
fn a_request_allocates_nothing_on_sockets() {
    let mut clients = Vec::new();
    for (name, pieces, responses) in REQUESTS {
        let (mut engine, addr) = listening();
        clients.clear();
        clients.extend((0..4).map(|_| connect(addr)));
        let mut ask = |rounds: u64| {
            for _ in 0..rounds {
                for client in &mut clients {
                    let (requests, answered) = (engine.report().requests, *responses);
                    for piece in *pieces {
                        let read = engine.report().bytes_in + piece.len() as u64;
                        client.write_all(piece.as_bytes()).unwrap();
                        turn_until(&mut engine, |engine| engine.report().bytes_in == read);
                    }
                    assert_eq!(engine.report().requests, requests + answered, "{name}");
                    drain(client);
                }
            }
        };
        ask(WARM_UP);
        let cost = measure(|| ask(1000));
        assert_eq!(cost, AllocationInfo::default(), "{name}");
    }
}

/// A connection reuses what an earlier connection left behind.
#[test]
fn a_connection_allocates_nothing_where_another_was() {
    let (mut engine, addr) = listening();
    let mut visit = |visits: u64| {
        for _ in 0..visits {
            let mut client = connect(addr);
            let closed = engine.report().closed + 1;
            let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            client.write_all(last).unwrap();
            turn_until(&mut engine, |engine| engine.report().answered == closed);
            drain(&mut client);
            drop(client);
            turn_until(&mut engine, |engine| engine.report().closed == closed);
        }
    };
    visit(WARM_UP);
    let cost = measure(|| visit(300));
    assert_eq!(cost, AllocationInfo::default());
}

/// Both numbers of connections are powers of two, as the capacity of the slab is. The difference is
/// the cost of the second half.
#[test]
fn an_idle_connection_costs_at_most_64_bytes_on_the_simulator() {
    let memory = |connections: u32| {
        let (mut engine, peers) = simulated(0);
        assert!(peers.is_empty());
        let mut bytes = 0;
        for _ in 0..connections {
            let peer = engine.sys().connect(0);
            engine.sys().send(peer, GET);
            // The simulator allocates before the measurement.
            bytes += measure(|| while !turn_answers(&mut engine) {}).bytes_current;
        }
        assert_eq!(idle(&engine), connections);
        bytes
    };
    let each = (memory(1 << 14) - memory(1 << 13)) as f64 / f64::from(1 << 13);
    println!("an idle connection costs {each} bytes on the simulator");
    assert!((32.0..=64.0).contains(&each), "{each} bytes");
}

/// In a debug build, mio's stream carries the id of its selector: 12 bytes more.
#[test]
fn an_idle_connection_costs_at_most_64_bytes_on_sockets() {
    let memory = |connections: u32| {
        let (mut engine, addr) = listening();
        let mut clients = Vec::with_capacity(connections as usize);
        let cost = measure(|| {
            for _ in 0..connections {
                let mut client = connect(addr);
                client.write_all(GET.as_bytes()).unwrap();
                while !turn_answers(&mut engine) {}
                clients.push(client);
            }
        });
        assert_eq!(idle(&engine), connections);
        cost.bytes_current
    };
    // Both ends are in this process, whose limit may be 1,024 open files.
    let each = (memory(256) - memory(128)) as f64 / 128.0;
    println!("an idle connection costs {each} bytes on sockets");
    let most = if cfg!(debug_assertions) { 80.0 } else { 64.0 };
    assert!((32.0..=most).contains(&each), "{each} bytes");
}

/// A request that waits has the working state of its connection, its request line and its ticket.
/// It keeps no buffer of the request or of a response.
#[test]
fn a_request_that_waits_for_its_ticket_costs_at_most_512_bytes() {
    let memory = |connections: u32| {
        let tickets = Rc::new(RefCell::new(Vec::new()));
        let sim = Sim::new(quiet());
        let inbox = Inbox::new(sim.waker());
        let later = {
            let tickets = Rc::clone(&tickets);
            move |request: &Request<'_>| {
                let (later, ticket) = request.later();
                tickets.borrow_mut().push(ticket);
                later
            }
        };
        let mut engine = Engine::new(sim, later, Config::default(), inbox);
        let bytes = waiting(&mut engine, connections);
        let mut tickets = tickets.take();
        assert_eq!(tickets.len(), connections as usize);
        for ticket in tickets.drain(..) {
            ticket.send(Response::new(204));
        }
        turn_until(&mut engine, |engine| idle(engine) == connections);
        bytes
    };
    let each = (memory(1 << 13) - memory(1 << 12)) as f64 / f64::from(1 << 12);
    println!("a request that waits for its ticket costs {each} bytes, with its connection");
    assert!((64.0..=512.0).contains(&each), "{each} bytes");
}

/// A stream between two events has the same bound.
#[test]
fn a_stream_between_two_events_costs_at_most_512_bytes() {
    let memory = |connections: u32| {
        let topic = Topic::new();
        let mut engine = subscribed(&topic);
        let bytes = waiting(&mut engine, connections);
        assert_eq!(topic.numbers().subscribers, connections as usize);
        bytes
    };
    let each = (memory(1 << 13) - memory(1 << 12)) as f64 / f64::from(1 << 12);
    println!("a stream between two events costs {each} bytes, with its connection");
    assert!((64.0..=512.0).contains(&each), "{each} bytes");
}

/// An event is copied once. One more subscriber allocates one place in the list of the woken, at
/// most twice while that list grows, and keeps nothing of it.
#[test]
fn an_event_is_not_copied_for_its_subscribers() {
    const SUBSCRIBERS: u32 = 2_000;
    let topic = Topic::new();
    let mut engine = subscribed(&topic);
    waiting(&mut engine, SUBSCRIBERS);
    let event = Event::new("x".repeat(100_000));
    let mut fan_out = || {
        let before = engine.report().bytes_out;
        topic.publish(&event);
        let all = before + u64::from(SUBSCRIBERS) * 100_000;
        turn_until(&mut engine, |engine| engine.report().bytes_out >= all);
    };
    fan_out();
    let cost = measure(fan_out);
    let alone = measure(|| assert_eq!(Topic::new().publish(&event), 0));
    let each = (cost.bytes_total - alone.bytes_total) as f64 / f64::from(SUBSCRIBERS);
    println!("an event of 100 kB allocates {each} bytes for each subscriber, besides itself");
    assert!(each <= 64.0, "{each} bytes");
    assert!(cost.count_total < 100, "{cost:?}");
}

/// Returns an engine in the simulator whose peers all subscribe to a topic.
fn subscribed(topic: &Topic) -> Engine<Sim, impl Handler> {
    let sim = Sim::new(quiet());
    let inbox = Inbox::new(sim.waker());
    let topic = topic.clone();
    let subscribe = move |request: &Request<'_>| topic.subscribe(request);
    Engine::new(sim, subscribe, Config::default(), inbox)
}

/// Lets this number of peers ask for what takes time, and returns the bytes that this costs.
fn waiting<H: Handler>(engine: &mut Engine<Sim, H>, connections: u32) -> i64 {
    let handler = ebbtide::internals::tracker::Phase::Handler as usize;
    let mut bytes = 0;
    for n in 1..=connections {
        let peer = engine.sys().connect(0);
        engine.sys().send(peer, BROWSER);
        // The simulator allocates before the measurement.
        bytes +=
            measure(|| turn_until(engine, |engine| engine.counts()[handler] == n)).bytes_current;
    }
    bytes
}

/// Returns a world that records nothing, and whose peers take everything.
fn quiet() -> Setup {
    Setup {
        record: false,
        ..Setup::default()
    }
}

/// An upgraded connection has its entry and an entry of the tunnel, of 56 bytes; this tunnel has no
/// state of its own. There is no buffer, no working state and no timer on the heap.
#[test]
fn an_idle_tunnel_costs_its_entry_and_a_seat() {
    struct Quiet;
    impl Tunnel for Quiet {
        fn open(&mut self, line: &mut TunnelIo<'_>) -> TunnelAction {
            line.wake_after(Duration::from_secs(30));
            TunnelAction::Wait
        }
        fn receive(&mut self, bytes: &mut [u8], line: &mut TunnelIo<'_>) -> TunnelAction {
            line.wake_after(Duration::from_secs(30));
            line.send(bytes);
            TunnelAction::Wait
        }
        fn draining(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Close
        }
    }
    let response = |request: &Request<'_>| match request.upgrade("quiet") {
        Some(upgrade) => upgrade.to(Quiet),
        None => Response::upgrade_required("quiet"),
    };
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: quiet\r\n\r\n";
    let each = each_tunnel(response, upgrade, b"ping");
    println!("an idle tunnel costs {each} bytes on the simulator");
    assert!((100.0..=ENTRY + 56.0).contains(&each), "{each} bytes");
}

/// A WebSocket that has had messages keeps a few words of its own beside that.
#[cfg(feature = "websocket")]
#[test]
fn an_idle_websocket_costs_its_entry_a_seat_and_32_bytes() {
    use ebbtide::websocket::{Event, WebSocket};
    let websocket = WebSocket::new();
    let response = move |request: &Request<'_>| {
        websocket.accept(request, |event, outbox| {
            if let Event::Text(text) = event {
                outbox.text(text);
            }
        })
    };
    let handshake = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let message = b"\x81\x85\0\0\0\0hello"; // this mask changes nothing
    let each = each_tunnel(response, handshake, message);
    println!("an idle WebSocket costs {each} bytes on the simulator");
    assert!(
        (100.0..=ENTRY + 56.0 + 32.0).contains(&each),
        "{each} bytes"
    );
}

/// The most that the entry of a connection costs in the simulator.
const ENTRY: f64 = 64.0;

/// Returns the bytes for each of 8,192 tunnels that have had a message and are idle. The simulator
/// allocates outside the measurement, and nothing for static bytes.
fn each_tunnel<R: Into<Reply>>(
    response: impl FnMut(&Request<'_>) -> R + Clone,
    upgrade: &'static str,
    message: &'static [u8],
) -> f64 {
    let memory = |connections: u32| {
        let mut engine = engine_of(Sim::new(quiet()), response.clone());
        let mut bytes = 0;
        for _ in 0..connections {
            let peer = engine.sys().connect(0);
            engine.sys().send(peer, upgrade);
            bytes += measure(|| while !turn_answers(&mut engine) {}).bytes_current;
            let before = engine.report().bytes_out;
            engine.sys().send(peer, message);
            let turn = measure(|| turn_until(&mut engine, |e| e.report().bytes_out > before));
            bytes += turn.bytes_current;
        }
        let tunnels = engine.counts()[ebbtide::internals::tracker::Phase::Tunnel as usize];
        assert_eq!(tunnels, connections);
        bytes
    };
    (memory(1 << 14) - memory(1 << 13)) as f64 / f64::from(1 << 13)
}

/// The longest head arrives a byte at a time. Four times the bytes must cost four times the time; a
/// search that begins again at each byte would cost sixteen times.
#[test]
fn a_head_that_drips_costs_time_by_its_length() {
    let drip = |length: usize| {
        let (mut engine, peers) = simulated(1);
        let head = head_of(length);
        let before = cpu_time();
        for n in 0..length {
            engine.sys().send(peers[0], &head[n..=n]);
            engine.turn().unwrap();
        }
        let time = cpu_time() - before;
        assert_eq!(engine.report().requests, 1, "a head of {length} bytes");
        time
    };
    let least = |length| (0..5).map(|_| drip(length)).min().unwrap();
    let (short, long) = (least(16 << 10), least(64 << 10));
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    println!("16 KiB byte by byte: {short:?}, 64 KiB: {long:?}, {ratio:.1} times as long");
    assert!(ratio < 8.0, "{ratio}");
}

/// A head without an end holds what has arrived of it, and room to grow by as much.
#[test]
fn a_head_that_drips_holds_its_own_length() {
    let (mut engine, peers) = simulated(1);
    let head = head_of(64 << 10);
    let mut held = 0;
    for n in 0..head.len() - 1 {
        engine.sys().send(peers[0], &head[n..=n]);
        let turn = measure(|| assert!(engine.turn().is_ok()));
        held += turn.bytes_current;
    }
    println!("a head of 64 KiB but its last byte holds {held} bytes");
    assert!(held <= 2 * 64 * 1024, "{held}");
}

/// Returns an engine in the simulator that answers everything, and connected peers.
fn simulated(peers: usize) -> (Engine<Sim, impl Handler>, Vec<PeerId>) {
    let mut engine = engine_of(Sim::new(quiet()), hello);
    let peers = (0..peers).map(|_| engine.sys().connect(0)).collect();
    engine.turn().unwrap();
    engine.turn().unwrap(); // their first events
    (engine, peers)
}

/// Returns an engine on sockets that answers everything, and its address.
fn listening() -> (Engine<Real, impl Handler>, SocketAddr) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, &ListenOptions::new()).unwrap();
    let addr = listener.local_addr().unwrap();
    let (alive, over) = channel::<()>();
    let handler = move |request: &Request<'_>| {
        let _ = &alive;
        hello(request)
    };
    let engine = engine_of(Real::new(vec![listener], None).unwrap(), handler);
    // The cut ends a turn whose event never comes, and so fails the test.
    let handle = engine.handle().clone();
    thread::spawn(move || {
        if over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            handle.cut();
        }
    });
    (engine, addr)
}

fn engine_of<S: Sys, H: Handler>(sys: S, handler: H) -> Engine<S, H> {
    let inbox = Inbox::new(sys.waker());
    Engine::new(sys, handler, Config::default(), inbox)
}

fn hello(_: &Request<'_>) -> Response {
    Response::new(200)
        .content_type("text/plain")
        .body("Hello, World!")
}

fn connect(addr: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads what is there, at least a byte.
fn drain(client: &mut TcpStream) {
    let mut response = [0; 4096];
    let n = client.read(&mut response).unwrap();
    assert!(response[..n].starts_with(b"HTTP/1.1 200 "));
}

/// Turns until something is so. Each turn waits for an event.
fn turn_until<S: Sys, H: Handler>(engine: &mut Engine<S, H>, so: impl Fn(&Engine<S, H>) -> bool) {
    while !so(engine) {
        turn(engine);
    }
}

fn turn<S: Sys, H: Handler>(engine: &mut Engine<S, H>) {
    let turn = engine.turn().unwrap();
    assert!(matches!(turn, Turn::Continue), "an event never came");
}

/// Turns once. Returns whether the turn completed a response.
fn turn_answers<S: Sys, H: Handler>(engine: &mut Engine<S, H>) -> bool {
    let before = engine.report().answered;
    turn(engine);
    engine.report().answered > before
}

fn idle<S: Sys, H: Handler>(engine: &Engine<S, H>) -> u32 {
    engine.counts()[ebbtide::internals::tracker::Phase::Idle as usize]
}

/// Returns a good head of this number of bytes.
fn head_of(length: usize) -> &'static [u8] {
    let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nA: ", "\r\n\r\n");
    let filler = "a".repeat(length - start.len() - end.len());
    format!("{start}{filler}{end}").leak().as_bytes()
}

/// Returns the CPU time of this thread, without the time of others.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Rounds before the measurement, in which buffers and tables reach their sizes.
const WARM_UP: u64 = 20;

/// How long a test on sockets may take before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
