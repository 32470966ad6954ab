//! A server on real sockets: bound, and set up.
//!
//! Installs no logger, and never exits the process.

mod run;
mod running;

use std::net::{SocketAddr, ToSocketAddrs};

pub use self::running::Running;
use crate::app::{
    Config, Content, DrainPolicy, LateRequests, Limits, Outcome, Report, Timeouts, Trigger,
};
use crate::error::Error;
use crate::sys::listen::{ListenOptions, Listener};
use crate::sys::signals::Signals;
#[cfg(feature = "rustls")]
use crate::sys::tls::TlsConfig;

/// A server that listens, and is set up until it runs.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use ebbtide::{Response, Server};
///
/// fn main() -> ExitCode {
///     ebbtide::main(|| {
///         Server::bind("127.0.0.1:8080")?.serve(|request| match request.path() {
///             "/" => Response::text(200, "hello\n"),
///             _ => Response::text(404, "not here\n"),
///         })
///     })
/// }
/// ```
#[doc(alias = "builder")]
#[doc(alias = "config")]
#[derive(Debug)]
#[must_use = "a server answers nobody until it is run"]
pub struct Server {
    listeners: Vec<Listener>,
    signals: Option<Signals>,
    config: Config,
    #[cfg(feature = "rustls")]
    tls: Option<TlsConfig>,
}

impl Server {
    /// Listens on an address, with the default of every setting. A name may stand for several
    /// addresses: the first usable one is taken.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub fn bind(addr: impl ToSocketAddrs) -> Result<Self, Error> {
        Listener::bind(addr, &ListenOptions::new()).map(Self::from)
    }

    /// Listens on another socket as well.
    #[doc(alias = "socket activation")]
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets the signals that stop the server. Default: SIGTERM and SIGINT, from the moment the
    /// server runs; none for [`Server::spawn`], because a program may run several servers.
    #[doc(alias = "SIGTERM")]
    pub fn signals(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Sets the timeouts.
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// Sets how to stop.
    #[doc(alias = "graceful")]
    #[doc(alias = "shutdown")]
    pub const fn drain(mut self, drain: DrainPolicy) -> Self {
        self.config.drain = drain;
        self
    }

    /// Sets what becomes of requests that begin once the draining has.
    pub fn late_requests(mut self, late: LateRequests) -> Self {
        self.config.late_requests = late;
        self
    }

    /// Speaks TLS on every socket. Plain HTTP is then answered 400.
    #[cfg(feature = "rustls")]
    #[doc(alias = "https")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Skips the drain: the first reason to stop cuts at once. For development.
    pub const fn no_drain(mut self) -> Self {
        self.config.no_drain = true;
        self
    }

    /// Runs a hook when the server is told to stop. The listener accepts, and every socket stays
    /// open, until the hook returns; draining begins then, or at a second signal.
    ///
    /// Hooks run in order on a thread of their own. The server waits for them within the drain's one
    /// deadline ([`DrainPolicy::timeout`]), and 20 ms longer. A hook that panics or does not return makes
    /// the exit code 4.
    pub fn on_trigger(mut self, hook: impl FnOnce(&Trigger) + Send + 'static) -> Self {
        self.config.hooks.trigger = Some(Box::new(hook));
        self
    }

    /// Runs a hook when the listener is closed, while requests in flight finish.
    pub fn on_listener_closed(mut self, hook: impl FnOnce() + Send + 'static) -> Self {
        self.config.hooks.listener_closed = Some(Box::new(hook));
        self
    }

    /// Runs a hook when every connection is closed and every guard released, or at the deadline: the
    /// place to close a database.
    ///
    /// The handler lives until the server's `run` returns, and so do the senders and guards that the
    /// handler owns. A worker that this hook joins must be told to end by a message: its channel
    /// does not close before.
    pub fn on_drained(mut self, hook: impl FnOnce(&Report) + Send + 'static) -> Self {
        self.config.hooks.drained = Some(Box::new(hook));
        self
    }

    /// Runs a hook last, with what `run` is about to return.
    pub fn on_exit(mut self, hook: impl FnOnce(&Outcome) + Send + 'static) -> Self {
        self.config.hooks.exit = Some(Box::new(hook));
        self
    }

    /// Answers GET and HEAD of this path without the handler: 200 `ok` while the server is ready, 503
    /// `draining` from the moment it is told to stop, 503 `not ready` after
    /// [`Handle::set_ready(false)`](crate::Handle::set_ready). The path begins with a slash. Default:
    /// no such path.
    #[doc(alias = "readiness")]
    #[doc(alias = "healthz")]
    pub fn health(mut self, path: impl Into<String>) -> Self {
        self.config.health = Some(path.into());
        self
    }

    /// Returns the first address that the server listens on, with the real port where port 0 was
    /// asked for; `None` when the server has Unix sockets only.
    #[doc(alias = "port")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(Listener::local_addr)
    }

    /// Returns the addresses that the server listens on, in the order they were given, Unix sockets
    /// left out.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let addrs = self.listeners.iter().filter_map(Listener::local_addr);
        addrs.collect()
    }

    /// Returns what was set and cannot work.
    fn problem(&self) -> Option<String> {
        if let Some(path) = self.config.health.as_ref().filter(|p| !p.starts_with('/')) {
            return Some(format!("the health path {path:?} has no slash in front"));
        }
        if self.config.limits.connections == 0 {
            return Some("a limit of 0 connections serves nobody".into());
        }
        let LateRequests::Reject(response) = &self.config.late_requests else {
            return None;
        };
        match (&response.mistake, &response.body) {
            (Some(mistake), _) => Some(format!("the response to late requests: {mistake}")),
            (None, Content::Source(..) | Content::Tunnel(_)) => {
                Some("a body from a source can be sent once, and not to all late requests".into())
            }
            _ => None,
        }
    }
}

/// Listens on a socket that is already open: with [`ListenOptions`] of its own, a Unix socket, or
/// inherited.
impl From<Listener> for Server {
    fn from(listener: Listener) -> Self {
        Self {
            listeners: vec![listener],
            signals: None,
            config: Config::default(),
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }
}
