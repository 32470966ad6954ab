//! Where a running server stands: its stage, its connections by phase, and some of them.
//!
//! [`Handle::status`](crate::Handle::status) asks from any thread, and the loop answers in one
//! turn, so that the numbers belong together. Knows no sockets.

use std::fmt;

use crate::app::guard::held_by;
use crate::app::report::Report;
use crate::peer::Peer;
use crate::tracker::{Counts, Phase};

/// Which connections [`Handle::status`](crate::Handle::status) lists: none unless
/// [`take`](Self::take) is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusQuery {
    pub(crate) all: bool,
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

impl StatusQuery {
    /// Returns a query that lists no connection.
    pub const fn new() -> Self {
        Self {
            all: false,
            skip: 0,
            take: 0,
        }
    }

    /// Lists at most this number of connections, those that have been longest in their phase first.
    #[must_use]
    pub const fn take(mut self, connections: usize) -> Self {
        self.take = connections;
        self
    }

    /// Leaves out this number of connections at the beginning.
    #[must_use]
    pub const fn skip(mut self, connections: usize) -> Self {
        self.skip = connections;
        self
    }

    /// Lists also connections that only wait for a request: the fresh and the idle.
    #[must_use]
    pub const fn all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }
}

/// Where a server stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// `serving`; `delaying`: told to stop, and still accepting; `draining`; `cutting`; or
    /// `ending`: every connection is closed, and a guard or a hook is not done.
    pub stage: &'static str,
    /// Milliseconds until the deadline of the drain; `None` while serving.
    pub left_millis: Option<u32>,
    /// How far the drain is; `None` while serving.
    pub progress: Option<Progress>,
    /// What the connection waits for: the phase's name.
    pub phases: Phases,
    /// The names of the guards that are held.
    pub guards: Vec<String>,
    /// What the server has done so far.
    pub report: Report,
    /// The connections that the query asked for.
    pub connections: Vec<Connection>,
}

impl Status {
    /// Returns the names of the guards for a line that people read: `; held by "flush" (2 times)`,
    /// each name once, at most five names. Empty if none is held.
    #[must_use]
    pub fn held_by(&self) -> String {
        held_by(&self.guards)
    }
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Progress {
    /// Connections that were open when the server was told to stop, and those accepted since.
    pub connections: u64,
    /// How many of these connections have closed.
    pub gone: u64,
    /// Milliseconds since the server was told to stop.
    pub elapsed_millis: u32,
    /// Milliseconds from that moment to the deadline.
    pub limit_millis: u32,
}

/// How many connections are in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the phase of that name")]
pub struct Phases {
    pub fresh: u32,
    pub idle: u32,
    pub head: u32,
    pub body: u32,
    pub handler: u32,
    pub reply: u32,
    pub linger: u32,
    pub tunnel: u32,
}

impl From<Counts> for Phases {
    fn from(counts: Counts) -> Self {
        let of = |phase: Phase| counts[phase as usize];
        Self {
            fresh: of(Phase::Fresh),
            idle: of(Phase::Idle),
            head: of(Phase::Head),
            body: of(Phase::Body),
            handler: of(Phase::Handler),
            reply: of(Phase::Reply),
            linger: of(Phase::Linger),
            tunnel: of(Phase::Tunnel),
        }
    }
}

/// Writes the phases with connections: `5000 idle, 50 handler`, or `no connections`.
impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.fresh, Phase::Fresh),
            (self.idle, Phase::Idle),
            (self.head, Phase::Head),
            (self.body, Phase::Body),
            (self.handler, Phase::Handler),
            (self.reply, Phase::Reply),
            (self.linger, Phase::Linger),
            (self.tunnel, Phase::Tunnel),
        ];
        let mut separator = "";
        for (count, phase) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {}", phase.name())?;
            separator = ", ";
        }
        match separator {
            "" => f.write_str("no connections"),
            _ => Ok(()),
        }
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Connection {
    /// The connection's number, in the order of accepting.
    pub number: u32,
    /// The other end.
    pub peer: Peer,
    /// What it waits for: the phase's name.
    pub phase: &'static str,
    /// Milliseconds in this phase.
    pub age_millis: u32,
    /// Requests so far.
    pub requests: u32,
    /// Method and target of the current request, as far as they are known; the name of a tunnel.
    pub request: String,
    /// Bytes received: of the current request's body; thrown away in a linger; since the upgrade of
    /// a tunnel.
    pub bytes_in: u64,
    /// Bytes sent: of the current response; since the upgrade of a tunnel, and with it.
    pub bytes_out: u64,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.peer)?;
        if !self.request.is_empty() {
            write!(f, "{} ", self.request)?;
        }
        write!(
            f,
            "({} for {:.1} s, {} bytes in, {} out)",
            self.phase,
            f64::from(self.age_millis) / 1_000.0,
            self.bytes_in,
            self.bytes_out
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_their_names() {
        for phase in Phase::ALL {
            let mut counts = [0; Phase::COUNT];
            counts[phase as usize] = 7;
            let text = format!("{:?}", Phases::from(counts));
            assert!(text.contains(&format!("{}: 7", phase.name())), "{text}");
            assert_eq!(text.matches('7').count(), 1, "{text}");
            let line = Phases::from(counts).to_string();
            assert_eq!(line, format!("7 {}", phase.name()));
        }
    }

    #[test]
    fn only_phases_with_someone_in_them_are_named() {
        let mut phases = Phases::default();
        assert_eq!(phases.to_string(), "no connections");
        (phases.idle, phases.handler) = (5_000, 50);
        assert_eq!(phases.to_string(), "5000 idle, 50 handler");
    }

    #[test]
    fn a_connection_is_shown_in_one_line() {
        let mut connection = Connection {
            number: 9,
            peer: Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4000))),
            phase: "handler",
            age_millis: 1_250,
            requests: 3,
            request: "GET /delay/9000".into(),
            bytes_in: 0,
            bytes_out: 12,
        };
        let line = "127.0.0.1:4000 GET /delay/9000 (handler for 1.2 s, 0 bytes in, 12 out)";
        assert_eq!(connection.to_string(), line);
        connection.request.clear();
        assert!(
            connection
                .to_string()
                .starts_with("127.0.0.1:4000 (handler")
        );
    }
}
