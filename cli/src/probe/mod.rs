//! `ebbtide probe`: tells how any HTTP/1.1 server drains.
//!
//! Starts the server once for each state, brings connections into that state, sends the signal,
//! and says what each client saw. Knows servers only from outside: by their command, their port,
//! their answers and their end.

mod answer;
pub(crate) mod args;
mod client;
mod preflight;
mod process;
mod report;
mod run;
mod script;
mod state;
mod table;
mod timeline;
mod verdict;

use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use nix::sys::signal::Signal;

use self::args::Probe;
use self::preflight::Facts;
use self::process::{Exit, Process};
use self::report::{Level, Line, Report};
use self::run::{Plan, Seen};
use self::script::Requests;
use self::state::State;
use super::logger::one_line;
use super::{CANNOT, names, say};

/// Probes, prints what was found, and returns the exit code.
pub(super) fn probe(args: &Probe) -> ExitCode {
    match carry_out(args) {
        Ok(report) if report.ok => ExitCode::SUCCESS,
        Ok(report) if report.skipped() => ExitCode::from(CANNOT),
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            say(&format!(
                "ebbtide probe: {}",
                one_line(&failure.to_string())
            ));
            ExitCode::from(CANNOT)
        }
    }
}

/// Why there is nothing to tell.
#[derive(Debug)]
enum Failure {
    /// The command cannot be started.
    Start(String, io::Error),
    /// There is no such process, or it is another user's.
    Find(i32, io::Error),
    /// The server ended before the signal. With its last words.
    Ended(Exit, String),
    /// Nobody accepts connections. With its last words.
    Silent {
        addr: SocketAddr,
        patience: Duration,
        words: String,
        /// Whether the probe has started what should listen there.
        ours: bool,
    },
    /// Somebody did before the server was started.
    Taken(SocketAddr),
    /// What answers is no HTTP server.
    NoHttp {
        what: String,
        addr: SocketAddr,
        why: String,
    },
    Freeze(io::Error),
    Signal(io::Error),
    /// This machine has no more sockets, threads or ports.
    System(io::Error),
    /// A file cannot be read or written.
    File(String, io::Error),
}

impl Failure {
    fn ended(exit: Exit, process: &Process) -> Self {
        Self::Ended(exit, process.last_words())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |f: &mut fmt::Formatter<'_>, words: &str| match words.is_empty() {
            true => Ok(()),
            false => write!(f, "; its last words: {words}"),
        };
        match self {
            Self::Start(program, error) => write!(f, "cannot start {program:?}: {error}"),
            Self::Find(pid, error) => write!(f, "cannot reach process {pid}: {error}"),
            Self::Ended(exit, words) => {
                f.write_str("the server ended before the signal, ")?;
                match (exit.code, exit.signal) {
                    (Some(code), _) => write!(f, "with exit code {code}")?,
                    (_, Some(signal)) => write!(f, "by {}", names(&[signal]))?,
                    (None, None) => f.write_str("by itself")?,
                }
                if exit.code == Some(0) {
                    f.write_str("; it must stay in the foreground")?;
                }
                last(f, words)
            }
            Self::Silent {
                addr,
                patience,
                words,
                ours,
            } => {
                let patience = humantime::format_duration(*patience);
                write!(f, "nothing listens on {addr} after {patience}; ")?;
                f.write_str(match ours {
                    true => "does the command use {port}, $PORT, or should there be --url?",
                    false => "is --url where the process of --pid listens?",
                })?;
                last(f, words)
            }
            Self::Taken(addr) => write!(f, "something listens on {addr} already"),
            Self::NoHttp { what, addr, why } => {
                write!(f, "what listens on {addr} does not answer {what}: {why}")
            }
            Self::Freeze(error) => write!(f, "the server cannot be frozen: {error}"),
            Self::Signal(error) => write!(f, "the signal cannot be sent: {error}"),
            Self::System(error) => write!(f, "out of sockets, threads or ports: {error}"),
            Self::File(name, error) => write!(f, "{name}: {error}"),
        }
    }
}

fn carry_out(args: &Probe) -> Result<Report, Failure> {
    if let Some(path) = &args.timeline {
        // Before the work, since it would be in vain.
        write(path, "")?;
    }
    process::take_the_server_along().map_err(Failure::System)?;
    let report = investigate(args)?;
    let text = match args.json {
        true => report.to_json().map(|json| json + "\n"),
        false => Ok(table::table(&report)),
    };
    let text = text.map_err(|error| Failure::System(error.into()))?;
    // Piped into a pager that was closed: nothing is left to say.
    let _ = io::stdout().write_all(text.as_bytes());
    if let Some(path) = &args.timeline {
        let html = path
            .extension()
            .is_some_and(|extension| extension == "html");
        let picture = match html {
            true => timeline::html(&report),
            false => timeline::svg(&report),
        };
        write(path, &picture)?;
    }
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let name = || format!("--timeline: {}", path.display());
    fs::write(path, text).map_err(|error| Failure::File(name(), error))
}

/// Runs all that is to be run.
fn investigate(args: &Probe) -> Result<Report, Failure> {
    let mut server = Server::new(args)?;
    let together = args.together || args.pid.is_some();
    let mut states = match args.states.is_empty() {
        true => State::all(),
        false => args.states.clone(),
    };
    states.sort_unstable();
    states.dedup();
    if together {
        states.retain(|state| *state != State::Empty);
    }
    let bar = bar(states.len() + 1);
    bar.set_message("asks what it can do");
    let mut first = server.start(args.start_timeout)?;
    let mut plan = plan(args, &server, first.1)?;
    let patience = args.start_timeout;
    let facts = preflight::ask(&plan.requests, &mut first.0, first.1, args.settle, patience)?;
    bar.inc(1);
    let mut first = Some(first);
    let mut probe = |states: &[State]| -> Result<Seen, Failure> {
        // Whoever answered the questions is a server like any other.
        let (mut process, addr) = match first.take() {
            Some(first) => first,
            None => server.start(args.start_timeout)?,
        };
        plan.requests.set_host(addr);
        run::run(&plan, &mut process, addr, states)
    };
    let mut lines: Vec<Line> = Vec::new();
    let (skipped, possible): (Vec<_>, Vec<_>) = states
        .iter()
        .partition(|state| facts.why_not(**state).is_some());
    lines.extend(skipped.into_iter().map(|state| skip(state, &facts)));
    let groups: Vec<Vec<State>> = match together {
        true if possible.is_empty() => Vec::new(),
        true => vec![possible],
        false => possible.into_iter().map(|state| vec![state]).collect(),
    };
    for group in &groups {
        match together {
            true => bar.set_message("all states at once"),
            false => bar.set_message(group[0].name()),
        }
        let seen = probe(group)?;
        lines.extend(
            group
                .iter()
                .map(|state| verdict::line(*state, &seen, &facts)),
        );
        bar.inc(group.len() as u64);
    }
    bar.finish_and_clear();
    lines.sort_by_key(|line| line.state);
    let worst = lines.iter().map(|line| line.level).max();
    Ok(Report {
        server: server.name(),
        signal: names(&[args.signal]),
        deadline_ms: args.deadline.as_secs_f64() * 1e3,
        connections: args.connections,
        together,
        ok: matches!(worst, Some(Level::Ok | Level::Note)),
        lost: lines.iter().map(|line| line.lost).sum(),
        torn: lines.iter().map(|line| line.torn).sum(),
        states: lines,
    })
}

fn skip(state: State, facts: &Facts) -> Line {
    Line::skipped(state, facts.why_not(state).unwrap_or_default())
}

/// On stderr, and at a terminal only.
fn bar(states: usize) -> ProgressBar {
    // Also when something fails, whose line should stand alone.
    let bar = ProgressBar::new(states as u64).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn plan(args: &Probe, server: &Server, addr: SocketAddr) -> Result<Plan, Failure> {
    let own = server.is_own();
    let or_own = |given: &Option<String>, ours: &str| {
        let ours = own.then(|| ours.to_owned());
        given.clone().or(ours)
    };
    let body = match &args.upload_file {
        None => vec![b'x'; BODY],
        Some(path) => fs::read(path)
            .map_err(|error| Failure::File(format!("--upload-file: {}", path.display()), error))?,
    };
    let path = or_own(&args.path, "/plaintext").unwrap_or_else(|| "/".into());
    let mut requests = Requests::new(addr, args.header.clone(), path, body);
    requests.slow = or_own(&args.slow_path, "/delay/400");
    requests.stream = or_own(&args.stream_path, "/stream/10/50");
    requests.upload = or_own(&args.upload_path, "/echo");
    Ok(Plan {
        requests,
        signal: Signal::try_from(args.signal).map_err(|error| Failure::Signal(error.into()))?,
        group: args.group,
        connections: args.connections,
        settle: args.settle,
        pause: args.pause,
        deadline: args.deadline,
        start_timeout: args.start_timeout,
    })
}

/// How to come by a server, as often as one is needed.
#[derive(Debug)]
enum Server {
    /// This program's own.
    Own(String),
    Command(Vec<String>, Option<SocketAddr>),
    Running(i32, SocketAddr),
}

impl Server {
    fn new(args: &Probe) -> Result<Self, Failure> {
        Ok(match (args.pid, args.url) {
            (Some(pid), Some(addr)) => Self::Running(pid, addr),
            (_, url) if !args.command.is_empty() => Self::Command(args.command.clone(), url),
            _ => {
                let own = env::current_exe();
                let own = own.map_err(|error| Failure::Start("ebbtide".into(), error))?;
                Self::Own(own.to_string_lossy().into_owned())
            }
        })
    }

    const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    fn name(&self) -> String {
        match self {
            Self::Own(_) => "ebbtide serve".into(),
            Self::Command(command, _) => command.join(" "),
            Self::Running(pid, addr) => format!("process {pid} on {addr}"),
        }
    }

    /// A server that accepts connections, and where.
    fn start(&mut self, patience: Duration) -> Result<(Process, SocketAddr), Failure> {
        if let Self::Running(pid, addr) = self {
            let mut process = Process::find(*pid).map_err(|error| Failure::Find(*pid, error))?;
            preflight::wait(&mut process, *addr, patience)?;
            return Ok((process, *addr));
        }
        let free = free_port().map_err(Failure::System)?;
        let (command, addr) = match self {
            Self::Own(own) => {
                let listen = "127.0.0.1:{port}";
                let command = [own, "serve", "--listen", listen, "--report", "none"];
                (command.map(str::to_owned).to_vec(), free)
            }
            Self::Command(command, url) => (command.clone(), url.unwrap_or(free)),
            Self::Running(_, addr) => (Vec::new(), *addr),
        };
        if TcpStream::connect(addr).is_ok() {
            return Err(Failure::Taken(addr));
        }
        let port = addr.port().to_string();
        let command: Vec<_> = command
            .iter()
            .map(|word| word.replace("{port}", &port))
            .collect();
        let started = Process::start(&command, addr.port());
        let mut process = started.map_err(|error| Failure::Start(command[0].clone(), error))?;
        preflight::wait(&mut process, addr, patience)?;
        Ok((process, addr))
    }
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Of an upload, in bytes.
const BODY: usize = 1024;
