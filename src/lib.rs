//! ebbtide (skeleton; the crate docs come with the server)

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod error;
pub mod peer;
pub mod sys;
pub mod tick;
pub mod tracker;
