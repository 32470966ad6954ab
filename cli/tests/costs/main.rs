//! What connections cost the command: memory by the kernel's account, and system calls.

#![cfg(target_os = "linux")]

mod calls;
mod fanout;
mod memory;
mod memory_tls;
mod websocket;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one test run at a time: the tests of this program share its limit of open files, and each
/// measures a server that needs the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
