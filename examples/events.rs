//! Server-sent events that end when the drain starts.
//!
//! Try `curl -N localhost:8080/` and then Ctrl-C the server: the stream says goodbye, ends as it
//! should, and the server is gone at once. A stream without an end that is not told would hold the
//! drain until its deadline.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ebbtide::{Context, Fill, Handler, Outcome, Request, Response, Server, Source, Waker};

/// One subscriber: an event a second, made when the ticker wakes it.
struct Events {
    ticker: Sender<Waker>,
    next: u64,
}

impl Source for Events {
    fn fill(&mut self, out: &mut Vec<u8>, context: &Context<'_>) -> Fill {
        // Asked once more when the drain starts.
        if context.draining() {
            // Clients come back after three seconds, to a server that is there.
            out.extend_from_slice(b"retry: 3000\nevent: goodbye\ndata: the server stops\n\n");
            return Fill::Done;
        }
        out.extend_from_slice(format!("data: event {}\n\n", self.next).as_bytes());
        self.next += 1;
        match self.ticker.send(context.waker()) {
            Ok(()) => Fill::Pending,
            Err(_) => Fill::Failed, // no ticker, no events
        }
    }
}

/// Wakes every second whoever has asked for it since.
fn ticker() -> Sender<Waker> {
    const SECOND: Duration = Duration::from_secs(1);
    let (sender, receiver) = channel::<Waker>();
    thread::spawn(move || {
        let mut waiting = Vec::new();
        let mut next = Instant::now() + SECOND;
        loop {
            match receiver.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(waker) => waiting.push(waker),
                Err(RecvTimeoutError::Timeout) => {
                    waiting.drain(..).for_each(|waker: Waker| waker.wake());
                    next += SECOND;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    sender
}

fn main() -> std::io::Result<Outcome> {
    Server::bind("127.0.0.1:8080")?.run(app())
}

pub(crate) fn app() -> impl Handler + Send {
    let ticker = ticker();
    move |_: &Request<'_>| {
        let events = Events {
            ticker: ticker.clone(),
            next: 0,
        };
        Response::new(200)
            .content_type("text/event-stream")
            .field("Cache-Control", "no-store")
            .source(events)
    }
}
