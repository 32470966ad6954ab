//! Listening sockets: backlog, reuse of addresses and ports, inherited sockets, Unix sockets.
//!
//! The standard library and mio fix the backlog at 128 and have no other options. Errors name the
//! address and a remedy.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::error::Error;
use crate::sys::unix::{self, InUse};

/// How to open a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: Option<bool>,
}

impl ListenOptions {
    /// Returns the defaults.
    pub const fn new() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_port: false,
            only_v6: None,
        }
    }

    /// Sets how many connections may wait to be accepted: 4,096, the most that Linux gives by default.
    /// Linux caps the number silently at `net.core.somaxconn` (128 before 5.4), other systems at
    /// their own limit.
    #[must_use]
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Sets `SO_REUSEPORT`: other processes of the same user may listen on the same port, if all of
    /// them ask for it. The kernel spreads the connections over them. Off unless set, because a
    /// second server on a port is mostly a mistake.
    #[must_use]
    pub const fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets `IPV6_V6ONLY`: whether `[::]` takes IPv6 only, or IPv4 too. Means nothing for an IPv4
    /// address. Left to the system unless set (Linux: `net.ipv6.bindv6only`, off by default).
    #[must_use]
    pub const fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A non-blocking listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Listens,
    addr: Option<SocketAddr>,
    inherited: bool,
}

/// A socket of either family.
#[derive(Debug)]
pub(super) enum Listens {
    Tcp(TcpListener),
    Unix(unix::Bound),
}

impl Listener {
    /// Listens on an address. Port 0 takes any free port: [`Listener::local_addr`] says which. A name
    /// may stand for several addresses: the first usable one is taken.
    ///
    /// Sets `SO_REUSEADDR`: connections of an earlier process in `TIME_WAIT` must not block the
    /// port.
    ///
    /// # Errors
    ///
    /// The name has no address, or the system refuses all of them. The error has the last address,
    /// the system's word, and what would help.
    pub fn bind(addr: impl ToSocketAddrs, options: &ListenOptions) -> Result<Self, Error> {
        let addrs = addr
            .to_socket_addrs()
            .map_err(|error| Error::new("resolve the address to listen on", error))?;
        let mut refused = None;
        for addr in addrs {
            match open(addr, options).and_then(|socket| Self::new(socket, false)) {
                Ok(listener) => return Ok(listener),
                Err(error) => {
                    let hint = hint(addr, &error);
                    let error = Error::new(format!("listen on {addr}"), error);
                    refused = Some(error.with_hint(hint));
                }
            }
        }
        Err(refused.unwrap_or_else(|| {
            let none = io::ErrorKind::AddrNotAvailable.into();
            Error::new("listen: the name has no address", none)
        }))
    }

    /// Takes a socket that another process opened: a supervisor or a predecessor. Makes it
    /// non-blocking and changes nothing else.
    ///
    /// # Errors
    ///
    /// The descriptor is no listening socket of IPv4 or IPv6. On systems that do not tell whether a
    /// socket listens (macOS and most of the BSDs), the first accept fails instead.
    pub fn from_std(socket: TcpListener) -> Result<Self, Error> {
        listens(&socket)
            .and_then(|()| Self::new(socket, true))
            .map_err(|error| Error::new("use an inherited socket", error))
    }

    /// Listens on a Unix socket to which only this user can connect: its mode is 0600 from the
    /// beginning. Replaces the socket of a dead process. The file is removed when the server stops
    /// listening, except if another file has taken its place.
    ///
    /// Of several processes that listen on one path at once, one succeeds. A file of the same name with
    /// `.lock` at its end decides, and stays only where a connect to a full backlog is refused (not on
    /// Linux).
    ///
    /// # Errors
    ///
    /// The system's, with the path and a remedy; also `AddrInUse` if the path has a socket in use
    /// or another kind of file.
    pub fn unix(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::at_path(path.as_ref(), InUse::Fail)
    }

    /// Listens on a Unix socket as [`Listener::unix`] does, or succeeds the process that listens
    /// there: a restart may begin before the predecessor has drained. The path changes hands in one
    /// step when the predecessor stops listening, so a client reaches one of the two at any time. A
    /// thread waits for that moment. Where this server ends first, the path stays the predecessor's.
    ///
    /// The predecessor must have been opened by this function too, as both must share a port. Files of
    /// the same name with `.lock`, `.next` and `.next.lock` at their end stand beside the socket.
    ///
    /// # Errors
    ///
    /// As [`Listener::unix`], except where the process that listens uses this library; also when the
    /// thread cannot be started.
    pub fn unix_successor(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::at_path(path.as_ref(), InUse::Succeed)
    }

    fn at_path(path: &Path, in_use: InUse) -> Result<Self, Error> {
        Ok(Self {
            socket: Listens::Unix(unix::bind(path, BACKLOG, in_use)?),
            addr: None,
            inherited: false,
        })
    }

    fn new(socket: TcpListener, inherited: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let addr = Some(socket.local_addr()?);
        Ok(Self {
            socket: Listens::Tcp(socket),
            addr,
            inherited,
        })
    }

    /// Returns the address that it listens on, with the port it got; `None` for a Unix socket.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns whether another process opened the socket, and may listen on it.
    pub(super) const fn is_inherited(&self) -> bool {
        self.inherited
    }

    pub(super) fn into_socket(self) -> Listens {
        self.socket
    }
}

/// Returns the soft limit of open descriptors, read from `/proc`. `None` without `/proc` or without
/// a limit.
///
/// This crate does not raise the limit: safe code cannot make that system call, and the starter of
/// the process decides it (`ulimit -n`, systemd's `LimitNOFILE=`).
pub fn open_file_limit() -> Option<u64> {
    parse_limits(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_limits(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn open(addr: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        reuse_port(&socket)?;
    }
    if let (SocketAddr::V6(_), Some(only_v6)) = (addr, options.only_v6) {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(any(target_os = "solaris", target_os = "illumos"))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Checks that a socket listens. Without it the first accept would fail, and every later one.
#[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
fn listens(socket: &TcpListener) -> io::Result<()> {
    if SockRef::from(socket).is_listener()? {
        Ok(())
    } else {
        let kind = io::ErrorKind::InvalidInput;
        Err(io::Error::new(kind, "it does not listen"))
    }
}

#[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
fn listens(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Returns a remedy for the usual cause of an error.
fn hint(addr: SocketAddr, error: &io::Error) -> Option<&'static str> {
    match (error.kind(), addr) {
        (io::ErrorKind::AddrInUse, _) => Some(
            "choose another port (0 takes any that is free), or stop the process that listens \
             there",
        ),
        (io::ErrorKind::PermissionDenied, _) if addr.port() < 1024 => Some(
            "a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE; \
             choose one from 1024 up",
        ),
        (io::ErrorKind::AddrNotAvailable, SocketAddr::V4(_)) => {
            Some("this machine does not have that address; 0.0.0.0 means all it has")
        }
        (io::ErrorKind::AddrNotAvailable, SocketAddr::V6(_)) => {
            Some("this machine does not have that address; [::] means all it has")
        }
        (io::ErrorKind::InvalidInput, SocketAddr::V6(v6))
            if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 =>
        {
            Some("a link-local address needs the number of its interface, as in [fe80::1%2]:80")
        }
        _ => None,
    }
}

/// Linux's default cap. A full backlog drops the SYNs of a burst, and the clients try again a
/// second later.
const BACKLOG: u32 = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn any(ip: &str) -> SocketAddr {
        format!("{ip}:0").parse().unwrap()
    }

    fn tcp(listener: Listener) -> TcpListener {
        match listener.into_socket() {
            Listens::Tcp(socket) => socket,
            Listens::Unix(bound) => panic!("{bound:?}"),
        }
    }

    #[test]
    fn port_0_says_which_port_it_got_and_does_not_block() {
        for ip in ["127.0.0.1", "[::1]"] {
            let listener = Listener::bind(any(ip), &ListenOptions::default()).unwrap();
            let addr = listener.local_addr().unwrap();
            assert_ne!(addr.port(), 0);
            let socket = tcp(listener);
            assert_eq!(
                socket.accept().unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            let _client = TcpStream::connect(addr).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_named_and_explained() {
        let first = Listener::bind(any("127.0.0.1"), &ListenOptions::default()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = Listener::bind(addr, &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let line = error.to_string();
        assert!(
            line.starts_with(&format!("cannot listen on {addr}: ")),
            "{line}"
        );
        assert!(
            line.ends_with("or stop the process that listens there"),
            "{line}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_explained() {
        // 192.0.2.0/24 and 2001:db8::/32 are for documentation: no machine has them.
        for (ip, all) in [("192.0.2.1", "0.0.0.0"), ("[2001:db8::1]", "[::]")] {
            let error = Listener::bind(any(ip), &ListenOptions::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
            let line = error.to_string();
            assert!(
                line.ends_with(&format!("that address; {all} means all it has")),
                "{line}"
            );
        }
    }

    #[test]
    fn low_ports_and_link_local_addresses_are_explained() {
        let explain = |addr: &str, kind: io::ErrorKind| hint(addr.parse().unwrap(), &kind.into());
        let denied = io::ErrorKind::PermissionDenied;
        assert!(explain("0.0.0.0:80", denied).is_some_and(|hint| hint.contains("CAP_NET_BIND")));
        assert_eq!(explain("0.0.0.0:8080", denied), None);
        let invalid = io::ErrorKind::InvalidInput;
        assert!(explain("[fe80::1]:80", invalid).is_some_and(|hint| hint.contains("%2")));
        assert_eq!(explain("[fe80::1%3]:80", invalid), None);
    }

    #[test]
    fn a_port_can_be_shared_if_all_ask_for_it() {
        let shared = ListenOptions {
            reuse_port: true,
            ..ListenOptions::default()
        };
        let first = Listener::bind(any("127.0.0.1"), &shared).unwrap();
        let second = Listener::bind(first.local_addr().unwrap(), &shared).unwrap();
        assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
    }

    #[test]
    fn only_v6_is_set_as_asked() {
        for only_v6 in [true, false] {
            let options = ListenOptions {
                only_v6: Some(only_v6),
                ..ListenOptions::default()
            };
            let socket = tcp(Listener::bind(any("[::]"), &options).unwrap());
            assert_eq!(SockRef::from(&socket).only_v6().unwrap(), only_v6);
        }
    }

    #[test]
    fn both_families_reach_a_socket_that_is_not_only_v6() {
        let both = ListenOptions {
            only_v6: Some(false),
            ..ListenOptions::default()
        };
        let listener = Listener::bind(any("[::]"), &both).unwrap();
        let port = listener.local_addr().unwrap().port();
        for ip in ["127.0.0.1", "[::1]"] {
            TcpStream::connect(format!("{ip}:{port}")).unwrap();
        }
    }

    #[test]
    fn an_inherited_socket_no_longer_blocks() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = outside.local_addr().unwrap();
        let listener = Listener::from_std(outside).unwrap();
        assert!(listener.is_inherited());
        assert_eq!(listener.local_addr(), Some(addr));
        let socket = tcp(listener);
        assert_eq!(
            socket.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_that_does_not_listen_is_refused() {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&any("127.0.0.1").into()).unwrap();
        let server = Listener::bind(any("127.0.0.1"), &ListenOptions::default()).unwrap();
        let connected = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        for socket in [bound, connected.into(), datagrams] {
            let error = Listener::from_std(socket.into()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let line = error.to_string();
            assert_eq!(line, "cannot use an inherited socket: it does not listen");
        }
    }

    #[test]
    fn the_backlog_is_ours_and_not_128() {
        let listener = Listener::bind(any("127.0.0.1"), &ListenOptions::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..200)
            .map(|_| TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap())
            .collect();
        let socket = tcp(listener);
        socket.set_nonblocking(false).unwrap();
        for _ in &clients {
            socket.accept().unwrap();
        }
        let mut first = &clients[0];
        assert_eq!(first.read(&mut [0]).unwrap(), 0, "accepted, then closed");
    }

    #[test]
    fn the_soft_limit_is_read_from_the_table() {
        let table = "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max processes             96365                96365                processes\n\
                     Max open files            1024                 524288               files\n";
        assert_eq!(parse_limits(table), Some(1024));
        let unlimited = "Max open files            unlimited            unlimited            files";
        assert_eq!(parse_limits(unlimited), None);
        assert_eq!(parse_limits("Max open files"), None);
        assert_eq!(parse_limits(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_a_limit() {
        use nix::sys::resource::{Resource, getrlimit};
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(open_file_limit(), Some(soft));
    }
}
