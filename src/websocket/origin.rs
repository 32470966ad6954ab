//! Origins (RFC 6454): whether a page comes from the server that it connects to.
//!
//! Knows no requests.

/// Returns whether an `Origin` has scheme, host and port of the server (RFC 6454 §5). `authority` is
/// the host that the request names, and lacks the port where it is the scheme's default (§4).
///
/// `secure` says that the server speaks TLS. A server without TLS may stand behind a proxy that
/// speaks it, so that `https` can be its scheme as well.
pub(super) fn is_same(origin: &str, authority: &str, secure: bool) -> bool {
    let Some((scheme, page)) = origin.split_once("://") else {
        return false; // `null`, and anything that is no origin
    };
    let default = if scheme.eq_ignore_ascii_case("https") {
        443
    } else if scheme.eq_ignore_ascii_case("http") && !secure {
        80
    } else {
        return false;
    };
    let (page, server) = (split(page, default), split(authority, default));
    page.zip(server)
        .is_some_and(|((page, from), (server, to))| {
            !page.is_empty() && page.eq_ignore_ascii_case(server) && from == to
        })
}

/// Splits an authority into host and port, which may be missing or empty (RFC 3986 §3.2.3).
fn split(authority: &str, default: u16) -> Option<(&str, u16)> {
    let address = authority.find(']').unwrap_or(0); // colons before it are an IPv6 address's
    match authority[address..].rfind(':') {
        None => Some((authority, default)),
        Some(colon) => {
            let (host, port) = authority.split_at(address + colon);
            match &port[1..] {
                "" => Some((host, default)),
                port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Some((host, port.parse().ok()?))
                }
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_decide_and_a_port_may_be_the_default() {
        const CASES: &[(&str, &str, bool)] = &[
            ("http://h", "h", true),
            ("http://h", "h:80", true),
            ("http://h:80", "h", true),
            ("http://h", "h:", true),
            ("http://h:8080", "h:8080", true),
            ("http://H", "h", true),
            ("HTTP://h", "h:80", true),
            ("https://h", "h", true),
            ("https://h", "h:443", true),
            ("https://h:443", "h", true),
            ("http://[::1]", "[::1]:80", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://127.0.0.1", "127.0.0.1", true),
            ("http://h", "h:443", false),
            ("https://h", "h:80", false),
            ("http://h:443", "h", false),
            ("http://h", "h:8080", false),
            ("http://h:8080", "h", false),
            ("http://h:+80", "h", false),
            ("http://h:65616", "h:80", false),
            ("http://[::1]", "[::2]", false),
            ("http://[::1]:80", "[::1]:81", false),
            ("http://other", "h", false),
            ("http://a.h", "h", false),
            ("http://user@h", "h", false),
            ("http://h/", "h", false),
            ("http://h:80/", "h", false),
            ("chrome-extension://127.0.0.1", "127.0.0.1", false),
            ("ws://h", "h", false),
            ("ftp://h", "h", false),
            ("file://", "", false),
            ("http://", "", false),
            ("http://:80", "", false),
            ("://h", "h", false),
            ("h", "h", false),
            ("//h", "h", false),
            ("null", "null", false),
            ("", "h", false),
        ];
        for (origin, authority, expected) in CASES {
            assert_eq!(
                is_same(origin, authority, false),
                *expected,
                "{origin} {authority}"
            );
            let secure = *expected && origin.starts_with("https");
            assert_eq!(
                is_same(origin, authority, true),
                secure,
                "{origin} {authority}"
            );
        }
    }
}
