//! Out of descriptors: a server that may open few files.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::slow::{HAIR, Slow, all_hear_408, asks_through_a_hair, beats, drips};
use super::support::served::{self, Served};
use super::support::{GET, HELLO, PATIENCE, get, post_head, until};
use super::{Kind, Stands, connect, counted, read_some, stop, write_some};

/// Silent clients: several times as many as there is room for.
const SILENT: usize = 150;

/// More connections than files, so that accept fails.
const CROWDED: &[&str] = &["--max-connections", "1000"];

/// Clients that send a byte now and then: twice as many as there is room for.
const DRIPPING: usize = 100;

/// Returns a command that may open this number of files.
fn cramped(files: u32, flags: &[&str]) -> Served {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -n {files}; exec "$0" "$@""#)]);
    command.arg(served::command());
    command.args(["serve", "--listen", "127.0.0.1:0", "--report", "json"]);
    command.args(flags);
    Served::launch_and_wait(command, 1)
}

#[test]
fn without_descriptors_the_kind_are_served_and_the_silent_make_room() {
    let flags = [CROWDED, &["--head-timeout", "1s"]].concat();
    let log = crowd_out(&cramped(64, &flags));
    let waits = log.iter().filter(|line| line.contains("waits for room"));
    // The log has a line for each interval, however often the server tries.
    assert!((1..=20).contains(&waits.count()), "{log:#?}");
}

#[test]
fn the_limit_of_connections_leaves_descriptors_for_the_rest() {
    // 64 are left for the rest.
    let log = crowd_out(&cramped(128, &["--head-timeout", "1s"]));
    let waits = log.iter().find(|line| line.contains("waits for room"));
    assert_eq!(waits, None, "it did not come to that");
}

#[test]
fn without_descriptors_slow_bodies_make_room_by_the_least_rate() {
    let served = cramped(
        64,
        &[CROWDED, &["--body-timeout", "1s", "--min-progress", "8KiB"]].concat(),
    );
    let begin = |addr| {
        let mut stream = connect(addr);
        write_some(&mut stream, &post_head("/echo", 100_000));
        stream
    };
    let crowd = drip_out(&served, begin, drips, 4096);
    all_hear_408(&crowd);
    // The clients never fell silent, and their heads were whole: the least rate ended them.
    assert_eq!(counted(&served, "timed_out"), DRIPPING as i64);
    assert_eq!(counted(&served, "aborted"), 0);
}

#[test]
fn without_descriptors_slow_readers_make_room_by_the_least_rate() {
    let served = cramped(
        64,
        &[
            CROWDED,
            &["--write-timeout", "2s", "--min-progress", "256KiB"],
        ]
        .concat(),
    );
    let begin = |addr| asks_through_a_hair(addr, "/bytes/50000000");
    let crowd = drip_out(&served, begin, |_| {}, 400);
    // The clients went on reading, and the server noticed: they had more than their buffers hold.
    let taken: usize = crowd.iter().map(|slow| slow.got.len()).sum();
    println!("each took {} bytes", taken / DRIPPING);
    assert!(taken > DRIPPING * HAIR, "that is silence, not dripping");
    for slow in &crowd {
        assert_eq!(slow.stands, Stands::Reset, "what came must not look whole");
    }
    assert_eq!(counted(&served, "timed_out"), DRIPPING as i64);
    assert_eq!(counted(&served, "aborted"), DRIPPING as i64);
}

#[test]
fn without_descriptors_a_reader_that_goes_on_is_not_reset() {
    // With 256 files, room for all, the same reader stays.
    let served = cramped(64, &[CROWDED, &["--write-timeout", "1s"]].concat());
    let mut reader = asks_through_a_hair(served.addr(), "/plaintext");
    let (mut beats, mut got) = (beats(served.addr()), Vec::new());
    until("the response", || {
        assert_eq!(read_some(&mut reader, 512, &mut got), Stands::Open);
        got.ends_with(HELLO).then_some(())
    });
    let silent: Vec<_> = (0..SILENT).map(|_| connect(served.addr())).collect();
    served.log().wait_line("waits for room", PATIENCE);
    // Eighty kilobytes a second, ten times the least rate, for three times the limit.
    write_some(&mut reader, &get("/bytes/50000000"));
    got.clear();
    for _ in 0..60 {
        let stands = read_some(&mut reader, 4_000, &mut got);
        assert_eq!(stands, Stands::Open, "after {} bytes", got.len());
        beats.beat();
    }
    drop((silent, reader, beats));
    stop(&served);
    assert_eq!(counted(&served, "timed_out"), 0);
}

/// Opens more dripping connections than there is room for. A kind client that is in is served at
/// every beat; another waits behind all of them and is served once there is room. Returns when the
/// server has ended.
fn drip_out(
    served: &Served,
    begin: impl Fn(SocketAddr) -> TcpStream,
    go_on: impl Fn(&mut TcpStream),
    reads: usize,
) -> Vec<Slow> {
    let (mut kind, mut beats) = (Kind::new(served.addr()), beats(served.addr()));
    kind.is_served();
    let mut crowd: Vec<_> = (0..DRIPPING)
        .map(|_| Slow {
            stream: begin(served.addr()),
            got: Vec::new(),
            stands: Stands::Open,
        })
        .collect();
    let mut new = connect(served.addr());
    new.write_all(GET).expect("write");
    let (mut response, mut waited, mut ended) = (Vec::new(), 0, 0);
    let begun = Instant::now();
    while !response.ends_with(HELLO) || ended < DRIPPING {
        assert!(begun.elapsed() < 3 * PATIENCE, "{ended} of them were ended");
        // Connections that wait to be accepted do not delay the open ones.
        kind.is_served_on_the_kept();
        for slow in &mut crowd {
            if slow.stands == Stands::Open {
                go_on(&mut slow.stream);
                slow.stands = read_some(&mut slow.stream, reads, &mut slow.got);
                ended += usize::from(slow.stands != Stands::Open);
            }
        }
        if !response.ends_with(HELLO) {
            let stands = read_some(&mut new, 512, &mut response);
            assert_eq!(stands, Stands::Open, "{}", response.escape_ascii());
            waited += 1;
        }
        beats.beat();
    }
    println!(
        "the new one waited for {waited} beats, the last left after {:?}",
        begun.elapsed()
    );
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(waited > 5, "it did not wait");
    kind.is_served();
    drop(new);
    let log = served.log().lines();
    let waits = log.iter().filter(|line| line.contains("waits for room"));
    assert!(
        waits.count() >= 1,
        "there were descriptors enough: {log:#?}"
    );
    drop((kind, beats));
    // The kind client made one kept connection and two others; the new one and the beats made one
    // each.
    assert_eq!(stop(served), DRIPPING as i64 + 5);
    crowd
}

/// Opens more silent connections than there is room for, beside a kind client that is in and others
/// that come.
fn crowd_out(served: &Served) -> Vec<String> {
    let mut kind = Kind::new(served.addr());
    kind.is_served();
    let begun = Instant::now();
    let silent: Vec<_> = (0..SILENT).map(|_| connect(served.addr())).collect();
    while begun.elapsed() < Duration::from_millis(800) {
        kind.is_served_on_the_kept();
    }
    // A new client waits behind all of them, each lot for a second, and is served.
    let (before, waits) = (cpu_ticks(served.pid()), Instant::now());
    kind.is_served();
    let (ticks, took) = (cpu_ticks(served.pid()) - before, waits.elapsed());
    // A hundred ticks are a second. A loop that spins would use them all.
    let busy = ticks as f64 / 100.0 / took.as_secs_f64();
    println!("the new one waited {took:?}, and the loop was busy for {busy:.2} of it");
    assert!(took > Duration::from_millis(500), "there was room for all");
    assert!(busy < 0.5, "it spins");
    drop((silent, kind));
    let log = served.log().lines();
    assert!(stop(served) > SILENT as i64);
    log
}

/// Returns the CPU time of a process, in hundredths of a second.
fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, after_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let numbers = after_name.split(' ').skip(11).take(2);
    numbers.map(|n| n.parse::<u64>().expect("a number")).sum()
}
