//! Certificates in files, made when a test asks for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::tls::Identity;

/// A folder that the end of the test removes.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ebbtide-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file in one step, readable by its owner only. A reader gets the old or the new
    /// one.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, content).expect("a file");
        fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("its mode");
        fs::rename(&new, &path).expect("its name");
        path
    }

    /// Writes both files of an identity, and returns their paths.
    pub fn identity(&self, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
        let cert = self.write(&format!("{name}.pem"), &identity.cert_pem());
        let key = self.write(&format!("{name}.key"), &identity.key_pem());
        (cert, key)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The folder holds only what the test wrote.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns a path as the value of a flag.
pub fn flag(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
