//! A socket filter by which a listener turns new handshakes away.

#[cfg(any(target_os = "linux", target_os = "android"))]
use log::debug;
use mio::net::TcpListener;
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::{SockFilter, SockRef};

/// Drops new SYNs to this listener. Returns whether the system can do that.
///
/// The backlog stays, and a handshake under way completes: its last packet is an ACK. Connections
/// accepted from now on inherit the filter, to no effect: they ignore SYNs.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn drop_new_handshakes(listener: &TcpListener) -> bool {
    match SockRef::from(listener).attach_filter(&NO_SYN) {
        Ok(()) => true,
        Err(error) => {
            debug!("{listener:?} cannot turn handshakes away: {error}");
            false
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn drop_new_handshakes(_: &TcpListener) -> bool {
    false
}

/// A classic BPF program (bpf(4), linux/filter.h). On a TCP socket offset 0 is the TCP header, for
/// both versions of IP; byte 13 has the flags (RFC 9293 §3.1).
#[cfg(any(target_os = "linux", target_os = "android"))]
static NO_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // ldb [13]
    SockFilter::new(0x54, 0, 0, 0x12),     // and #(SYN | ACK)
    SockFilter::new(0x15, 0, 1, 0x02),     // jeq #SYN, next, the one after
    SockFilter::new(0x06, 0, 0, 0),        // ret #0: drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1: take all of it
];
