//! The settings of a topic, and their defaults.

use std::time::Duration;

/// The treatment of a slow subscriber: the ring has dropped the next event of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// The stream continues with the oldest event in the ring: right for news, where only the
    /// latest count.
    #[default]
    Skip,
    /// The stream ends. The client reconnects and gets the events in the ring. A client that must
    /// miss nothing sees the gap in the ids.
    Close,
}

/// The settings of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) slow: Slow,
    pub(super) retry: Duration,
    pub(super) spread: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Returns the defaults, which the setters give with their reasons.
    pub const fn new() -> Self {
        Self {
            events: 1_024,
            bytes: 1 << 20,
            slow: Slow::Skip,
            retry: Duration::from_secs(1),
            spread: Duration::from_secs(5),
        }
    }

    /// Sets how many of the latest events the ring holds, for clients that come back and for slow
    /// ones. The latest always stays. Default: 1,024, since a reconnect takes seconds.
    #[must_use]
    pub const fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes of events the ring holds. Default: 1 MiB, since no subscriber holds more.
    #[must_use]
    pub const fn bytes(mut self, count: usize) -> Self {
        self.bytes = count;
        self
    }

    /// Sets the treatment of a slow subscriber. Default: [`Slow::Skip`].
    #[must_use]
    pub const fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }

    /// Sets when a client reconnects after its stream ends: after `least`, and up to `spread` later.
    /// Every client gets a delay of its own, so that clients do not return all at once. Defaults: 1 s
    /// and 5 s, with which ten thousand clients return at 2,000 a second.
    ///
    /// A stream tells its client at its beginning too, so a crash spreads the clients as well.
    #[must_use]
    pub const fn retry(mut self, least: Duration, spread: Duration) -> Self {
        self.retry = least;
        self.spread = spread;
        self
    }
}
