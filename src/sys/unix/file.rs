//! The file of a Unix socket: who owns its path, who takes the path over, and who removes it.
//!
//! | file | what it is |
//! |---|---|
//! | `s` | the socket of the owner |
//! | `s.lock` | the lock of the owner: while it binds, or as long as it lives if it may be succeeded |
//! | `s.next` | the socket of the successor, which listens already |
//! | `s.next.lock` | the lock that the successor holds |
//!
//! An owner that leaves renames `s.next` to `s`, so that a client finds one of the two at any time.
//! Where the owner died, the successor gets its lock and renames the file itself. Further successors
//! wait for the second lock.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::SigSet;

use super::lock::{PathLock, identity};
use super::path::occupied;

/// A socket's file. A drop gives the path to a successor, or removes the file.
#[derive(Debug)]
pub(in crate::sys) struct SocketFile(Arc<Claim>);

/// The claim of a socket on a path.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    /// Device and inode of the socket.
    identity: (u64, u64),
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The path is this socket's. An owner without a lock is known by a connect.
    Owns(Option<PathLock>),
    /// The socket has another name until the path is free.
    Waits {
        name: PathBuf,
        /// The lock of the successor, once it is this one.
        next: Option<PathLock>,
    },
    /// The socket is closed.
    Ended,
}

impl SocketFile {
    /// Gives the socket named `name` the path, which is free. `keep` says whether the lock is held
    /// from now on.
    pub(super) fn place(name: &Path, path: &Path, lock: PathLock, keep: bool) -> io::Result<Self> {
        let identity = identity(&fs::symlink_metadata(name)?);
        fs::rename(name, path)?;
        let lock = keep.then_some(lock);
        Ok(Self::new(path, identity, State::Owns(lock)))
    }

    /// Waits for the path on a thread, and meanwhile leaves the socket its name.
    pub(super) fn succeed(name: &Path, path: &Path) -> io::Result<Self> {
        let identity = identity(&fs::symlink_metadata(name)?);
        let waits = State::Waits {
            name: name.to_owned(),
            next: None,
        };
        let file = Self::new(path, identity, waits);
        let claim = Arc::clone(&file.0);
        let wait = move || {
            // The thread waits in the kernel, and must take no signal from the loop's.
            let taken = SigSet::all().thread_block().map_err(io::Error::from);
            if let Err(error) = taken.and_then(|()| claim.wait()) {
                log::error!("cannot take {:?} over: {error}", claim.path);
            }
        };
        thread::Builder::new()
            .name("successor".into())
            .spawn(wait)?;
        Ok(file)
    }

    #[cfg(test)]
    pub(super) fn owns(&self) -> bool {
        matches!(*self.0.state(), State::Owns(_))
    }

    #[cfg(test)]
    pub(super) fn is_next(&self) -> bool {
        matches!(*self.0.state(), State::Waits { next: Some(_), .. })
    }

    fn new(path: &Path, identity: (u64, u64), state: State) -> Self {
        Self(Arc::new(Claim {
            path: path.to_owned(),
            identity,
            state: Mutex::new(state),
        }))
    }
}

impl Claim {
    /// Waits until this socket is the successor, then until it owns the path, or has ended.
    fn wait(&self) -> io::Result<()> {
        let lock = PathLock::take(&beside(&self.path, ".next.lock"))?;
        let place = beside(&self.path, ".next");
        match &mut *self.state() {
            State::Waits { name, next } => {
                fs::rename(&*name, &place)?;
                name.clone_from(&place);
                *next = Some(lock);
            }
            _ => return Ok(()),
        }
        let lock = PathLock::take(&beside(&self.path, ".lock"))?;
        let mut state = self.state();
        if !matches!(*state, State::Waits { .. }) {
            return Ok(());
        }
        if !self.is_at(&self.path) {
            if let Some(why) = occupied(&self.path)? {
                return Err(io::Error::new(ErrorKind::AddrInUse, why));
            }
            fs::rename(&place, &self.path)?;
        }
        *state = State::Owns(Some(lock));
        log::info!(
            "{:?} is taken over from a process that has left it",
            self.path
        );
        Ok(())
    }

    /// Gives the path up.
    fn leave(&self, mut lock: Option<PathLock>) {
        let next = beside(&self.path, ".next.lock");
        if let Some(lock) = &mut lock
            && self.is_at(&self.path)
            && is_succeeded(&self.path)
            && matches!(PathLock::try_take(&next), Ok(None))
        {
            lock.leave_file();
            if fs::rename(beside(&self.path, ".next"), &self.path).is_ok() {
                return;
            }
        }
        self.remove(&self.path);
    }

    /// Removes a file, if it is this socket's.
    fn remove(&self, path: &Path) {
        if self.is_at(path)
            && let Err(error) = fs::remove_file(path)
        {
            log::warn!("cannot remove {path:?}: {error}");
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|file| identity(&file) == self.identity)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drop this before the socket is closed: its backlog is then accepted, and no client meets a
/// refusal.
impl Drop for SocketFile {
    fn drop(&mut self) {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Owns(lock) => self.0.leave(lock),
            State::Waits { name, next } => {
                // In this order: the owner may be renaming the one to the other.
                self.0.remove(&name);
                self.0.remove(&self.0.path);
                drop(next);
            }
            State::Ended => {}
        }
    }
}

/// Returns whether a successor waits for the path, or has just got it.
pub(super) fn is_succeeded(path: &Path) -> bool {
    beside(path, ".next.lock").exists()
}

/// Returns the path with more at its end.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
