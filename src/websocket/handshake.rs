//! The opening handshake: a request for a WebSocket, or why it is none (RFC 6455 §4.2).
//!
//! Knows no frames.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::Settings;
use crate::app::{Request, Response, Tunnel, Upgrade};

/// A handshake that is good.
pub(super) struct Handshake {
    upgrade: Upgrade,
    accept: String,
    /// Which of the settings' subprotocols was agreed on.
    pub(super) protocol: Option<usize>,
}

impl Handshake {
    /// Checks a request; the error is the answer that refuses it.
    pub(super) fn check(request: &Request<'_>, settings: &Settings) -> Result<Self, Box<Response>> {
        let refuse = |status, why: &'static str| Err(Box::new(Response::text(status, why)));
        if request.method() != "GET" {
            let response = Response::text(405, "not with this method\n");
            return Err(Box::new(response.field("Allow", "GET")));
        }
        let upgrade = request.upgrade(PROTOCOL);
        let version = only(request, "sec-websocket-version");
        let (Some(upgrade), Some(VERSION)) = (upgrade, version) else {
            let response = Response::upgrade_required(PROTOCOL);
            return Err(Box::new(response.field("Sec-WebSocket-Version", "13")));
        };
        let Some(key) = only(request, "sec-websocket-key").filter(|key| is_key(key)) else {
            return refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64\n");
        };
        if !may(request, settings) {
            return refuse(403, "not from this origin\n");
        }
        if request.draining() {
            let response = Response::text(503, "the server is stopping\n");
            return Err(Box::new(response.field("Retry-After", "1")));
        }
        Ok(Self {
            upgrade,
            accept: accept(key),
            protocol: choose(request, settings),
        })
    }

    /// The 101.
    pub(super) fn answer(self, tunnel: impl Tunnel + 'static, settings: &Settings) -> Response {
        let protocol = self
            .protocol
            .and_then(|index| settings.protocols.get(index));
        let response = self.upgrade.to(tunnel);
        let response = response.field("Sec-WebSocket-Accept", &self.accept);
        match protocol {
            Some(protocol) => response.field("Sec-WebSocket-Protocol", protocol),
            None => response,
        }
    }
}

/// The value of a field that is there once.
fn only<'r>(request: &Request<'r>, name: &str) -> Option<&'r [u8]> {
    let mut values = request.head.fields_named(name);
    values.next().filter(|_| values.next().is_none())
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// What proves that this server has read the key.
fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// Whether the page that asks may connect; what is no browser names none.
fn may(request: &Request<'_>, settings: &Settings) -> bool {
    let Some(origin) = request.field("origin") else {
        return true;
    };
    let Ok(origin) = str::from_utf8(origin) else {
        return false;
    };
    match &settings.origin {
        Some(may) => may(origin),
        None => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some_and(|host| {
                let asked = request.head.authority();
                asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host))
            })
        }
    }
}

/// The first subprotocol of the client's that the server has.
fn choose(request: &Request<'_>, settings: &Settings) -> Option<usize> {
    let values = request.head.fields_named("sec-websocket-protocol");
    let mut names = values.flat_map(|value| value.split(|byte| *byte == b','));
    names.find_map(|name| {
        let mut ours = settings.protocols.iter();
        ours.position(|ours| ours.as_bytes() == name.trim_ascii())
    })
}

/// The name that is upgraded to.
const PROTOCOL: &str = "websocket";

/// The version of the protocol that RFC 6455 is.
const VERSION: &[u8] = b"13";

/// What is hashed with the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_key(key));
        assert_eq!(accept(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_16_bytes() {
        for key in [
            "",
            "AAAA",
            "dGhlIHNhbXBsZSBub25jZQ",
            "not base64 at all!!!!!!==",
        ] {
            assert!(!is_key(key.as_bytes()), "{key:?}");
        }
    }
}
