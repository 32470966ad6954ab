//! What the command does as a server, seen from its sockets.

#![cfg(target_os = "linux")]

mod conformance;
mod events;
mod files;
mod hostile;
mod signals;
mod tls;
mod websocket;
