//! The secret of the admin listener, read from a file.
//!
//! Everyone on a machine sees the flags of a command, so the secret is not a flag.

use std::fmt;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ebbtide::read_file;

/// A secret of at least [`SHORTEST`] visible ASCII characters.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl Token {
    /// Reads a file's content, without the blanks and line ends around it.
    ///
    /// # Errors
    ///
    /// Returns one line that names the file. The file cannot be read, everyone can read it, or its
    /// content is too short, too long, or unfit for a header field.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let refuse = |why: &str| format!("the token file {path:?} {why}");
        let (bytes, metadata) = read_file(path, LONGEST).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => refuse("is too long for a token"),
            _ => refuse(&format!("cannot be read: {error}")),
        })?;
        if metadata.mode() & FOR_ALL_TO_READ != 0 {
            return Err(refuse("is readable by everyone; chmod o-r it"));
        }
        let text = String::from_utf8_lossy(&bytes);
        let token = text.trim();
        if token.len() < SHORTEST {
            return Err(refuse(&format!(
                "has a token of {} characters; at least {SHORTEST} are needed",
                token.len()
            )));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse(
                "has more than one word, or characters other than ASCII",
            ));
        }
        Ok(Self(token.to_owned()))
    }

    /// Compares in a time that depends only on whether the length is right.
    pub(super) fn is(&self, offered: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let differing = |(a, b): (&u8, &u8)| a ^ b;
        token.len() == offered.len()
            && black_box(
                token
                    .iter()
                    .zip(offered)
                    .map(differing)
                    .fold(0, |all, bits| black_box(all | bits)),
            ) == 0
    }

    /// Returns the token, to send it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Leaves the token out, since a value may end in a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The shortest secret: 16 characters of base64 are 96 bits, which nobody guesses over a network.
const SHORTEST: usize = 16;

/// The longest file, in bytes: a longer one is a mistake.
const LONGEST: u64 = 4_096;

const FOR_ALL_TO_READ: u32 = 0o004;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_all_of_it() {
        let token = Token("0123456789abcdef".into());
        assert!(token.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdeF",
            "1123456789abcdef",
            "0123456789abcdef0",
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
