//! TLS on the simulated world: a rustls client at the other end of the wire, and every byte of it
//! where a test wants it.

#![cfg(feature = "tls")]

#[path = "tls/certificates.rs"]
mod certificates;
#[path = "sim_tls/drain.rs"]
mod drain;
#[path = "sim_tls/handshakes.rs"]
mod handshakes;
#[path = "sim_tls/lab.rs"]
mod lab;
#[path = "sim_tls/pieces.rs"]
mod pieces;
mod sim_support;
#[path = "sim_tls/strangers.rs"]
mod strangers;
