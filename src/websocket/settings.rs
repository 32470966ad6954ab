//! The settings that WebSockets share.

use std::sync::Arc;
use std::time::Duration;

/// Returns whether a page from that origin may connect.
pub(super) type MayConnect = Arc<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) max_message: usize,
    pub(super) max_frame: usize,
    pub(super) ping_interval: Duration,
    pub(super) pong_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) protocols: Vec<Box<str>>,
    /// None: only the server's own origin may connect.
    pub(super) origin: Option<MayConnect>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message: 1 << 20,
            max_frame: 1 << 20,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(3),
            protocols: Vec::new(),
            origin: None,
        }
    }
}
