//! A server on real sockets: bound, configured, run.
//!
//! Puts the engine on the real system. It starts no thread but the one [`Server::spawn`] is asked
//! for, installs no logger, and never exits the process: it returns an [`Outcome`].

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread::{self, JoinHandle};

use crate::app::{
    Config, Content, Drain, Handle, Handler, Inbox, LateRequests, Limits, Outcome, Reply, Report,
    Request, Timeouts, Trigger,
};
use crate::engine::Engine;
use crate::error::Error;
use crate::sys::Sys;
use crate::sys::listen::{ListenOptions, Listener, open_file_limit};
use crate::sys::real::Real;
use crate::sys::signals::{STOP_SIGNALS, Signals};
#[cfg(feature = "rustls")]
use crate::sys::tls::{Tls, TlsConfig};

/// A bound server.
///
/// ```no_run
/// use ebbtide::{Response, Server};
///
/// fn main() -> std::io::Result<()> {
///     let server = Server::bind("127.0.0.1:8080")?;
///     let outcome = server.serve(|request| match request.path() {
///         "/" => Response::text(200, "hello\n"),
///         _ => Response::text(404, "not here\n"),
///     })?;
///     std::process::exit(outcome.code())
/// }
/// ```
#[derive(Debug)]
#[must_use = "a server answers nobody until it is run"]
pub struct Server {
    listeners: Vec<Listener>,
    signals: Option<Signals>,
    config: Config,
    #[cfg(feature = "rustls")]
    tls: Option<TlsConfig>,
}

/// How a server is bound, where [`Server::bind`] is not enough.
#[derive(Debug, Default)]
#[must_use = "a builder opens nothing until it binds"]
pub struct Builder {
    signals: Option<Vec<i32>>,
    options: ListenOptions,
    listeners: Vec<Listener>,
}

impl Builder {
    /// The signals that stop the server, by number; none means that only its [`Handle`] does.
    /// They are caught before the first socket is opened, so that there is no moment at which the
    /// server can be reached and a signal kills it.
    pub fn signals(mut self, numbers: impl IntoIterator<Item = i32>) -> Self {
        self.signals = Some(numbers.into_iter().collect());
        self
    }

    /// How the sockets are opened.
    pub const fn options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }

    /// Listens on a socket that is already open as well: inherited, or opened by the caller.
    pub fn listen(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Opens the sockets, one for each address; the open ones that were given come first.
    ///
    /// # Errors
    ///
    /// A signal cannot be caught, an address cannot be listened on (the error says which and why),
    /// or there is no socket at all.
    pub fn bind(self, addrs: &[SocketAddr]) -> Result<Server, Error> {
        let signals = match self.signals {
            Some(numbers) => Some(Signals::install(&numbers)?),
            None => None,
        };
        let mut listeners = self.listeners;
        for addr in addrs {
            listeners.push(Listener::bind(*addr, &self.options)?);
        }
        if listeners.is_empty() {
            let none = io::ErrorKind::InvalidInput.into();
            return Err(Error::new("listen: no address was given", none));
        }
        Ok(Server {
            listeners,
            signals,
            config: Config::default(),
            #[cfg(feature = "rustls")]
            tls: None,
        })
    }
}

impl Server {
    /// Opens a socket. Of several addresses that a name stands for, the first that can be listened
    /// on is taken.
    ///
    /// SIGTERM and SIGINT drain the server from the moment it runs; [`Server::spawn`] leaves
    /// signals alone. For others use [`Server::builder`].
    ///
    /// # Errors
    ///
    /// The text is no address, or a name that has none (the error says why), or the address cannot
    /// be listened on (it says which and why).
    pub fn bind(addr: impl ToSocketAddrs) -> Result<Self, Error> {
        let addrs = addr
            .to_socket_addrs()
            .map_err(|error| Error::new("resolve the address to listen on", error))?;
        let mut refused = None;
        for addr in addrs {
            match Self::builder().bind(&[addr]) {
                Ok(server) => return Ok(server),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let none = io::ErrorKind::AddrNotAvailable.into();
            Error::new("listen: the name has no address", none)
        }))
    }

    /// Sets more than an address.
    pub fn builder() -> Builder {
        Builder::default()
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
    pub const fn drain(mut self, drain: Drain) -> Self {
        self.config.drain = drain;
        self
    }

    /// Sets what becomes of requests that begin once the draining has.
    pub fn late_requests(mut self, late: LateRequests) -> Self {
        self.config.late_requests = late;
        self
    }

    /// Speaks TLS on every socket. To plain HTTP the answer is then 400.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, tls: TlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Does not drain: the first reason to stop cuts at once. For development.
    pub const fn no_drain(mut self) -> Self {
        self.config.no_drain = true;
        self
    }

    /// Runs this when the server is told to stop, with every socket still as it was: the listener
    /// accepts, and nothing is closed, until it returns. Draining begins then, or at a second
    /// signal.
    ///
    /// Hooks run in order on a thread of their own, are waited for within the drain's one deadline
    /// ([`Drain::timeout`]), and are given up [`HOOK_GRACE`](crate::engine::HOOK_GRACE) milliseconds
    /// after it. One that panics or does not return makes the exit code 4.
    pub fn on_trigger(mut self, hook: impl FnOnce(&Trigger) + Send + 'static) -> Self {
        self.config.hooks.trigger = Some(Box::new(hook));
        self
    }

    /// Runs this when the listener is closed, while requests in flight finish.
    pub fn on_listener_closed(mut self, hook: impl FnOnce() + Send + 'static) -> Self {
        self.config.hooks.listener_closed = Some(Box::new(hook));
        self
    }

    /// Runs this when every connection is closed and every guard released, or at the deadline: the
    /// place to close a database.
    ///
    /// The handler lives until the server's `run` returns, and so do the senders and guards that it
    /// owns. A worker that is joined here must be told to end by a message: its channel does not
    /// close before.
    pub fn on_drained(mut self, hook: impl FnOnce(&Report) + Send + 'static) -> Self {
        self.config.hooks.drained = Some(Box::new(hook));
        self
    }

    /// Runs this last, with what `run` is about to return.
    pub fn on_exit(mut self, hook: impl FnOnce(&Outcome) + Send + 'static) -> Self {
        self.config.hooks.exit = Some(Box::new(hook));
        self
    }

    /// Answers GET and HEAD of this path itself, without the handler: 200 `ok` while the server is
    /// ready, 503 `draining` from the moment it was told to stop, 503 `not ready` while
    /// [`Handle::set_ready`] says so. The path begins with a slash.
    pub fn health(mut self, path: impl Into<String>) -> Self {
        self.config.health = Some(path.into());
        self
    }

    /// The address that the first socket listens on: the real port where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners[0].local_addr() // there is one: `Builder::bind` sees to it
    }

    /// The addresses of every socket, in the order they were given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::local_addr).collect()
    }

    /// Answers requests with a closure, on this thread, until the server has drained.
    ///
    /// # Errors
    ///
    /// As [`Server::run`].
    pub fn serve<R: Into<Reply>>(
        self,
        answer: impl FnMut(&Request<'_>) -> R,
    ) -> io::Result<Outcome> {
        self.run(answer)
    }

    /// Answers requests with a handler, on this thread, until the server has drained.
    ///
    /// The signals that it caught do nothing at all once this has returned, so that one that comes
    /// late does not spoil the exit code. What may take long afterwards is better an
    /// [`on_exit`](Server::on_exit) hook, which a signal and the deadline end.
    ///
    /// # Errors
    ///
    /// The event loop could not be set up, the system's selector failed, or two settings do not go
    /// together: a path for [`health`](Server::health) without a slash, an answer for late requests
    /// that can be sent once only or not at all, room for no connection.
    pub fn run(self, handler: impl Handler) -> io::Result<Outcome> {
        self.run_with(|_| Ok(handler))
    }

    /// As [`Server::run`], with a handler that is made once there is a [`Handle`] to give to it or
    /// to another thread. There is none before the event loop is set up, since a handle wakes it.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and what `make` fails with.
    pub fn run_with<H: Handler>(
        mut self,
        make: impl FnOnce(&Handle) -> io::Result<H>,
    ) -> io::Result<Outcome> {
        if self.signals.is_none() {
            self.signals = Some(Signals::install(&STOP_SIGNALS)?);
        }
        let (sys, parts) = self.into_parts()?;
        let inbox = Inbox::new(sys.waker());
        let handler = make(inbox.handle())?;
        parts.run(sys, handler, inbox)
    }

    /// Answers requests with a handler, on a thread of its own. Signals are left alone unless the
    /// [`Builder`] was given some.
    ///
    /// The compiler must be told what a closure takes: `|request: &Request<'_>| …`.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and when the thread could not be started.
    pub fn spawn(self, handler: impl Handler + Send + 'static) -> io::Result<Running> {
        let addrs = self.local_addrs();
        let (sys, parts) = self.into_parts()?;
        let inbox = Inbox::new(sys.waker());
        let handle = inbox.handle().clone();
        let thread = thread::Builder::new()
            .name("ebbtide".into())
            .spawn(move || parts.run(sys, handler, inbox))?;
        Ok(Running {
            handle,
            addrs,
            thread: Some(thread),
        })
    }

    fn into_parts(mut self) -> Result<(Real, Parts), Error> {
        if let Some(problem) = self.problem() {
            return Err(Error::new(
                format!("run: {problem}"),
                io::ErrorKind::InvalidInput.into(),
            ));
        }
        if self.config.limits.connections == usize::MAX
            && let Some(files) = open_file_limit()
        {
            let files = usize::try_from(files).unwrap_or(usize::MAX);
            let connections = files.saturating_sub(RESERVED_FILES).max(RESERVED_FILES);
            self.config.limits = self.config.limits.connections(connections);
        }
        let parts = Parts {
            config: self.config,
            #[cfg(feature = "rustls")]
            tls: self.tls,
        };
        Ok((Real::new(self.listeners, self.signals)?, parts))
    }
}

impl Server {
    /// What was set and cannot work.
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
            (Some(mistake), _) => Some(format!("the answer for late requests: {mistake}")),
            (None, Content::Source(..) | Content::Tunnel(_)) => {
                Some("a body from a source can be sent once, and not to all late requests".into())
            }
            _ => None,
        }
    }
}

/// What a server is, besides its sockets.
struct Parts {
    config: Config,
    #[cfg(feature = "rustls")]
    tls: Option<TlsConfig>,
}

impl Parts {
    /// The loop.
    fn run(self, sys: Real, handler: impl Handler, inbox: Inbox) -> io::Result<Outcome> {
        #[cfg(feature = "rustls")]
        if let Some(tls) = self.tls {
            return Engine::new(Tls::new(sys, tls), handler, self.config, inbox).run();
        }
        Engine::new(sys, handler, self.config, inbox).run()
    }
}

/// A server on a thread of its own.
///
/// Dropped, it is cut: a test that fails leaves no server behind. To drain it, use
/// [`Running::shutdown`].
#[must_use = "a server on a thread is cut when this is dropped"]
pub struct Running {
    handle: Handle,
    addrs: Vec<SocketAddr>,
    thread: Option<JoinHandle<io::Result<Outcome>>>,
}

impl Running {
    /// The address of the first socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.addrs[0] // there is one: `Builder::bind` sees to it
    }

    /// The addresses of every socket.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// What reaches the server from any thread.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drains the server and waits until it has.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and when the server's thread panicked.
    pub fn shutdown(self) -> io::Result<Outcome> {
        self.handle.shutdown();
        self.wait()
    }

    /// Waits until the server has stopped, for whatever reason.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and when the server's thread panicked.
    pub fn wait(mut self) -> io::Result<Outcome> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(io::Error::other("the server's thread panicked")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.cut();
            // Its outcome is nobody's business any more, nor its panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// Descriptors left to the rest of the process, when the limit on connections is made from the
/// limit on open files.
const RESERVED_FILES: usize = 64;
