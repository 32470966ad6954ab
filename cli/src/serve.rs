//! `ebbtide serve`: the flags put on a server, and what a person at the terminal is told.
//!
//! Knows no sockets.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::admin::{self, Admin};
use super::args::{DEFAULT_LISTEN, LatePolicy, Report, Serve};
use super::connections::ConnectionLog;
use super::demo::Demo;
use super::exit::Ears;
use super::files::Files;
use super::live::Live;
use super::notify::Supervisor;
use super::timer::Timer;
use super::tls::Certificates;
use super::{activation, exit, logger, names, say, screen};
use ebbtide::{
    Builder, Drain, LateRequests, Limits, ListenOptions, Listener, Response, Server, Timeouts,
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
    let files = Files::from_flags(&args.files)?;
    let tls = args.tls.load().map_err(at("--tls-cert, --tls-key"))?;
    let mut server = bind(args, inherited).map_err(at("--listen"))?;
    let connections = ConnectionLog::new(args.log_connections, &args.signals)?;
    if let Some(certificates) = &tls {
        server = server.tls(certificates.config());
    }
    let admin = Admin::bind(&args.admin).map_err(|error| {
        // What is not the system's is about the token.
        let flag = match error.is::<ebbtide::Error>() {
            true => "--admin",
            false => "--admin-token-file",
        };
        at(flag)(error)
    })?;
    let (ears, timer, supervisor, live) = spawn_deaf(|| {
        screen::start()?;
        let ears = Ears::start(&args.signals)?;
        tls.map_or(Ok(()), Certificates::reload_at_hangup)?;
        let supervisor = Supervisor::from_env(args.drain_timeout)?;
        let live = watched.then(Live::start).transpose()?;
        Ok((ears, Timer::start()?, supervisor, live))
    })?;
    if let Some(admin) = &admin {
        log::info!("admin on {}", admin.place());
    }
    let scheme = args.tls.scheme();
    for addr in server.local_addrs() {
        log::info!("listening on {scheme}://{addr}");
    }
    let (pid, signals) = (std::process::id(), names(&args.signals));
    if args.dev {
        log::info!("pid {pid}; {signals} cuts at once, without a drain");
    } else {
        let limit = humantime::format_duration(args.drain_timeout);
        log::info!("pid {pid}; {signals} drains in at most {limit}, a second signal cuts");
    }
    let demo = Demo::new(timer, args.max_body, files);
    if supervisor.is_some() || live.is_some() {
        let tell_supervisor = supervisor.as_ref().map(Supervisor::on_trigger);
        let tell_live = live.as_ref().map(Live::on_trigger);
        server = server.on_trigger(move |trigger| {
            tell_supervisor.into_iter().for_each(|tell| tell(trigger));
            tell_live.into_iter().for_each(|tell| tell(trigger));
        });
    }
    let serving = serving(&server.local_addrs());
    let mut answering = None;
    let outcome = server.run_with(|handle| {
        ears.running(handle.clone());
        if let Some(supervisor) = &supervisor {
            supervisor.ready(serving, handle.clone());
        }
        if let Some(live) = &live {
            live.running(handle.clone());
        }
        spawn_deaf(|| {
            connections.start(handle)?;
            answering = admin.map(|admin| admin.start(handle)).transpose()?;
            Ok(())
        })?;
        Ok(demo)
    })?;
    ears.ending(&outcome);
    drop(live);
    if let Some(answering) = answering {
        admin::end(answering, exit::left(args.drain_timeout, &outcome));
    }
    if let Some(supervisor) = supervisor {
        supervisor.ended(&outcome);
    }
    log::logger().flush();
    match args.report {
        Report::Text => say(&format!("ebbtide: {outcome}")),
        Report::Json => say(&outcome.to_json()),
        Report::None => {}
    }
    screen::finish(exit::last_lines(args.drain_timeout, &outcome));
    ears.delay(&args.exit, args.drain_timeout, &outcome);
    Ok(ExitCode::from(outcome.code() as u8)) // 0 to 4
}

/// What is wrong with the value of a flag, behind its name.
fn at<E: Display>(flag: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{flag}: {error}")
}

fn bind(args: &Serve, inherited: Vec<Listener>) -> Result<Server, ebbtide::Error> {
    let options = ListenOptions {
        reuse_port: args.reuse_port,
        ..ListenOptions::default()
    };
    let listen = match &args.listen[..] {
        [] if inherited.is_empty() => &[DEFAULT_LISTEN],
        listen => listen,
    };
    let builder = Server::builder()
        .signals(args.signals.iter().copied())
        .options(options);
    let server = inherited
        .into_iter()
        .fold(builder, Builder::listen)
        .bind(listen)?;
    let mut limits = Limits::new()
        .head(u32::try_from(args.max_head).unwrap_or(u32::MAX))
        .fields(u16::try_from(args.max_headers).unwrap_or(u16::MAX));
    if let Some(connections) = args.max_connections {
        limits = limits.connections(connections as usize);
    }
    let times = Timeouts::new()
        .head(args.head_timeout)
        .idle(args.idle_timeout)
        .handler(args.handler_timeout);
    let (limits, times) = (args.pace.limit(limits), args.pace.time(times));
    let mut drain = Drain::new()
        .timeout(args.drain_timeout)
        .delay(args.drain_delay)
        .head_timeout(args.drain_head_timeout)
        .idle_grace(args.idle_grace)
        .close_spread(args.close_spread)
        .tunnel_grace(args.farewell.limit)
        .linger(args.linger);
    if let Some(quiet) = args.drain_quiet {
        drain = drain.quiet(quiet);
    }
    let late = match args.late_requests {
        LatePolicy::Serve => LateRequests::Serve,
        LatePolicy::Drop => LateRequests::Drop,
        LatePolicy::Reject(status) => {
            let response = Response::text(status, "the server is stopping\n");
            LateRequests::Reject(response.field("Retry-After", "1"))
        }
    };
    let server = server.health(&args.health_path);
    let server = server
        .limits(limits)
        .timeouts(times)
        .drain(drain)
        .late_requests(late);
    Ok(if args.dev { server.no_drain() } else { server })
}

/// Starts threads that no signal interrupts: the kernel then gives each to the thread of the loop,
/// which so hears it before the requests that came with it, and answers those with a close.
fn spawn_deaf<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

/// What a supervisor shows of a server that runs: `serving on 127.0.0.1:8080, [::1]:8080`.
fn serving(addrs: &[SocketAddr]) -> String {
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    format!("serving on {}", addrs.join(", "))
}
