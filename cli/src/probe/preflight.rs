//! What can be asked of the server at all: whether it speaks HTTP, and what its paths do.
//!
//! Asked one by one before anything is probed, so that a state that cannot be made is skipped with
//! the reason. Knows nothing of signals.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::answer::{Answer, Answers};
use super::process::Process;
use super::script::Requests;
use super::state::{Need, State};

/// What the server can do, and why not.
#[derive(Debug)]
pub(super) struct Facts {
    keep_alive: Result<(), String>,
    slow: Result<(), String>,
    stream: Result<(), String>,
    upload: Result<(), String>,
    freeze: Result<(), String>,
    /// What the fast path is answered with.
    status: u16,
}

impl Facts {
    /// Why the state cannot be made; `None` if it can.
    pub(super) fn why_not(&self, state: State) -> Option<&str> {
        let why_not = |need: &Need| {
            let fact = match need {
                Need::KeepAlive => &self.keep_alive,
                Need::Slow => &self.slow,
                Need::Stream => &self.stream,
                Need::Upload => &self.upload,
                Need::Freeze => &self.freeze,
            };
            fact.as_ref().err().map(String::as_str)
        };
        state.needs().iter().find_map(why_not)
    }

    /// Whether such a status is the answer that was asked for, and not a refusal.
    pub(super) const fn is_right(&self, status: u16) -> bool {
        status < 400 || status == self.status
    }
}

/// Waits until the server accepts connections.
///
/// # Errors
///
/// It ended, or did not come up in that time.
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
        thread::sleep(TURN); // nothing tells when somebody else's server listens
    }
}

/// Asks for each path once.
///
/// # Errors
///
/// It speaks no HTTP, or does not answer in that time.
pub(super) fn ask(
    requests: &Requests,
    process: &mut Process,
    addr: SocketAddr,
    settle: Duration,
    patience: Duration,
) -> Result<Facts, Failure> {
    let asker = Asker { addr, patience };
    let fast = requests.get(&requests.path);
    let told = asker.ask(&fast);
    let told = match (told, process.exit()) {
        (_, Some(exit)) => return Err(Failure::ended(exit, process)),
        (told, None) => told.map_err(|why| Failure::NoHttp {
            what: format!("GET {}", requests.path),
            addr,
            why,
        })?,
    };
    // A server may say that it will close, or may not say it and close all the same.
    let again = [&fast[..], &fast[..]].concat();
    let keep_alive = match told.answer.close || asker.ask_for(&again, 2).is_err() {
        true => Err("the server closes after each answer".into()),
        false => Ok(()),
    };
    let least = 2 * settle;
    let takes_time = |path: &Option<String>, flag, judge: &dyn Fn(&Told) -> Option<String>| {
        let path = path.as_ref().ok_or_else(|| format!("needs {flag}"))?;
        let told = asker
            .ask(&requests.get(path))
            .map_err(|why| format!("GET {path}: {why}"))?;
        match (told.answer.status, judge(&told)) {
            (400.., _) => Err(format!("GET {path} answers {}", told.answer.status)),
            (_, Some(why)) => Err(format!("GET {path} {why}")),
            (_, None) => Ok(()),
        }
    };
    let slow = takes_time(&requests.slow, "--slow-path", &|told| {
        let took = told.answer.begun - told.asked;
        (took < least).then(|| {
            format!(
                "answers after {} ms, too soon; at least {} ms are needed",
                took.as_millis(),
                least.as_millis()
            )
        })
    });
    let stream = takes_time(&requests.stream, "--stream-path", &|told| {
        let took = told.answer.ended - told.answer.begun;
        (took < least).then(|| {
            format!(
                "arrives within {} ms, in one piece; at least {} ms are needed",
                took.as_millis(),
                least.as_millis()
            )
        })
    });
    let upload = match &requests.upload {
        None => Err("needs --upload-path".into()),
        Some(path) => {
            let (mut whole, body) = requests.post(path);
            whole.extend_from_slice(body);
            match asker.ask(&whole) {
                Ok(told) if told.answer.status >= 400 => {
                    Err(format!("POST {path} answers {}", told.answer.status))
                }
                Ok(_) => Ok(()),
                Err(why) => Err(format!("POST {path}: {why}")),
            }
        }
    };
    let freeze = match process.is_ours() {
        true => Ok(()),
        false => Err("needs to freeze the server, which was not started here".into()),
    };
    Ok(Facts {
        keep_alive,
        slow,
        stream,
        upload,
        freeze,
        status: told.answer.status,
    })
}

struct Asker {
    addr: SocketAddr,
    patience: Duration,
}

/// An answer, and when it was asked for.
struct Told {
    asked: Instant,
    answer: Answer,
}

impl Asker {
    fn ask(&self, request: &[u8]) -> Result<Told, String> {
        self.ask_for(request, 1)
    }

    /// The last of so many answers.
    fn ask_for(&self, requests: &[u8], count: u32) -> Result<Told, String> {
        self.exchange(requests, count).map_err(|error| {
            let patience = humantime::format_duration(self.patience);
            match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("no answer in {patience}"),
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
        let mut answers = Answers::new();
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
            let fed = answers.feed(&chunk[..len], now, |answer| {
                found += 1;
                last = Some(answer);
            });
            if fed.is_err() {
                let said = format!("it says \"{}\"", beginning.escape_ascii());
                return Err(io::Error::new(ErrorKind::InvalidData, said));
            }
            if len == 0 {
                found += u32::from(answers.fin(now).is_some_and(|answer| {
                    last = Some(answer);
                    true
                }));
            }
            match last {
                Some(answer) if found >= count => return Ok(Told { asked, answer }),
                _ if len == 0 => {
                    let why = "it closed the connection without an answer";
                    return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
                }
                _ => {}
            }
        }
    }
}

/// For one try to connect.
const CONNECT: Duration = Duration::from_millis(250);

/// Between two tries.
const TURN: Duration = Duration::from_millis(5);

/// How much is shown of what is no HTTP, in bytes.
const SHOWN: usize = 40;
