//! The admin listener through a restart in which two processes live at once: who has its address.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use ebbtide_lab::command as support;
use nix::sys::signal::Signal;
use support::client::Client;
use support::served::{Served, command};
use support::{PATIENCE, get, until};

/// A directory with the admin socket of a test, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ebbtide-succession-{}-{n}", process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    fn flag(&self) -> String {
        format!("--admin=unix:{}", self.socket().display())
    }

    /// Asks the process that listens for its process id. A process answers 503 in the moment between
    /// the end of its loop and its own.
    fn pid(&self) -> i32 {
        until("a status", || {
            pid_by(UnixStream::connect(self.socket()).expect("one of them listens"))
        })
    }

    /// Returns the names of the files, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a directory");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).display().to_string())
            .collect();
        names.sort();
        names
    }

    /// Waits until a successor waits for the socket.
    #[track_caller]
    fn wait_succeeded(&self) {
        until("a successor", || {
            self.names().contains(&"s.next".into()).then_some(())
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks an admin listener for the process id of its server.
fn pid_by(mut stream: impl Read + Write) -> Option<i32> {
    let request = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    assert!(text.starts_with("HTTP/1.1 "), "{text}");
    let (_, rest) = text.split_once("\"pid\":")?;
    rest.split(|char: char| !char.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Starts a server that shares the port of `addr`.
fn shared(addr: SocketAddr, admin: &str) -> Served {
    let addr = addr.to_string();
    Served::start(&["--listen", &addr, "--reuse-port", "--report", "json", admin])
}

/// Returns an address with any free port.
fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Gives a server a request, and tells it to stop. The request holds the drain.
fn drain(served: &Served) -> Client {
    let held = Client::connect(served.addr());
    held.send(&get("/delay/1500"));
    served.settle();
    served.terminate();
    served.log().wait_line("draining", PATIENCE);
    held
}

#[test]
fn of_servers_that_start_at_once_on_one_path_one_runs() {
    for _ in 0..3 {
        let place = Place::new();
        let flags = [&place.flag(), "--report", "json"];
        let all: Vec<_> = (0..12).map(|_| Served::spawn(&flags)).collect();
        let ended = |served: &&Served| !served.is_running();
        until("one that is left", || {
            (all.iter().filter(ended).count() == all.len() - 1).then_some(())
        });
        for served in all.iter().filter(ended) {
            assert_eq!(served.wait_exit(PATIENCE).code, Some(2));
            served.log().wait_line("a process listens there", PATIENCE);
        }
        let winner = all.iter().find(|served| served.is_running()).expect("one");
        winner.log().wait_line("listening on", PATIENCE);
        assert_eq!(place.pid(), winner.pid());
        assert_eq!(place.names(), ["s"]);
        winner.terminate();
        winner.wait_report(0);
        assert_eq!(place.names(), [""; 0]);
    }
}

#[test]
fn r32_the_admin_socket_is_the_successors_as_soon_as_the_old_process_lets_go() {
    let place = Place::new();
    let mut old = shared(any(), &place.flag());
    for _ in 0..2 {
        let new = shared(old.addr(), &place.flag());
        place.wait_succeeded();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // One of the two answers at any time.
            let seen = scope.spawn(|| {
                let mut seen = vec![place.pid()];
                while !over.load(Ordering::Relaxed) {
                    seen.push(place.pid());
                }
                seen
            });
            old.terminate();
            old.wait_report(0);
            until("the successor", || (place.pid() == new.pid()).then_some(()));
            over.store(true, Ordering::Relaxed);
            let mut seen = seen.join().expect("each answers");
            seen.dedup();
            assert_eq!(seen, [old.pid(), new.pid()]);
        });
        new.log().wait_line("is taken over", PATIENCE);
        old = new;
    }
    old.terminate();
    old.wait_report(0);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn r32_a_successor_may_start_while_the_old_process_drains_and_may_end_first() {
    let place = Place::new();
    let old = shared(any(), &place.flag());
    let held = drain(&old);
    let new = shared(old.addr(), &place.flag());
    assert_eq!(place.pid(), old.pid());
    place.wait_succeeded();
    new.terminate();
    new.wait_report(0);
    assert_eq!(place.pid(), old.pid());
    assert_eq!(held.response(0).status, 200);
    drop(held);
    old.wait_report(0);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn r32_a_successor_takes_over_from_a_process_that_was_killed() {
    let place = Place::new();
    let old = shared(any(), &place.flag());
    let new = shared(old.addr(), &place.flag());
    place.wait_succeeded();
    old.signal(Signal::SIGKILL);
    new.log().wait_line("is taken over", PATIENCE);
    assert_eq!(place.pid(), new.pid());
    new.terminate();
    new.wait_report(0);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn r32_the_admin_port_is_shared_too() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("a free port");
    let admin = format!("--admin={port}");
    let ask = || pid_by(TcpStream::connect(port).expect("one of them listens")).expect("a pid");
    let old = shared(any(), &admin);
    assert_eq!(ask(), old.pid());
    let held = drain(&old);
    let new = shared(old.addr(), &admin);
    assert!([old.pid(), new.pid()].contains(&ask()));
    assert_eq!(held.response(0).status, 200);
    drop(held);
    old.wait_report(0);
    assert_eq!(ask(), new.pid());
}

#[test]
fn r32_a_successor_on_a_socket_that_was_passed_on_has_the_admin_socket_too() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let start = || {
        let parent_fd: OwnedFd = socket.try_clone().expect("a descriptor").into();
        let mut shell = Command::new("sh");
        let line = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" serve --report json \"$1\"";
        shell.args(["-c", line]).arg(command()).arg(place.flag());
        let mapping = FdMapping {
            parent_fd,
            child_fd: 3,
        };
        shell.fd_mappings(vec![mapping]).expect("one descriptor");
        Served::launch_and_wait(shell, 1)
    };
    let old = start();
    let held = drain(&old);
    let new = start();
    assert_eq!(place.pid(), old.pid());
    assert_eq!(held.response(0).status, 200);
    drop(held);
    old.wait_report(0);
    until("the successor", || {
        let stream = UnixStream::connect(place.socket()).ok()?;
        (pid_by(stream)? == new.pid()).then_some(())
    });
}
