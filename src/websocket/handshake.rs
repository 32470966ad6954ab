//! The opening handshake: accepts a request for a WebSocket, or refuses it (RFC 6455 §4.2).
//!
//! Knows no frames.

use sha1_smol::Sha1;

use super::origin;
use super::settings::Settings;
use crate::app::{Request, Response, Tunnel, Upgrade};
use crate::h1::list_elements;

/// A request that may become a WebSocket.
pub(super) struct Handshake {
    upgrade: Upgrade,
    accept: String,
    /// The agreed subprotocol: an index into the settings'.
    pub(super) protocol: Option<usize>,
}

impl Handshake {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
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
        if !may_connect(request, settings) {
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

    /// Returns the 101, behind which the tunnel serves the connection.
    pub(super) fn respond(self, tunnel: impl Tunnel + 'static, settings: &Settings) -> Response {
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

/// Returns the value of a field that the request has exactly once.
fn only<'r>(request: &Request<'r>, name: &str) -> Option<&'r [u8]> {
    let mut values = request.head.fields_named(name);
    values.next().filter(|_| values.next().is_none())
}

/// Returns whether a key is 16 bytes in base64: 22 characters and two of padding. The last
/// character has two bits of the last byte, and four that must be 0.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && b"AQgw".contains(&key[21])
        && key[..22].iter().all(|byte| BASE64.contains(byte))
}

/// Returns the proof that this server has read the key (§4.2.2).
fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    base64(hash.digest().bytes())
}

/// Encodes a hash (RFC 4648 §4): six groups of three bytes and one of two, which is padded.
fn base64(hash: [u8; 20]) -> String {
    let mut text = String::with_capacity(28);
    for group in hash.chunks(3) {
        let [a, b, c] = [group[0], group[1], group.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, a, b, c]);
        let six = |shift: u32| char::from(BASE64[(bits >> shift & 63) as usize]);
        text.extend([18, 12, 6, 0].map(six));
    }
    text.pop();
    text.push('=');
    text
}

/// Returns whether the page that asks may connect. Clients other than browsers name no page.
fn may_connect(request: &Request<'_>, settings: &Settings) -> bool {
    let mut origins = request.fields_named("origin");
    let Some(origin) = origins.next() else {
        return true;
    };
    let origin = str::from_utf8(origin)
        .ok()
        .filter(|_| origins.next().is_none());
    let Some(origin) = origin else {
        return false;
    };
    if let Some(may_connect) = &settings.origin {
        return may_connect(origin);
    }
    let authority = request.head.authority();
    authority
        .is_some_and(|authority| origin::is_same(origin, authority, request.handle.is_secure()))
}

/// Returns the first of the client's subprotocols that the server speaks.
fn choose(request: &Request<'_>, settings: &Settings) -> Option<usize> {
    let values = request.head.fields_named("sec-websocket-protocol");
    let mut names = values.flat_map(list_elements);
    names.find_map(|name| {
        let mut ours = settings.protocols.iter();
        ours.position(|ours| ours.as_bytes() == name)
    })
}

/// The name in `Upgrade`.
const PROTOCOL: &str = "websocket";

/// The version that RFC 6455 defines.
const VERSION: &[u8] = b"13";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text that is hashed behind the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_key(key));
        assert_eq!(accept(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    /// Keys of every length around 16 bytes, and every character in every place of one.
    #[test]
    fn a_key_is_what_the_crate_base64_decodes_to_16_bytes() {
        let check = |key: &[u8]| {
            let is_key_to_them = STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
            assert_eq!(is_key(key), is_key_to_them, "{}", key.escape_ascii());
            is_key_to_them
        };
        for length in 0..40 {
            let bytes: Vec<u8> = (200..200 + length).collect();
            assert_eq!(check(STANDARD.encode(bytes).as_bytes()), length == 16);
        }
        for place in 0..24 {
            for byte in 0..=u8::MAX {
                let mut key = *b"dGhlIHNhbXBsZSBub25jZQ==";
                key[place] = byte;
                check(&key);
            }
        }
        check(b"dGhlIHNhbXBsZSBub25jZQ");
    }

    #[test]
    fn a_hash_is_encoded_as_the_crate_base64_encodes_it() {
        for seed in 0..=u8::MAX {
            let hash = std::array::from_fn(|n| (n as u8).wrapping_mul(seed) ^ seed);
            assert_eq!(base64(hash), STANDARD.encode(hash));
        }
    }
}
