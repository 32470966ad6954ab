//! WebSockets: on virtual time to the byte, and by the cases of RFC 6455.

#![cfg(feature = "websocket")]

#[path = "websocket/cases.rs"]
mod cases;
#[path = "websocket/drain.rs"]
mod drain;
#[path = "websocket/frames.rs"]
mod frames;
#[path = "websocket/handshake.rs"]
mod handshake;
#[path = "websocket/life.rs"]
mod life;
#[path = "websocket/room.rs"]
mod room;
