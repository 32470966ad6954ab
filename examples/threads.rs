//! Responses from worker threads: the handler gives the ticket away and returns.
//!
//! Try `curl localhost:8080/fib/35`, and anything else in another terminal at the same time: the work
//! does not hold the loop.

use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use ebbtide::{Handler, Reply, Request, Response, Server, Ticket};

/// The loop's thread owns this, so the count needs no lock.
struct App {
    jobs: Sender<(u32, Ticket)>,
    requests: u64,
}

impl Handler for App {
    fn handle(&mut self, request: &Request<'_>) -> Reply {
        self.requests += 1;
        let path = request.path();
        if path == "/count" {
            return Response::text(200, format!("{}\n", self.requests)).into();
        }
        let Some(n) = path.strip_prefix("/fib/").and_then(|n| n.parse().ok()) else {
            return Response::text(404, "try /fib/35 or /count\n").into();
        };
        let (later, ticket) = request.later();
        match self.jobs.send((n, ticket)) {
            Ok(()) => later.into(),
            Err(_) => Response::text(503, "no workers\n").into(),
        }
    }
}

fn main() -> ExitCode {
    ebbtide::main(|| Server::bind("127.0.0.1:8080")?.run(app()))
}

pub(crate) fn app() -> impl Handler + Send {
    let (jobs, queue) = channel::<(u32, Ticket)>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..4 {
        let queue = Arc::clone(&queue);
        thread::spawn(move || {
            loop {
                // The lock is held while waiting: one worker waits, the others work.
                let job = queue.lock().map(|queue| queue.recv());
                let Ok(Ok((n, ticket))) = job else { return };
                ticket.send(Response::text(200, format!("{}\n", fibonacci(n))));
            }
        });
    }
    App { jobs, requests: 0 }
}

fn fibonacci(n: u32) -> u64 {
    match n {
        0 | 1 => n.into(),
        _ => fibonacci(n - 1) + fibonacci(n - 2),
    }
}
