//! HTTPS, with a certificate that is renewed while the server runs.
//!
//! Without a certificate at hand: `openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost
//! -keyout key.pem -out cert.pem`, and then `curl --insecure https://127.0.0.1:8443/`.

use std::io;
use std::thread;
use std::time::Duration;

use ebbtide::{Pem, Response, Server, TlsConfig};

fn main() -> io::Result<()> {
    let pairs = [Pem::new("cert.pem", "key.pem")];
    let tls = TlsConfig::from_pem(&pairs)?;
    let renewed = tls.clone(); // the same one
    thread::spawn(move || {
        loop {
            thread::sleep(HOUR);
            if let Err(error) = renewed.reload(&pairs) {
                eprintln!("{error}; the old certificate stays");
            }
        }
    });
    let server = Server::bind("127.0.0.1:8443")?.tls(tls);
    let outcome = server.serve(|_| Response::text(200, "private\n"))?;
    std::process::exit(outcome.code())
}

const HOUR: Duration = Duration::from_secs(3600);
