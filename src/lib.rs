//! ebbtide (skeleton; the crate docs come with the server)

pub mod date;
pub mod h1;
pub mod peer;
pub mod sys;
pub mod tick;
pub mod tracker;
