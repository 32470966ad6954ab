//! What can go wrong before and around the loop: binding, installing signals, running.
//!
//! An [`io::Error`] alone says "Address already in use", and not which. This error says what was
//! tried, and what would help. A failure of one connection never becomes one.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Why a server could not start or could not go on.
///
/// `Display` writes one whole line: what was tried, the system's word, and what would help, where
/// that is known. `Debug` writes the same line, because a `main` that returns an error shows its
/// `Debug`. [`source`](std::error::Error::source) is the system's error.
pub struct Error {
    /// Completes "cannot …"; empty where the source says it all.
    tried: Cow<'static, str>,
    hint: Option<&'static str>,
    source: io::Error,
}

impl Error {
    /// Makes an error in doing something; `tried` completes "cannot …".
    pub(crate) fn new(tried: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self {
            tried: tried.into(),
            hint: None,
            source,
        }
    }

    /// Adds what would help, if that is known.
    #[must_use]
    pub(crate) const fn with_hint(mut self, hint: Option<&'static str>) -> Self {
        self.hint = hint;
        self
    }

    /// Returns the kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tried.is_empty() {
            write!(f, "cannot {}: ", self.tried)?;
        }
        write!(f, "{}", self.source)?;
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// For a `main` that returns [`io::Result`]: the kind and the whole line are kept.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}

/// For what a program opens itself before the server runs. An error that came from an [`Error`] is
/// shown once.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new("", error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn in_use() -> Error {
        Error::new("listen on [::1]:80", io::ErrorKind::AddrInUse.into())
    }

    #[test]
    fn it_is_one_line_that_says_what_was_tried() {
        let line = "cannot listen on [::1]:80: address in use";
        assert_eq!(in_use().to_string(), line);
        let hinted = in_use().with_hint(Some("take another port"));
        assert_eq!(hinted.to_string(), format!("{line}; take another port"));
    }

    #[test]
    fn its_source_is_the_systems_error() {
        let error = in_use();
        let source = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::AddrInUse));
    }

    #[test]
    fn as_an_io_error_and_back_it_keeps_its_kind_and_its_line() {
        let line = in_use().to_string();
        let there = io::Error::from(in_use());
        assert_eq!(
            (there.kind(), there.to_string()),
            (io::ErrorKind::AddrInUse, line.clone())
        );
        let back = Error::from(there);
        assert_eq!(
            (back.kind(), back.to_string()),
            (io::ErrorKind::AddrInUse, line)
        );
    }
}
