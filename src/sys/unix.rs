//! A Unix socket to listen on: a file to which only its owner may connect.
//!
//! The file has its mode before a client can connect: the socket is bound to a temporary name in
//! the same directory, made private, put to listen, and then renamed. A connect is refused until
//! the socket listens. Tools that list sockets may show the temporary name, which the kernel keeps.
//!
//! The socket of a dead process is replaced. A socket in use, or another kind of file, is not.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::Error;

/// A listening socket with its file. A drop closes the one and removes the other.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) file: SocketFile,
    pub(super) socket: UnixListener,
}

/// A socket's file. A drop removes it, if it is still the same file.
///
/// Drop it before its socket is closed: while the socket listens, no successor takes the name.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = |file: &fs::Metadata| (file.dev(), file.ino()) == self.identity;
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| same(&file));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {:?}: {error}", self.path);
        }
    }
}

/// Listens at a path, with mode 0600.
///
/// # Errors
///
/// The system's, or `AddrInUse` if the path has a socket in use or another kind of file.
pub(super) fn bind(path: &Path, backlog: u32) -> Result<Bound, Error> {
    let error = |source: io::Error, hint: Option<&'static str>| {
        let hint = hint.or_else(|| usual_hint(&source));
        Error::new(format!("listen on the Unix socket {path:?}"), source).with_hint(hint)
    };
    if let Some(why) = occupied(path).map_err(|source| error(source, None))? {
        return Err(error(ErrorKind::AddrInUse.into(), Some(why)));
    }
    place(path, backlog).map_err(|source| error(source, None))
}

/// Returns why the path cannot be taken; `None` if it is free or of a dead process.
fn occupied(path: &Path) -> io::Result<Option<&'static str>> {
    // A rename would accept a longer path, but no client could connect to it.
    let addr = address(path, "it")?;
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return Ok(Some("there is a file of that name which is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A connect to a full backlog would block; the socket is in use.
    probe.set_nonblocking(true)?;
    match probe.connect(&addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(LIVE)),
        Err(error) => Err(error),
        Ok(()) => Ok(Some(LIVE)),
    }
}

/// Opens the socket under a temporary name, and renames it once it is private and listens.
fn place(path: &Path, backlog: u32) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let own = bind_beside(path, &socket)?;
    let placed = (|| {
        fs::set_permissions(&own, Permissions::from_mode(PRIVATE))?;
        socket.set_nonblocking(true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let file = fs::symlink_metadata(&own)?;
        fs::rename(&own, path)?;
        Ok((file.dev(), file.ino()))
    })();
    match placed {
        Ok(identity) => Ok(Bound {
            file: SocketFile {
                path: path.to_owned(),
                identity,
            },
            socket: UnixListener::from(OwnedFd::from(socket)),
        }),
        Err(error) => {
            // The first error is the one to report.
            let _ = fs::remove_file(&own);
            Err(error)
        }
    }
}

/// Binds to a free name in the same directory. The name is short: it must fit where `path` does.
fn bind_beside(path: &Path, socket: &Socket) -> io::Result<PathBuf> {
    let mut refused = ErrorKind::AddrInUse.into();
    for n in 0..NAMES {
        let own = path.with_file_name(format!(".{}.{n}", process::id()));
        match socket.bind(&address(&own, "its temporary name")?) {
            Ok(()) => return Ok(own),
            Err(error) if error.kind() == ErrorKind::AddrInUse => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Returns the address of a path, which an error calls `what` if it is too long.
fn address(path: &Path, what: &str) -> io::Result<SockAddr> {
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
fn most_bytes() -> usize {
    let fits = |bytes: &usize| SockAddr::unix("x".repeat(*bytes)).is_ok();
    (0..LONGEST).rev().find(fits).unwrap_or_default()
}

fn usual_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::InvalidInput => Some("choose a shorter path"),
        ErrorKind::NotFound => Some("its directory must exist"),
        ErrorKind::PermissionDenied => Some(
            "its directory must be writable, and a socket that is already there must belong to \
             this user",
        ),
        _ => None,
    }
}

const LIVE: &str = "a process listens there; stop it, or choose another path";

/// Longer than the path of any system, which is from 92 to 108 bytes.
const LONGEST: usize = 1_024;

/// The mode by which only the owner may connect.
const PRIVATE: u32 = 0o600;

/// Names to try: only a dead process with our id can have left one.
const NAMES: u32 = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of one test, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("ebbtide-unix-{}-{n}", process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            entries
                .map(|entry| name(entry).into_string().unwrap())
                .collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_private_alone_in_its_directory_and_gone_after() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let bound = bind(&path, 8).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(directory.names(), ["s"]);
        UnixStream::connect(&path).unwrap();
        bound.socket.accept().unwrap();
        drop(bound);
        assert_eq!(directory.names(), [""; 0]);
    }

    #[test]
    fn what_was_left_behind_is_replaced() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it");
        let _bound = bind(&path, 8).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_in_use_is_left_alone() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let first = bind(&path, 8).unwrap();
        let error = bind(&path, 8).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("a process listens there"));
        UnixStream::connect(&path).unwrap();
        drop(first);
    }

    #[test]
    fn a_socket_with_a_full_backlog_is_in_use() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let bound = bind(&path, 0).unwrap();
        let connect = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let connected = socket.connect(&SockAddr::unix(&path).unwrap());
            connected.is_ok().then_some(socket)
        };
        let waiting: Vec<_> = std::iter::from_fn(connect).take(16).collect();
        assert!(waiting.len() < 16, "the backlog never fills");
        assert_eq!(bind(&path, 8).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(bound);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = Directory::new();
        let file = directory.0.join("file");
        fs::write(&file, "kept").unwrap();
        let link = directory.0.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&directory.0, &file, &link] {
            let error = bind(path, 8).unwrap_err().to_string();
            assert!(error.contains("is no socket"), "{error}");
        }
        assert_eq!(fs::read_to_string(&link).unwrap(), "kept");
    }

    #[test]
    fn another_file_of_that_name_is_not_removed() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let bound = bind(&path, 8).unwrap();
        let moved = directory.0.join("t");
        fs::rename(&path, &moved).unwrap(); // keeps its inode from reuse
        fs::write(&path, "somebody else's").unwrap();
        drop(bound);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
        assert!(moved.exists());
    }

    #[test]
    fn errors_say_what_would_help() {
        let directory = Directory::new();
        let say = |path: &Path| bind(path, 8).unwrap_err().to_string();
        let long = say(&directory.0.join("x".repeat(200)));
        let bytes = directory.0.as_os_str().len() + 1 + 200;
        let most = most_bytes();
        let why = format!(": it has {bytes} bytes, and {most} are possible; choose a shorter path");
        assert!(long.ends_with(&why), "{long}");
        // Its temporary name is a little longer than this one.
        let fits = "x".repeat(most - directory.0.as_os_str().len() - 3);
        fs::create_dir(directory.0.join(&fits)).unwrap();
        let long = say(&directory.0.join(fits).join("s"));
        assert!(long.contains(": its temporary name has "), "{long}");
        let nowhere = say(&directory.0.join("none/s"));
        assert!(nowhere.ends_with("its directory must exist"), "{nowhere}");
    }
}
