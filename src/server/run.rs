//! Runs a server: puts the engine on the real system.
//!
//! Starts no thread except the one that [`Server::spawn`] is asked for.

use std::io;
use std::thread;

use crate::app::{Config, Handle, Handler, Inbox, Outcome, Reply, Request};
use crate::engine::Engine;
use crate::error::Error;
use crate::server::{Running, Server};
use crate::sys::Sys;
use crate::sys::listen::open_file_limit;
use crate::sys::real::Real;
use crate::sys::signals::{STOP_SIGNALS, Signals};
#[cfg(feature = "rustls")]
use crate::sys::tls::{Tls, TlsConfig};

impl Server {
    /// Answers requests with a closure, on this thread, until the server has drained. Does the same
    /// as [`Server::run`], but tells the compiler what the closure takes.
    ///
    /// # Errors
    ///
    /// As [`Server::run`].
    pub fn serve<R: Into<Reply>>(
        self,
        answer: impl FnMut(&Request<'_>) -> R,
    ) -> Result<Outcome, Error> {
        self.run(answer)
    }

    /// Answers requests with a handler, on this thread, until the server has drained.
    ///
    /// Afterwards the signals that the server caught do nothing at all, so that a late one does not
    /// spoil the exit code. Long work at the end belongs into an [`on_exit`](Server::on_exit) hook,
    /// which a signal and the deadline end.
    ///
    /// # Errors
    ///
    /// A signal cannot be caught, the event loop cannot be set up, the system's selector failed, or
    /// two settings do not go together: a path for [`health`](Server::health) without a slash, a
    /// response to late requests that can be sent once only or not at all, room for no connection.
    pub fn run(self, handler: impl Handler) -> Result<Outcome, Error> {
        self.run_with(|_| Ok(handler))
    }

    /// Answers requests as [`Server::run`] does, with a handler that `make` returns. `make` gets the
    /// [`Handle`], which exists only once the event loop is set up, because a handle wakes the loop.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and what `make` fails with.
    pub fn run_with<H: Handler>(
        mut self,
        make: impl FnOnce(&Handle) -> Result<H, Error>,
    ) -> Result<Outcome, Error> {
        if self.signals.is_none() {
            self.signals = Some(Signals::install(&STOP_SIGNALS)?);
        }
        self.ready(make)?.run()
    }

    /// Answers requests with a handler, on a thread of its own. Signals are left alone unless
    /// [`Server::signals`] set some.
    ///
    /// A closure must say what it takes: `|request: &Request<'_>| …`.
    ///
    /// # Errors
    ///
    /// As [`Server::run`], and when the thread cannot be started.
    #[doc(alias = "thread")]
    pub fn spawn(self, handler: impl Handler + Send + 'static) -> Result<Running, Error> {
        self.spawn_with(|_| Ok(handler))
    }

    /// Answers requests as [`Server::spawn`] does, with a handler that `make` returns. `make` runs on
    /// the calling thread, and gets the [`Handle`].
    ///
    /// # Errors
    ///
    /// As [`Server::spawn`], and what `make` fails with.
    pub fn spawn_with<H: Handler + Send + 'static>(
        self,
        make: impl FnOnce(&Handle) -> Result<H, Error>,
    ) -> Result<Running, Error> {
        let addrs = self.local_addrs();
        let ready = self.ready(make)?;
        let handle = ready.inbox.handle().clone();
        let thread = thread::Builder::new()
            .name("ebbtide".into())
            .spawn(move || ready.run())
            .map_err(|error| Error::new("start the server's thread", error))?;
        Ok(Running {
            handle,
            addrs,
            thread: Some(thread),
        })
    }

    /// Sets up the event loop, and makes the handler.
    fn ready<H>(
        mut self,
        make: impl FnOnce(&Handle) -> Result<H, Error>,
    ) -> Result<Ready<H>, Error> {
        if let Some(problem) = self.problem() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(Error::new(format!("run: {problem}"), kind.into()));
        }
        if self.config.limits.connections == usize::MAX
            && let Some(files) = open_file_limit()
        {
            let files = usize::try_from(files).unwrap_or(usize::MAX);
            let connections = files.saturating_sub(RESERVED_FILES).max(RESERVED_FILES);
            self.config.limits = self.config.limits.connections(connections);
        }
        let sys = Real::new(self.listeners, self.signals)?;
        let inbox = Inbox::new(sys.waker());
        Ok(Ready {
            sys,
            handler: make(inbox.handle())?,
            inbox,
            config: self.config,
            #[cfg(feature = "rustls")]
            tls: self.tls,
        })
    }
}

/// All that the loop needs.
struct Ready<H> {
    sys: Real,
    handler: H,
    inbox: Inbox,
    config: Config,
    #[cfg(feature = "rustls")]
    tls: Option<TlsConfig>,
}

impl<H: Handler> Ready<H> {
    fn run(self) -> Result<Outcome, Error> {
        self.turn()
            .map_err(|error| Error::new("wait for events", error))
    }

    fn turn(self) -> io::Result<Outcome> {
        self.sys.unblock_signals()?;
        #[cfg(feature = "rustls")]
        if let Some(tls) = self.tls {
            let sys = Tls::new(self.sys, tls);
            return Engine::new(sys, self.handler, self.config, self.inbox).run();
        }
        Engine::new(self.sys, self.handler, self.config, self.inbox).run()
    }
}

/// How many descriptors are left to the rest of the process, when the limit on connections is made
/// from the limit on open files.
const RESERVED_FILES: usize = 64;
