//! The other side of every comparison: readers of HTTP/1.1 written from the grammar, line by line,
//! with everything before them and no thought of speed.
//!
//! They share no code with what they judge, and nothing with httparse. Know no connection.

pub mod chunked;
pub mod grammar;
pub mod request;
pub mod response;
