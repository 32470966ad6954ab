//! The examples do what they say when they are told to stop. The one with a database has tests of
//! its own, and `embedded_test` is one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ebbtide::{Handler, Running, Server};

#[path = "../examples/events.rs"]
#[expect(dead_code, reason = "its `main`")]
mod events;
#[path = "../examples/threads.rs"]
#[expect(dead_code, reason = "its `main`")]
mod threads;
#[path = "../examples/tokio.rs"]
#[expect(dead_code, reason = "its `main`")]
mod with_tokio;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

fn start(app: impl Handler + Send + 'static) -> Running {
    Server::bind("127.0.0.1:0").unwrap().spawn(app).unwrap()
}

fn ask(running: &Running, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.local_addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Tells it to stop, and reads what comes on each connection until its end.
fn stopped(running: Running, asked: Vec<TcpStream>) -> Vec<String> {
    running.handle().shutdown();
    let read = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text).unwrap()
    };
    let answers = asked.into_iter().map(read).collect();
    assert_eq!(running.wait().unwrap().code(), 0);
    answers
}

#[test]
fn worker_threads_answer_what_they_have_begun() {
    let running = start(threads::app());
    let asked = ["/fib/24", "/fib/24", "/fib/20", "/count"].map(|path| ask(&running, path));
    for (answer, expected) in stopped(running, asked.into())
        .iter()
        .zip(["46368", "46368", "6765"])
    {
        assert!(
            answer.ends_with(&format!("\r\n\r\n{expected}\n")),
            "{answer}"
        );
    }
}

#[test]
fn tasks_of_a_runtime_answer_what_they_have_begun() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build();
    let runtime = runtime.unwrap();
    let running = start(with_tokio::app(runtime.handle()));
    let asked = (0..50)
        .map(|n| ask(&running, &format!("/sleep/{}", 100 + n)))
        .collect();
    for (n, answer) in stopped(running, asked).iter().enumerate() {
        assert!(
            answer.ends_with(&format!("\r\n\r\nslept {} ms\n", 100 + n)),
            "{answer}"
        );
    }
}

/// The contract has 100 ms from the signal to the end of such a stream.
#[test]
fn events_say_when_to_come_back_when_the_drain_begins() {
    let mut delays = Vec::new();
    for _ in 0..5 {
        let running = start(events::app());
        let mut subscribers: Vec<_> = (0..3).map(|_| ask(&running, "/")).collect();
        for stream in &mut subscribers {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\nretry: ") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                text.push(byte[0]);
            }
        }
        let start = Instant::now();
        let rest = stopped(running, subscribers);
        delays.push(start.elapsed());
        for text in rest {
            assert!(text.contains("\r\nretry: "), "{text}");
            assert!(text.ends_with("\n\n\r\n0\r\n\r\n"), "{text}");
        }
    }
    println!("streams told and ended, and the server gone, after {delays:?}");
    assert!(
        delays
            .iter()
            .any(|delay| *delay < Duration::from_millis(100)),
        "{delays:?}"
    );
}
