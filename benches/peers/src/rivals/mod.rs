//! Servers that others wrote in Rust, each as small as its documentation has it, on one worker.
//!
//! The contract of all servers of the bench: `GET /plaintext` is answered with `Hello, World!`,
//! `GET /delay/{ms}` with the same after that long, and SIGTERM begins the drain, where there is one.

mod actix;
mod axum;
mod hyper;
mod may;
mod tiny;

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::actix::actix;
pub(crate) use self::axum::axum;
pub(crate) use self::hyper::hyper;
pub(crate) use self::may::may;
pub(crate) use self::tiny::tiny;

/// A runtime on the thread that called.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Ends when SIGTERM comes. Within a runtime; from the call on, the signal does nothing else.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut stop = signal(SignalKind::terminate())?;
    Ok(async move {
        stop.recv().await;
    })
}
