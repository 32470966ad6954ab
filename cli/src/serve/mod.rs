//! `ebbtide serve`: puts the flags on a server and runs it beside its companions.

mod activation;
pub(crate) mod args;
mod companions;
mod connections;
mod demo;
mod listening;
mod live;
mod notify;
mod signals;
mod timer;
pub(crate) mod tls;
mod websocket;

use std::fmt::Display;
use std::process::ExitCode;

use self::args::{Report, Serve};
use self::companions::Companions;
use self::demo::Demo;
pub(super) use self::signals::LAST_LINES;
use crate::admin::Admin;
use crate::files::Files;
use crate::screen::say;
use crate::values::{LatePolicy, signal_names};
use crate::{logger, screen, shown};
use ebbtide::{
    DrainPolicy, LateRequests, Limits, Listener, Outcome, Response, Server, Signals, Timeouts,
};

/// Serves until a signal, drains, and reports.
///
/// # Errors
///
/// The server could not start, or could not go on.
pub(super) fn serve(args: &Serve) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let watched = screen::open();
    logger::init(watched);
    let inherited = activation::take()?; // while there is no other thread
    let shared = args.listening.reuse_port || !inherited.is_empty();
    // The loop gets each signal that its watcher hears, and the watcher ends a start that hangs:
    // both listen before the first file is opened and before a client can connect.
    let signals = Signals::install(&args.stopping.signals)?;
    let mut companions = Companions::start(args, watched)?;
    let files = Files::from_flags(&args.files)?;
    let tls = args.tls.load().map_err(at("--tls-cert, --tls-key"))?;
    let mut server = bind(args, inherited, signals).map_err(at("--listen"))?;
    if let Some(certificates) = tls {
        server = server.tls(certificates.config());
        companions.reload(certificates)?;
    }
    args.admin.check_beside(&server.local_addrs())?;
    companions.answer(Admin::bind(&args.admin, shared)?);
    log_start(args, &server, &companions);
    let demo = Demo::new(companions.timer(), args.limits.max_body, files);
    let server = companions.hook(server);
    let addrs = server.local_addrs();
    let outcome = server.run_with(|handle| {
        companions.run(handle, &addrs)?;
        Ok(demo)
    })?;
    let watcher = companions.end(&outcome);
    report(args, &outcome);
    screen::finish(signals::last_lines(args.stopping.drain_timeout, &outcome));
    watcher.delay(&args.stopping, &outcome);
    Ok(ExitCode::from(outcome.code() as u8)) // 0 to 4
}

/// Puts the name of a flag before its error.
fn at<E: Display>(flag: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{flag}: {error}")
}

fn bind(args: &Serve, inherited: Vec<Listener>, signals: Signals) -> Result<Server, String> {
    let server = listening::open(&args.listening, inherited)?
        .signals(signals)
        .health(&args.stopping.health_path)
        .limits(limits(args))
        .timeouts(timeouts(args))
        .drain(drain(args))
        .late_requests(late_requests(args));
    Ok(match args.stopping.dev {
        true => server.no_drain(),
        false => server,
    })
}

fn limits(args: &Serve) -> Limits {
    let limits = Limits::new()
        .head(args.limits.max_head)
        .fields(args.limits.max_headers)
        .progress(args.timeouts.min_progress);
    match args.limits.max_connections {
        Some(connections) => limits.connections(connections as usize),
        None => limits,
    }
}

fn timeouts(args: &Serve) -> Timeouts {
    let timeouts = &args.timeouts;
    Timeouts::new()
        .head(timeouts.head_timeout)
        .body(timeouts.body_timeout)
        .write(timeouts.write_timeout)
        .idle(timeouts.idle_timeout)
        .handler(timeouts.handler_timeout)
}

fn drain(args: &Serve) -> DrainPolicy {
    let stopping = &args.stopping;
    let drain = DrainPolicy::new()
        .timeout(stopping.drain_timeout)
        .delay(stopping.drain_delay)
        .head_timeout(stopping.drain_head_timeout)
        .idle_grace(stopping.idle_grace)
        .close_spread(stopping.close_spread)
        .tunnel_grace(stopping.tunnel_grace)
        .linger(stopping.linger);
    match stopping.drain_quiet {
        Some(quiet) => drain.quiet(quiet),
        None => drain,
    }
}

fn late_requests(args: &Serve) -> LateRequests {
    match args.stopping.late_requests {
        LatePolicy::Serve => LateRequests::Serve,
        LatePolicy::Drop => LateRequests::Drop,
        LatePolicy::Reject(status) => {
            let response = Response::text(status, "the server is stopping\n");
            LateRequests::Reject(response.field("Retry-After", "1"))
        }
    }
}

/// Logs the addresses of the server and the signals that stop it.
fn log_start(args: &Serve, server: &Server, companions: &Companions) {
    if let Some(place) = companions.admin_place() {
        log::info!("admin on {place}");
    }
    let scheme = args.tls.scheme();
    for addr in server.local_addrs() {
        log::info!("listening on {scheme}://{addr}");
    }
    let (pid, signals) = (std::process::id(), signal_names(&args.stopping.signals));
    if args.stopping.dev {
        log::info!("pid {pid}; {signals} cuts at once, without a drain");
    } else {
        let limit = humantime::format_duration(args.stopping.drain_timeout);
        log::info!("pid {pid}; {signals} drains in at most {limit}, a second signal cuts");
    }
}

/// Writes the outcome as the last line of stderr.
fn report(args: &Serve, outcome: &Outcome) {
    log::logger().flush();
    match args.output.report {
        Report::Text => say(&format!("ebbtide: {outcome}")),
        Report::Json => say(&shown::json(&outcome.to_json())),
        Report::None => {}
    }
}
