//! A Unix socket to listen on: one file that only its owner may connect to.
//!
//! The file gets its mode before anyone could connect: the socket is bound to another name in the
//! same directory, made private, told to listen, and only then renamed to the name that was asked
//! for. Until it listens, a connect to it is refused whatever its mode. Tools that list sockets may
//! show the other name: the kernel keeps the one that was bound.
//!
//! What an earlier process left behind is replaced; what somebody accepts on, or what is no socket,
//! never. Knows nothing of what is accepted.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::Error;

/// A socket that listens, with its file. Both go when it is dropped.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) file: SocketFile,
    pub(super) socket: UnixListener,
}

/// A socket's file, removed when this is dropped if it is still the same file.
///
/// To be dropped before its socket is closed: as long as somebody accepts there, no successor takes
/// the name, so that what is removed is ours.
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
/// The system's, and what is there already if it is in use or no socket.
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

/// Why the name cannot be taken; `None` if it is free, or was left behind.
fn occupied(path: &Path) -> io::Result<Option<&'static str>> {
    // A longer one could be renamed to, and never connected to.
    let addr = address(path, "it")?;
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.file_type().is_socket() {
        return Ok(Some("there is a file of that name which is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog would block, and is somebody's.
    probe.set_nonblocking(true)?;
    match probe.connect(&addr) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(LIVE)),
        Err(error) => Err(error),
        Ok(()) => Ok(Some(LIVE)),
    }
}

/// Opens the socket under another name, and renames it when it is private and listens.
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
            // The first error is the one to tell.
            let _ = fs::remove_file(&own);
            Err(error)
        }
    }
}

/// Binds to a name in the same directory that nobody has. Short, for a path that just fits must not
/// fail because of it.
fn bind_beside(path: &Path, socket: &Socket) -> io::Result<PathBuf> {
    let mut refused = ErrorKind::AddrInUse.into();
    for n in 0..NAMES {
        let own = path.with_file_name(format!(".{}.{n}", process::id()));
        match socket.bind(&address(&own, "the name that it has at first")?) {
            Ok(()) => return Ok(own),
            Err(error) if error.kind() == ErrorKind::AddrInUse => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// The address of a path, which is called this in the error if it is too long.
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

/// How long a path may be. Each system has its own limit, and tells it only by what it takes.
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

/// No system takes a path of so many bytes: they have from 92 to 108.
const LONGEST: usize = 1_024;

/// Its owner alone may connect.
const PRIVATE: u32 = 0o600;

/// How many names are tried: only those of a dead process with our id can be taken.
const NAMES: u32 = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory of this test alone, removed at its end.
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
    fn who_accepts_is_left_alone() {
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
    fn a_full_backlog_is_somebodys() {
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
        fs::rename(&path, &moved).unwrap(); // so that its inode is not given again
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
        // The name that it has at first is a little longer than this one.
        let fits = "x".repeat(most - directory.0.as_os_str().len() - 3);
        fs::create_dir(directory.0.join(&fits)).unwrap();
        let long = say(&directory.0.join(fits).join("s"));
        assert!(
            long.contains(": the name that it has at first has "),
            "{long}"
        );
        let nowhere = say(&directory.0.join("none/s"));
        assert!(nowhere.ends_with("its directory must exist"), "{nowhere}");
    }
}
