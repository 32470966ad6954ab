//! What the command does for people, scripts and supervisors.

#![cfg(target_os = "linux")]

mod admin;
mod docs;
mod flags;
mod probe;
mod rolling;
mod succession;
mod supervisor;
mod terminal;
mod unread;
