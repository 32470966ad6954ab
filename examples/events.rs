//! Server-sent events: one a second, written once for all subscribers.
//!
//! Try `curl -N localhost:8080/` in several terminals, and then Ctrl-C the server. Each stream tells
//! its client when to come back, at a different moment for each, and ends cleanly; the server is gone
//! at once. A client that comes back with `Last-Event-ID` gets the events that it missed.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ebbtide::sse::{Event, Topic};
use ebbtide::{Handler, Request, Server};

fn main() -> ExitCode {
    ebbtide::main(|| Server::bind("127.0.0.1:8080")?.run(app()))
}

pub(crate) fn app() -> impl Handler + Send {
    let topic = Topic::new();
    let publisher = topic.clone();
    // Any thread may publish. A topic that is silent for minutes needs `Topic::heartbeat_every`.
    thread::spawn(move || {
        for n in 0_u64.. {
            publisher.publish(&Event::new(format!("event {n}")));
            thread::sleep(Duration::from_secs(1));
        }
    });
    move |request: &Request<'_>| topic.subscribe(request)
}
