//! Sockets that a supervisor opened and passed on: systemd's socket activation.
//!
//! The protocol is that of sd_listen_fds(3): descriptors from 3 on, with `LISTEN_FDS` for their
//! number, `LISTEN_PID` for their process, and `LISTEN_FDNAMES` for their names. The supervisor
//! keeps the sockets open between two processes. Connections wait in the backlog meanwhile, so no
//! client meets a refusal.
//!
//! Safe code cannot make a socket of a bare number. The crate `listenfd` makes one after a check of
//! the descriptor.

use std::env;
use std::io;
use std::process;

use listenfd::ListenFd;
use socket2::SockRef;

use ebbtide::Listener;

/// Takes the sockets that a supervisor passed to this process; none if another process should get
/// them.
///
/// Removes the number and the process id from the environment, so that no child takes the sockets
/// for its own. Marks the descriptors as not inherited. Call this before another thread exists,
/// which could be reading the environment.
///
/// # Errors
///
/// The number is malformed, or a descriptor is no listening TCP socket.
pub(super) fn take() -> io::Result<Vec<Listener>> {
    let variable = |name| env::var(name).ok();
    let (pid, fds) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
    let count = count(pid.as_deref(), fds.as_deref(), process::id())?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    (0..count)
        .map(|index| {
            let name = names.next().filter(|name| !name.is_empty());
            let what = format!(
                "descriptor {} ({})",
                FIRST + index,
                name.unwrap_or("unnamed")
            );
            let listener = listener(&mut passed, index)
                .map_err(|why| io::Error::other(format!("LISTEN_FDS: {what} {why}")))?;
            if let Some(addr) = listener.local_addr() {
                log::info!("{what} listens on {addr}");
            }
            Ok(listener)
        })
        .collect()
}

/// Returns how many descriptors were passed to the process `own`.
fn count(pid: Option<&str>, fds: Option<&str>, own: u32) -> io::Result<usize> {
    let (Some(pid), Some(fds)) = (pid, fds) else {
        return Ok(0);
    };
    if pid.parse() != Ok(own) {
        // A parent got sockets, and left the variables in the environment.
        log::debug!("LISTEN_FDS is meant for process {pid}");
        return Ok(0);
    }
    match fds.parse::<u16>() {
        Ok(count) => Ok(count.into()),
        Err(_) => Err(io::Error::other(format!(
            "LISTEN_FDS: {fds:?} is not a number of descriptors"
        ))),
    }
}

fn listener(passed: &mut ListenFd, index: usize) -> Result<Listener, String> {
    let socket = passed
        .take_tcp_listener(index)
        .ok()
        .flatten()
        .ok_or("is no TCP socket; only ListenStream= with a port can be served")?;
    match SockRef::from(&socket).is_listener() {
        Ok(true) => Listener::from_std(socket).map_err(|error| format!("cannot be used: {error}")),
        Ok(false) => Err("does not listen; the socket unit needs Accept=no".into()),
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

/// The first descriptor that is passed, behind those of every process.
const FIRST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let counted = |pid, fds| count(pid, fds, 77).unwrap();
        assert_eq!(counted(Some("77"), Some("2")), 2);
        assert_eq!(counted(Some("77"), Some("0")), 0);
        assert_eq!(counted(Some("78"), Some("2")), 0);
        assert_eq!(counted(Some(""), Some("2")), 0);
        assert_eq!(counted(None, Some("2")), 0);
        assert_eq!(counted(Some("77"), None), 0);
    }

    #[test]
    fn a_number_that_is_none_is_said_so() {
        for fds in ["", "two", "-1", "99999"] {
            let error = count(Some("77"), Some(fds), 77).unwrap_err().to_string();
            assert!(error.starts_with("LISTEN_FDS: "), "{error}");
        }
    }
}
