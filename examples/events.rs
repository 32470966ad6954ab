//! Server-sent events: one a second, to as many subscribers as come, written once for all of them.
//!
//! Try `curl -N localhost:8080/`, in several terminals, and then Ctrl-C the server: each stream says
//! when its client is to come back, another moment for each, ends as it should, and the server is
//! gone at once. Who comes back with the header `Last-Event-ID` is sent what it missed.

use std::thread;
use std::time::Duration;

use ebbtide::sse::{Event, Topic};
use ebbtide::{Handler, Outcome, Request, Server};

fn main() -> std::io::Result<Outcome> {
    Server::bind("127.0.0.1:8080")?.run(app())
}

pub(crate) fn app() -> impl Handler + Send {
    let topic = Topic::new();
    let publisher = topic.clone();
    // Any thread may publish. A topic that is silent for minutes wants `Topic::heartbeat_every`.
    thread::spawn(move || {
        for n in 0_u64.. {
            publisher.publish(&Event::new(format!("event {n}")));
            thread::sleep(Duration::from_secs(1));
        }
    });
    move |request: &Request<'_>| topic.subscribe(request)
}
