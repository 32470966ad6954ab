//! Who is on the other side: an address in 18 bytes, kept with every connection.
//!
//! A `SocketAddr` takes 32 bytes and `getpeername` fails once the peer has reset, just when a log
//! line wants it; so the address is taken at accept and packed. IPv4 is kept as IPv4-mapped IPv6,
//! the scope id of a link-local address is not kept.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The address of a peer, packed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    ip: [u8; 16],
    port: [u8; 2],
}

impl Peer {
    /// The peer's address. IPv4 comes back as IPv4, also where a dual-stack socket mapped it.
    pub fn addr(self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip).to_canonical();
        SocketAddr::new(ip, u16::from_be_bytes(self.port))
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
        fmt::Display::fmt(&self.addr(), f)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.addr(), f)
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
            assert_eq!(Peer::from(addr).addr(), addr);
            assert_eq!(Peer::from(addr).to_string(), text);
        }
    }

    #[test]
    fn a_mapped_address_is_shown_as_ipv4() {
        let addr: SocketAddr = "[::ffff:10.1.2.3]:9".parse().unwrap();
        assert_eq!(Peer::from(addr).to_string(), "10.1.2.3:9");
    }
}
