//! What can be set: limits, timeouts and how to stop, each default with its reason.
//!
//! Durations are kept to a millisecond, rounded up, and no longer than five days. Knows no sockets.

use std::time::Duration;

use crate::app::hooks::Hooks;
use crate::app::response::Response;
use crate::drain::{IDLE_GRACE, Policy};
use crate::h1;
use crate::tick::{MAX_LIMIT, millis};
use crate::timeouts::PhaseTimeouts;

/// Limits on what peers may send and how many there may be.
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

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest head of a request, in bytes: 64 KiB, which is more than any browser sends and
    /// little enough to hold for every slow peer. Beyond it: 414 or 431.
    #[must_use]
    pub const fn head(mut self, bytes: u32) -> Self {
        self.h1.head = bytes;
        self
    }

    /// The most header fields of a request: 100. At most [`Limits::MAX_FIELDS`]. Beyond it: 431.
    #[must_use]
    pub fn fields(mut self, count: u16) -> Self {
        self.h1.fields = count.min(Self::MAX_FIELDS);
        self
    }

    /// The longest body that is buffered for a handler that sets no limit of its own, in bytes:
    /// 1 MiB, since a server with very many connections should not hold more for each unasked.
    /// Beyond it: 413.
    #[must_use]
    pub const fn body(mut self, bytes: u64) -> Self {
        self.body = bytes;
        self
    }

    /// The most connections at a time. Beyond it no more are accepted until one is closed; they
    /// wait in the backlog. The default is what the limit on open files leaves.
    #[must_use]
    pub const fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// The most bytes read out and thrown away after our FIN, so that an answer to an upload that
    /// was refused is not destroyed by a reset: 16 MiB. Time is the tighter bound
    /// ([`Timeouts::linger`]).
    #[must_use]
    pub const fn linger_bytes(mut self, bytes: u32) -> Self {
        self.linger_bytes = bytes;
        self
    }

    /// What counts as progress, in bytes: 8 KiB of a body within [`Timeouts::body`], and of an answer
    /// within [`Timeouts::write`], unless that is all of it. With their 30 s a least rate of 273 bytes
    /// a second, which the worst of links has, and which a peer that dribbles bytes to hold a
    /// connection for ever has not. 0 and 1 let any byte count.
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
#[derive(Clone, Copy, Debug)]
pub struct Timeouts(pub(crate) PhaseTimeouts);

impl Timeouts {
    /// The longest duration that is kept, here and in [`Drain`]: five days. The loop counts
    /// milliseconds in 32 bits, and a longer one is cut to this.
    pub const LONGEST: Duration = Duration::from_millis(MAX_LIMIT as u64);

    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// For the first byte of a new connection and for a whole head: 10 s. Never restarts, so that
    /// a peer that drips a byte at a time gains nothing.
    #[must_use]
    pub const fn head(mut self, limit: Duration) -> Self {
        self.0.fresh = millis(limit);
        self.0.head = millis(limit);
        self
    }

    /// For each 8 KiB of a body ([`Limits::progress`]): 30 s.
    #[must_use]
    pub const fn body(mut self, limit: Duration) -> Self {
        self.0.body = millis(limit);
        self
    }

    /// For the peer to take all that it is owed, or 8 KiB of it ([`Limits::progress`]): 30 s.
    #[must_use]
    pub const fn write(mut self, limit: Duration) -> Self {
        self.0.reply = millis(limit);
        self
    }

    /// Between requests: 75 s, longer than the 60 s after which most load balancers give up an
    /// idle connection, so that it is they who close.
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.0.idle = millis(limit);
        self
    }

    /// For the application to answer, and for each piece of a stream: none, since only the
    /// application knows. Beyond it: 503, or a reset where the answer has begun.
    #[must_use]
    pub const fn handler(mut self, limit: Option<Duration>) -> Self {
        self.0.handler = match limit {
            Some(limit) => Some(millis(limit)),
            None => None,
        };
        self
    }

    /// For the peer's FIN after ours: 2 s (RFC 9112 §9.6). At least 20 ms.
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

/// What becomes of a late request: one whose first byte arrives once the draining has begun. That is
/// at the signal, or where there is a notice ([`Drain::delay`], or a hook that holds it) at its
/// end; until then every request is served.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum LateRequests {
    /// It is served, and the answer says close.
    #[default]
    Serve,
    /// It is answered with this, and close. As it is sent to all of them, its body is no source.
    Reject(Response),
    /// Its connection is closed without an answer.
    Drop,
}

/// How to stop.
#[derive(Clone, Copy, Debug)]
pub struct Drain(pub(crate) Policy);

impl Drain {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one deadline, from the signal, over everything: 25 s, below the 30 s after which
    /// Kubernetes kills.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.0.timeout = millis(limit);
        self
    }

    /// From the signal on, how long to go on accepting while `draining()` is true and every
    /// answer says close, so that load balancers notice first: 0.
    #[must_use]
    pub const fn delay(mut self, notice: Duration) -> Self {
        self.0.delay = millis(notice);
        self
    }

    /// Ends the notice early once no connection came for this long: the load balancers have
    /// noticed. Off unless set.
    #[must_use]
    pub const fn quiet(mut self, quiet: Duration) -> Self {
        self.0.quiet = Some(millis(quiet));
        self
    }

    /// How long a connection must have been idle to be closed: 25 ms. A client that was answered a
    /// moment ago is writing its next request; 0 closes under its pen.
    #[must_use]
    pub const fn idle_grace(mut self, grace: Duration) -> Self {
        self.0.idle_grace = millis(grace);
        self
    }

    /// For a head that has begun to be completed: 2 s.
    #[must_use]
    pub const fn head_timeout(mut self, limit: Duration) -> Self {
        self.0.head_timeout = millis(limit);
        self
    }

    /// For the peer's FIN after ours: 250 ms. Until then a request that crosses our FIN is read
    /// and thrown away, so that its client sees a clean end and not a reset. At least 20 ms, since
    /// that is also how often the kernel is asked about a peer that acknowledges slowly.
    #[must_use]
    pub const fn linger(mut self, limit: Duration) -> Self {
        self.0.linger = at_least(millis(limit), SHORTEST_LINGER);
        self
    }

    /// For an upgraded connection to end, once it was told of the drain: 10 s. One that has not is
    /// ended with a FIN and counted as cut.
    #[must_use]
    pub const fn tunnel_grace(mut self, limit: Duration) -> Self {
        self.0.tunnel_grace = millis(limit);
        self
    }

    /// Over how long to spread the closes of idle connections, and the goodbyes of those that were
    /// upgraded, so that their clients do not come back in one herd: 0.
    #[must_use]
    pub const fn close_spread(mut self, spread: Duration) -> Self {
        self.0.close_spread = millis(spread);
        self
    }
}

impl Default for Drain {
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

/// Everything that the engine is told at its start.
#[derive(Debug, Default)]
pub struct Config {
    /// Limits.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// How to stop.
    pub drain: Drain,
    /// Requests that begin once the draining has.
    pub late_requests: LateRequests,
    /// The first reason to stop cuts at once: for development.
    pub no_drain: bool,
    /// What the application wants done at the stations of a drain.
    pub hooks: Hooks,
    /// The path of the readiness check that the server answers itself.
    pub health: Option<String>,
}

impl Config {
    /// How many bytes a peer must acknowledge in the time of a linger to be waited for longer: the
    /// least rate of an answer.
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
