//! TLS on real sockets, against the spawned command: curl, openssl and rustls as clients, files
//! that are wrong, files that change, and the drain, also of what lives longer than an answer.

mod drain;
mod files;
mod others;
mod streams;
use ebbtide_lab::command as support;

use std::sync::LazyLock;

use ebbtide_lab::tls::Identity;
use support::folder::{Folder, flag};
use support::served::Served;

/// Who the command is, unless a test says otherwise.
static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["localhost"]));

/// The command with its certificate, and a report that can be read.
fn serve(folder: &Folder, flags: &[&str]) -> Served {
    let (cert, key) = folder.identity("localhost", &IDENTITY);
    let tls = ["--tls-cert", flag(&cert), "--tls-key", flag(&key)];
    Served::start(&[&["--report", "json"], &tls[..], flags].concat())
}
