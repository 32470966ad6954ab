//! Opens the addresses of `--listen`, beside the sockets that a supervisor passed on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use super::args::{DEFAULT_LISTEN, Listening};
use crate::values::overlap;
use ebbtide::{ListenOptions, Listener, Server};

/// Returns a server with all its listeners, the inherited ones first.
///
/// # Errors
///
/// Returns the address that the system refuses, and the reason.
pub(super) fn open(flags: &Listening, inherited: Vec<Listener>) -> Result<Server, String> {
    let default = [DEFAULT_LISTEN];
    let addrs = match inherited.is_empty() && flags.listen.is_empty() {
        true => &default[..],
        false => &flags.listen,
    };
    let mut own: Vec<_> = inherited.iter().filter_map(Listener::local_addr).collect();
    let mut listeners = inherited;
    for addr in addrs {
        let options = ListenOptions::new().reuse_port(flags.reuse_port);
        let options = match has_ipv4_beside(*addr, addrs) {
            true => options.only_v6(true),
            false => options,
        };
        let listener = Listener::bind(addr, &options).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => blame(*addr, &own).unwrap_or_else(|| error.to_string()),
            _ => error.to_string(),
        })?;
        own.extend(listener.local_addr());
        listeners.push(listener);
    }
    let mut listeners = listeners.into_iter();
    let first = listeners.next().ok_or("there is no address")?; // `addrs` or `inherited` has one
    Ok(listeners.fold(Server::from(first), Server::listen))
}

/// Returns whether `[::]` shares its port with `0.0.0.0`. Each then takes its own family; by default
/// `[::]` takes both on most systems, and leaves nothing to `0.0.0.0`.
fn has_ipv4_beside(addr: SocketAddr, addrs: &[SocketAddr]) -> bool {
    let beside = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
    addr.is_ipv6() && addr.ip().is_unspecified() && addrs.contains(&beside)
}

/// Explains why an address is in use, if another listener of this server has it.
fn blame(addr: SocketAddr, own: &[SocketAddr]) -> Option<String> {
    let other = own.iter().find(|own| overlap(**own, addr))?;
    Some(match *other == addr {
        true => format!("{addr} is given twice; leave one out"),
        false => {
            format!("{addr} is an address of {other}, where this server listens; leave one out")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_of_this_server_is_named() {
        let own = [addr("[::]:80"), addr("127.0.0.1:81")];
        assert_eq!(blame(addr("127.0.0.1:82"), &own), None);
        let twice = blame(addr("127.0.0.1:81"), &own).unwrap();
        assert_eq!(twice, "127.0.0.1:81 is given twice; leave one out");
        let within = blame(addr("127.0.0.1:80"), &own).unwrap();
        assert!(
            within.contains("is an address of [::]:80, where this server"),
            "{within}"
        );
    }
}
