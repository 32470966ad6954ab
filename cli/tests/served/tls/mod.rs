//! TLS on real sockets, against the spawned command: curl, openssl and rustls as clients, wrong
//! files, files that change, and the drain.

mod drain;
mod files;
mod others;
mod streams;
use ebbtide_lab::command as support;

use std::sync::LazyLock;

use ebbtide_lab::tls::Identity;
use support::folder::{Folder, flag};
use support::served::Served;

/// The identity of the command, unless a test names another.
static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["localhost"]));

/// Starts the command with its certificate, and a report that the tests can read.
fn serve(folder: &Folder, flags: &[&str]) -> Served {
    let (cert, key) = folder.identity("localhost", &IDENTITY);
    let tls = ["--tls-cert", flag(&cert), "--tls-key", flag(&key)];
    Served::start(&[&["--report", "json"], &tls[..], flags].concat())
}
