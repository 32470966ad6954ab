//! WebSockets: on virtual time to the byte, by the cases of RFC 6455, and with clients that others
//! wrote: a library, a script's, a browser.

#![cfg(feature = "websocket")]

#[cfg(all(target_os = "linux", feature = "cli"))]
#[path = "websocket/browser.rs"]
mod browser;
#[path = "websocket/cases.rs"]
mod cases;
#[cfg(all(target_os = "linux", feature = "cli"))]
#[path = "websocket/clients.rs"]
mod clients;
#[path = "websocket/drain.rs"]
mod drain;
#[path = "websocket/frames.rs"]
mod frames;
#[path = "websocket/handshake.rs"]
mod handshake;
#[path = "websocket/life.rs"]
mod life;
#[cfg(all(target_os = "linux", feature = "cli"))]
#[path = "websocket/memory.rs"]
mod memory;
#[cfg(all(target_os = "linux", feature = "cli"))]
#[path = "websocket/others.rs"]
mod others;
#[path = "websocket/room.rs"]
mod room;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod support;
