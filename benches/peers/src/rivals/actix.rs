//! actix-web with one worker, and its own handling of SIGTERM.

use std::io;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::{App, HttpServer, web};

use crate::net::listen;
use crate::peers::HELLO;

/// Serves until SIGTERM and the drain after it.
pub(crate) fn actix(port: u16) -> io::Result<()> {
    let app = || {
        App::new()
            .route("/plaintext", web::get().to(async || HELLO))
            .route("/delay/{millis}", web::get().to(slow))
    };
    System::new().block_on(
        HttpServer::new(app)
            .workers(1)
            .keep_alive(Duration::from_secs(75)) // the default ends the bench's idle connections
            .listen(listen(port)?)?
            .run(),
    )
}

async fn slow(millis: web::Path<u64>) -> &'static str {
    actix_web::rt::time::sleep(Duration::from_millis(*millis)).await;
    HELLO
}
