//! Reads files that an operator names: certificates, keys, secrets.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Reads a file that an operator named, such as a secret or a certificate, and returns the content
/// with the metadata of the file that was read.
///
/// Follows links, and reads regular files only. A wrong name can lead to a pipe, whose other end
/// never comes, or to a device that has no end; this function neither waits nor takes more than
/// `most` bytes.
///
/// # Errors
///
/// The file cannot be read, is of another kind, or has more bytes. The error names the reason and
/// not the path.
pub fn read_file(path: impl AsRef<Path>, most: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let path = path.as_ref();
    // The first look leaves devices closed, because opening one may act on it.
    check(&fs::metadata(path)?, most)?;
    let file = open(path)?;
    let metadata = file.metadata()?;
    check(&metadata, most)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_long(most)), // it grows, or tells no length
        false => Ok((bytes, metadata)),
    }
}

/// Opens a file without waiting: a pipe may have taken its place.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
}

fn check(metadata: &Metadata, most: u64) -> io::Result<()> {
    let kind = metadata.file_type();
    let other = match () {
        () if kind.is_file() && metadata.len() > most => return Err(too_long(most)),
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "directory",
        () if kind.is_fifo() => "pipe",
        () if kind.is_socket() => "socket",
        () => "device",
    };
    let why = format!("it is a {other}; a regular file is needed");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn too_long(most: u64) -> io::Error {
    let why = format!("it has more than {most} bytes");
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::sync::mpsc::channel;
    use std::time::Duration;
    use std::{env, process, thread};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("ebbtide-file-{name}-{}", process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0); // leftovers are in the temporary directory
        }
    }

    /// Does this on a thread of its own: a read that waits would wait for ever.
    fn promptly<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, done) = channel();
        thread::spawn(move || tell.send(read()));
        let done = done.recv_timeout(Duration::from_secs(10));
        done.expect("it does not wait")
    }

    #[test]
    fn only_a_regular_file_of_a_fitting_length_is_read() {
        let folder = Folder::new("kinds");
        let path = |name: &str| folder.0.join(name);
        fs::write(path("file"), "12345").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("nothing", path("dangling")).unwrap();
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        symlink("pipe", path("link-to-pipe")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for name in ["file", "link"] {
            let (bytes, metadata) = read_file(path(name), 5).unwrap();
            assert_eq!((&bytes[..], metadata.len()), (&b"12345"[..], 5), "{name}");
        }
        for (name, why) in [
            ("file", "it has more than 4 bytes"),
            ("pipe", "it is a pipe; a regular file is needed"),
            ("link-to-pipe", "it is a pipe; a regular file is needed"),
            ("socket", "it is a socket; a regular file is needed"),
            (".", "it is a directory; a regular file is needed"),
            ("/dev/zero", "it is a device; a regular file is needed"),
            ("dangling", "No such file or directory (os error 2)"),
        ] {
            let path = path(name);
            let error = promptly(|| read_file(path, 4)).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }

    /// Files of the kernel tell no length.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_without_a_length_is_read_as_far_as_it_may_be() {
        let (bytes, metadata) = read_file("/proc/self/stat", 4_096).unwrap();
        assert!(metadata.len() == 0 && !bytes.is_empty());
        let error = read_file("/proc/self/stat", 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_pipe_that_takes_the_place_of_a_file_holds_nothing_up() {
        let folder = Folder::new("pipe");
        let path = folder.0.join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let metadata = promptly(move || open(&path)?.metadata());
        assert!(check(&metadata.unwrap(), 4).is_err());
    }
}
