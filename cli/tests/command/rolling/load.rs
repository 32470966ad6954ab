//! Clients that ask without pause and count failures.
//!
//! Each request is sent once, so each loss shows. The server sets the pace: some of its responses
//! take a millisecond or three.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ebbtide_lab::response::receive;

use super::support::PATIENCE;

/// What a client does with a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Uses it again, until the server says close.
    Kept,
    /// Opens a new one for each request.
    New,
}

/// What the clients have seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Requests with the right response.
    pub(crate) answered: u64,
    /// Connections opened.
    pub(crate) connections: u64,
    /// Requests without a response, and refused connections, each in words.
    pub(crate) failed: Vec<String>,
    /// The longest time from the connect, or the first byte of the request, to the whole response.
    pub(crate) slowest: Duration,
}

/// Running clients. They end when this value is dropped, or after [`BOUND`] requests.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    over: AtomicBool,
}

impl Load {
    /// Starts a number of clients of each kind.
    pub(crate) fn start(addr: SocketAddr, clients: &[(usize, Connections)]) -> Self {
        let shared = Arc::new(Shared::default());
        let kinds = clients
            .iter()
            .flat_map(|(count, kind)| std::iter::repeat_n(*kind, *count));
        let start = |(n, kind)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.ask(addr, kind, n))
        };
        let threads = kinds.enumerate().map(start).collect();
        Self { shared, threads }
    }

    /// Waits until this number of further requests has been answered, or one has failed.
    pub(crate) fn wait_more(&self, count: u64) {
        let seen = self.shared.lock();
        let goal = seen.answered + count;
        let unfinished = |seen: &mut Seen| seen.answered < goal && seen.failed.is_empty();
        let (seen, waited) = self
            .shared
            .changed
            .wait_timeout_while(seen, PATIENCE, unfinished)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "no {count} responses in time: {seen:?}"
        );
    }

    /// Ends the clients, each after its current request.
    pub(crate) fn stop(mut self) -> Seen {
        self.end();
        self.shared.lock().clone()
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The panic of such a thread has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn ask(&self, addr: SocketAddr, kind: Connections, client: usize) {
        let mut kept = None;
        for n in client..client + BOUND {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let start = Instant::now();
            let reused = kept.is_some();
            let asked = self.exchange(addr, kept.take(), kind, n);
            let mut seen = self.lock();
            match asked {
                Ok(connection) => {
                    kept = connection;
                    seen.answered += 1;
                    seen.slowest = seen.slowest.max(start.elapsed());
                }
                Err(error) => {
                    let how = if reused { "used" } else { "new" };
                    seen.failed.push(format!("on a {how} connection: {error}"));
                }
            }
            self.changed.notify_all();
        }
    }

    /// Sends one request and reads its response. Returns the connection if it can be used again.
    fn exchange(
        &self,
        addr: SocketAddr,
        kept: Option<TcpStream>,
        kind: Connections,
        n: usize,
    ) -> io::Result<Option<TcpStream>> {
        let mut stream = match kept {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                self.lock().connections += 1;
                stream
            }
        };
        let body = format!("this is number {n}");
        let close = match kind {
            Connections::Kept => "",
            Connections::New => "Connection: close\r\n",
        };
        // Some requests are answered at once, some after a moment; one in five must not be sent
        // twice.
        let (request, expected) = match n % 5 {
            0 => ("GET /plaintext", "Hello, World!"),
            1 => ("GET /delay/1", "done"),
            2 => ("POST /echo", body.as_str()),
            3 => ("GET /delay/3", "done"),
            _ => ("GET /json", r#"{"message":"Hello, World!"}"#),
        };
        let sent = if n % 5 == 2 { body.as_str() } else { "" };
        let length = match sent.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let request = format!("{request} HTTP/1.1\r\nHost: t.example\r\n{close}{length}\r\n{sent}");
        stream.write_all(request.as_bytes())?;
        let response = receive(&mut stream, &mut Vec::new())?;
        if response.status != 200 || response.body != expected.as_bytes() {
            return Err(io::Error::other(response.to_string()));
        }
        Ok((!response.says_close() && kind == Connections::Kept).then_some(stream))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most requests of one client: more than it can send in the time of a test. A client that
/// hangs on thereby ends.
const BOUND: usize = 50_000;
