//! A soak: kind and hostile clients at once, for the time in `EBBTIDE_SOAK` (`10m`, `30s`). The
//! memory stays flat, no file stays open, every count is exact.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::support::beat::Metronome;
use super::support::client::Client;
use super::support::{GET, HELLO, get, post, post_head};
use super::{connect, counted, files_at_rest, memory, reset, serve, wait_for_files};
use ebbtide_lab::Dice;

/// The time without the variable.
const USUAL: Duration = Duration::from_secs(6);

/// How often the memory is read in that time.
const SAMPLES: usize = 20;

/// Clients at a time.
const CLIENTS: u64 = 6;

/// The memory that may be added after the first quarter, in bytes: pages that the allocator keeps.
const GROWTH: u64 = 2 << 20;

/// The work of the clients.
#[derive(Default)]
struct Done {
    connections: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
    broken_off: AtomicU64,
    /// What the server must have counted of the hostile ones: whole heads, responses handed to the
    /// kernel in full, and refused messages, which are among these.
    unkind_requests: AtomicU64,
    unkind_answered: AtomicU64,
    refused: AtomicU64,
}

#[test]
fn a_soak_leaves_nothing_behind() {
    let time = env::var("EBBTIDE_SOAK").map_or(USUAL, |text| duration(&text));
    // The timeouts are the usual ones. Shorter ones would end clients that a busy machine holds up,
    // and the counts would be unknown.
    let served = serve(&[]);
    let (addr, pid) = (served.addr(), served.pid());
    let files = files_at_rest(&served);
    let (done, over) = (Done::default(), AtomicBool::new(false));
    let mut samples = Vec::new();
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (done, over) = (&done, &over);
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                while !over.load(Ordering::Relaxed) {
                    one(addr, &mut dice, done);
                }
            });
        }
        let mut beats = Metronome::start(addr, SAMPLES + 1, time / SAMPLES as u32);
        beats.beat();
        for _ in 0..SAMPLES {
            beats.beat();
            samples.push(memory(pid));
        }
        over.store(true, Ordering::Relaxed);
    });
    let quarter = samples.len() / 4;
    let early = *samples[..quarter].iter().max().expect("there are five");
    let late = *samples[quarter..].iter().max().expect("there are more");
    let [
        connections,
        asked,
        answered,
        broken_off,
        unkind_requests,
        unkind_answered,
        refused,
    ] = [
        &done.connections,
        &done.asked,
        &done.answered,
        &done.broken_off,
        &done.unkind_requests,
        &done.unkind_answered,
        &done.refused,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    println!(
        "{time:?}: {connections} connections, {asked} kind requests, {answered} answered, \
         {broken_off} broken off; memory {early} bytes at most in the first quarter, {late} later"
    );
    println!("memory, {SAMPLES} times: {samples:?}");
    wait_for_files(pid, files);
    assert!(late <= early + GROWTH, "the memory grows: {samples:?}");
    assert_eq!(asked, answered);

    served.terminate();
    let (_, report) = served.wait_report(0);
    // The first client's, that of the beats, and those of all others.
    assert_eq!(report.opened() as u64, connections + 2);
    assert_eq!(report.requests() as u64, asked + unkind_requests + 2);
    assert_eq!(report.answered() as u64, answered + unkind_answered + 2);
    assert_eq!(counted(&served, "refused") as u64, refused);
    assert_eq!(counted(&served, "timed_out"), 0);
    assert_eq!(report.aborted(), 0);
}

/// Makes one connection, of one kind or another.
fn one(addr: SocketAddr, dice: &mut Dice, done: &Done) {
    done.connections.fetch_add(1, Ordering::Relaxed);
    match dice.index(10) {
        // Kind clients check their responses.
        0..5 => kind(addr, dice, done),
        kind => {
            done.broken_off.fetch_add(1, Ordering::Relaxed);
            let left = unkind(addr, kind, dice);
            done.unkind_requests
                .fetch_add(left.requests, Ordering::Relaxed);
            done.unkind_answered
                .fetch_add(left.answered, Ordering::Relaxed);
            done.refused.fetch_add(left.refused, Ordering::Relaxed);
        }
    }
}

fn kind(addr: SocketAddr, dice: &mut Dice, done: &Done) {
    let client = Client::connect(addr);
    let count = 1 + dice.index(8);
    let mut bodies = Vec::new();
    for _ in 0..count {
        let (request, body) = match dice.index(5) {
            0 => {
                let body = vec![b'x'; dice.index(100_000)];
                (post("/echo", &body), body)
            }
            1 => (get("/delay/3"), b"done".to_vec()),
            2 => {
                let body = b"chunk 0\nchunk 1\nchunk 2\n".to_vec();
                (get("/stream/3/1"), body)
            }
            _ => (GET.to_vec(), HELLO.to_vec()),
        };
        client.send(&request);
        bodies.push(body);
        // Some wait for each response, some send on.
        if dice.index(2) == 0 {
            client.response(bodies.len() - 1);
        }
    }
    done.asked.fetch_add(count as u64, Ordering::Relaxed);
    for (n, body) in bodies.iter().enumerate() {
        let response = client.response(n);
        assert_eq!((response.status, &response.body), (200, body));
        done.answered.fetch_add(1, Ordering::Relaxed);
    }
    if dice.index(2) == 0 {
        client.shut();
        client.assert_ends(bodies.len());
    }
}

/// What the server must have counted of one hostile connection.
struct Left {
    requests: u64,
    answered: u64,
    refused: u64,
}

impl Left {
    fn new(requests: u64, answered: u64) -> Self {
        Self {
            requests,
            answered,
            refused: 0,
        }
    }

    /// Adds a refused message, which is a response too.
    fn refused(self) -> Self {
        Self {
            answered: self.answered + 1,
            refused: 1,
            ..self
        }
    }
}

/// Makes a hostile connection whose counts are known. Linux hands out bytes that arrived before a
/// reset, and on the loopback all bytes that fit into the buffers have arrived when `write`
/// returns.
fn unkind(addr: SocketAddr, kind: usize, dice: &mut Dice) -> Left {
    let mut stream = connect(addr);
    let resets = dice.index(3) > 0;
    let left = match kind {
        5 => {
            let request = post("/echo", b"hello");
            let at = dice.index(request.len());
            say(&mut stream, &request[..at]);
            let left = Left::new(u64::from(at >= post_head("/echo", 5).len()), 0);
            // Where nothing had begun nothing is missing.
            if resets || at == 0 {
                left
            } else {
                left.refused()
            }
        }
        6 => {
            say(&mut stream, &post_head("/echo", 1_000_000));
            say(&mut stream, &vec![b'x'; dice.index(200_000)]);
            let left = Left::new(1, 0);
            if resets { left } else { left.refused() }
        }
        7 => {
            // More than the buffers of both kernels hold, so that it is never handed over whole.
            say(&mut stream, &get("/bytes/50000000"));
            let mut buffer = vec![0; 1 + dice.index(300_000)];
            stream.read_exact(&mut buffer).expect("it is longer");
            Left::new(1, 0)
        }
        8 => {
            say(&mut stream, b"NONSENSE\r\n\r\n");
            read_to_end(&mut stream);
            Left::new(0, 0).refused()
        }
        _ => return leaves_a_pipeline(stream, dice),
    };
    if resets {
        reset(stream);
    }
    left
}

/// Three requests, or as many as can be counted. That is why some of the delays are so long: whether
/// the server begins a request before or after it sees a reset that comes at the same time, nobody
/// can know.
fn leaves_a_pipeline(mut stream: TcpStream, dice: &mut Dice) -> Left {
    let one_and_two = [get("/delay/20"), get("/delay/5000").repeat(2)].concat();
    match dice.index(4) {
        // At once, with one request alone: a second might be begun or not.
        0 => {
            say(&mut stream, &get("/delay/2000"));
            reset(stream);
            Left::new(1, 0)
        }
        // After the first response: with it the second request was begun.
        1 => {
            say(&mut stream, &one_and_two);
            stream.shutdown(Shutdown::Write).expect("shutdown");
            read_one(&mut stream);
            reset(stream);
            Left::new(2, 1)
        }
        // By a FIN, which is no reason not to answer; the kernel resets at the first response.
        2 => {
            say(&mut stream, &one_and_two);
            Left::new(2, 1)
        }
        _ => {
            say(&mut stream, &get("/delay/20").repeat(3));
            stream.shutdown(Shutdown::Write).expect("shutdown");
            read_to_end(&mut stream);
            Left::new(3, 3)
        }
    }
}

fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server listens");
}

fn read_one(stream: &mut TcpStream) {
    let mut response = Vec::new();
    while !response.ends_with(b"done") {
        let mut buffer = [0; 512];
        let n = stream.read(&mut buffer).expect("a response");
        assert_ne!(n, 0, "closed: {}", response.escape_ascii());
        response.extend_from_slice(&buffer[..n]);
    }
}

fn read_to_end(stream: &mut TcpStream) {
    let mut responses = Vec::new();
    stream.read_to_end(&mut responses).expect("no reset");
}

/// `10m` or `30s`.
fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().expect("EBBTIDE_SOAK is like 10m or 30s");
    Duration::from_secs(match unit {
        "m" => number * 60,
        "s" => number,
        _ => panic!("EBBTIDE_SOAK is like 10m or 30s"),
    })
}
