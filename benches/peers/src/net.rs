//! Opens sockets for both sides of the bench.
//!
//! Knows no HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};

/// Returns a non-blocking listener on loopback. The system may shorten its backlog of 4,096.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Begins to connect, from a source address that changes with `nth`.
///
/// One address has 28,000 ports for one server. New connections use those up within seconds, and the
/// kernel's search for a free port takes longer as fewer are left.
pub(crate) fn connect(port: u16, nth: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.set_tcp_nodelay(true)?;
    let source = Ipv4Addr::new(127, 0, 1, 1 + (nth % SOURCES) as u8);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    let begun = socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into());
    match begun {
        Ok(()) => {}
        // The stable standard library has no `ErrorKind` for EINPROGRESS.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

const BACKLOG: i32 = 4096;

/// Number of source addresses, all on loopback.
const SOURCES: usize = 64;
