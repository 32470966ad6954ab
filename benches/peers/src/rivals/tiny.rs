//! tiny_http with a thread for each connection, one for responses, and no drain: SIGTERM ends the
//! process.

use std::io;

use tiny_http::{Response, Server};

use crate::net::listen;
use crate::peers::{HELLO, delay, later};

/// Serves until SIGTERM.
pub(crate) fn tiny(port: u16) -> io::Result<()> {
    let listener = listen(port)?;
    listener.set_nonblocking(false)?;
    let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
    let later = later(respond);
    loop {
        let request = server.recv()?;
        match delay(request.url()) {
            Some(millis) => later(millis, request),
            None => respond(request),
        }
    }
}

fn respond(request: tiny_http::Request) {
    // A client that has left needs no response.
    let _ = request.respond(Response::from_string(HELLO));
}
