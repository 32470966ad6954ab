//! The acceptor of WebSockets: settings in, responses out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::handshake::Handshake;
use super::outbox::Outbox;
use super::settings::Settings;
use super::socket::Socket;
use crate::app::{Request, Response};

/// Accepts WebSockets, any number of them with the same settings.
#[derive(Clone)]
pub struct WebSocket {
    settings: Arc<Settings>,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self::new()
    }
}

impl WebSocket {
    /// Returns the default settings, which the setters give with their reasons.
    pub fn new() -> Self {
        Self {
            settings: Arc::default(),
        }
    }

    /// Sets the longest message, in bytes, in any number of frames; a longer one gets Close 1009.
    /// Default: 1 MiB, ample for messages and too little for files.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.set().max_message = bytes;
        self
    }

    /// Sets the longest frame, in bytes; a longer one gets Close 1009. Default: 1 MiB, as a message.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.set().max_frame = bytes;
        self
    }

    /// Sets how long a peer may be silent before it gets a ping. The silence is checked at this
    /// interval, so the ping comes after one to two intervals. Default: 25 s; many proxies and
    /// address translators forget a connection after a minute.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.set().ping_interval = interval;
        self
    }

    /// Sets how long after a ping the peer may stay silent before the connection ends. Default: 15 s.
    #[must_use]
    pub fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.set().pong_timeout = timeout;
        self
    }

    /// Sets how long the peer's Close is awaited after ours and, in a drain, the rest of a message
    /// before that. Default: 3 s each. Keep twice this timeout below
    /// [`DrainPolicy::tunnel_grace`](crate::DrainPolicy::tunnel_grace): [the drain](super#the-drain) says why.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.set().close_timeout = timeout;
        self
    }

    /// Sets the subprotocols that the server speaks, at most 255; the rest is ignored. The first of
    /// the client's that is among them is agreed. A response without an agreed one names none, and
    /// the client decides whether to stay.
    #[must_use]
    pub fn protocols(mut self, names: &[&str]) -> Self {
        let names = names.iter().take(255);
        self.set().protocols = names.map(|name| Box::from(*name)).collect();
        self
    }

    /// Sets which pages may connect, by their origin, for example `https://example.com`. Browsers
    /// always send an `Origin`, and a request without one is accepted: other clients can forge it.
    /// Default: scheme, host and port of the page must be the server's (RFC 6454 §5). Without TLS
    /// `https` passes too: a proxy may speak it.
    #[must_use]
    pub fn origin(mut self, may_connect: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.set().origin = Some(Arc::new(may_connect));
        self
    }

    /// Answers a request for a WebSocket: with 101, or with a refusal (400, 403, 405, 426, 503). The
    /// loop's thread calls `handler` with the events after a 101.
    pub fn accept<F>(&self, request: &Request<'_>, handler: F) -> Response
    where
        F: FnMut(Event<'_>, &mut Outbox<'_, '_>) + Send + 'static,
    {
        match Handshake::check(request, &self.settings) {
            Ok(handshake) => {
                let settings = Arc::clone(&self.settings);
                let socket = Socket::new(handler, settings, handshake.protocol);
                handshake.respond(socket, &self.settings)
            }
            Err(refusal) => *refusal,
        }
    }

    fn set(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("max_message", &self.settings.max_message)
            .field("protocols", &self.settings.protocols)
            .finish_non_exhaustive()
    }
}
