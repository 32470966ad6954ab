//! Why a server stops, and the stations on the way.

use std::fmt;

/// The reason to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// A signal.
    Signal {
        /// Its number.
        number: i32,
        /// Its usual name: `SIGTERM`.
        name: String,
    },
    /// [`Handle::shutdown`](crate::Handle::shutdown).
    Shutdown,
    /// [`Handle::cut`](crate::Handle::cut).
    Cut,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal { name, .. } => name,
            Self::Shutdown => "shutdown",
            Self::Cut => "cut",
        })
    }
}

/// A station of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Station {
    /// The server was told to stop. Every socket is as it was, and the listener accepts.
    Trigger,
    /// The listener is closed.
    ListenerClosed,
    /// Every connection is closed.
    Drained,
    /// The last station.
    Exit,
}

impl Station {
    /// Returns the name of its hook.
    pub(crate) const fn hook(self) -> &'static str {
        match self {
            Self::Trigger => "on_trigger",
            Self::ListenerClosed => "on_listener_closed",
            Self::Drained => "on_drained",
            Self::Exit => "on_exit",
        }
    }
}
