//! A connection to the server that is read all the time, also while the test writes.
//!
//! A thread for each connection reads and parses; the test waits for what it wants to see. A test
//! of a peer that does not read uses a bare `TcpStream`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{PATIENCE, until};
use crate::response::{Conversation, End, Response, brief};

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Arc<TcpStream>,
    inbox: Arc<Inbox>,
    reader: Option<JoinHandle<()>>,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every byte.
    pub bytes: Vec<u8>,
    /// The number of bytes after each read, and its moment.
    pub marks: Vec<(usize, Instant)>,
    /// The bytes as responses.
    pub conversation: Conversation,
    /// How and when the server ended the connection.
    pub end: Option<(End, Instant)>,
    paused: bool,
    leaving: bool,
}

impl Client {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).expect("connect"))
    }

    /// Reads from a connection that is there already.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        // A server that does not read must not hang the test. Reading goes on after the error.
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let stream = Arc::new(stream);
        let inbox = Arc::new(Inbox::default());
        let reader = thread::spawn({
            let (stream, inbox) = (Arc::clone(&stream), Arc::clone(&inbox));
            move || inbox.fill(&stream)
        });
        Self {
            stream,
            inbox,
            reader: Some(reader),
        }
    }

    /// Sets the methods of the requests to come, in order.
    pub fn expect_methods(&self, methods: &[String]) {
        self.inbox.lock().conversation.expect_methods(methods);
    }

    /// Writes all bytes. Returns false if that failed, because the server may have left.
    pub fn try_send(&self, bytes: &[u8]) -> bool {
        (&*self.stream).write_all(bytes).is_ok()
    }

    /// Writes all bytes.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        (&*self.stream).write_all(bytes).expect("write");
    }

    /// Closes the client's side.
    pub fn shut(&self) {
        // The server may have reset the connection.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Leaves with a reset instead of a FIN.
    pub fn abort(mut self) {
        self.leave();
        let zero = Some(Duration::ZERO);
        SockRef::from(&*self.stream)
            .set_linger(zero)
            .expect("linger");
    }

    /// Stops reading, or goes on. Nothing is read after this returned with `false`.
    pub fn set_reading(&self, reading: bool) {
        self.inbox.lock().paused = !reading;
        self.inbox.changed.notify_all();
    }

    /// Waits until `find` finds something, or until `within` has passed.
    pub fn wait<T>(&self, within: Duration, find: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let seen = self.inbox.lock();
        let (seen, _) = self
            .inbox
            .changed
            .wait_timeout_while(seen, within, |seen| find(seen).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        find(&seen)
    }

    /// Looks at what has come so far.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.inbox.lock())
    }

    /// Waits for the final response number `n`, from 0. Returns none if the connection ends first.
    pub fn try_response(&self, n: usize) -> Option<Response> {
        let found = self.wait(PATIENCE, |seen| {
            let response = seen.conversation.finals().nth(n).cloned();
            let over = seen.end.is_some() || seen.conversation.broken.is_some();
            (response.is_some() || over).then_some(response)
        });
        found.flatten()
    }

    /// Waits for the final response number `n`, from 0.
    #[track_caller]
    pub fn response(&self, n: usize) -> Response {
        match self.try_response(n) {
            Some(response) => response,
            None => panic!("no response {n}: {}", self.look(Seen::describe)),
        }
    }

    /// Sends a request and waits for its response, the `n`th of the connection from 0.
    #[track_caller]
    pub fn exchange(&self, n: usize, request: &[u8]) -> Response {
        self.send(request);
        self.response(n)
    }

    /// Waits for the end of the connection. Returns how and when the server ended it.
    #[track_caller]
    pub fn end(&self) -> (End, Instant) {
        match self.wait(PATIENCE, |seen| seen.end) {
            Some(end) => end,
            None => panic!("the connection stays open: {}", self.look(Seen::describe)),
        }
    }

    /// Waits for the server's FIN, and asserts that `responses` responses and nothing else came.
    #[track_caller]
    pub fn assert_ends(&self, responses: usize) -> Instant {
        let (end, at) = self.end();
        let right = self.look(|seen| {
            let conversation = &seen.conversation;
            end == End::Fin
                && conversation.finals().count() == responses
                && conversation.partial.is_none()
                && conversation.broken.is_none()
        });
        let came = || self.look(Seen::describe);
        assert!(
            right,
            "{responses} responses and a FIN expected: {}",
            came()
        );
        at
    }

    /// Writes until the server resets the connection, which ends the linger that follows its FIN.
    #[track_caller]
    pub fn outlast_linger(&self) {
        until("the linger's end", || (!self.try_send(b"x")).then_some(()));
    }

    /// Ends the reader. The server does not notice.
    fn leave(&mut self) {
        self.inbox.lock().leaving = true;
        self.inbox.changed.notify_all();
        // The shutdown wakes a blocked read and sends nothing.
        let _ = self.stream.shutdown(Shutdown::Read);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Seen {
    /// Describes what came.
    pub fn describe(&self) -> String {
        let conversation = &self.conversation;
        let mut parts: Vec<String> = Vec::new();
        parts.extend(conversation.responses.iter().map(|r| format!("[{r}]")));
        if let Some(broken) = &conversation.broken {
            parts.push(format!("[broken: {}]", broken.why));
        }
        if let Some(partial) = &conversation.partial {
            parts.push(format!("[a part: {partial:?}]"));
        }
        parts.push(match self.end {
            Some((end, _)) => format!("{end:?}"),
            None => "still open".to_owned(),
        });
        if conversation.broken.is_some() {
            parts.push(format!("all: {}", brief(&self.bytes)));
        }
        parts.join(", ")
    }
}

#[derive(Debug, Default)]
struct Inbox {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the end.
    fn fill(&self, mut stream: &TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // The peek leaves a byte in the kernel that arrives while reading is off.
            let look = stream.peek(&mut buffer[..1]);
            let seen = self.lock();
            let seen = self
                .changed
                .wait_while(seen, |seen| seen.paused && !seen.leaving)
                .unwrap_or_else(PoisonError::into_inner);
            if seen.leaving {
                return;
            }
            drop(seen);
            let result = look.and_then(|_| stream.read(&mut buffer));
            let now = Instant::now();
            let mut seen = self.lock();
            let Seen {
                bytes,
                marks,
                conversation,
                end,
                ..
            } = &mut *seen;
            match result {
                Ok(0) => *end = Some((End::Fin, now)),
                Ok(n) => {
                    bytes.extend_from_slice(&buffer[..n]);
                    marks.push((bytes.len(), now));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => *end = Some((End::Reset, now)),
            }
            conversation.advance(bytes, end.map(|(end, _)| end), now);
            let over = end.is_some();
            drop(seen);
            self.changed.notify_all();
            if over {
                return;
            }
        }
    }
}
