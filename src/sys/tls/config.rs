//! What a server shows to those who connect over TLS, and how it is changed while it runs.
//!
//! Knows rustls's configuration; no connections.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

use super::pem::{self, Pem};
use crate::error::Error;

/// How a server speaks TLS: certificates and all that rustls lets one choose.
///
/// A clone is the same one: what [`replace`](Self::replace) or [`reload`](Self::reload) puts into
/// it is what connections that come from then on are shown, on whatever thread the server runs.
/// Those that are open keep what they began with, and none is dropped.
#[derive(Clone)]
pub struct TlsConfig {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl TlsConfig {
    /// Takes a configuration of rustls as it is: with the provider, the resolver of certificates,
    /// the verifier of clients, the versions and the store of sessions that it has. Where it names
    /// no protocol (ALPN), it is given `http/1.1`.
    ///
    /// # Errors
    ///
    /// It offers `h2`, which this server does not speak; or early data, which an attacker can send
    /// again.
    pub fn new(config: ServerConfig) -> Result<Self, Error> {
        Ok(Self::holding(accepted(config)?))
    }

    /// Reads certificates and their keys from files. TLS 1.2 and 1.3, and rustls's own choice of
    /// ciphers. The first pair is shown to whoever asks for no name, or for one that no other
    /// certificate has. Sessions are resumed by tickets (RFC 5077, RFC 8446 §2.2), which cost the
    /// server no memory.
    ///
    /// The cryptography is that of the process's default provider, where one was installed
    /// ([`CryptoProvider::install_default`](rustls::crypto::CryptoProvider::install_default)); else
    /// that of ring, which the feature `tls` brings.
    ///
    /// # Errors
    ///
    /// Which file is wrong, and why.
    pub fn from_pem(pairs: &[Pem]) -> Result<Self, Error> {
        Ok(Self::holding(accepted(pem::load(pairs, None)?)?))
    }

    /// Shows another configuration from now on.
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::new`]; the old one stays.
    pub fn replace(&self, config: ServerConfig) -> Result<(), Error> {
        self.put(accepted(config)?);
        Ok(())
    }

    /// Reads the files again, or others. Tickets that were given out before stay valid.
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::from_pem`]; what was read before stays.
    pub fn reload(&self, pairs: &[Pem]) -> Result<(), Error> {
        let before = self.current();
        self.put(accepted(pem::load(pairs, Some(&before))?)?);
        Ok(())
    }

    fn holding(config: ServerConfig) -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(config))),
        }
    }

    fn put(&self, config: ServerConfig) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(config);
    }

    /// What is shown to whoever connects now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// A configuration that this server can keep to.
fn accepted(mut config: ServerConfig) -> Result<ServerConfig, Error> {
    let refused = |why: &'static str| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, why);
        Err(Error::new("use this configuration of TLS", error))
    };
    if config.max_early_data_size > 0 {
        return refused("it takes early data, which an attacker can send again");
    }
    if config.alpn_protocols.iter().any(|name| name == b"h2") {
        return refused("it offers h2, and this server speaks HTTP/1.1");
    }
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols.push(b"http/1.1".to_vec());
    }
    Ok(config)
}
