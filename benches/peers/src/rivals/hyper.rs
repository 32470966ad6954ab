//! hyper on one thread of tokio, with the graceful shutdown of hyper-util.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use super::{runtime, stop_signal};
use crate::net::listen;
use crate::peers::{HELLO, delay};

/// Serves until SIGTERM and the drain after it.
pub(crate) fn hyper(port: u16) -> io::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listen(port)?)?;
        let mut stop = pin!(stop_signal()?);
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    let connection = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(respond));
                    tokio::spawn(graceful.watch(connection));
                }
                () = &mut stop => break,
            }
        }
        drop(listener);
        graceful.shutdown().await;
        Ok(())
    })
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(millis) = delay(request.uri().path()) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(HELLO.as_bytes())));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, text);
    Ok(response)
}
