//! A complete server: the program on the README's first screen.

use std::process::ExitCode;

use ebbtide::{Response, Server};

fn main() -> ExitCode {
    ebbtide::main(|| {
        Server::bind("127.0.0.1:8080")?.serve(|request| match request.path() {
            "/" => Response::text(200, "hello\n"),
            _ => Response::text(404, "not here\n"),
        })
    })
}
