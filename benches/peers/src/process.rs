//! A server as a process: started, waited for, measured, and never left behind.
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

/// A server that runs.
pub(crate) struct Served {
    child: Child,
    pub(crate) port: u16,
    stop: Signal,
    /// Its directory, with what it wrote to its standard output and error.
    pub(crate) dir: PathBuf,
}

impl Served {
    /// Starts a server on its processor, and waits until it answers. With an upstream of 0 it has
    /// none.
    pub(crate) fn start(peer: &Peer, upstream: u16, cpus: Cpus) -> Result<Self, String> {
        Self::start_as(peer, upstream, cpus, |command, _| command)
    }

    /// The same, with a last change of the command, which is told the directory.
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
            upstream: if upstream == 0 { NOBODY } else { upstream },
            dir: &dir,
        };
        let mut command = change(peer.command(&place)?, &dir);
        let log = File::create(dir.join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        // A child has the affinity of who starts it.
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

    /// Waits for a first answer.
    fn settle(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.ended() {
                return Err(format!("it ended at once: {status}; {}", self.last_words()));
            }
            if let Ok(answer) = ask(self.port) {
                if answer.starts_with("HTTP/1.1 200") {
                    return Ok(());
                }
                return Err(format!("it answers {answer:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("no answer for {PATIENCE:?}; {}", self.last_words()))
    }

    /// The process and those it started.
    pub(crate) fn tree(&self) -> Vec<u32> {
        cpu::tree(self.child.id())
    }

    /// Tells it to drain.
    pub(crate) fn stop(&self) {
        // It may have ended by itself, which the caller sees from `ended`.
        let _ = kill(self.pid(), self.stop);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The end of what it wrote.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
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
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// A port that nobody listens on, below those that clients are given.
fn free_port() -> Option<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs side by side begin at different places.
    let offset = (std::process::id() % 100) as u16 * 100;
    (0..PORTS).find_map(|_| {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + offset.wrapping_add(nth) % PORTS;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .is_ok()
            .then_some(port)
    })
}

/// A port on which nobody listens: configurations want one that could be.
const NOBODY: u16 = 1;

const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

/// How long a server may take to start; under valgrind some take seconds.
const PATIENCE: Duration = Duration::from_secs(30);
