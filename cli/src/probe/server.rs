//! The server under probe: started by its command for each state, or found.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::args::Probe;
use super::failure::Failure;
use super::preflight;
use super::process::Process;

/// Provides a server for each state.
#[derive(Debug)]
pub(super) enum Server {
    /// This program's own.
    Own(String),
    Command(Vec<String>, Option<SocketAddr>),
    Running(i32, SocketAddr),
}

impl Server {
    pub(super) fn new(args: &Probe) -> Result<Self, Failure> {
        Ok(match (args.server.pid, args.server.url) {
            (Some(pid), Some(addr)) => Self::Running(pid, addr),
            (_, url) if !args.command.is_empty() => Self::Command(args.command.clone(), url),
            _ => {
                let own = env::current_exe();
                let own = own.map_err(|error| Failure::Start("ebbtide".into(), error))?;
                Self::Own(own.to_string_lossy().into_owned())
            }
        })
    }

    pub(super) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Own(_) => "ebbtide serve".into(),
            Self::Command(command, _) => command.join(" "),
            Self::Running(pid, addr) => format!("process {pid} on {addr}"),
        }
    }

    /// Returns a server that accepts connections, and its address.
    pub(super) fn start(&mut self, patience: Duration) -> Result<(Process, SocketAddr), Failure> {
        if let Self::Running(pid, addr) = self {
            let mut process = Process::find(*pid).map_err(|error| Failure::Find(*pid, error))?;
            preflight::wait(&mut process, *addr, patience)?;
            return Ok((process, *addr));
        }
        let free = free_port().map_err(Failure::System)?;
        let (command, addr) = match self {
            Self::Own(own) => {
                let listen = "127.0.0.1:{port}";
                let command = [own, "serve", "--listen", listen, "--report", "none"];
                (command.map(str::to_owned).to_vec(), free)
            }
            Self::Command(command, url) => (command.clone(), url.unwrap_or(free)),
            Self::Running(_, addr) => (Vec::new(), *addr),
        };
        if TcpStream::connect(addr).is_ok() {
            return Err(Failure::Taken(addr));
        }
        let port = addr.port().to_string();
        let command: Vec<_> = command
            .iter()
            .map(|word| word.replace("{port}", &port))
            .collect();
        let started = Process::start(&command, addr.port());
        let mut process = started.map_err(|error| Failure::Start(command[0].clone(), error))?;
        preflight::wait(&mut process, addr, patience)?;
        Ok((process, addr))
    }
}

/// Returns an address whose port was free a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
