//! The command: `ebbtide serve`.
//!
//! Knows the library only from outside.

pub mod args;
pub mod logger;
mod values;
