//! The other end of a connection: an address in 18 bytes, kept with every connection.
//!
//! A `SocketAddr` takes 32 bytes, and `getpeername` fails once the peer has reset the connection,
//! just when a log line wants the address. So the address is taken at accept and packed: IPv4 as
//! IPv4-mapped IPv6, without the scope id of a link-local address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection: an address, or a Unix socket, which has none.
///
/// `Display` writes `127.0.0.1:4000`, `[::1]:4000` or `unix`.
#[doc(alias = "remote address")]
#[doc(alias = "client address")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    ip: [u8; 16],
    port: [u8; 2],
}

impl Peer {
    /// The other end of a Unix socket.
    pub const UNIX: Self = Self {
        ip: [0; 16],
        port: [0; 2],
    };

    /// Returns the address; `None` for a Unix socket. An IPv4 address is IPv4 also where a
    /// dual-stack socket mapped it.
    pub fn addr(self) -> Option<SocketAddr> {
        let ip = Ipv6Addr::from(self.ip).to_canonical();
        (self != Self::UNIX).then(|| SocketAddr::new(ip, u16::from_be_bytes(self.port)))
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            ip: ip.octets(),
            port: addr.port().to_be_bytes(),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr() {
            Some(addr) => fmt::Display::fmt(&addr, f),
            None => f.write_str("unix"),
        }
    }
}

/// As text, as `Display` writes it.
#[cfg(feature = "json")]
impl serde::Serialize for Peer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const _: () = assert!(size_of::<Peer>() == 18 && align_of::<Peer>() == 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in [
            "127.0.0.1:80",
            "[::1]:8080",
            "[2001:db8::7]:65535",
            "0.0.0.0:0",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(addr).addr(), Some(addr));
            assert_eq!(Peer::from(addr).to_string(), text);
        }
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        let addr: SocketAddr = "[::ffff:10.1.2.3]:9".parse().unwrap();
        assert_eq!(Peer::from(addr).to_string(), "10.1.2.3:9");
    }

    #[test]
    fn a_unix_socket_has_no_address() {
        assert_eq!(Peer::UNIX.addr(), None);
        assert_eq!(Peer::UNIX.to_string(), "unix");
    }
}
