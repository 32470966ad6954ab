//! Opens a file below a root, and nothing else.
//!
//! Each name is one step down from an open directory, and no step follows a symbolic link. A name
//! that changes meanwhile therefore cannot lead out. Links that the policy allows are first resolved,
//! and checked, one name at a time; the same steps then lead to the target. Pipes and devices stay closed: opening a
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
            Symlinks::Inside => walk(&self.path, names).or_else(|_| self.follow(names)),
            Symlinks::Any => self.follow(names),
        }
    }

    /// Opens what these names lead to through links.
    fn follow(&self, names: &[OsString]) -> io::Result<Found> {
        let root = fs::canonicalize(&self.path)?;
        let target = self.resolve(&root, names)?;
        let base = match self.symlinks {
            Symlinks::Any => Path::new("/"),
            _ => &root,
        };
        let below = target.strip_prefix(base);
        let below = below.map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        walk(base, &steps(below)?)
    }

    /// Returns the path without links of what these names lead to. Each name on the way is checked,
    /// also the names within the target of a link: a path through a hidden directory leads nowhere.
    fn resolve(&self, root: &Path, names: &[OsString]) -> io::Result<PathBuf> {
        let nowhere = || Err(io::ErrorKind::NotFound.into());
        let mut at = root.to_path_buf();
        let mut ahead: Vec<OsString> = names.iter().rev().cloned().collect();
        let (mut links, mut is_version) = (0, false);
        while let Some(name) = ahead.pop() {
            if name == ".." {
                at.pop(); // never a name of a path: only a link's target has it
                continue;
            }
            let below = at.strip_prefix(root).ok();
            let is_first = below.is_some_and(|below| below.as_os_str().is_empty());
            let hidden = !self.dot_files && below.is_some() && is_hidden(&name, is_first);
            let link = fs::read_link(at.join(&name));
            let shown = is_version;
            is_version = name == VOLUME && link.as_deref().is_ok_and(names_version);
            if hidden && !shown && !is_version {
                return nowhere();
            }
            match link {
                Ok(_) if links == MOST_LINKS => return nowhere(),
                Ok(target) => {
                    links += 1;
                    if target.is_absolute() {
                        at = "/".into();
                    }
                    ahead.extend(target.components().rev().filter_map(|part| match part {
                        Component::Normal(_) | Component::ParentDir => {
                            Some(part.as_os_str().into())
                        }
                        _ => None,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => at.push(name),
                // A client must not learn what exists outside.
                Err(_) if below.is_none() && self.symlinks == Symlinks::Inside => return nowhere(),
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }
}

/// Returns whether a name is hidden, because it begins with a dot. `.well-known` is shown where it
/// comes first, as in a path.
fn is_hidden(name: &OsStr, is_first: bool) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && !(is_first && name == b".well-known")
}

/// Returns whether the target of [`VOLUME`] is a version of a volume beside it: two dots and a date.
fn names_version(target: &Path) -> bool {
    match target.as_os_str().as_encoded_bytes() {
        [b'.', b'.', b'0'..=b'9', rest @ ..] => !rest.contains(&b'/'),
        _ => false,
    }
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
    open_regular(directory, name)
}

/// Opens a regular file. Another name may have taken its place since the look at its kind: the open
/// does not wait for the other end of a pipe, and looks at the kind again.
fn open_regular(directory: &OwnedFd, name: &OsStr) -> io::Result<Found> {
    let file = File::from(openat(directory, name, FILE, Mode::empty())?);
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() {
        Found::File(file, metadata)
    } else {
        Found::Other
    })
}

/// The link by which Kubernetes changes all files of a volume at once: `page` is a link to
/// `..data/page`, and `..data` a link to `..2026_01_02_15_04_05.123`. The link is shown, and so is
/// the directory behind it.
const VOLUME: &str = "..data";

/// The most links on one path, as in the system.
const MOST_LINKS: usize = 40;

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
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

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
        // Two dots alone make no volume, and a volume is reached by its one link only.
        fs::create_dir(root.join("..secret")).unwrap();
        fs::write(root.join("..secret/f"), "secret").unwrap();
        symlink("..secret/f", root.join("to-two-dots")).unwrap();
        symlink("..2026_01_01", root.join("to-dots-dir")).unwrap();
        symlink("../..secret", root.join("sub/..data")).unwrap();
        symlink("sub/..data", root.join("stale")).unwrap();
        // The target is shown, and a name on the way to it is not.
        symlink("../file", root.join(".git/back")).unwrap();
        symlink(".git/back", root.join("through")).unwrap();
        symlink(root.join(".env"), tree.path().join("outside")).unwrap();
        symlink("../outside", root.join("there-and-back")).unwrap();
        let paths = [
            ("env", "key=1", false),
            ("git/config", "config", false),
            ("sub/config", "config", false),
            ("git-of-sub/config", "config", false),
            ("key-of-sub", "key", false),
            ("there-and-back", "key=1", false),
            ("to-two-dots", "secret", false),
            ("to-dots-dir/page", "page", false),
            ("through", "in the root", false),
            ("stale/f", "secret", false),
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
    fn a_link_out_does_not_tell_what_is_there() {
        let tree = tree();
        let root = tree.path().join("root");
        let closed = tree.path().join("closed");
        fs::create_dir_all(closed.join("sub")).unwrap();
        fs::write(closed.join("file"), "closed").unwrap();
        symlink("../closed", root.join("closed")).unwrap();
        symlink("../closed/file", root.join("closed-file")).unwrap();
        symlink("../closed/nothing", root.join("closed-nothing")).unwrap();
        symlink("..", root.join(".up")).unwrap();
        symlink(".up/closed/file", root.join("hidden-way")).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let inside = Root::new(&root, Symlinks::Inside, false).unwrap();
        for path in [
            "out",
            "out/x",
            "out-dir/secret",
            "out-dir/nothing",
            "out-dir/closed/file",
            "closed",
            "closed/file",
            "closed/nothing",
            "closed/sub/x",
            "closed-file",
            "closed-nothing",
            "hidden-way",
            "dangling",
            "loop",
            "system/etc/passwd",
            "system/root/x",
        ] {
            let names: Vec<OsString> = path.split('/').map(OsString::from).collect();
            let error = inside.open(&names).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}: {error}");
        }
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
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
    fn a_file_that_becomes_a_pipe_or_a_link_holds_nothing_up() {
        let tree = tree();
        mkfifo(&tree.path().join("pipe"), Mode::S_IRUSR).unwrap();
        symlink("secret", tree.path().join("link")).unwrap();
        let directory = openat(AT_FDCWD, tree.path(), DIRECTORY, Mode::empty()).unwrap();
        let (tell, opened) = channel();
        // A thread of its own: an open that waits would wait for ever.
        thread::spawn(move || {
            for name in ["pipe", "link"] {
                let _ = tell.send(open_regular(&directory, OsStr::new(name)));
            }
        });
        let next = || opened.recv_timeout(Duration::from_secs(10));
        let pipe = next().expect("it does not wait").unwrap();
        assert!(matches!(pipe, Found::Other), "{pipe:?}");
        assert!(next().expect("it does not wait").is_err());
    }

    #[test]
    fn a_root_is_a_directory() {
        let tree = tree();
        for name in ["nowhere", "secret"] {
            assert!(Root::new(&tree.path().join(name), Symlinks::Any, false).is_err());
        }
    }
}
