//! A complete server: the program on the README's first screen.

use ebbtide::{Outcome, Response, Server};

fn main() -> std::io::Result<Outcome> {
    let server = Server::bind("127.0.0.1:8080")?;
    server.serve(|request| match request.path() {
        "/" => Response::text(200, "hello\n"),
        _ => Response::text(404, "not here\n"),
    })
}
