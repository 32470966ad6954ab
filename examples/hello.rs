//! A complete server: the program on the README's first screen.

use ebbtide::{Response, Server};

fn main() -> std::io::Result<()> {
    let server = Server::bind("127.0.0.1:8080")?;
    let outcome = server.serve(|request| match request.path() {
        "/" => Response::text(200, "hello\n"),
        _ => Response::text(404, "not here\n"),
    })?;
    std::process::exit(outcome.code())
}
