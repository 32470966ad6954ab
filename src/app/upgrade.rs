//! Upgrades: a request that asks for another protocol, and the `101 Switching Protocols` that
//! makes its connection a tunnel. Knows none of the protocols.

use crate::app::request::Request;
use crate::app::response::{Content, Mistake, Response};
use crate::app::tunnel::{Switch, Tunnel};
use crate::h1;
use crate::tracker::ConnId;

/// The right to upgrade one request, which asked for it. Goes to any thread with the request's
/// [`Ticket`](crate::Ticket).
#[derive(Debug)]
#[must_use = "the response that it gives is the upgrade"]
pub struct Upgrade {
    id: ConnId,
    nth: u32,
    protocol: Box<str>,
}

impl Upgrade {
    /// Returns the response that upgrades: `101 Switching Protocols`, and then the tunnel. The
    /// response takes more fields, but no body. Another request that is answered with it gets 500.
    pub fn to(self, tunnel: impl Tunnel + 'static) -> Response {
        let mut response = Response::switching();
        response.upgrade_fields(&self.protocol);
        response.body = Content::Tunnel(Box::new(Switch {
            id: self.id,
            nth: self.nth,
            tunnel: Box::new(tunnel),
        }));
        response
    }
}

impl Request<'_> {
    /// Returns the right to upgrade this request to a protocol, if the request asked for that: the
    /// protocol in `Upgrade`, in any case, `upgrade` in `Connection`, and no HTTP/1.0 (RFC 9110
    /// §7.8).
    pub fn upgrade(&self, protocol: &str) -> Option<Upgrade> {
        let lists = |field, wanted: &str| {
            let mut elements = self.head.fields_named(field).flat_map(h1::list_elements);
            elements.any(|element| element.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let asked =
            self.head.minor > 0 && lists("upgrade", protocol) && lists("connection", "upgrade");
        asked.then(|| Upgrade {
            id: self.id,
            nth: self.nth,
            protocol: protocol.into(),
        })
    }
}

impl Response {
    /// Makes a `426 Upgrade Required`: this path speaks only that protocol (RFC 9110 §15.5.22).
    pub fn upgrade_required(protocol: &str) -> Self {
        let text = format!("this needs an upgrade to {protocol}\n");
        let mut response = Self::text(426, text);
        response.upgrade_fields(protocol);
        response
    }

    /// Adds `Upgrade`, and the option in `Connection` that has to go with it.
    fn upgrade_fields(&mut self, protocol: &str) {
        if !is_protocol(protocol) {
            self.note(Mistake::Value("Upgrade".into()));
            return;
        }
        let lines = ["Connection: Upgrade\r\nUpgrade: ", protocol, "\r\n"];
        self.fields.extend_from_slice(lines.concat().as_bytes());
    }
}

/// Returns whether a text is `protocol-name ["/" protocol-version]`, both tokens (RFC 9110 §7.8).
fn is_protocol(protocol: &str) -> bool {
    let mut parts = protocol.splitn(2, '/');
    parts.all(h1::is_field_name)
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::sync::Arc;

    use super::*;
    use crate::app::inbox::Inbox;
    use crate::app::tunnel::{TunnelAction, TunnelIo};
    use crate::h1::{Head, Header};
    use crate::peer::Peer;

    struct Nothing;

    impl Tunnel for Nothing {
        fn receive(&mut self, _: &mut [u8], _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Wait
        }

        fn draining(&mut self, _: &mut TunnelIo<'_>) -> TunnelAction {
            TunnelAction::Close
        }
    }

    fn upgrades(head: &str) -> bool {
        let inbox = Inbox::new(Arc::new(|| {}));
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; 16];
        let head = Head::parse(head.as_bytes(), &mut fields).unwrap();
        let request = Request {
            head: &head,
            body: &[],
            peer: Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1))),
            id: ConnId::from_bits(1),
            nth: 1,
            handle: inbox.handle(),
        };
        request.upgrade("echo/1").is_some()
    }

    #[test]
    fn only_what_was_asked_for_is_an_upgrade() {
        const CASES: &[(&str, bool)] = &[
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, UPGRADE\r\n\
                 Upgrade: other ,\tECHO/1\r\n\r\n",
                true,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: upgrade\r\n\
                 Upgrade: other\r\nUpgrade: echo/1\r\n\r\n",
                true,
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgraded\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/11\r\n\r\n",
                false,
            ),
            (
                "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n",
                false,
            ),
        ];
        for (head, expected) in CASES {
            assert_eq!(upgrades(head), *expected, "{head}");
        }
    }

    #[test]
    fn a_protocol_that_cannot_be_written_is_a_mistake() {
        for protocol in ["", "a b", "a\r\nb", "a/", "a/b/c", "a,b"] {
            let response = Response::upgrade_required(protocol);
            assert!(response.mistake.is_some(), "{protocol:?}");
        }
        for protocol in ["websocket", "HTTP/2.0", "h2c"] {
            let response = Response::upgrade_required(protocol);
            assert_eq!(response.mistake, None, "{protocol:?}");
        }
    }

    #[test]
    fn the_response_is_a_101_with_its_fields() {
        let upgrade = Upgrade {
            id: ConnId::from_bits(1),
            nth: 1,
            protocol: "echo".into(),
        };
        let response = upgrade.to(Nothing).field("X", "y");
        assert_eq!((response.status(), response.mistake), (101, None));
        let fields = b"Connection: Upgrade\r\nUpgrade: echo\r\nX: y\r\n";
        assert_eq!(response.fields, fields);
        assert!(matches!(response.body, Content::Tunnel(_)));
    }
}
