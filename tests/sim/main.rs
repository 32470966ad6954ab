//! The engine and the drain in the simulated world, to the millisecond and to the byte.

mod drain;
mod engine;
mod events;
mod hostile;
mod million;
mod storms;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;
mod world;
