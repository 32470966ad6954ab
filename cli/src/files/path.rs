//! Turns the path of a request into names below a root, and back for a redirect.
//!
//! An ambiguous path names no file. Decoding happens once; a name that is empty, a dot segment, or
//! contains a slash or NUL names no file. Each file has one path, and files above the root have
//! none.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Names below the root, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Each name is good for one step down: not empty, no dot segment, without slash and NUL.
    pub(super) names: Vec<OsString>,
    /// The path ended in a slash and so names a directory, as the root's does.
    pub(super) directory: bool,
}

/// The reason why a path names no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// A `%` without two hexadecimal digits.
    Malformed,
    /// No file can have this name here.
    Absent,
}

impl Names {
    /// Reads the path of a target as the client sent it. A name must not begin with a dot unless
    /// `dot_files`, except `.well-known` at the beginning (RFC 8615).
    pub(super) fn read(path: &str, dot_files: bool) -> Result<Self, Nowhere> {
        let mut names = Vec::new();
        let mut segments = path.strip_prefix('/').ok_or(Nowhere::Absent)?.split('/');
        let last = segments.next_back().unwrap_or_default();
        for segment in segments {
            names.push(name(segment, dot_files, names.is_empty())?);
        }
        let directory = last.is_empty();
        if !directory {
            names.push(name(last, dot_files, names.is_empty())?);
        }
        Ok(Self { names, directory })
    }

    /// Returns the path of the names as a directory, for a redirect. The path begins with one
    /// slash; a browser could take two for the name of another host.
    pub(super) fn to_directory(&self) -> String {
        let mut path = String::from("/");
        for name in &self.names {
            for byte in name.as_encoded_bytes() {
                if byte.is_ascii_alphanumeric() || PLAIN.contains(byte) {
                    path.push(char::from(*byte));
                } else {
                    path.push_str(&format!("%{byte:02X}"));
                }
            }
            path.push('/');
        }
        path
    }
}

fn name(segment: &str, dot_files: bool, is_first: bool) -> Result<OsString, Nowhere> {
    let name = decode(segment).ok_or(Nowhere::Malformed)?;
    let hidden = name.starts_with(b".") && !dot_files && !(is_first && name == b".well-known");
    let odd = matches!(&name[..], b"" | b"." | b"..") || name.iter().any(|b| b"/\0".contains(b));
    if hidden || odd {
        return Err(Nowhere::Absent);
    }
    Ok(OsString::from_vec(name))
}

/// Decodes percent-codes, once (RFC 3986 §2.1).
fn decode(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            (digit()? << 4 | digit()?) as u8 // two digits
        } else {
            byte
        });
    }
    Some(decoded)
}

/// The bytes that need no code in a segment, besides letters and digits (RFC 3986 §3.3).
const PLAIN: &[u8] = b"-._~!$&'()*+,;=:@";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<(Vec<String>, bool), Nowhere> {
        let Names { names, directory } = Names::read(path, false)?;
        let text = |name: OsString| name.into_string().expect("text");
        Ok((names.into_iter().map(text).collect(), directory))
    }

    #[test]
    fn good_paths_are_their_names() {
        const CASES: &[(&str, &[&str], bool)] = &[
            ("/", &[], true),
            ("/a", &["a"], false),
            ("/a/", &["a"], true),
            ("/a/b.txt", &["a", "b.txt"], false),
            ("/a%20b", &["a b"], false),
            ("/%61%2e%62", &["a.b"], false),
            ("/%c3%A9", &["é"], false),
            ("/a\\..\\b", &["a\\..\\b"], false),
            ("/~a:b;c=d", &["~a:b;c=d"], false),
            ("/%252e%252e", &["%2e%2e"], false),
            ("/.well-known/x", &[".well-known", "x"], false),
        ];
        for (path, names, directory) in CASES {
            let expected: Vec<_> = names.iter().map(ToString::to_string).collect();
            assert_eq!(read(path), Ok((expected, *directory)), "{path}");
        }
    }

    #[test]
    fn hostile_paths_name_nothing() {
        const ABSENT: &[&str] = &[
            "",
            "*",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./a",
            "/../a",
            "/a/..",
            "/a/../b",
            "/a/./b",
            "/a/.",
            "/%2e",
            "/%2e%2e",
            "/%2E%2e/a",
            "/.%2e/a",
            "/%2e./a",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fa",
            "/%2f",
            "/%2fetc/passwd",
            "/%00",
            "/a%00.txt",
            "/a/%00/b",
            "/.git/config",
            "/a/.env",
            "/%2egit/config",
            "/a/.well-known/b",
            "/...",
            "/%2e%2e%2f%2e%2e%2fetc",
        ];
        for path in ABSENT {
            assert_eq!(read(path), Err(Nowhere::Absent), "{path}");
        }
        // All other rules hold for dot files too.
        for path in ABSENT.iter().filter(|path| !path.contains(".env")) {
            let is_name = ["git", ".well-known/", "/..."]
                .iter()
                .any(|part| path.contains(part));
            assert_eq!(Names::read(path, true).is_ok(), is_name, "{path}");
        }
        for path in [
            "/%", "/%2", "/%zz", "/%2g", "/a/%", "/%u002e", "/%+2", "/% 2",
        ] {
            assert_eq!(read(path), Err(Nowhere::Malformed), "{path}");
        }
    }

    #[test]
    fn every_path_of_few_letters_goes_down_by_whole_names_or_nowhere() {
        const LETTERS: &[u8] = b"/.%2efa0";
        for length in 0..=6_u32 {
            for mut number in 0..LETTERS.len().pow(length) {
                let mut path = String::from("/");
                for _ in 0..length {
                    path.push(char::from(LETTERS[number % LETTERS.len()]));
                    number /= LETTERS.len();
                }
                let Ok(read) = Names::read(&path, true) else {
                    continue;
                };
                for name in &read.names {
                    let name = name.as_encoded_bytes();
                    let bad = name.is_empty() || name == b"." || name == b"..";
                    assert!(
                        !bad && !name.contains(&b'/') && !name.contains(&0),
                        "{path}"
                    );
                }
                // The way back is a path to the same names.
                let again = Names::read(&read.to_directory(), true).expect("a good path");
                assert_eq!(again.names, read.names, "{path}");
            }
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        for (path, expected) in [
            ("/a", "/a/"),
            ("/a%20b/%5c%5cevil.example", "/a%20b/%5C%5Cevil.example/"),
            ("/%5cevil.example", "/%5Cevil.example/"),
            ("/@evil.example", "/@evil.example/"),
            ("/%0d%0aX:%20y", "/%0D%0AX:%20y/"),
            ("/%3fa%23b", "/%3Fa%23b/"),
            ("/%c3%a9", "/%C3%A9/"),
        ] {
            let names = Names::read(path, false).expect("a good path");
            assert_eq!(names.to_directory(), expected);
        }
    }
}
