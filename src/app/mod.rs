//! What a program touches: handlers, requests, responses, bodies, settings, and what a server
//! reports.
//!
//! Nothing here knows a socket or reads a clock.

mod config;
mod exit;
mod guard;
mod handle;
mod handler;
mod hooks;
mod inbox;
mod pipe;
mod reply;
mod report;
mod request;
mod response;
mod sink;
mod source;
mod status;
mod ticket;
mod trigger;
mod tunnel;
mod turning;
mod upgrade;
mod waker;

pub use self::config::{Config, DrainPolicy, LateRequests, Limits, Timeouts};
pub use self::exit::main;
pub(crate) use self::guard::held_by;
pub(crate) use self::handle::Message;
pub use self::handle::{Guard, Handle, Wake};
pub use self::handler::{Admit, Handler};
pub use self::hooks::Hooks;
pub(crate) use self::hooks::{Job, Runner};
pub use self::inbox::Inbox;
pub use self::pipe::{Pipe, PipeError, PipeWriter};
pub use self::reply::Reply;
pub use self::report::{End, Outcome, Report};
pub use self::request::Request;
pub(crate) use self::response::Content;
pub use self::response::{Body, Mistake, Response};
pub use self::sink::{Flow, Sink};
pub use self::source::{Fill, SharedBytes, Source};
pub use self::status::{Connection, Phases, Progress, Status, StatusQuery};
pub use self::ticket::{Pending, Ticket};
pub(crate) use self::trigger::Station;
pub use self::trigger::Trigger;
pub(crate) use self::tunnel::{Switch, Timer};
pub use self::tunnel::{Tunnel, TunnelAction, TunnelIo};
pub(crate) use self::turning::Turning;
pub use self::upgrade::Upgrade;
pub use self::waker::{BodyContext, BodyWaker};
