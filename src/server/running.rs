//! A server on a thread of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use crate::app::{Handle, Outcome};
use crate::error::Error;

/// A server on a thread of its own.
///
/// Dropping it cuts the server, so that a test that fails leaves none behind;
/// [`Running::shutdown`] drains the server.
#[must_use = "a server on a thread is cut when this is dropped"]
pub struct Running {
    pub(super) handle: Handle,
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) thread: Option<JoinHandle<Result<Outcome, Error>>>,
}

impl Running {
    /// Returns the first address that the server listens on; `None` when it has Unix sockets only.
    #[doc(alias = "port")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.first().copied()
    }

    /// Returns the addresses that the server listens on, Unix sockets left out.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Returns what reaches the server from any thread.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Drains the server and waits until it has ended.
    ///
    /// # Errors
    ///
    /// As [`Server::run`](crate::Server::run), and when the server's thread panicked.
    #[doc(alias = "graceful")]
    #[doc(alias = "stop")]
    pub fn shutdown(self) -> Result<Outcome, Error> {
        self.handle.shutdown();
        self.wait()
    }

    /// Waits until the server has ended, for whatever reason.
    ///
    /// # Errors
    ///
    /// As [`Server::run`](crate::Server::run), and when the server's thread panicked.
    #[doc(alias = "join")]
    pub fn wait(mut self) -> Result<Outcome, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(Error::new(
                "wait for the server",
                io::Error::other("its thread panicked"),
            )),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.cut();
            // Nobody asks for the outcome any more, nor for a panic.
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
