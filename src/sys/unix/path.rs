//! Whether the path of a Unix socket can be taken.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// Returns what is wrong with the path, if it has another kind of file.
pub(super) fn no_socket(path: &Path) -> io::Result<Option<&'static str>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Ok(file) if file.file_type().is_socket() => Ok(None),
        Ok(_) => Ok(Some("there is a file of that name which is no socket")),
        Err(error) => Err(error),
    }
}

/// Returns why the path cannot be taken; `None` if it is free or of a dead process. The lock says so
/// of this library's sockets; a connect tells it of others.
pub(super) fn occupied(path: &Path) -> io::Result<Option<&'static str>> {
    if let Some(why) = no_socket(path)? {
        return Ok(Some(why));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A connect to a full backlog would block; the socket is in use.
    probe.set_nonblocking(true)?;
    match probe.connect(&address(path, "it")?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(LIVE)),
        Err(error) => Err(error),
        Ok(()) => Ok(Some(LIVE)),
    }
}

/// Returns the address of a path, which an error calls `what` if it is too long.
pub(super) fn address(path: &Path, what: &str) -> io::Result<SockAddr> {
    SockAddr::unix(path).map_err(|error| {
        let (bytes, most) = (path.as_os_str().len(), most_bytes());
        match bytes > most {
            true => {
                let why = format!("{what} has {bytes} bytes, and {most} are possible");
                io::Error::new(error.kind(), why)
            }
            false => error,
        }
    })
}

/// Returns the longest length of a path, by trial: each system has its own, and no call tells it.
pub(super) fn most_bytes() -> usize {
    let fits = |bytes: &usize| SockAddr::unix("x".repeat(*bytes)).is_ok();
    (0..LONGEST).rev().find(fits).unwrap_or_default()
}

pub(super) const LIVE: &str = "a process listens there; stop it, or choose another path";

/// Longer than the path of any system, which is from 92 to 108 bytes.
const LONGEST: usize = 1_024;
