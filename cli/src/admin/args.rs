//! The flags of the admin listener, and the form of its place.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::values::{self, overlap};

/// The place of the admin listener, and its token.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Admin")]
#[group(skip)] // or no two of this name could be in one command
pub(crate) struct Flags {
    /// Admin listener for `ebbtide ctl`, Prometheus and curl: an address and a port, or a Unix
    /// socket that only this user can open. The listener shows the server's state, also during a
    /// drain, and takes the order to stop. Off by default, because anyone who reaches the listener
    /// can stop the server
    #[arg(long, value_name = "unix:PATH|ADDR:PORT", value_parser = Place::parse)]
    pub admin: Option<Place>,

    /// File with the secret that every request to --admin must carry as Authorization: Bearer. The
    /// secret has at least 16 characters, and not everyone may read the file. Required where other
    /// machines can reach the admin listener
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

impl Flags {
    /// Checks that the flags fit together.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.admin {
            None if self.admin_token_file.is_some() => {
                Err("--admin-token-file: has no effect without --admin".into())
            }
            Some(Place::Tcp(addr)) if self.admin_token_file.is_none() && !is_loopback(addr) => {
                Err(format!(
                    "--admin: other machines can reach {addr}; \
                     give --admin-token-file, or listen on 127.0.0.1 or a Unix socket"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the admin listener has a port of its own. The system would blame another process,
    /// or give either listener a part of the clients.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check_beside(&self, served: &[SocketAddr]) -> Result<(), String> {
        match &self.admin {
            Some(Place::Tcp(addr)) if served.iter().any(|served| overlap(*served, *addr)) => Err(
                format!("--admin: this server serves its clients on {addr}; choose another port"),
            ),
            _ => Ok(()),
        }
    }
}

fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

/// The place of an admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// An address and a port.
    Tcp(SocketAddr),
}

impl Place {
    /// Reads `unix:PATH`, or an address and a port, also as the URL that [`fmt::Display`] and the
    /// log write.
    ///
    /// # Errors
    ///
    /// Returns the end of a sentence that begins with the flag: the mistake and the remedy.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err(format!(
                "{text:?} has no path; write unix:/run/ebbtide.sock"
            )),
            Some(path) => Ok(Self::Unix(path.into())),
            None => Self::parse_tcp(text),
        }
    }

    fn parse_tcp(text: &str) -> Result<Self, String> {
        let place = match text.split_once("://") {
            Some(("http", place)) => place.strip_suffix('/').unwrap_or(place),
            Some((scheme, _)) => {
                return Err(format!(
                    "{text:?} has the scheme {scheme}; \
                     write http://127.0.0.1:9000 or unix:PATH"
                ));
            }
            None => text,
        };
        match place.contains('/') {
            true if place.len() == text.len() => {
                Err(format!("{text:?} is a path; write unix:{text}"))
            }
            true => Err(format!(
                "{text:?} has a path; write http://127.0.0.1:9000 or unix:PATH"
            )),
            false => values::address(place)
                .map(Self::Tcp)
                .map_err(|why| format!("{why}, or unix:PATH")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addr) => write!(f, "http://{addr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_or_an_address() {
        assert_eq!(Place::parse("unix:/a/b"), Ok(Place::Unix("/a/b".into())));
        assert_eq!(Place::parse("unix:b"), Ok(Place::Unix("b".into())));
        let tcp = Place::Tcp("[::1]:90".parse().unwrap());
        for text in ["[::1]:90", "http://[::1]:90", "http://[::1]:90/"] {
            assert_eq!(Place::parse(text).as_ref(), Ok(&tcp), "{text}");
        }
        assert_eq!(Place::parse(&tcp.to_string()), Ok(tcp));
        for (text, why) in [
            ("unix:", "write unix:/run/ebbtide.sock"),
            ("/run/x", "write unix:/run/x"),
            ("http://127.0.0.1:90/status", "or unix:PATH"),
            ("https://127.0.0.1:90", "or unix:PATH"),
            ("http://localhost:90", "or [::1]:8080, or unix:PATH"),
            ("localhost:90", "or [::1]:8080, or unix:PATH"),
            ("90", "0.0.0.0:90, or unix:PATH"),
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(error.ends_with(why), "{error}");
        }
    }

    #[test]
    fn off_this_machine_there_must_be_a_token() {
        let check = |place: &str, file: Option<&str>| {
            let flags = Flags {
                admin: Some(Place::parse(place).unwrap()),
                admin_token_file: file.map(PathBuf::from),
            };
            flags.check()
        };
        for place in ["unix:/a", "127.0.0.1:9", "127.9.9.9:9", "[::1]:9"] {
            assert_eq!(check(place, None), Ok(()), "{place}");
        }
        for place in ["0.0.0.0:9", "[::]:9", "192.0.2.1:9", "[::ffff:192.0.2.1]:9"] {
            let error = check(place, None).unwrap_err();
            assert!(error.contains("--admin-token-file"), "{error}");
            assert_eq!(check(place, Some("token")), Ok(()), "{place}");
        }
        let alone = Flags {
            admin: None,
            admin_token_file: Some("token".into()),
        };
        assert!(alone.check().is_err());
    }
}
