//! An exclusive lock on a path, held as long as its process lives.
//!
//! A file beside the path carries the lock (flock(2)). The kernel releases the lock of a dead process,
//! so the lock says what a connect cannot: some systems refuse a connect to a full backlog. The owner
//! removes the file. A process that waited for a removed file finds another one there, or none, and
//! begins again.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

/// A lock. A drop removes its file and releases it.
#[derive(Debug)]
pub(super) struct PathLock {
    path: PathBuf,
    file: Flock<File>,
    /// Others wait for this file.
    awaited: bool,
}

impl PathLock {
    /// Takes the lock of the file `path`; `None` if another holder has it.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        match Self::lock(path, FlockArg::LockExclusiveNonblock) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            taken => taken.map(Some),
        }
    }

    /// Waits for the lock of the file `path`, without a limit of time.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        Self::lock(path, FlockArg::LockExclusive)
    }

    /// Leaves the file to those who wait for it.
    pub(super) const fn leave_file(&mut self) {
        self.awaited = true;
    }

    fn lock(path: &Path, how: FlockArg) -> io::Result<Self> {
        let mut file = open(path)?;
        loop {
            match Flock::lock(file, how) {
                Ok(file) if is_at(&file, path) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        file,
                        awaited: false,
                    });
                }
                Ok(_) => file = open(path)?, // its last owner has removed it
                Err((same, Errno::EINTR)) => file = same,
                Err((_, error)) => return Err(error.into()),
            }
        }
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        if !self.awaited
            && is_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove {:?}: {error}", self.path);
        }
    }
}

/// Opens the file, and creates it if it is not there. A link, and what is no file, is an error and
/// never a wait.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE)
        .custom_flags(flags.bits())
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    // The mask that a process inherits (umask) may forbid even its user to open the file again.
    if found.permissions().mode() & PRIVATE != PRIVATE {
        file.set_permissions(Permissions::from_mode(PRIVATE))?;
    }
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::symlink_metadata(path);
    let (Ok(own), Ok(there)) = (file.metadata(), there) else {
        return false;
    };
    identity(&own) == identity(&there)
}

/// Returns device and inode.
pub(super) fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

const PRIVATE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::super::tests::Directory;
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_is_left() {
        let directory = Directory::new();
        let path = directory.path("s.lock");
        let first = PathLock::try_take(&path).unwrap().unwrap();
        assert!(PathLock::try_take(&path).unwrap().is_none());
        drop(first);
        assert_eq!(directory.names(), [""; 0]);
        fs::write(&path, "left by a dead process").unwrap();
        drop(PathLock::try_take(&path).unwrap().unwrap());
        assert_eq!(directory.names(), [""; 0]);
    }

    /// Threads lock, and remove the file that others wait for.
    #[test]
    fn those_who_wait_get_it_in_turn() {
        let directory = Directory::new();
        let path = directory.path("s.lock");
        let held = Arc::new(AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = PathLock::take(&path).unwrap();
                        assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!(directory.names(), [""; 0]);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = Directory::new();
        let path = directory.path("s.lock");
        symlink(directory.path("elsewhere"), &path).unwrap();
        PathLock::try_take(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = PathLock::try_take(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(directory.names(), ["s.lock"]);
    }
}
