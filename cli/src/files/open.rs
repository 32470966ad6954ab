//! Opens a file below a root, and nothing else.
//!
//! Each name is one step down from an open directory, and no step follows a symbolic link. A name
//! that changes meanwhile therefore cannot lead out. The system first resolves links that the
//! policy allows; the same steps then lead to the target. Pipes and devices stay closed: opening a
//! pipe waits for its other end, and opening a device may act on it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};

/// The symbolic links to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Symlinks {
    /// None below the root; the root itself may be one.
    Never,
    /// Links whose target lies below the root.
    #[default]
    Inside,
    /// All.
    Any,
}

/// A directory with files to serve. Each request looks the directory up, so a link to it may change
/// its target.
#[derive(Clone, Debug)]
pub(super) struct Root {
    path: PathBuf,
    symlinks: Symlinks,
    dot_files: bool,
}

/// The kind of thing that a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, open.
    File(File, Metadata),
    /// A directory, not opened.
    Directory,
    /// A pipe, a socket or a device: not opened.
    Other,
}

impl Root {
    /// Serves the files below a directory. Links below it lead to no file that a path cannot name,
    /// unless `dot_files`.
    ///
    /// # Errors
    ///
    /// The directory is missing, or is another kind of file.
    pub(super) fn new(path: &Path, symlinks: Symlinks, dot_files: bool) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            path,
            symlinks,
            dot_files,
        })
    }

    /// Opens what these names lead to. Each name must be good for one step down.
    ///
    /// # Errors
    ///
    /// Returns the system's errors, and [`io::ErrorKind::NotFound`] and others for a file that must
    /// stay closed.
    pub(super) fn open(&self, names: &[OsString]) -> io::Result<Found> {
        match self.symlinks {
            Symlinks::Never => walk(&self.path, names),
            // Most paths have no link, and nothing to resolve.
            Symlinks::Inside => walk(&self.path, names).or_else(|_| {
                let root = fs::canonicalize(&self.path)?;
                let target = fs::canonicalize(join(&root, names))?;
                let below = target.strip_prefix(&root);
                let below = below.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
                walk(&root, &self.shown(below)?)
            }),
            Symlinks::Any => {
                let target = fs::canonicalize(join(&self.path, names))?;
                // The policy that follows all links also follows one to a hidden name outside.
                if !self.dot_files
                    && let Ok(below) = target.strip_prefix(fs::canonicalize(&self.path)?)
                {
                    self.shown(below)?;
                }
                let below = target.strip_prefix("/").unwrap_or(&target);
                walk(Path::new("/"), &steps(below)?)
            }
        }
    }

    /// Returns the names below the root of a link's target, unless one of them is hidden.
    fn shown(&self, below: &Path) -> io::Result<Vec<OsString>> {
        let names = steps(below)?;
        let hidden = |(n, name): (usize, &OsString)| is_hidden(name, n == 0);
        match !self.dot_files && names.iter().enumerate().any(hidden) {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(names),
        }
    }
}

/// Returns whether a name is hidden, because it begins with a dot. `.well-known` is shown where it
/// comes first, as in a path. Names with two dots are shown: Kubernetes names the directory behind
/// a volume so, and the visible files are links to it.
fn is_hidden(name: &OsStr, is_first: bool) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && !name.starts_with(b"..") && !(is_first && name == b".well-known")
}

fn join(root: &Path, names: &[OsString]) -> PathBuf {
    root.iter()
        .chain(names.iter().map(OsString::as_os_str))
        .collect()
}

/// Returns the names of a path that only goes down.
fn steps(path: &Path) -> io::Result<Vec<OsString>> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
        .collect()
}

/// Goes down from `root`, which may be a link, through names that must not be links.
fn walk(root: &Path, names: &[OsString]) -> io::Result<Found> {
    let Some((last, parents)) = names.split_last() else {
        return Ok(Found::Directory);
    };
    let mut directory = openat(AT_FDCWD, root, DIRECTORY, Mode::empty())?;
    for name in parents {
        let flags = DIRECTORY | OFlag::O_NOFOLLOW;
        directory = openat(&directory, name.as_os_str(), flags, Mode::empty())?;
    }
    open_file(&directory, last)
}

fn open_file(directory: &OwnedFd, name: &OsStr) -> io::Result<Found> {
    let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Ok(Found::Directory),
        SFlag::S_IFLNK => return Err(io::ErrorKind::NotFound.into()),
        _ => return Ok(Found::Other),
    }
    // The file may have become a pipe: this open does not wait, and the kind is checked again.
    let file = File::from(openat(directory, name, FILE, Mode::empty())?);
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() {
        Found::File(file, metadata)
    } else {
        Found::Other
    })
}

/// Opens directories to pass through, which needs fewer rights than listing them.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

const FILE: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkfifo;

    use super::*;
    use crate::files::scratch::Scratch;

    /// `file`, `sub/file`, and links to them, to nothing, and out of the root.
    fn tree() -> Scratch {
        let tree = Scratch::new();
        let root = tree.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(tree.path().join("secret"), "secret").unwrap();
        fs::write(root.join("file"), "in the root").unwrap();
        fs::write(root.join("sub/file"), "further down").unwrap();
        symlink("sub/file", root.join("link")).unwrap();
        symlink(root.join("sub"), root.join("sub-link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(tree.path(), root.join("out-dir")).unwrap();
        symlink("/", root.join("system")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nothing", root.join("dangling")).unwrap();
        symlink("root", tree.path().join("current")).unwrap();
        tree
    }

    fn content(root: &Root, path: &str) -> Option<String> {
        let names: Vec<OsString> = path.split('/').map(OsString::from).collect();
        let Ok(Found::File(mut file, metadata)) = root.open(&names) else {
            return None;
        };
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(metadata.len(), content.len() as u64);
        Some(content)
    }

    #[test]
    fn links_are_followed_as_far_as_the_policy_goes() {
        use Symlinks::{Any, Inside, Never};
        const CASES: &[(&str, &str, &[Symlinks])] = &[
            ("file", "in the root", &[Never, Inside, Any]),
            ("sub/file", "further down", &[Never, Inside, Any]),
            ("link", "further down", &[Inside, Any]),
            ("sub-link/file", "further down", &[Inside, Any]),
            ("out", "secret", &[Any]),
            ("out-dir/secret", "secret", &[Any]),
            ("out-dir/root/file", "in the root", &[Inside, Any]),
            (
                "out-dir/current/out-dir/root/file",
                "in the root",
                &[Inside, Any],
            ),
            ("loop", "", &[]),
            ("dangling", "", &[]),
            ("nothing", "", &[]),
            ("file/x", "", &[]),
        ];
        let tree = tree();
        for policy in [Never, Inside, Any] {
            // The root itself may be a link under every policy.
            for name in ["root", "current"] {
                let root = Root::new(&tree.path().join(name), policy, false).unwrap();
                for (path, expected, policies) in CASES {
                    let expected = policies.contains(&policy).then(|| expected.to_string());
                    assert_eq!(content(&root, path), expected, "{path} by {policy:?}");
                }
            }
        }
        let root = Root::new(&tree.path().join("root"), Inside, false).unwrap();
        assert_eq!(content(&root, "system/etc/passwd"), None);
    }

    #[test]
    fn a_link_does_not_show_what_is_hidden() {
        let tree = tree();
        let root = tree.path().join("root");
        for (directory, name) in [
            (".git", "config"),
            ("sub/.git", "config"),
            (".well-known", "key"),
            ("sub/.well-known", "key"),
            ("..2026_01_01", "page"),
        ] {
            fs::create_dir(root.join(directory)).unwrap();
            fs::write(root.join(directory).join(name), name).unwrap();
        }
        fs::write(root.join(".env"), "key=1").unwrap();
        symlink(".env", root.join("env")).unwrap();
        symlink(".git", root.join("git")).unwrap();
        symlink("../.git/config", root.join("sub/config")).unwrap();
        symlink("sub/.git", root.join("git-of-sub")).unwrap();
        symlink(".well-known/key", root.join("key")).unwrap();
        symlink("sub/.well-known/key", root.join("key-of-sub")).unwrap();
        // Kubernetes writes a volume so, to change all of it at once.
        symlink("..2026_01_01", root.join("..data")).unwrap();
        symlink("..data/page", root.join("page")).unwrap();
        symlink(root.join(".env"), tree.path().join("outside")).unwrap();
        symlink("../outside", root.join("there-and-back")).unwrap();
        let paths = [
            ("env", "key=1", false),
            ("git/config", "config", false),
            ("sub/config", "config", false),
            ("git-of-sub/config", "config", false),
            ("key-of-sub", "key", false),
            ("there-and-back", "key=1", false),
            ("key", "key", true),
            ("page", "page", true),
            ("link", "further down", true),
        ];
        for policy in [Symlinks::Inside, Symlinks::Any] {
            for dot_files in [false, true] {
                let root = Root::new(&root, policy, dot_files).unwrap();
                for (path, expected, shown) in paths {
                    let expected = (shown || dot_files).then(|| expected.to_owned());
                    assert_eq!(content(&root, path), expected, "{path} by {policy:?}");
                }
            }
        }
        // The root may be anywhere, and so may the target of a link.
        let hidden = Root::new(&root.join(".git"), Symlinks::Any, false).unwrap();
        assert_eq!(content(&hidden, "config").as_deref(), Some("config"));
        symlink("../.env", root.join(".git/env")).unwrap();
        assert_eq!(content(&hidden, "env").as_deref(), Some("key=1"));
    }

    #[test]
    fn a_link_to_the_root_may_be_turned() {
        let tree = tree();
        fs::create_dir(tree.path().join("next")).unwrap();
        fs::write(tree.path().join("next/file"), "the next").unwrap();
        for policy in [Symlinks::Never, Symlinks::Inside, Symlinks::Any] {
            let link = tree.path().join("current");
            fs::remove_file(&link).unwrap();
            symlink("root", &link).unwrap();
            let root = Root::new(&link, policy, false).unwrap();
            assert_eq!(content(&root, "file").as_deref(), Some("in the root"));
            fs::remove_file(&link).unwrap();
            symlink("next", &link).unwrap();
            assert_eq!(content(&root, "file").as_deref(), Some("the next"));
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let tree = tree();
        let path = tree.path().join("root");
        mkfifo(&path.join("pipe"), Mode::S_IRUSR).unwrap();
        let _socket = UnixListener::bind(path.join("socket")).unwrap();
        for policy in [Symlinks::Never, Symlinks::Inside, Symlinks::Any] {
            let root = Root::new(&path, policy, false).unwrap();
            for name in ["pipe", "socket"] {
                // The pipe has no other end, so a plain open would not return.
                let found = root.open(&[name.into()]).unwrap();
                assert!(matches!(found, Found::Other), "{name}: {found:?}");
            }
            for names in [&[][..], &["sub".into()]] {
                assert!(matches!(root.open(names).unwrap(), Found::Directory));
            }
        }
        let devices = Root::new(Path::new("/dev"), Symlinks::Inside, false).unwrap();
        let found = devices.open(&["null".into()]).unwrap();
        assert!(matches!(found, Found::Other), "{found:?}");
    }

    #[test]
    fn a_root_is_a_directory() {
        let tree = tree();
        for name in ["nowhere", "secret"] {
            assert!(Root::new(&tree.path().join(name), Symlinks::Any, false).is_err());
        }
    }
}
