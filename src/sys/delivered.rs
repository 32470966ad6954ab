//! The number of bytes that a peer has not acknowledged, by the kernel's word and in safe code.
//!
//! `shutdown` and `close` return at once; only the kernel knows whether the last response arrived.
//! `ioctl(SIOCOUTQ)` needs unsafe code. `sock_diag(7)`, which `ss` reads, has the same number: a
//! datagram of 72 bytes to a netlink socket names a connection by its two ends, and a datagram
//! comes back before the send returns. `idiag_wqueue` counts all bytes from the first
//! unacknowledged one, with our FIN as one.
//!
//! Linux only. The result is `None` elsewhere, in a sandbox without netlink sockets, and on a
//! kernel without `tcp_diag`. A question costs four system calls, for connections that close.
//!
//! A broken connection has no unacknowledged bytes either.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

use log::debug;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::sys::errno::{ENOENT, is_exhausted};
use crate::sys::retry;

/// A channel to the kernel for questions about unacknowledged bytes.
#[derive(Debug)]
pub(super) struct Delivered {
    channel: Channel,
    serial: u32,
}

#[derive(Debug)]
enum Channel {
    /// Descriptors were used up: the next question opens it.
    Unopened,
    Open(Socket),
    /// The system does not tell: no further question is asked.
    Absent,
}

impl Delivered {
    /// Opens the socket already: slow readers come in crowds, so at the first question descriptors
    /// may be used up.
    pub(super) fn new() -> Self {
        let mut delivered = Self {
            channel: Channel::Unopened,
            serial: 0,
        };
        delivered.open();
        delivered
    }

    /// Returns the number of unacknowledged bytes, our FIN counted as one. `None` if the system
    /// does not tell, or descriptors or memory are used up. A connection that is over has 0: its
    /// events and the next read tell whether it was reset.
    pub(super) fn unacknowledged(&mut self, socket: &SockRef<'_>) -> Option<u32> {
        let (local, peer) = match ends(socket) {
            Ok(ends) => ends,
            Err(error) => return (error.kind() == ErrorKind::NotConnected).then_some(0),
        };
        self.open();
        let Channel::Open(channel) = &self.channel else {
            return None;
        };
        self.serial = self.serial.wrapping_add(1);
        let why = match exchange(channel, &question(self.serial, local, peer), self.serial) {
            Ok(Answer::Queued(bytes)) => return Some(bytes),
            // The connection ended after the first call of `ends`. If not, the kernel has no
            // `tcp_diag`, or the socket belongs to another network namespace.
            Ok(Answer::Unknown) if ends(socket).is_err() => return Some(0),
            Ok(Answer::Unknown) => ErrorKind::NotFound.into(),
            Ok(Answer::Refused(code)) => io::Error::from_raw_os_error(code),
            Err(error) => error,
        };
        self.not_told(&why);
        None
    }

    fn open(&mut self) {
        if let Channel::Unopened = self.channel {
            match open() {
                Ok(socket) => self.channel = Channel::Open(socket),
                Err(error) => self.not_told(&error),
            }
        }
    }

    /// Stops asking, except if descriptors or memory were used up.
    fn not_told(&mut self, why: &io::Error) {
        if is_exhausted(why) {
            debug!("cannot ask at the moment what peers have acknowledged (sock_diag: {why})");
        } else {
            debug!("the system does not tell what peers have acknowledged (sock_diag: {why})");
            self.channel = Channel::Absent;
        }
    }
}

fn open() -> io::Result<Socket> {
    if !cfg!(target_os = "linux") {
        return Err(ErrorKind::Unsupported.into());
    }
    let protocol = Some(Protocol::from(NETLINK_SOCK_DIAG));
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, protocol)?;
    // The kernel queues its message before the send returns, so a read never has to wait.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns the local and the remote address.
fn ends(socket: &SockRef<'_>) -> io::Result<(SocketAddr, SocketAddr)> {
    // The peer first: this call fails for a connection that has ended.
    let peer = socket.peer_addr()?.as_socket();
    let local = socket.local_addr()?.as_socket();
    local.zip(peer).ok_or_else(|| ErrorKind::Unsupported.into())
}

fn exchange(mut channel: &Socket, question: &[u8], serial: u32) -> io::Result<Answer> {
    retry(|| channel.send(question))?;
    let mut buf = [0; 512];
    for _ in 0..MAX_STALE {
        let len = retry(|| channel.read(&mut buf))?;
        if let Some(answer) = parse(&buf[..len], serial) {
            return Ok(answer);
        }
    }
    Err(ErrorKind::InvalidData.into())
}

/// Writes `struct nlmsghdr` and `struct inet_diag_req_v2` for one connection. Numbers are in the
/// machine's order of bytes, ports and addresses in the network's.
fn question(serial: u32, local: SocketAddr, peer: SocketAddr) -> [u8; QUESTION_LEN] {
    let mut message = [0; QUESTION_LEN];
    let mut put = |at: usize, bytes: &[u8]| message[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(QUESTION_LEN as u32).to_ne_bytes()); // nlmsg_len
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes()); // nlmsg_type
    put(6, &NLM_F_REQUEST.to_ne_bytes()); // nlmsg_flags
    put(8, &serial.to_ne_bytes()); // nlmsg_seq; nlmsg_pid 0: the kernel
    // The kernel's table has a mapped IPv4 address as IPv4.
    let family = match (local.ip().to_canonical(), peer.ip().to_canonical()) {
        (IpAddr::V4(local), IpAddr::V4(peer)) => {
            put(28, &local.octets()); // idiag_src
            put(44, &peer.octets()); // idiag_dst
            AF_INET
        }
        _ => {
            put(28, &as_v6(local.ip()));
            put(44, &as_v6(peer.ip()));
            AF_INET6
        }
    };
    put(16, &[family, IPPROTO_TCP]); // sdiag_family, sdiag_protocol; idiag_ext and pad 0
    put(20, &u32::MAX.to_ne_bytes()); // idiag_states: any
    put(24, &local.port().to_be_bytes()); // idiag_sport
    put(26, &peer.port().to_be_bytes()); // idiag_dport
    if let SocketAddr::V6(local) = local {
        // The kernel finds a link-local connection only with its interface.
        put(60, &local.scope_id().to_ne_bytes()); // idiag_if
    }
    put(64, &[0xff; 8]); // idiag_cookie: any
    message
}

fn as_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The number of unacknowledged bytes.
    Queued(u32),
    /// No such connection.
    Unknown,
    /// An error number.
    Refused(i32),
}

/// Reads `struct nlmsghdr` and behind it `struct inet_diag_msg` or an error number. `None` if the
/// message does not belong to the question of that serial.
fn parse(message: &[u8], serial: u32) -> Option<Answer> {
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    if number(message, 8)? != serial {
        return None;
    }
    match kind {
        SOCK_DIAG_BY_FAMILY => {
            let queued = number(message, 76)?; // idiag_wqueue
            match *message.get(17)? {
                // For a connection that is gone the kernel finds the listener, and the number is
                // the length of its backlog.
                LISTEN => Some(Answer::Unknown),
                _ => Some(Answer::Queued(queued)),
            }
        }
        NLMSG_ERROR => match number(message, 16)?.wrapping_neg() as i32 {
            ENOENT => Some(Answer::Unknown),
            code => Some(Answer::Refused(code)),
        },
        _ => None,
    }
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?))
}

// Linux has one number for each of these on every architecture.
const AF_NETLINK: i32 = 16;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const LISTEN: u8 = 10;

/// A header of 16 bytes and a request of 56.
const QUESTION_LEN: usize = 72;

/// Messages for earlier questions that are skipped. None is expected.
const MAX_STALE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno::{ENOBUFS, ENOMEM};

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Returns the kernel's message for a connection, with zeros in unused fields.
    fn answer(serial: u32, state: u8, queued: u32) -> Vec<u8> {
        let mut message = vec![0; 88];
        message[0..4].copy_from_slice(&88_u32.to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message[8..12].copy_from_slice(&serial.to_ne_bytes());
        message[16..18].copy_from_slice(&[AF_INET, state]);
        message[76..80].copy_from_slice(&queued.to_ne_bytes());
        message
    }

    fn refusal(serial: u32, code: i32) -> Vec<u8> {
        let mut message = vec![0; 36];
        message[0..4].copy_from_slice(&36_u32.to_ne_bytes());
        message[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        message[8..12].copy_from_slice(&serial.to_ne_bytes());
        message[16..20].copy_from_slice(&(-code).to_ne_bytes());
        message
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_kernel_that_is_short_of_memory_once_is_asked_again() {
        // A socket with queued messages stands in for the kernel.
        let (ours, kernel) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut delivered = Delivered {
            channel: Channel::Open(ours),
            serial: 0,
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut asked = |reply: &[u8]| {
            kernel.send(reply).unwrap();
            delivered.unacknowledged(&SockRef::from(&client))
        };
        assert_eq!(asked(&refusal(1, ENOMEM)), None);
        assert_eq!(asked(&refusal(2, ENOBUFS)), None);
        assert_eq!(asked(&answer(3, 1, 5)), Some(5));
        const EACCES: i32 = 13;
        assert_eq!(asked(&refusal(4, EACCES)), None);
        assert!(matches!(delivered.channel, Channel::Absent));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_question_over_ipv4_is_these_bytes() {
        let question = question(7, addr("127.0.0.1:8080"), addr("10.1.2.3:50000"));
        #[rustfmt::skip]
        let expected: [u8; 72] = [
            72, 0, 0, 0,  20, 0,  1, 0,  7, 0, 0, 0,  0, 0, 0, 0,
            2, 6, 0, 0,  255, 255, 255, 255,  0x1f, 0x90,  0xc3, 0x50,
            127, 0, 0, 1,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
            10, 1, 2, 3,   0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,
            0, 0, 0, 0,  255, 255, 255, 255, 255, 255, 255, 255,
        ];
        assert_eq!(question, expected);
    }

    #[test]
    fn a_question_over_ipv6_carries_addresses_and_interface() {
        let question = question(1, addr("[fe80::1%3]:80"), addr("[fe80::2%3]:81"));
        assert_eq!(question[16], AF_INET6);
        let ip = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        assert_eq!(question[28..44], ip("fe80::1"));
        assert_eq!(question[44..60], ip("fe80::2"));
        assert_eq!(question[60..64], 3_u32.to_ne_bytes());
    }

    #[test]
    fn a_mapped_address_is_asked_for_as_ipv4() {
        let mapped = question(
            1,
            addr("[::ffff:127.0.0.1]:80"),
            addr("[::ffff:127.0.0.2]:81"),
        );
        let unmapped = question(1, addr("127.0.0.1:80"), addr("127.0.0.2:81"));
        assert_eq!(mapped, unmapped);
    }

    #[test]
    fn an_answer_gives_the_queue() {
        const ESTABLISHED: u8 = 1;
        const FIN_WAIT2: u8 = 5;
        for (state, queued) in [(ESTABLISHED, 70_000), (FIN_WAIT2, 0)] {
            let message = answer(9, state, queued);
            assert_eq!(parse(&message, 9), Some(Answer::Queued(queued)));
        }
    }

    #[test]
    fn a_listener_in_the_answer_is_not_the_connection() {
        assert_eq!(parse(&answer(9, LISTEN, 4096), 9), Some(Answer::Unknown));
    }

    #[test]
    fn an_error_is_an_unknown_connection_or_a_refusal() {
        assert_eq!(parse(&refusal(3, ENOENT), 3), Some(Answer::Unknown));
        assert_eq!(parse(&refusal(3, 22), 3), Some(Answer::Refused(22)));
    }

    #[test]
    fn an_answer_to_another_question_is_skipped() {
        assert_eq!(parse(&answer(8, 1, 5), 9), None);
        assert_eq!(parse(&refusal(8, ENOENT), 9), None);
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_answer() {
        let message = answer(9, 1, 5);
        for len in 0..80 {
            assert_eq!(parse(&message[..len], 9), None, "{len} bytes");
        }
        let message = refusal(9, ENOENT);
        for len in 0..20 {
            assert_eq!(parse(&message[..len], 9), None, "{len} bytes");
        }
    }
}
