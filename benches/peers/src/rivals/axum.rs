//! axum on one thread of tokio, with its graceful shutdown.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use super::{runtime, stop_signal};
use crate::net::listen;
use crate::peers::HELLO;

/// Serves until SIGTERM and the drain after it.
pub(crate) fn axum(port: u16) -> io::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listen(port)?)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let app = Router::new()
            .route("/plaintext", get(async || HELLO))
            .route("/delay/{millis}", get(slow));
        axum::serve(listener, app)
            .with_graceful_shutdown(stop_signal()?)
            .await
    })
}

async fn slow(Path(millis): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    HELLO
}
