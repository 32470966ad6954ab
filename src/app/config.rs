//! The settings: limits, timeouts and how to stop, each default with its reason.
//!
//! Durations are rounded up to a millisecond, and are at most five days. Knows no sockets.

use std::time::Duration;

use crate::app::hooks::Hooks;
use crate::app::response::Response;
use crate::drain::{IDLE_GRACE, Policy};
use crate::h1;
use crate::tick::{MAX_LIMIT, millis};
use crate::timeouts::PhaseTimeouts;

/// Limits on what peers send, and on the number of connections.
#[doc(alias = "max")]
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) h1: h1::Limits,
    pub(crate) body: u64,
    pub(crate) connections: usize,
    pub(crate) linger_bytes: u32,
    pub(crate) progress: u32,
}

impl Limits {
    /// The most that [`Limits::fields`] can be: 1,024.
    pub const MAX_FIELDS: u16 = h1::MAX_FIELDS as u16;

    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest head of a request, in bytes: 64 KiB, more than any browser sends, and
    /// little enough to hold for every slow peer. A longer head is answered 414 or 431.
    #[doc(alias = "header size")]
    #[must_use]
    pub const fn head(mut self, bytes: u32) -> Self {
        self.h1.head = bytes;
        self
    }

    /// Sets the most header fields of a request: 100, at most [`Limits::MAX_FIELDS`]. More are
    /// answered 431.
    #[doc(alias = "headers")]
    #[must_use]
    pub fn fields(mut self, count: u16) -> Self {
        self.h1.fields = count.min(Self::MAX_FIELDS);
        self
    }

    /// Sets the longest body that is buffered for a handler without a limit of its own, in bytes: 1
    /// MiB, because each of very many connections may hold one. A longer body is answered 413.
    #[doc(alias = "body size")]
    #[must_use]
    pub const fn body(mut self, bytes: u64) -> Self {
        self.body = bytes;
        self
    }

    /// Sets the most connections at a time. The others wait in the backlog until one closes.
    /// Default: the limit on open files less 64 for the rest of the process.
    #[doc(alias = "max connections")]
    #[must_use]
    pub const fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// Sets the most bytes that are read and thrown away after our FIN, so that no reset destroys
    /// the response to a refused upload: 16 MiB. [`Timeouts::linger`] is mostly the tighter bound.
    #[must_use]
    pub const fn linger_bytes(mut self, bytes: u32) -> Self {
        self.linger_bytes = bytes;
        self
    }

    /// Sets what counts as progress, in bytes: 8 KiB of a body within [`Timeouts::body`], and of a
    /// response within [`Timeouts::write`], or all of what is left. Over the default 30 s that is
    /// 273 bytes a second: the worst links are faster, and a peer that drips bytes is slower. With
    /// 0 and 1 any byte counts.
    #[doc(alias = "min rate")]
    #[doc(alias = "slowloris")]
    #[must_use]
    pub const fn progress(mut self, bytes: u32) -> Self {
        self.progress = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            h1: h1::Limits::default(),
            body: 1 << 20,
            connections: usize::MAX,
            linger_bytes: 16 << 20,
            progress: 8 << 10,
        }
    }
}

/// How long a connection may wait in each phase.
#[doc(alias = "timeout")]
#[derive(Clone, Copy, Debug)]
pub struct Timeouts(pub(crate) PhaseTimeouts);

impl Timeouts {
    /// The longest duration that is kept, here and in [`DrainPolicy`]: five days. The loop counts
    /// milliseconds in 32 bits, and a longer one is cut to this.
    pub const LONGEST: Duration = Duration::from_millis(MAX_LIMIT as u64);

    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time for the first byte of a connection, and again for a whole head: 10 s. Bytes do
    /// not restart it, so that dripping gains nothing. A head that is late is answered 408.
    #[doc(alias = "header timeout")]
    #[must_use]
    pub const fn head(mut self, limit: Duration) -> Self {
        self.0.fresh = millis(limit);
        self.0.head = millis(limit);
        self
    }

    /// Sets the time for each 8 KiB of a body ([`Limits::progress`]): 30 s, for slow links. A late
    /// body is answered 408.
    #[doc(alias = "read timeout")]
    #[must_use]
    pub const fn body(mut self, limit: Duration) -> Self {
        self.0.body = millis(limit);
        self
    }

    /// Sets the time for the peer to take 8 KiB of a response ([`Limits::progress`]), or all that
    /// is left: 30 s, for slow links. After it the connection is reset.
    #[doc(alias = "write timeout")]
    #[must_use]
    pub const fn write(mut self, limit: Duration) -> Self {
        self.0.reply = millis(limit);
        self
    }

    /// Sets the time between requests: 75 s. Most load balancers close an idle connection after 60
    /// s, and should be the ones that close.
    #[doc(alias = "keep-alive")]
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.0.idle = millis(limit);
        self
    }

    /// Sets the time for a response, and for each piece of a streamed one: none, because only the
    /// application knows. After it the server sends 503, or resets the connection once the response
    /// has begun.
    #[doc(alias = "request timeout")]
    #[must_use]
    pub const fn handler(mut self, limit: Option<Duration>) -> Self {
        self.0.handler = match limit {
            Some(limit) => Some(millis(limit)),
            None => None,
        };
        self
    }

    /// Sets the time for the peer's FIN after ours (RFC 9112 §9.6): 2 s, for a slow peer to read
    /// the response. At least 20 ms.
    #[must_use]
    pub const fn linger(mut self, limit: Duration) -> Self {
        self.0.linger = at_least(millis(limit), SHORTEST_LINGER);
        self
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self(PhaseTimeouts {
            fresh: 10_000,
            idle: 75_000,
            head: 10_000,
            body: 30_000,
            handler: None,
            reply: 30_000,
            linger: 2_000,
        })
    }
}

/// What becomes of a late request: one whose first byte arrives once the draining has begun, at the
/// signal or at the end of a [`DrainPolicy::delay`]. Until then every request is served.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum LateRequests {
    /// The server answers it, and the response says close.
    #[default]
    Serve,
    /// The server answers with this response, and close. The body cannot be a source, because every
    /// late request gets it.
    Reject(Response),
    /// The server closes the connection without a response.
    Drop,
}

/// How to stop.
#[doc(alias = "shutdown")]
#[doc(alias = "graceful")]
#[derive(Clone, Copy, Debug)]
pub struct DrainPolicy(pub(crate) Policy);

impl DrainPolicy {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the one deadline over everything, from the signal: 25 s, below the 30 s after which
    /// Kubernetes kills.
    #[doc(alias = "grace period")]
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.0.timeout = millis(limit);
        self
    }

    /// Sets how long the server goes on accepting after the signal, while
    /// [`Request::draining`](crate::Request::draining) is true and every response says close, so
    /// that load balancers move away first. Default: 0, because many have no load balancer.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.0.delay = millis(delay);
        self
    }

    /// Ends the delay early once no connection came for this long: the load balancers have moved
    /// away. Off unless set.
    #[must_use]
    pub const fn quiet(mut self, quiet: Duration) -> Self {
        self.0.quiet = Some(millis(quiet));
        self
    }

    /// Sets how long a connection must be idle before a drain closes it: 25 ms. A client that was
    /// answered a moment ago may be writing its next request, and 0 would close while it writes.
    #[must_use]
    pub const fn idle_grace(mut self, grace: Duration) -> Self {
        self.0.idle_grace = millis(grace);
        self
    }

    /// Sets the time for a head that has begun, from the drain on: 2 s, enough for any honest
    /// client. A head that is late is answered 408.
    #[must_use]
    pub const fn head_timeout(mut self, limit: Duration) -> Self {
        self.0.head_timeout = millis(limit);
        self
    }

    /// Sets the time for the peer's FIN after ours: 250 ms. Until then the server reads and throws away
    /// a request that crosses our FIN, so that its client sees a clean end and no reset. At least 20 ms,
    /// because the loop asks the kernel that often about a peer that acknowledges slowly.
    #[must_use]
    pub const fn linger(mut self, limit: Duration) -> Self {
        self.0.linger = at_least(millis(limit), SHORTEST_LINGER);
        self
    }

    /// Sets the time for an upgraded connection to end, from its goodbye on: 10 s. After it the
    /// server sends a FIN, and counts the connection as cut.
    #[must_use]
    pub const fn tunnel_grace(mut self, limit: Duration) -> Self {
        self.0.tunnel_grace = millis(limit);
        self
    }

    /// Spreads the closes of idle connections, and the goodbyes of tunnels, over this time, so that
    /// their clients do not all come back at once: 0, because it makes a drain longer.
    #[must_use]
    pub const fn close_spread(mut self, spread: Duration) -> Self {
        self.0.close_spread = millis(spread);
        self
    }
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self(Policy {
            delay: 0,
            quiet: None,
            idle_grace: IDLE_GRACE,
            head_timeout: 2_000,
            linger: 250,
            close_spread: 0,
            tunnel_grace: 10_000,
            timeout: 25_000,
        })
    }
}

/// Every setting of the engine.
#[derive(Debug, Default)]
pub struct Config {
    /// How much peers may send.
    pub limits: Limits,
    /// How long connections may wait.
    pub timeouts: Timeouts,
    /// How to stop.
    pub drain: DrainPolicy,
    /// What becomes of late requests.
    pub late_requests: LateRequests,
    /// Cuts at the first reason to stop: for development.
    pub no_drain: bool,
    /// What the application runs at the stations of a drain.
    pub hooks: Hooks,
    /// The path of the readiness check that the server answers itself.
    pub health: Option<String>,
}

impl Config {
    /// Returns how many bytes a peer must acknowledge during a linger to get more time: the least
    /// rate of a response.
    pub(crate) fn least_taken_in_a_linger(&self) -> u32 {
        let (linger, reply) = (self.timeouts.0.linger, self.timeouts.0.reply.max(1));
        let bytes = u64::from(self.limits.progress) * u64::from(linger) / u64::from(reply);
        u32::try_from(bytes).unwrap_or(u32::MAX).max(1)
    }
}

/// The shortest linger, in milliseconds.
const SHORTEST_LINGER: u32 = 20;

const fn at_least(millis: u32, least: u32) -> u32 {
    if millis < least { least } else { millis }
}
