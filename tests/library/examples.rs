//! The examples do what they say when they are stopped. The example with a database has tests of
//! its own, and `embedded_test` is a test itself.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use ebbtide::{Handler, Running};

#[cfg(feature = "websocket")]
use super::connect;
use super::{ask, read_all, read_to, server};

#[cfg(feature = "websocket")]
#[path = "../../examples/websocket.rs"]
#[expect(dead_code, reason = "its `main`")]
mod chat;
#[path = "../../examples/events.rs"]
#[expect(dead_code, reason = "its `main`")]
mod events;
#[path = "../../examples/threads.rs"]
#[expect(dead_code, reason = "its `main`")]
mod threads;
#[path = "../../examples/tokio.rs"]
#[expect(dead_code, reason = "its `main`")]
mod with_tokio;

fn start(app: impl Handler + Send + 'static) -> Running {
    server().spawn(app).unwrap()
}

/// Stops the server, and reads each connection to its end.
fn stopped(running: Running, asked: Vec<TcpStream>) -> Vec<String> {
    running.handle().shutdown();
    let read = |mut stream: TcpStream| read_all(&mut stream);
    let responses = asked.into_iter().map(read).collect();
    assert_eq!(running.wait().unwrap().code(), 0);
    responses
}

#[test]
fn worker_threads_answer_what_they_have_begun() {
    let running = start(threads::app());
    let asked = ["/fib/24", "/fib/24", "/fib/20", "/count"]
        .map(|path| ask(running.local_addr().unwrap(), path));
    for (response, expected) in stopped(running, asked.into())
        .iter()
        .zip(["46368", "46368", "6765"])
    {
        assert!(
            response.ends_with(&format!("\r\n\r\n{expected}\n")),
            "{response}"
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
        .map(|n| {
            ask(
                running.local_addr().unwrap(),
                &format!("/sleep/{}", 100 + n),
            )
        })
        .collect();
    for (n, response) in stopped(running, asked).iter().enumerate() {
        assert!(
            response.ends_with(&format!("\r\n\r\nslept {} ms\n", 100 + n)),
            "{response}"
        );
    }
}

/// The stream ends within 100 ms of the signal.
#[test]
fn events_say_when_to_come_back_when_the_drain_begins() {
    let mut delays = Vec::new();
    for _ in 0..5 {
        let running = start(events::app());
        let mut subscribers: Vec<_> = (0..3)
            .map(|_| ask(running.local_addr().unwrap(), "/"))
            .collect();
        for stream in &mut subscribers {
            read_to(stream, "\r\nretry: ");
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

#[cfg(feature = "websocket")]
#[test]
fn a_chat_is_heard_by_all_and_says_goodbye() {
    use tungstenite::{Error, Message};
    let running = start(chat::app());
    let url = format!("ws://{}/chat", running.local_addr().unwrap());
    let mut clients = [(); 2].map(|()| {
        let stream = connect(running.local_addr().unwrap());
        tungstenite::client(&url, stream).unwrap().0
    });
    clients[0].send(Message::text("hello")).unwrap();
    for client in &mut clients {
        assert_eq!(client.read().unwrap(), Message::text("hello"));
    }
    running.handle().shutdown();
    for client in &mut clients {
        let last = client.read().unwrap().into_text().unwrap();
        assert!(last.starts_with("the server stops"), "{last}");
        let Message::Close(Some(close)) = client.read().unwrap() else {
            panic!("no Close")
        };
        assert_eq!(u16::from(close.code), 1001);
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    }
    assert_eq!(running.wait().unwrap().code(), 0);
}
