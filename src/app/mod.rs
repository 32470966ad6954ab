//! What a program touches: handlers, requests, responses, bodies, settings, and what a server
//! reports.
//!
//! Nothing here knows a socket or reads a clock.

pub(crate) mod config;
pub(crate) mod guard;
pub(crate) mod handler;
pub(crate) mod hooks;
pub(crate) mod later;
pub(crate) mod pipe;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod trigger;
pub(crate) mod upgrade;

pub use self::config::{Config, Drain, LateRequests, Limits, Timeouts};
pub(crate) use self::guard::held_by;
pub use self::handler::{Admit, Handler, Reply};
pub use self::hooks::Hooks;
pub(crate) use self::hooks::{Job, Runner};
pub(crate) use self::later::Message;
pub use self::later::{BodyWaker, Guard, Handle, Inbox, Pending, Ticket, Wake};
pub use self::pipe::{Pipe, PipeError, PipeWriter};
pub use self::report::{End, Outcome, Report};
pub use self::request::Request;
pub use self::response::{Body, Mistake, Response};
pub use self::source::{BodyContext, Fill, Flow, SharedBytes, Sink, Source};
pub use self::status::{Connection, Phases, Progress, Status, StatusQuery};
pub(crate) use self::trigger::Station;
pub use self::trigger::Trigger;
pub(crate) use self::upgrade::Timer;
pub use self::upgrade::{Switch, Tunnel, TunnelAction, TunnelIo, Upgrade};
