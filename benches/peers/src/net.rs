//! Sockets as both sides of the bench open them.
//!
//! Knows no HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};

/// A non-blocking listener on loopback, with a backlog as long as the system allows.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Begins to connect. The source address changes with `nth`: one address has 28,000 ports for one
/// server, which new connections use up within seconds, and a search for a free one costs the
/// kernel more the fewer are left.
pub(crate) fn connect(port: u16, nth: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.set_tcp_nodelay(true)?;
    let source = Ipv4Addr::new(127, 0, 1, 1 + (nth % SOURCES) as u8);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    let begun = socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into());
    match begun {
        Ok(()) => {}
        // EINPROGRESS has no kind of its own in the standard library yet.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

const BACKLOG: i32 = 4096;

/// Source addresses, all of them loopback.
const SOURCES: usize = 64;
