//! may_minihttp with one worker and no drain: SIGTERM ends the process.

use std::io;
use std::time::Duration;

use may_minihttp::{HttpServer, HttpService, Request, Response};

use crate::peers::{HELLO, delay};

/// Serves until SIGTERM.
pub(crate) fn may(port: u16) -> io::Result<()> {
    may::config().set_workers(1);
    let server = HttpServer(Hello).start(("127.0.0.1", port))?;
    server
        .join()
        .map_err(|_| io::Error::other("the acceptor panicked"))
}

#[derive(Clone)]
struct Hello;

impl HttpService for Hello {
    fn call(
        &mut self,
        request: Request<'_, '_, '_>,
        response: &mut Response<'_>,
    ) -> io::Result<()> {
        if let Some(millis) = delay(request.path()) {
            may::coroutine::sleep(Duration::from_millis(millis));
        }
        response.header("Content-Type: text/plain").body(HELLO);
        Ok(())
    }
}
