//! A soak: everything at once, kind and unkind, for as long as `EBBTIDE_SOAK` says (`10m`, `30s`):
//! the memory is flat, no file is left open, every count is exact.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::support::client::Client;
use super::support::{Dice, GET, HELLO, get, post, post_head};
use super::{connect, files_at_rest, memory, reset, serve, wait_for_files};

/// For how long, when nothing is said.
const USUAL: Duration = Duration::from_secs(6);

/// How many clients at a time.
const CLIENTS: u64 = 6;

/// What the memory may grow by after the first quarter, in bytes: pages that the allocator keeps.
const GROWTH: u64 = 2 << 20;

/// What the clients have done.
#[derive(Default)]
struct Done {
    connections: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
    broken_off: AtomicU64,
}

#[test]
fn a_soak_leaves_nothing_behind() {
    let time = env::var("EBBTIDE_SOAK").map_or(USUAL, |text| duration(&text));
    let served = serve(&["--head-timeout", "1s", "--body-timeout", "1s"]);
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
        let begun = Instant::now();
        for n in 1..=20 {
            let next = time * n / 20;
            while begun.elapsed() < next {
                thread::park_timeout(next.saturating_sub(begun.elapsed()));
            }
            samples.push(memory(pid));
        }
        over.store(true, Ordering::Relaxed);
    });
    let quarter = samples.len() / 4;
    let early = *samples[..quarter].iter().max().expect("there are five");
    let late = *samples[quarter..].iter().max().expect("there are more");
    let [connections, asked, answered, broken_off] = [
        &done.connections,
        &done.asked,
        &done.answered,
        &done.broken_off,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    println!(
        "{time:?}: {connections} connections, {asked} kind requests, {answered} answered, \
         {broken_off} broken off; memory {early} bytes at most in the first quarter, {late} later"
    );
    println!("memory, twenty times: {samples:?}");
    wait_for_files(pid, files);
    assert!(late <= early + GROWTH, "the memory grows: {samples:?}");
    assert_eq!(asked, answered);

    served.terminate();
    let (_, report) = served.wait_report(0);
    // The one that was first served, and all of theirs.
    assert_eq!(report.opened() as u64, connections + 1);
    assert!(report.requests() as u64 >= asked && report.answered() as u64 >= answered);
    assert_eq!(report.aborted(), 0);
}

/// One connection, of one kind or another.
fn one(addr: SocketAddr, dice: &mut Dice, done: &Done) {
    done.connections.fetch_add(1, Ordering::Relaxed);
    match dice.below(10) {
        // Kind ones, who check what they get.
        0..5 => kind(addr, dice, done),
        kind => {
            done.broken_off.fetch_add(1, Ordering::Relaxed);
            unkind(addr, kind, dice);
        }
    }
}

fn kind(addr: SocketAddr, dice: &mut Dice, done: &Done) {
    let client = Client::connect(addr);
    let count = 1 + dice.below(8);
    let mut bodies = Vec::new();
    for _ in 0..count {
        let (request, body) = match dice.below(5) {
            0 => {
                let body = vec![b'x'; dice.below(100_000)];
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
        // Some wait for each answer, some send on.
        if dice.below(2) == 0 {
            client.response(bodies.len() - 1);
        }
    }
    done.asked.fetch_add(count as u64, Ordering::Relaxed);
    for (n, body) in bodies.iter().enumerate() {
        let response = client.response(n);
        assert_eq!((response.status, &response.body), (200, body));
        done.answered.fetch_add(1, Ordering::Relaxed);
    }
    if dice.below(2) == 0 {
        client.shut();
        client.assert_ends(bodies.len());
    }
}

fn unkind(addr: SocketAddr, kind: usize, dice: &mut Dice) {
    let mut stream = connect(addr);
    // The server may refuse and leave at any time: what fails is its good right.
    let mut say = |bytes: &[u8]| drop(stream.write_all(bytes));
    match kind {
        5 => {
            let request = post("/echo", b"hello");
            say(&request[..dice.below(request.len())]);
        }
        6 => {
            say(&post_head("/echo", 1_000_000));
            say(&vec![b'x'; dice.below(200_000)]);
        }
        7 => {
            say(&get("/bytes/2000000"));
            let mut buffer = vec![0; 1 + dice.below(300_000)];
            drop(stream.read_exact(&mut buffer));
        }
        8 => {
            say(b"NONSENSE\r\n\r\n");
            drop(stream.read(&mut [0; 512]));
        }
        _ => {
            say(&get("/delay/20").repeat(3));
            drop(stream.shutdown(Shutdown::Write));
        }
    }
    if dice.below(3) > 0 {
        reset(stream);
    }
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
