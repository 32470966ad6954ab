//! Decides who may ask the admin listener.
//!
//! The mode of a Unix socket keeps other users out, and loopback keeps other machines out. A
//! browser on this machine still sends requests for any page that the browser shows. The listener
//! therefore refuses, without a token, requests that look like a browser's:
//!
//! * a request with `Origin`;
//! * a request whose Host names this machine only through DNS;
//! * a POST without a field that a page cannot send without a preflight, which this listener never
//!   grants.

use std::net::IpAddr;

use crate::token::Token;
use ebbtide::{Head, Response};

/// The proof that a request must give.
#[derive(Debug)]
pub(super) enum Access {
    /// The token.
    Token(Token),
    /// No proof: only this machine reaches a Unix socket.
    Unix,
    /// A form that no browser sends, over loopback.
    Loopback,
}

/// The field that a POST needs without a token.
pub(crate) const INTENT: (&str, &str) = ("X-Ebbtide-Admin", "1");

impl Access {
    /// Returns the refusal of a request without access.
    pub(super) fn refusal(&self, head: &Head<'_, '_>) -> Option<Response> {
        match self {
            Self::Token(token) => {
                let offered = head.field("authorization").and_then(bearer);
                let known = offered.is_some_and(|offered| token.is(offered));
                (!known).then(|| {
                    Response::text(401, "the token is missing or wrong\n")
                        .field("WWW-Authenticate", "Bearer")
                })
            }
            _ if head.field("origin").is_some() => {
                Some(forbidden("this listener refuses browsers\n"))
            }
            Self::Loopback if !head.field("host").is_some_and(is_loopback) => Some(forbidden(
                "the Host field must be localhost or a loopback address\n",
            )),
            _ if head.method == "POST" && !intends(head) => {
                Some(forbidden("a POST needs the field X-Ebbtide-Admin: 1\n"))
            }
            _ => None,
        }
    }
}

fn forbidden(why: &'static str) -> Response {
    Response::text(403, why)
}

fn intends(head: &Head<'_, '_>) -> bool {
    head.field(INTENT.0) == Some(INTENT.1.as_bytes())
}

/// Returns the token of an Authorization field (RFC 6750 §2.1). The scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(BEARER) && token.len() < rest.len()).then_some(token)
}

/// Returns whether a Host field names this machine without DNS.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(ip, _)| ip),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    let ip = name.parse::<IpAddr>().map(|ip| ip.to_canonical());
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

const BEARER: &[u8] = b"Bearer";

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    fn status(access: &Access, request: &str) -> Option<u16> {
        let mut fields = [const { MaybeUninit::uninit() }; 8];
        let bytes = request.replace('\n', "\r\n") + "\r\n\r\n";
        let head = Head::parse(bytes.as_bytes(), &mut fields).unwrap();
        access.refusal(&head).map(|response| response.status())
    }

    #[test]
    fn a_host_is_this_machine_or_it_is_not() {
        for host in [
            "localhost",
            "LocalHost:9000",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:9000",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:9000",
            "192.0.2.1",
            "0.0.0.0",
            "[::]:9000",
            "[::1",
            "[localhost.evil.example]",
            "\u{fc}",
        ] {
            assert!(!is_loopback(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn what_looks_like_a_browser_is_refused_without_a_token() {
        for access in [Access::Unix, Access::Loopback] {
            const CASES: &[(&str, Option<u16>)] = &[
                ("GET / HTTP/1.1\nHost: localhost", None),
                ("GET / HTTP/1.1\nHost: localhost\nOrigin: null", Some(403)),
                ("POST / HTTP/1.1\nHost: localhost", Some(403)),
                (
                    "POST / HTTP/1.1\nHost: localhost\nX-Ebbtide-Admin: 0",
                    Some(403),
                ),
                ("POST / HTTP/1.1\nHost: localhost\nx-ebbtide-admin: 1", None),
                (
                    "POST / HTTP/1.1\nHost: localhost\nX-Ebbtide-Admin: 1\nOrigin: http://a",
                    Some(403),
                ),
            ];
            for (request, expected) in CASES {
                assert_eq!(status(&access, request), *expected, "{access:?} {request}");
            }
        }
        let rebound = "GET / HTTP/1.1\nHost: evil.example";
        assert_eq!(status(&Access::Loopback, rebound), Some(403));
        assert_eq!(status(&Access::Unix, rebound), None);
        assert_eq!(status(&Access::Loopback, "GET / HTTP/1.0"), Some(403));
    }

    #[test]
    fn credentials_are_a_scheme_and_a_token() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(bearer(value.as_bytes()), Some(&b"abc"[..]), "{value}");
        }
        for value in ["", "Bearer", "Bearerabc", "Basic abc", "abc"] {
            assert_eq!(bearer(value.as_bytes()), None, "{value}");
        }
    }
}
