//! `ebbtide probe`: shows how an HTTP/1.1 server drains.
//!
//! The probe starts the server once for each state, brings connections into that state, sends the
//! signal, and says what each client saw. The probe sees servers only from outside: their command,
//! their port, their responses and their end.

pub(crate) mod args;
mod client;
mod door;
mod failure;
mod preflight;
mod process;
mod report;
mod response;
mod run;
mod script;
mod seen;
mod server;
mod state;
mod table;
mod timeline;
mod verdict;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use nix::sys::signal::Signal;

use self::args::Probe;
use self::failure::Failure;
use self::preflight::Facts;
use self::report::{Level, Line, Report};
use self::run::Plan;
use self::script::Requests;
use self::server::Server;
use self::state::State;
use crate::screen::say;
use crate::values::signal_names;
use crate::{shown, stdout};
use ebbtide::read_file;

/// Probes, prints the result, and returns the exit code.
pub(super) fn probe(args: &Probe) -> ExitCode {
    match carry_out(args) {
        Ok((_, Err(unwritten))) => unwritten,
        Ok((report, _)) if report.ok => ExitCode::SUCCESS,
        Ok((report, _)) if report.skipped() => ExitCode::from(NOTHING_PROBED),
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            say(&format!("ebbtide probe: {failure}"));
            ExitCode::from(NOTHING_PROBED)
        }
    }
}

/// Returns the report, and whether stdout has it.
fn carry_out(args: &Probe) -> Result<(Report, Result<(), ExitCode>), Failure> {
    if let Some(path) = &args.output.timeline {
        // A file that cannot be written must fail before the work.
        write(path, "")?;
    }
    process::take_the_server_along().map_err(Failure::System)?;
    let report = investigate(args)?;
    let text = match args.output.json {
        true => report
            .to_json()
            .map(|json| shown::json(&json).into_owned() + "\n"),
        false => Ok(table::table(&report)),
    };
    let text = text.map_err(|error| Failure::System(error.into()))?;
    let printed = stdout::print(&text);
    if let Some(path) = &args.output.timeline {
        let html = path
            .extension()
            .is_some_and(|extension| extension == "html");
        let picture = match html {
            true => timeline::html(&report),
            false => timeline::svg(&report),
        };
        write(path, &picture)?;
    }
    Ok((report, printed))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let name = || format!("--timeline: {}", path.display());
    fs::write(path, text).map_err(|error| Failure::File(name(), error))
}

/// Probes each state, one server at a time or all on one.
fn investigate(args: &Probe) -> Result<Report, Failure> {
    let mut server = Server::new(args)?;
    let patience = args.course.start_timeout;
    let together = args.course.together || args.server.pid.is_some();
    let states = states(args, together);
    let bar = bar(states.len() + 1);
    bar.set_message("asks what the server can do");
    let (mut process, addr) = server.start(patience)?;
    let mut plan = plan(args, &server, addr)?;
    let settle = args.course.settle;
    let facts = preflight::ask(&plan.requests, &mut process, addr, settle, patience)?;
    bar.inc(1);
    let (skipped, possible): (Vec<_>, Vec<_>) = states
        .iter()
        .partition(|state| facts.why_not(**state).is_some());
    let mut lines: Vec<Line> = skipped.into_iter().map(|s| skip(s, &facts)).collect();
    let all = if possible.is_empty() {
        1
    } else {
        possible.len()
    };
    // The server that answered the questions also serves the first state.
    let mut first = Some((process, addr));
    for group in possible.chunks(if together { all } else { 1 }) {
        bar.set_message(match together {
            true => "all states at once",
            false => group[0].name(),
        });
        let (mut process, addr) = match first.take() {
            Some(first) => first,
            None => server.start(patience)?,
        };
        plan.requests.set_host(addr);
        let seen = run::run(&plan, &mut process, addr, group)?;
        lines.extend(group.iter().map(|s| verdict::line(*s, &seen, &facts)));
        bar.inc(group.len() as u64);
    }
    bar.finish_and_clear();
    Ok(summary(args, server.name(), together, lines))
}

/// Returns the states to probe, in order. A server for all states at once is never empty.
fn states(args: &Probe, together: bool) -> Vec<State> {
    let mut states = match args.course.states.is_empty() {
        true => State::all(),
        false => args.course.states.clone(),
    };
    states.sort_unstable();
    states.dedup();
    states.retain(|state| !together || *state != State::Empty);
    states
}

fn summary(args: &Probe, server: String, together: bool, mut lines: Vec<Line>) -> Report {
    lines.sort_by_key(|line| line.state);
    let worst = lines.iter().map(|line| line.level).max();
    Report {
        server,
        signal: signal_names(&[args.course.signal]),
        deadline_ms: args.course.deadline.as_secs_f64() * 1e3,
        connections: args.course.connections,
        together,
        ok: matches!(worst, Some(Level::Ok | Level::Note)),
        lost: lines.iter().map(|line| line.lost).sum(),
        torn: lines.iter().map(|line| line.torn).sum(),
        states: lines,
    }
}

fn skip(state: State, facts: &Facts) -> Line {
    Line::skipped(state, facts.why_not(state).unwrap_or_default())
}

/// Draws a bar on stderr, at a terminal only.
fn bar(states: usize) -> ProgressBar {
    // A failure clears the bar too: its line must stand alone.
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
    let body = match &args.server.upload_file {
        None => vec![b'x'; BODY],
        Some(path) => {
            let name = || format!("--upload-file: {}", path.display());
            let read = read_file(path, LONGEST_BODY);
            read.map_err(|error| Failure::File(name(), error))?.0
        }
    };
    let path = or_own(&args.server.path, "/plaintext").unwrap_or_else(|| "/".into());
    let mut requests = Requests::new(addr, args.server.header.clone(), path, body);
    requests.slow = or_own(&args.server.slow_path, "/delay/400");
    requests.stream = or_own(&args.server.stream_path, "/stream/10/50");
    requests.upload = or_own(&args.server.upload_path, "/echo");
    Ok(Plan {
        requests,
        signal: Signal::try_from(args.course.signal)
            .map_err(|error| Failure::Signal(error.into()))?,
        group: args.course.group,
        connections: args.course.connections,
        settle: args.course.settle,
        pause: args.course.pause,
        deadline: args.course.deadline,
        start_timeout: args.course.start_timeout,
    })
}

/// The exit code where the probe found nothing to probe.
const NOTHING_PROBED: u8 = 2;

/// The longest file to upload, in bytes, as `ebbtide serve` takes by default: each client holds it.
const LONGEST_BODY: u64 = 64 << 20;

/// The length of an upload without a file, in bytes.
const BODY: usize = 1024;
