//! A Unix socket to listen on: a file to which only its owner may connect.
//!
//! The file has its mode before a client can connect: the socket is bound to a temporary name in
//! the same directory, made private, put to listen, and then renamed. A connect is refused until
//! the socket listens. Tools that list sockets may show the temporary name, which the kernel keeps.
//!
//! A lock decides which process has the path, so of several that bind at once one succeeds. The socket
//! of a dead process is replaced. A socket in use, or another kind of file, is not.

mod file;
mod lock;
mod path;

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;

use socket2::{Domain, Socket, Type};

pub(super) use self::file::SocketFile;
use self::file::{beside, is_succeeded};
use self::lock::PathLock;
use self::path::{LIVE, address, no_socket, occupied};
use crate::error::Error;

/// A listening socket with its file. A drop closes the one and removes the other.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) file: SocketFile,
    pub(super) socket: UnixListener,
}

/// What happens where a process listens at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InUse {
    /// The bind fails.
    Fail,
    /// The socket waits for the path.
    Succeed,
}

/// Listens at a path, with mode 0600.
///
/// # Errors
///
/// The system's, or `AddrInUse` if the path has a socket in use or another kind of file.
pub(super) fn bind(path: &Path, backlog: u32, in_use: InUse) -> Result<Bound, Error> {
    let error = |source: io::Error, hint: Option<&'static str>| {
        let hint = hint.or_else(|| usual_hint(&source));
        Error::new(format!("listen on the Unix socket {path:?}"), source).with_hint(hint)
    };
    claim(path, backlog, in_use).map_err(|refused| match refused {
        Refused::InUse(why) => error(ErrorKind::AddrInUse.into(), Some(why)),
        Refused::System(source) => error(source, None),
    })
}

/// Why a path cannot be had.
enum Refused {
    InUse(&'static str),
    System(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn claim(path: &Path, backlog: u32, in_use: InUse) -> Result<Bound, Refused> {
    // A rename would accept a longer path, but no client could connect to it.
    address(path, "it")?;
    if let Some(why) = no_socket(path)? {
        return Err(Refused::InUse(why)); // no lock is left beside another's file
    }
    // The program may change its directory while it listens.
    let whole = std::path::absolute(path)?;
    let lock = PathLock::try_take(&beside(&whole, ".lock"))?;
    let lock = match (lock, in_use) {
        (None, InUse::Fail) => return Err(Refused::InUse(LIVE)),
        (None, InUse::Succeed) => None,
        (Some(lock), _) => match occupied(path)? {
            None => Some(lock),
            // The path has just gone to a successor, which is about to get the lock.
            Some(_) if in_use == InUse::Succeed && is_succeeded(&whole) => None,
            // A program that takes no lock listens there.
            Some(why) => return Err(Refused::InUse(why)),
        },
    };
    let (socket, name) = listen_beside(path, backlog)?;
    let name = whole.with_file_name(name.file_name().unwrap_or_default());
    let file = match lock {
        Some(lock) => {
            let keep = in_use == InUse::Succeed || !CONNECT_TELLS;
            SocketFile::place(&name, &whole, lock, keep)
        }
        None => SocketFile::succeed(&name, &whole),
    };
    match file {
        Ok(file) => Ok(Bound { file, socket }),
        Err(error) => {
            // The first error is the one to report.
            let _ = fs::remove_file(&name);
            Err(error.into())
        }
    }
}

/// Opens a socket that is private and listens, under a temporary name beside the path.
fn listen_beside(path: &Path, backlog: u32) -> io::Result<(UnixListener, PathBuf)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let name = bind_beside(path, &socket)?;
    let listens = (|| {
        fs::set_permissions(&name, Permissions::from_mode(PRIVATE))?;
        socket.set_nonblocking(true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
    })();
    match listens {
        Ok(()) => Ok((OwnedFd::from(socket).into(), name)),
        Err(error) => {
            // The first error is the one to report.
            let _ = fs::remove_file(&name);
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

/// Whether a connect to a full backlog tells that the socket is in use. Other systems refuse it, as
/// they refuse one to a dead process.
const CONNECT_TELLS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The mode by which only the owner may connect.
const PRIVATE: u32 = 0o600;

/// Names to try: only a dead process with our id can have left one.
const NAMES: u32 = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use socket2::SockAddr;

    use super::path::most_bytes;
    use super::*;

    /// A directory of one test, removed at its end.
    pub(super) struct Directory(PathBuf);

    impl Directory {
        pub(super) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("ebbtide-unix-{}-{n}", process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub(super) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// Returns the names of the files, in order.
        pub(super) fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> = entries
                .map(|entry| name(entry).into_string().unwrap())
                .collect();
            names.sort();
            names
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
        let bound = bind(&path, 8, InUse::Fail).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        #[cfg(target_os = "linux")]
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
        let _bound = bind(&path, 8, InUse::Fail).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_in_use_is_left_alone() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let first = bind(&path, 8, InUse::Fail).unwrap();
        let error = bind(&path, 8, InUse::Fail).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("a process listens there"));
        UnixStream::connect(&path).unwrap();
        drop(first);
    }

    #[test]
    fn a_socket_with_a_full_backlog_is_in_use() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let bound = bind(&path, 0, InUse::Fail).unwrap();
        let connect = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let connected = socket.connect(&SockAddr::unix(&path).unwrap());
            connected.is_ok().then_some(socket)
        };
        let waiting: Vec<_> = std::iter::from_fn(connect).take(16).collect();
        assert!(waiting.len() < 16, "the backlog never fills");
        assert_eq!(
            bind(&path, 8, InUse::Fail).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        drop(bound);
    }

    /// A look at the path followed by a rename would let several in.
    #[test]
    fn of_many_that_bind_at_once_one_succeeds() {
        let directory = Directory::new();
        let path = directory.path("s");
        for _ in 0..50 {
            drop(UnixListener::bind(&path).unwrap()); // left by a dead process
            let start = Barrier::new(8);
            let bound = thread::scope(|scope| {
                let bind = || {
                    start.wait();
                    bind(&path, 8, InUse::Fail)
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
                let results = threads.into_iter().map(|thread| thread.join().unwrap());
                let mut bound = Vec::new();
                for result in results {
                    match result {
                        Ok(one) => bound.push(one),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
                    }
                }
                bound
            });
            assert_eq!(bound.len(), 1);
            UnixStream::connect(&path).unwrap();
            bound[0].socket.accept().unwrap();
            drop(bound);
            assert_eq!(directory.names(), [""; 0]);
        }
    }

    /// Waits for the names of the files.
    #[track_caller]
    fn wait_names(directory: &Directory, names: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while directory.names() != names {
            assert!(Instant::now() < deadline, "{:?}", directory.names());
            thread::yield_now();
        }
    }

    fn successor(path: &Path) -> Bound {
        bind(path, 64, InUse::Succeed).unwrap()
    }

    const TWO: [&str; 4] = ["s", "s.lock", "s.next", "s.next.lock"];

    #[test]
    fn a_successor_has_the_path_as_soon_as_its_owner_leaves_it() {
        let directory = Directory::new();
        let path = directory.path("s");
        let mut owner = successor(&path);
        for _ in 0..5 {
            let next = successor(&path);
            wait_names(&directory, &TWO);
            UnixStream::connect(&path).unwrap();
            owner.socket.accept().unwrap();
            next.socket.accept().unwrap_err();
            owner = next; // drops the owner
            UnixStream::connect(&path).unwrap();
            owner.socket.accept().unwrap();
            wait_names(&directory, &["s", "s.lock"]);
            let error = bind(&path, 8, InUse::Fail).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        drop(owner);
        assert_eq!(directory.names(), [""; 0]);
    }

    #[test]
    fn a_successor_that_ends_first_leaves_the_path_to_its_owner() {
        let directory = Directory::new();
        let path = directory.path("s");
        let owner = successor(&path);
        for wait in [false, true] {
            let next = successor(&path);
            if wait {
                wait_names(&directory, &TWO);
            }
            drop(next);
            UnixStream::connect(&path).unwrap();
            owner.socket.accept().unwrap();
        }
        drop(owner);
        // Threads of successors that have ended get the lock, and leave.
        wait_names(&directory, &[]);
    }

    #[test]
    fn successors_follow_in_any_number_and_no_client_is_refused() {
        let directory = Directory::new();
        let path = directory.path("s");
        let mut all = vec![successor(&path)];
        let (over, connects) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            let client = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    UnixStream::connect(&path).expect("one of them listens");
                    connects.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            });
            let accept_until = |all: &[Bound], done: &dyn Fn(&Bound) -> bool| {
                let deadline = Instant::now() + Duration::from_secs(10);
                loop {
                    for bound in all {
                        while bound.socket.accept().is_ok() {}
                    }
                    if let Some(found) = all.iter().position(done) {
                        return found;
                    }
                    assert!(Instant::now() < deadline, "nobody");
                    thread::yield_now();
                }
            };
            for _ in 0..20 {
                while all.len() < 3 {
                    all.push(successor(&path));
                }
                let before = connects.load(Ordering::Relaxed);
                accept_until(&all, &|_| connects.load(Ordering::Relaxed) > before);
                accept_until(&all, &|bound| bound.file.is_next());
                let owner = accept_until(&all, &|bound| bound.file.owns());
                drop(all.swap_remove(owner));
                accept_until(&all, &|bound| bound.file.owns());
            }
            over.store(true, Ordering::Relaxed);
            client.join().unwrap();
        });
        drop(all);
        wait_names(&directory, &[]);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = Directory::new();
        let file = directory.0.join("file");
        fs::write(&file, "kept").unwrap();
        let link = directory.0.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&directory.0, &file, &link] {
            let error = bind(path, 8, InUse::Fail).unwrap_err().to_string();
            assert!(error.contains("is no socket"), "{error}");
        }
        assert_eq!(fs::read_to_string(&link).unwrap(), "kept");
    }

    #[test]
    fn another_file_of_that_name_is_not_removed() {
        let directory = Directory::new();
        let path = directory.0.join("s");
        let bound = bind(&path, 8, InUse::Fail).unwrap();
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
        let say = |path: &Path| bind(path, 8, InUse::Fail).unwrap_err().to_string();
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
