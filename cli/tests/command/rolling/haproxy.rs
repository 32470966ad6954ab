//! Two processes behind HAProxy with the configuration of `examples/deploy`, restarted in turn.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::thread;
use std::time::Instant;

use ebbtide_needs::needs;

use super::load::{Connections, Load};
use super::support::PATIENCE;
use super::support::child::{Child, output};
use super::support::served::Served;
use super::{assert_nothing_lost, stop, stopped};

const RESTARTS: usize = 4;

#[needs("HAProxy", "haproxy -v")]
#[test]
fn r32_servers_restarted_in_turn_behind_haproxy() {
    let [front, one, two] = free_addresses();
    let start = |addr: SocketAddr| {
        let listen = addr.to_string();
        Served::start(&[
            "--listen",
            &listen,
            "--drain-delay",
            "2s",
            "--report",
            "json",
        ])
    };
    let mut servers = [start(one), start(two)];
    let proxy = Proxy::start(front, one, two);
    proxy.wait_servers(2, thread::yield_now);

    let load = Load::start(front, &[(8, Connections::Kept), (2, Connections::New)]);
    let mut answered = 0;
    for n in 0..RESTARTS {
        load.wait_more(1_000);
        servers[n % 2].terminate();
        // The checks take the server out of rotation before it refuses anybody.
        proxy.wait_servers(1, || load.wait_more(20));
        assert!(servers[n % 2].is_running(), "the delay is too short");
        answered += stopped(&servers[n % 2]);
        servers[n % 2] = start([one, two][n % 2]);
        // Health checks decide, as they do in a rollout.
        proxy.wait_servers(2, || load.wait_more(20));
    }
    load.wait_more(1_000);
    let seen = load.stop();
    assert_nothing_lost("HAProxy", &seen, 10_000);
    drop(proxy);
    answered += servers.iter().map(stop).sum::<i64>();
    // The health checks were answered too.
    assert!(answered >= seen.answered as i64, "{answered}, {seen:?}");
}

/// Returns addresses whose ports were free a moment ago.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    sockets.map(|socket| socket.local_addr().expect("an address"))
}

/// HAProxy.
struct Proxy {
    _child: Child,
    dir: PathBuf,
}

impl Proxy {
    fn start(front: SocketAddr, one: SocketAddr, two: SocketAddr) -> Self {
        let dir = std::env::temp_dir().join(format!("ebbtide-haproxy-{}", id()));
        fs::create_dir(&dir).expect("a directory of our own");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy/haproxy.cfg");
        let example = fs::read_to_string(example).expect("the example is there");
        let socket = dir.join("admin.sock");
        let text = [
            ("127.0.0.1:8080", front.to_string()),
            ("127.0.0.1:8081", one.to_string()),
            ("127.0.0.1:8082", two.to_string()),
            ("/run/haproxy/admin.sock", socket.display().to_string()),
        ]
        .into_iter()
        .fold(example, |text, (from, to)| text.replace(from, &to));
        let config = dir.join("haproxy.cfg");
        fs::write(&config, text).expect("write");
        let check = output(Command::new("haproxy").args(["-c", "-f"]).arg(&config));
        let said = String::from_utf8_lossy(&check.stderr);
        assert!(
            check.status.success() && !said.contains("WARNING"),
            "{said}"
        );
        // In the foreground, HAProxy is a child of the test, which can kill it.
        let child = Child::start(
            Command::new("haproxy")
                .args(["-db", "-f"])
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(File::create(dir.join("log")).expect("a file")),
        );
        Self { _child: child, dir }
    }

    /// Waits until this number of servers is in rotation, with `pause` between the looks.
    fn wait_servers(&self, count: usize, pause: impl Fn()) {
        let start = Instant::now();
        while self.servers_up() != Some(count) {
            let log = || fs::read_to_string(self.dir.join("log"));
            assert!(
                start.elapsed() < PATIENCE,
                "{count} servers expected: {:?}",
                log()
            );
            pause();
        }
    }

    /// Returns how many servers are in rotation; `None` while HAProxy starts.
    fn servers_up(&self) -> Option<usize> {
        let mut socket = UnixStream::connect(self.dir.join("admin.sock")).ok()?;
        socket.write_all(b"show stat\n").ok()?;
        let mut table = String::new();
        socket.read_to_string(&mut table).ok()?;
        // Each server has a line: backend, name, and further on the state and the last check.
        let up = |line: &&str| {
            let values: Vec<_> = line.split(',').collect();
            let checked = values.contains(&"L7OK");
            line.starts_with("ebbtide,") && checked && values.contains(&"UP")
        };
        Some(table.lines().filter(up).count())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The rest stays in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.dir);
    }
}
