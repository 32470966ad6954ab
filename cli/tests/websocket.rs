//! WebSockets with clients that others wrote: a library, a script's, a browser.

#![cfg(target_os = "linux")]

#[path = "websocket/browser.rs"]
mod browser;
#[path = "websocket/clients.rs"]
mod clients;
#[path = "../../tests/sim/websocket/frames.rs"]
mod frames;
#[path = "websocket/memory.rs"]
mod memory;
#[path = "websocket/others.rs"]
mod others;
use ebbtide_lab::command as support;
