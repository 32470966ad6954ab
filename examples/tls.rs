//! HTTPS, with a certificate that is renewed while the server runs.
//!
//! To try it, make a certificate with `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost
//! -keyout key.pem -out cert.pem`, start the server, and run `curl --insecure
//! https://127.0.0.1:8443/`.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ebbtide::{Outcome, Pem, Response, Server, TlsConfig};

fn main() -> ExitCode {
    ebbtide::main(serve)
}

fn serve() -> Result<Outcome, ebbtide::Error> {
    let pairs = [Pem::new("cert.pem", "key.pem")];
    let tls = TlsConfig::from_pem(&pairs)?;
    let renewed = tls.clone(); // shares the certificates
    thread::spawn(move || {
        loop {
            thread::sleep(HOUR);
            if let Err(error) = renewed.reload(&pairs) {
                eprintln!("{error}; the old certificate stays");
            }
        }
    });
    let server = Server::bind("127.0.0.1:8443")?.tls(tls);
    server.serve(|_| Response::text(200, "private\n"))
}

const HOUR: Duration = Duration::from_secs(3600);
