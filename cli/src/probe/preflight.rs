//! Asks what the server can do: whether it speaks HTTP, and what its paths do.
//!
//! The questions come one by one before the probe. The probe then skips an impossible state and
//! gives the reason.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::process::Process;
use super::response::{Response, Responses};
use super::script::Requests;
use super::state::{Need, State};

/// The abilities of the server, and the reason for each missing one.
#[derive(Debug)]
pub(super) struct Facts {
    facts: Vec<(Need, Fact)>,
    /// The status of the fast path.
    status: u16,
}

/// A need that is met, or the reason why it is not.
type Fact = Result<(), String>;

impl Facts {
    /// Returns the reason why the state cannot be made; `None` if it can.
    pub(super) fn why_not(&self, state: State) -> Option<&str> {
        let mut needed = self.facts.iter().filter(|(n, _)| state.needs().contains(n));
        needed.find_map(|(_, fact)| fact.as_ref().err().map(String::as_str))
    }

    /// Returns whether a status is the one that the path should have, and no refusal.
    pub(super) const fn is_right(&self, status: u16) -> bool {
        status < 400 || status == self.status
    }
}

/// Waits until the server accepts connections.
///
/// # Errors
///
/// The server ended, or did not come up in that time.
pub(super) fn wait(
    process: &mut Process,
    addr: SocketAddr,
    patience: Duration,
) -> Result<(), Failure> {
    let limit = Instant::now() + patience;
    loop {
        if let Some(exit) = process.exit() {
            return Err(Failure::ended(exit, process));
        }
        if TcpStream::connect_timeout(&addr, CONNECT).is_ok() {
            return Ok(());
        }
        if Instant::now() >= limit {
            return Err(Failure::Silent {
                addr,
                patience,
                words: process.last_words(),
                ours: process.is_ours(),
            });
        }
        thread::sleep(TURN); // no event tells when another process listens
    }
}

/// Asks for each path once.
///
/// # Errors
///
/// The server speaks no HTTP, or does not answer in that time.
pub(super) fn ask(
    requests: &Requests,
    process: &mut Process,
    addr: SocketAddr,
    settle: Duration,
    patience: Duration,
) -> Result<Facts, Failure> {
    let asker = Asker {
        requests,
        addr,
        patience,
        least: 2 * settle,
    };
    let fast = requests.get(&requests.path);
    let told = match (asker.ask(&fast), process.exit()) {
        (_, Some(exit)) => return Err(Failure::ended(exit, process)),
        (told, None) => told.map_err(|why| Failure::NoHttp {
            what: format!("GET {}", requests.path),
            addr,
            why,
        })?,
    };
    let freeze = match process.is_ours() {
        true => Ok(()),
        false => Err("needs to freeze the server, which was not started here".into()),
    };
    Ok(Facts {
        facts: vec![
            (Need::KeepAlive, asker.keep_alive(&fast, &told)),
            (Need::Slow, asker.slow()),
            (Need::Stream, asker.stream()),
            (Need::Upload, asker.upload()),
            (Need::Freeze, freeze),
        ],
        status: told.response.status,
    })
}

/// Asks the questions, each on a connection of its own.
struct Asker<'a> {
    requests: &'a Requests,
    addr: SocketAddr,
    patience: Duration,
    /// The least time of a response that must be under way when the signal comes.
    least: Duration,
}

/// A response, and the time of its request.
struct Told {
    asked: Instant,
    response: Response,
}

impl Asker<'_> {
    /// Asks twice: a server may announce its close, or close unannounced.
    fn keep_alive(&self, fast: &[u8], told: &Told) -> Fact {
        let closes = told.response.close || self.ask_for(&[fast, fast].concat(), 2).is_err();
        match closes {
            true => Err("the server closes after each response".into()),
            false => Ok(()),
        }
    }

    fn slow(&self) -> Fact {
        let (path, told) = self.get(&self.requests.slow, "--slow-path")?;
        let took = told.response.begun - told.asked;
        self.takes_time(path, took, "answers after", "too soon")
    }

    fn stream(&self) -> Fact {
        let (path, told) = self.get(&self.requests.stream, "--stream-path")?;
        let took = told.response.ended - told.response.begun;
        self.takes_time(path, took, "arrives within", "in one piece")
    }

    fn upload(&self) -> Fact {
        let path = self.requests.upload.as_ref();
        let path = path.ok_or("needs --upload-path")?;
        let (mut whole, body) = self.requests.post(path);
        whole.extend_from_slice(body);
        self.ask_well(&format!("POST {path}"), &whole).map(|_| ())
    }

    fn get<'p>(&self, path: &'p Option<String>, flag: &str) -> Result<(&'p str, Told), String> {
        let path = path.as_ref().ok_or_else(|| format!("needs {flag}"))?;
        let told = self.ask_well(&format!("GET {path}"), &self.requests.get(path))?;
        Ok((path, told))
    }

    /// Asks, and takes a refusal for a failure.
    fn ask_well(&self, what: &str, request: &[u8]) -> Result<Told, String> {
        match self.ask(request) {
            Ok(told) if told.response.status >= 400 => {
                Err(format!("{what} answers {}", told.response.status))
            }
            told => told.map_err(|why| format!("{what}: {why}")),
        }
    }

    fn takes_time(&self, path: &str, took: Duration, how: &str, why: &str) -> Fact {
        let (took, least) = (took.as_millis(), self.least.as_millis());
        match took < least {
            true => Err(format!(
                "GET {path} {how} {took} ms, {why}; at least {least} ms are needed"
            )),
            false => Ok(()),
        }
    }

    fn ask(&self, request: &[u8]) -> Result<Told, String> {
        self.ask_for(request, 1)
    }

    /// Returns the last of `count` responses.
    fn ask_for(&self, requests: &[u8], count: u32) -> Result<Told, String> {
        self.exchange(requests, count).map_err(|error| {
            let patience = humantime::format_duration(self.patience);
            match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no response in {patience}"),
                _ => error.to_string(),
            }
        })
    }

    fn exchange(&self, requests: &[u8], count: u32) -> io::Result<Told> {
        let mut stream = TcpStream::connect_timeout(&self.addr, self.patience)?;
        stream.set_write_timeout(Some(self.patience))?;
        let asked = Instant::now();
        let limit = asked + self.patience;
        stream.write_all(requests)?;
        let mut responses = Responses::new();
        let mut last = None;
        let mut found = 0;
        let mut chunk = [0; 16 * 1024];
        let mut beginning = Vec::new();
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left))?;
            let len = match stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            let now = Instant::now();
            beginning.extend_from_slice(&chunk[..len.min(SHOWN - beginning.len())]);
            let fed = responses.feed(&chunk[..len], now, |response| {
                found += 1;
                last = Some(response);
            });
            if fed.is_err() {
                let said = format!("it says \"{}\"", beginning.escape_ascii());
                return Err(io::Error::new(ErrorKind::InvalidData, said));
            }
            if len == 0
                && let Some(response) = responses.fin(now)
            {
                found += 1;
                last = Some(response);
            }
            match last {
                Some(response) if found >= count => return Ok(Told { asked, response }),
                _ if len == 0 => {
                    let why = "it closed the connection without a response";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
                }
                _ => {}
            }
        }
    }
}

/// The time of one try to connect.
const CONNECT: Duration = Duration::from_millis(250);

/// The pause between two tries.
const TURN: Duration = Duration::from_millis(5);

/// The bytes to show of something that is no HTTP.
const SHOWN: usize = 40;
