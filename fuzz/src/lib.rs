//! The other side of every comparison: readers of HTTP/1.1 written from the grammar, line by line,
//! without a thought of speed.
//!
//! The readers share no code with the crate, and nothing with httparse.

pub mod chunked;
pub mod grammar;
pub mod request;
pub mod response;
