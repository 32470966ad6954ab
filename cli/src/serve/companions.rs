//! The companions of the server: threads that watch signals, tell the supervisor, draw the drain,
//! log connections and run the admin listener.
//!
//! Every companion starts before the server runs, gets the server's handle, and ends with the
//! server's outcome.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::args::Serve;
use super::connections::ConnectionLog;
use super::live::Live;
use super::notify::Supervisor;
use super::signals::{self, SignalWatcher};
use super::timer::Timer;
use super::tls::Certificates;
use crate::admin::args::Place;
use crate::admin::{self, Admin};
use ebbtide::{Handle, Outcome, Running, Server};

/// The companions of a server.
#[derive(Debug)]
pub(super) struct Companions {
    drain_timeout: Duration,
    watcher: SignalWatcher,
    timer: Timer,
    supervisor: Option<Supervisor>,
    live: Option<Live>,
    connections: Option<ConnectionLog>,
    admin: Option<Admin>,
    answering: Option<Running>,
}

impl Companions {
    /// Starts the threads that exist before the server runs.
    ///
    /// # Errors
    ///
    /// The system cannot catch a signal or start a thread.
    pub(super) fn start(args: &Serve, watched: bool) -> io::Result<Self> {
        let (signals, drain_timeout) = (&args.stopping.signals, args.stopping.drain_timeout);
        spawn_deaf(|| {
            crate::screen::start()?;
            let watcher = SignalWatcher::start(signals)?;
            Ok(Self {
                drain_timeout,
                watcher,
                supervisor: Supervisor::from_env(drain_timeout)?,
                live: watched.then(Live::start).transpose()?,
                timer: Timer::start()?,
                connections: Some(ConnectionLog::new(args.output.log_connections, signals)?),
                admin: None,
                answering: None,
            })
        })
    }

    /// Reads the certificates again at SIGHUP.
    ///
    /// # Errors
    ///
    /// The system cannot catch the signal or start a thread.
    pub(super) fn reload(&self, certificates: Certificates) -> io::Result<()> {
        spawn_deaf(|| certificates.reload_at_hangup())
    }

    /// Takes the admin listener, which answers once the server runs.
    pub(super) fn answer(&mut self, admin: Option<Admin>) {
        self.admin = admin;
    }

    /// Returns the timer that answers the demo's delayed requests.
    pub(super) fn timer(&self) -> Timer {
        self.timer.clone()
    }

    /// Returns the place of the admin listener, with the port it got.
    pub(super) fn admin_place(&self) -> Option<Place> {
        self.admin.as_ref().map(Admin::place)
    }

    /// Makes the server tell the companions that it stops.
    pub(super) fn hook(&self, server: Server) -> Server {
        if self.supervisor.is_none() && self.live.is_none() {
            return server;
        }
        let tell_supervisor = self.supervisor.as_ref().map(Supervisor::on_trigger);
        let tell_live = self.live.as_ref().map(Live::on_trigger);
        server.on_trigger(move |trigger| {
            tell_supervisor.into_iter().for_each(|tell| tell(trigger));
            tell_live.into_iter().for_each(|tell| tell(trigger));
        })
    }

    /// Gives each companion the handle of a server that is about to run.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn run(&mut self, handle: &Handle, addrs: &[SocketAddr]) -> io::Result<()> {
        self.watcher.running(handle.clone());
        if let Some(supervisor) = &self.supervisor {
            supervisor.ready(serving(addrs), handle.clone());
        }
        if let Some(live) = &self.live {
            live.running(handle.clone());
        }
        spawn_deaf(|| {
            if let Some(connections) = self.connections.take() {
                connections.start(handle)?;
            }
            self.answering = (self.admin.take().map(|admin| admin.start(handle))).transpose()?;
            Ok(())
        })
    }

    /// Ends each companion once the server has ended, except the watcher: a signal may still end
    /// the exit delay.
    pub(super) fn end(self, outcome: &Outcome) -> SignalWatcher {
        self.watcher.ending(outcome);
        drop(self.live);
        if let Some(answering) = self.answering {
            admin::end(answering, signals::left(self.drain_timeout, outcome));
        }
        if let Some(supervisor) = self.supervisor {
            supervisor.ended(outcome);
        }
        self.watcher
    }
}

/// Starts threads that no signal interrupts. The kernel then gives each signal to the loop's
/// thread. The loop learns of the signal before it serves the requests that came with it, and
/// answers them with a close.
fn spawn_deaf<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

/// Returns the status that a supervisor shows: `serving on 127.0.0.1:8080, [::1]:8080`.
fn serving(addrs: &[SocketAddr]) -> String {
    let addrs: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    format!("serving on {}", addrs.join(", "))
}
