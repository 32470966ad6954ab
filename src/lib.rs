//! ebbtide (skeleton; the crate docs come with the server)

pub mod peer;
pub mod sys;
pub mod tick;
pub mod tracker;
