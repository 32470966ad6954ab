//! An HTTP/1.1 server that always knows what each socket is doing.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod config;
pub mod date;
pub mod drain;
pub mod engine;
pub mod error;
pub mod guard;
pub mod h1;
pub mod handler;
pub mod hooks;
pub mod later;
pub mod peer;
pub mod pipe;
pub mod report;
pub mod request;
pub mod response;
pub mod server;
pub mod source;
pub mod status;
pub mod sys;
pub mod tick;
pub mod tracker;
pub mod trigger;

pub use config::{Drain, Late, Limits, Times};
pub use error::Error;
pub use h1::{Head, Header};
pub use handler::{Admit, Handler, Reply};
pub use later::{Guard, Handle, Later, Ticket, Waker};
pub use pipe::{Pipe, PipeError, PipeWriter};
pub use report::{End, Outcome, Report};
pub use request::Request;
pub use response::{Body, Mistake, Response};
pub use server::{Builder, Running, Server};
pub use source::{Context, Fill, Flow, Sink, Source};
pub use status::{Connection, Query, Status};
pub use trigger::Trigger;
