//! Very many peers, and very unkind worlds: the drain loses nobody, and every time it is the same.

#[path = "sim_million/million.rs"]
mod million;
mod sim_support;
#[path = "sim_million/storm.rs"]
mod storm;
