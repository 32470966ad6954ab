//! WebSockets: on virtual time to the byte, and by the cases of RFC 6455.

mod cases;
mod drain;
mod handshake;
mod life;
mod room;
