//! A server inside your own test: a free port, real requests, and the outcome at the end.
//!
//! Run it as a test with `cargo test --example embedded_test`.

use ebbtide::{Request, Response};

/// Your application's handler, which is tested.
fn answer(request: &Request<'_>) -> Response {
    match (request.method(), request.path()) {
        ("GET", "/greeting") => Response::text(200, "good morning\n"),
        ("POST", "/shout") => Response::text(200, request.body().to_ascii_uppercase()),
        _ => Response::text(404, "not here\n"),
    }
}

fn main() -> std::process::ExitCode {
    ebbtide::main(|| ebbtide::Server::bind("127.0.0.1:8080")?.serve(answer))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::answer;

    fn request(addr: std::net::SocketAddr, text: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(text.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    }

    #[test]
    fn it_greets_and_shouts() -> Result<(), Box<dyn std::error::Error>> {
        let running = ebbtide::Server::bind("127.0.0.1:0")?.spawn(answer)?;
        let addr = running.local_addr().ok_or("no address")?;

        let greeting = "GET /greeting HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        assert!(request(addr, greeting)?.ends_with("\r\n\r\ngood morning\n"));
        let shout = "POST /shout HTTP/1.0\r\nContent-Length: 4\r\n\r\nabcd";
        assert!(request(addr, shout)?.ends_with("\r\n\r\nABCD"));

        // Drains as in production: a lost request would show here.
        let outcome = running.shutdown()?;
        assert_eq!(outcome.code(), 0);
        assert_eq!(outcome.report.answered, 2);
        Ok(())
    }
}
