//! Servers that others wrote in Rust, each as short as in its documentation, with one worker.
//!
//! `peers.rs` describes what every server of the bench must do.

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

/// Returns a runtime on the calling thread.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Returns a future that ends with SIGTERM, which from the call on does nothing else.
///
/// Fails or panics outside a runtime.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut stop = signal(SignalKind::terminate())?;
    Ok(async move {
        stop.recv().await;
    })
}
