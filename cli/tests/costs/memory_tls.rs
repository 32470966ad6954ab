//! What idle TLS connections cost the command as the kernel sees it: thousands of real ones.
//!
//! The client is this process and the server another. The client drops its side of TLS after a
//! response: an idle socket needs no more.

use ebbtide_lab::command as support;

use std::sync::Arc;

use ebbtide_lab::tls::{Identity, TLS12, TLS13};
use support::cost::{anonymous, connections, tell};
use support::folder::{Folder, flag};
use support::served::Served;
use support::tls::Client;
use support::{GET, HELLO};

/// The most connections: a handshake takes ten times as long in a debug build.
const MANY: usize = if cfg!(debug_assertions) {
    2_000
} else {
    10_000
};

/// Connections before the count. By then the process has allocated all that does not grow with
/// them.
const FEW: usize = 500;

/// The most anonymous memory for a connection, in bytes: the 3,500 that the library's `tests/costs`
/// counts, and half of that for the allocator and the gaps that handshakes leave.
const MOST: f64 = 5_000.0;

#[test]
fn idle_tls_connections_cost_little_more_than_rustls() {
    let _alone = super::alone();
    let many = connections(MANY);
    let folder = Folder::new("tls-memory");
    let identity = Identity::new(&["localhost"]);
    let (cert, key) = folder.identity("localhost", &identity);
    for (version, name) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let served = Served::start(&[
            "--report",
            "json",
            "--idle-timeout",
            "10m",
            "--tls-cert",
            flag(&cert),
            "--tls-key",
            flag(&key),
        ]);
        let config = Arc::new(identity.client(version));
        let mut sockets = Vec::with_capacity(many);
        let mut memory = Vec::new();
        for count in [FEW.min(many / 2), many] {
            while sockets.len() < count {
                let mut client = Client::connect(served.addr(), &config);
                assert_eq!(client.exchange(GET).body, HELLO);
                sockets.push(client.into_socket());
            }
            memory.push((count, anonymous(served.pid())));
        }
        let [(few, least), (all, most)] = memory[..] else {
            unreachable!("it was measured twice")
        };
        let each = (most as f64 - least as f64) / (all - few) as f64;
        tell(&format!(
            "TLS {name}: {each:.0} bytes an idle connection from {few} to {all} ({most} in all)"
        ));
        assert!(each <= MOST, "{each} bytes");

        drop(sockets);
        served.terminate();
        let (_, report) = served.wait_report(0);
        assert_eq!(report.answered(), all as i64);
    }
}
