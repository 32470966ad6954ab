//! The cost of very many event streams and waiting requests, as the kernel counts it: memory for
//! each, and time and CPU of one event for all.
//!
//! The client is this process and the server another. The tests print figures; those of a release
//! build count.

use ebbtide_lab::command as support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use support::cost::{anonymous, connections, tell};
use support::served::Served;
use support::{GET, HELLO, PATIENCE, get};

/// Subscribers of one event.
const MANY: usize = 15_000;

/// Connections before the count, and counted ones.
const FEW: usize = 2_000;
const COUNTED: usize = 10_000;

/// As in `memory.rs`.
const LISTENERS: usize = 8;

/// The most anonymous memory of a stream between two events, or of a waiting request, in bytes. The
/// library's `tests/costs` counts its allocations.
const MOST: f64 = 800.0;

/// The number of events that are timed.
const EVENTS: usize = 5;

#[test]
fn fifteen_thousand_streams_cost_little_and_end_together() {
    let _alone = super::alone();
    let many = connections(MANY);
    let served = serve(&["--report", "json"]);
    let mut streams = Vec::with_capacity(many);
    let mut memory = Vec::new();
    for count in [FEW, FEW + COUNTED, many].map(|count| count.min(many)) {
        while streams.len() < count {
            let addr = served.addrs()[streams.len() % LISTENERS];
            let mut socket = connect(addr);
            socket.write_all(&get("/events")).unwrap();
            let mut head = [0; 1024];
            let n = socket.read(&mut head).unwrap();
            assert!(head[..n].starts_with(b"HTTP/1.1 200 "));
            streams.push(Stream::new(socket));
        }
        memory.push((count, anonymous(served.pid())));
    }
    let [(few, least), (more, most), ..] = memory[..] else {
        unreachable!("it was measured three times")
    };
    let each = (most as f64 - least as f64) / (more - few) as f64;
    tell(&format!(
        "{each:.0} bytes a stream between two events, from {few} to {more}"
    ));
    assert!(each <= MOST, "{each} bytes");

    // A client in step with the ticks sees the cost of one event between two of them.
    let (mut tick, mut in_step) = (1, false);
    let (mut times, mut used, mut before) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for _ in 0..PATIENCE.as_secs() * 6 {
        streams
            .iter_mut()
            .for_each(|stream| stream.read_until(tick));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let (was_in_step, since) = (in_step, before);
        before = cpu(served.pid());
        in_step = streams.iter().all(|stream| stream.seen == tick);
        if in_step && was_in_step {
            times.push(now.saturating_sub(Duration::from_micros(streams[0].sent)));
            used += before - since;
        }
        if times.len() == EVENTS {
            break;
        }
        tick = 1 + streams
            .iter()
            .map(|stream| stream.seen)
            .max()
            .expect("some");
    }
    assert_eq!(
        times.len(),
        EVENTS,
        "the client is too slow to tell one event from the next"
    );
    let used = used / EVENTS as u32;
    times.sort_unstable();
    tell(&format!(
        "one event to {many}: {:?} until the last has read it (median of {EVENTS}, most {:?}); \
         {used:?} of CPU, {:.1} µs each",
        times[times.len() / 2],
        times[times.len() - 1],
        used.as_secs_f64() * 1e6 / many as f64,
    ));

    let signalled = Instant::now();
    served.terminate();
    for stream in &mut streams {
        stream.read_to_end();
    }
    let ended = signalled.elapsed();
    drop(streams);
    let (exit, report) = served.wait_report(0);
    tell(&format!(
        "a drain of {many} streams: all had their end after {ended:?}, exit after {:?}",
        exit.at - signalled
    ));
    assert_eq!(report.requests(), report.answered());
    assert!(report.answered() >= many as i64);
    assert_eq!(report.aborted(), 0);
}

#[test]
fn ten_thousand_slow_handlers_cost_little() {
    let _alone = super::alone();
    let more = (FEW + COUNTED).min(connections(MANY));
    let served = serve(&[]);
    let mut waiting = Vec::with_capacity(more);
    let mut memory = Vec::new();
    for count in [FEW, more] {
        while waiting.len() < count {
            let addr = served.addrs()[waiting.len() % LISTENERS];
            let mut socket = connect(addr);
            socket.write_all(GET).unwrap();
            let n = socket.read(&mut [0; 1024]).unwrap();
            assert!(n > HELLO.len()); // the connection is accepted
            socket.write_all(&get("/delay/3600000")).unwrap();
            waiting.push(socket);
        }
        served.settle(); // the requests have arrived
        memory.push(anonymous(served.pid()));
    }
    let each = (memory[1] as f64 - memory[0] as f64) / (more - FEW) as f64;
    tell(&format!(
        "{each:.0} bytes a request that waits for its ticket, from {FEW} to {more}, the demo's timer included"
    ));
    assert!(each <= MOST, "{each} bytes");
}

/// A client that reads a stream of events.
struct Stream {
    socket: TcpStream,
    /// The bytes behind the last whole event.
    rest: Vec<u8>,
    /// The latest tick, and its time of publication, in microseconds since 1970.
    seen: u64,
    sent: u64,
}

impl Stream {
    const fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            rest: Vec::new(),
            seen: 0,
            sent: 0,
        }
    }

    /// Reads up to the tick of this number, or a later one.
    fn read_until(&mut self, tick: u64) {
        let mut buffer = [0; 4096];
        while self.seen < tick {
            let n = self.socket.read(&mut buffer).expect("an event");
            assert!(n > 0, "the stream ended");
            self.rest.extend_from_slice(&buffer[..n]);
            let Some(end) = self.rest.windows(2).rposition(|w| w == b"\n\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.rest[..end]).expect("text");
            if let Some((_, last)) = text.rsplit_once("{\"tick\":") {
                let (tick, sent) = last.split_once(",\"sent_us\":").expect("its time");
                self.seen = tick.parse().expect("a number");
                self.sent = sent.trim_end_matches('}').parse().expect("a number");
            }
            self.rest.drain(..end + 2);
        }
        // The client keeps no buffer between two events.
        self.rest = Vec::new();
    }

    /// Reads the end of a stream: the delay for a reconnect, the last chunk, a FIN.
    fn read_to_end(&mut self) {
        let mut rest = String::new();
        self.socket.read_to_string(&mut rest).expect("a clean end");
        assert!(rest.contains("retry: "), "{rest:?}");
        assert!(rest.ends_with("\n\n\r\n0\r\n\r\n"), "{rest:?}");
    }
}

fn serve(flags: &[&str]) -> Served {
    let listeners = ["--listen", "127.0.0.1:0"].repeat(LISTENERS);
    Served::start(&[flags, &listeners].concat())
}

fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Returns the CPU time that a process has used.
fn cpu(pid: i32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).unwrap();
    clock_gettime(clock).unwrap().into()
}
