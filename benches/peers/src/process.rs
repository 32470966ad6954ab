//! Runs a server as a process, and kills what is left of it.
//!
//! Knows no workloads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cpu::{self, Cpus};
use crate::peers::{Peer, Place, out_dir};

/// A running server.
pub(crate) struct Served {
    child: Child,
    pub(crate) port: u16,
    stop: Signal,
    /// Directory of the process; its file `log` has standard output and error.
    pub(crate) dir: PathBuf,
}

impl Served {
    /// Starts a server on its processor, and waits for the first response. An `upstream` of 0 is
    /// none.
    pub(crate) fn start(peer: &Peer, upstream: u16, cpus: Cpus) -> Result<Self, String> {
        Self::start_as(peer, upstream, cpus, |command, _| command)
    }

    /// Starts a server as `start` does, with the command that `change` makes for the directory.
    pub(crate) fn start_as(
        peer: &Peer,
        upstream: u16,
        cpus: Cpus,
        change: impl FnOnce(Command, &Path) -> Command,
    ) -> Result<Self, String> {
        let port = free_port().ok_or("no free port")?;
        let dir = out_dir().join(format!("run/{port}"));
        fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let dir = dir.canonicalize().map_err(|error| error.to_string())?;
        let place = Place {
            port,
            upstream: if upstream == 0 { NO_UPSTREAM } else { upstream },
            dir: &dir,
        };
        let mut command = change(peer.command(&place)?, &dir);
        let log = File::create(dir.join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // A child inherits the affinity of its parent.
        pinned(cpus.server)?;
        let child = command.spawn();
        pinned(cpus.client)?;
        let child = child.map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let mut served = Self {
            child,
            port,
            stop: peer.stop,
            dir,
        };
        served.settle()?;
        Ok(served)
    }

    /// Waits for the first response.
    fn settle(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.ended() {
                return Err(format!(
                    "it ended at once: {status}; {}",
                    self.last_log_line()
                ));
            }
            if let Ok(response) = ask(self.port) {
                if response.starts_with("HTTP/1.1 200") {
                    return Ok(());
                }
                return Err(format!("the first response is {response:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!(
            "no response for {PATIENCE:?}; {}",
            self.last_log_line()
        ))
    }

    /// Returns the process and its descendants.
    pub(crate) fn tree(&self) -> Vec<u32> {
        cpu::tree(self.child.id())
    }

    /// Sends the signal that starts the drain.
    pub(crate) fn stop(&self) {
        // The process may have ended by itself, which the caller sees from `ended`.
        let _ = kill(self.pid(), self.stop);
    }

    /// Returns the exit status if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Returns the last line of the log.
    fn last_log_line(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().last().unwrap_or("no output").to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.ended().is_none() {
            for pid in self.tree() {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn pinned(cpu: usize) -> Result<(), String> {
    cpu::pin(cpu).map_err(|error| format!("cannot pin to processor {cpu}: {error}"))
}

fn ask(port: u16) -> io::Result<String> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut response = [0; 1024];
    let count = stream.read(&mut response)?;
    Ok(String::from_utf8_lossy(&response[..count]).into_owned())
}

/// Returns a port without a listener, below the ports that the system gives to clients.
fn free_port() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Simultaneous runs begin at different ports.
    let offset = (std::process::id() % 100) as u16 * 100;
    (0..PORTS).find_map(|_| {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + offset.wrapping_add(nth) % PORTS;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .is_ok()
            .then_some(port)
    })
}

/// A port without a listener, for configurations that need a valid port.
const NO_UPSTREAM: u16 = 1;

const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

/// Longest start of a server; under valgrind some take seconds.
const PATIENCE: Duration = Duration::from_secs(30);
