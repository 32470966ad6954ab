//! The bytes that the client of each state writes, and their order.

use std::net::SocketAddr;

use super::state::State;

/// The requests that a probe sends.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    /// The address in the Host field, unless a field has another.
    host: String,
    fields: Vec<String>,
    pub(super) path: String,
    pub(super) slow: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) upload: Option<String>,
    body: Vec<u8>,
}

/// The actions of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) kind: Kind,
    /// The client first sends one request and reads its response.
    pub(super) warm: bool,
    /// Bytes to write before the signal.
    pub(super) first: Vec<u8>,
    /// Bytes to write some time after the signal.
    pub(super) rest: Vec<u8>,
    /// The number of requests in these bytes.
    pub(super) requests: u64,
}

/// The difference from a client that writes, waits, and writes the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Plain,
    /// Writes while the server is frozen.
    Unread,
    /// Connects and writes while the server is frozen.
    Backlog,
    /// The response must be arriving before the signal.
    Streaming,
    /// Asks again and again on one connection.
    Busy,
    /// Asks again and again, each time on a new connection.
    Connecting,
}

impl Requests {
    pub(super) fn new(addr: SocketAddr, fields: Vec<String>, path: String, body: Vec<u8>) -> Self {
        Self {
            host: addr.to_string(),
            fields,
            path,
            slow: None,
            stream: None,
            upload: None,
            body,
        }
    }

    /// Sets the address of the next server.
    pub(super) fn set_host(&mut self, addr: SocketAddr) {
        self.host = addr.to_string();
    }

    /// Returns a request without a body.
    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        self.head("GET", path, "").into_bytes()
    }

    /// Returns the head and the body of an upload.
    pub(super) fn post(&self, path: &str) -> (Vec<u8>, &[u8]) {
        let length = format!("Content-Length: {}\r\n", self.body.len());
        (self.head("POST", path, &length).into_bytes(), &self.body)
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let named = |field: &String| field.to_ascii_lowercase().starts_with("host:");
        if !self.fields.iter().any(named) {
            head += &format!("Host: {}\r\n", self.host);
        }
        for field in &self.fields {
            head += field;
            head += "\r\n";
        }
        head + more + "\r\n"
    }

    /// Returns the script for a state, whose paths must be given.
    pub(super) fn script(&self, state: State) -> Script {
        let get = |path: &Option<String>| self.get(path.as_deref().unwrap_or(&self.path));
        let fast = self.get(&self.path);
        match state {
            State::Empty | State::Fresh => Script::default(),
            State::Idle => Script::default().warm(),
            State::Unread => Script::asking(fast, 1).of(Kind::Unread).warm(),
            State::HalfHead => Script::asking(fast, 1).halved(0),
            State::HalfNextHead => Script::asking(fast, 1).halved(0).warm(),
            State::HalfBody => {
                let path = self.upload.as_deref().unwrap_or(&self.path);
                let (head, body) = self.post(path);
                Script::asking([&head, body].concat(), 1).halved(head.len())
            }
            State::Handler => Script::asking(get(&self.slow), 1),
            State::Streaming => Script::asking(get(&self.stream), 1).of(Kind::Streaming),
            State::Pipelined => Script::asking([get(&self.slow), fast.clone(), fast].concat(), 3),
            State::Backlog => Script::asking(fast, 1).of(Kind::Backlog),
            State::Busy => Script::asking(fast, 0).of(Kind::Busy),
            State::Connecting => {
                let head = self.head("GET", &self.path, "Connection: close\r\n");
                Script::asking(head.into_bytes(), 0).of(Kind::Connecting)
            }
        }
    }
}

impl Script {
    fn asking(first: Vec<u8>, requests: u64) -> Self {
        Self {
            first,
            requests,
            ..Self::default()
        }
    }

    fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    fn warm(self) -> Self {
        Self { warm: true, ..self }
    }

    /// Keeps half of the bytes after the first `whole` for the time after the signal.
    fn halved(mut self, whole: usize) -> Self {
        self.rest = self.first.split_off(whole + (self.first.len() - whole) / 2);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Requests {
        let mut requests = Requests::new(
            ([127, 0, 0, 1], 1).into(),
            vec![],
            "/".into(),
            b"abcd".to_vec(),
        );
        requests.slow = Some("/slow".into());
        requests.upload = Some("/up".into());
        requests
    }

    #[test]
    fn halves_make_a_whole() {
        let requests = requests();
        for state in [State::HalfHead, State::HalfNextHead] {
            let script = requests.script(state);
            assert!(!script.first.is_empty() && !script.first.ends_with(b"\r\n\r\n"));
            let whole = [script.first, script.rest].concat();
            assert_eq!(whole, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n");
        }
        let script = requests.script(State::HalfBody);
        let head = b"POST /up HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(script.first, [head, &b"ab"[..]].concat());
        assert_eq!(script.rest, b"cd");
    }

    #[test]
    fn a_pipeline_begins_with_what_takes_time() {
        let script = requests().script(State::Pipelined);
        let text = String::from_utf8(script.first).unwrap();
        assert!(text.starts_with("GET /slow "));
        assert_eq!(text.matches("GET ").count() as u64, script.requests);
    }

    #[test]
    fn a_host_of_ones_own_takes_the_place_of_ours() {
        let mut requests = requests();
        requests.fields = vec!["host: example.org".into(), "A: b".into()];
        let expected = b"GET /x HTTP/1.1\r\nhost: example.org\r\nA: b\r\n\r\n";
        assert_eq!(requests.get("/x"), expected);
    }
}
