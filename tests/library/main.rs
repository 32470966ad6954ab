//! The library as programs use it: on threads, on real sockets, by its public names.

#[cfg(target_os = "linux")]
mod database;
mod embedding;
mod examples;
mod messages;
mod overshoot;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ebbtide::{Reply, Request, Response, Running, Server, Ticket};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

fn server() -> Server {
    Server::bind("127.0.0.1:0").unwrap()
}

fn hello(_: &Request<'_>) -> Response {
    Response::text(200, "hello\n")
}

/// Runs a handler that keeps the ticket of every request for the test.
fn ticketed(server: Server) -> (Running, Receiver<Ticket>) {
    let (sender, tickets) = channel();
    let handler = move |request: &Request<'_>| {
        let (pending, ticket) = request.later();
        sender.send(ticket).unwrap();
        Reply::from(pending)
    };
    (server.spawn(handler).unwrap(), tickets)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a GET for the path on a new connection.
fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(addr);
    ask_again(&mut stream, path);
    stream
}

fn ask_again(stream: &mut TcpStream, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
}

/// Reads up to and with some text.
fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Reads everything up to the server's FIN.
fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Waits for what another thread brings about.
#[track_caller]
fn wait_until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "it never came");
        thread::yield_now();
    }
}
