//! Hooks and guards: what must happen around the drain, besides the connections.
//!
//! Try `curl -X POST -d hello localhost:8080/jobs` a few times and Ctrl-C the server at once: it
//! goes on until the last job is done, says what it waits for, and closes the store last.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ebbtide::{Guard, Outcome, Request, Response, Server};

/// Stands for a database.
#[derive(Default)]
struct Store {
    lines: Vec<String>,
    open: bool,
}

/// Work that was accepted: the guard holds the end of a drain until it is done.
struct Job {
    text: String,
    guard: Guard,
}

fn main() -> std::io::Result<Outcome> {
    let store = Arc::new(Mutex::new(Store {
        open: true,
        ..Store::default()
    }));
    let jobs = worker(Arc::clone(&store));
    let closing = Arc::clone(&store);
    Server::bind("127.0.0.1:8080")?
        .on_trigger(|trigger| eprintln!("told to stop by {trigger}: every socket is untouched"))
        .on_listener_closed(|| eprintln!("no new connections"))
        .on_drained(move |report| {
            if let Ok(mut store) = closing.lock() {
                store.open = false;
                eprintln!("{} answered, {} stored", report.answered, store.lines.len());
            }
        })
        .on_exit(|outcome| eprintln!("{outcome}"))
        .serve(move |request: &Request<'_>| match request.method() {
            "POST" => {
                let text = String::from_utf8_lossy(request.body()).into_owned();
                let guard = request.handle().guard(format!("job {text:?}"));
                match jobs.send(Job { text, guard }) {
                    Ok(()) => Response::text(202, "accepted\n"),
                    Err(_) => Response::text(503, "no worker\n"),
                }
            }
            _ => Response::text(405, "POST a job\n").field("Allow", "POST"),
        })
}

/// A thread that takes its time.
fn worker(store: Arc<Mutex<Store>>) -> Sender<Job> {
    let (sender, receiver) = channel::<Job>();
    thread::spawn(move || {
        for Job { text, guard } in receiver {
            thread::sleep(Duration::from_secs(1)); // the work
            if let Ok(mut store) = store.lock() {
                assert!(store.open, "the store was closed before the last job");
                store.lines.push(text);
            }
            drop(guard);
        }
    });
    sender
}
