//! The TLS configuration of a server, and its replacement while the server runs.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

use super::pem::{self, Pem};
use crate::error::Error;

/// The TLS configuration of a server: certificates, and all that rustls can configure.
///
/// Clones share one configuration, also across threads: after [`replace`](Self::replace) or
/// [`reload`](Self::reload) new connections get the new one. Open connections keep theirs.
#[derive(Clone)]
pub struct TlsConfig {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl TlsConfig {
    /// Takes a configuration of rustls with its provider, resolver of certificates, verifier of
    /// clients, versions and store of sessions. Adds `http/1.1` and `http/1.0` to an empty list of
    /// protocols (ALPN). A client that offers others alone gets the alert `no_application_protocol`
    /// (RFC 7301 §3.2): without it, a client that offers `h2` alone would speak HTTP/2.
    ///
    /// # Errors
    ///
    /// The configuration offers `h2`, which this server does not speak, or early data, which an
    /// attacker can replay.
    pub fn new(config: ServerConfig) -> Result<Self, Error> {
        Ok(Self::holding(accepted(config)?))
    }

    /// Reads certificates and keys from PEM files. Speaks TLS 1.2 and 1.3 with rustls's choice of
    /// ciphers. Clients that ask for no name, or for one without a certificate, get the first pair.
    /// Tickets resume sessions (RFC 5077, RFC 8446 §2.2) without memory on the server.
    ///
    /// Uses the process's default provider of cryptography, if one was installed
    /// ([`CryptoProvider::install_default`](rustls::crypto::CryptoProvider::install_default)), else
    /// ring, from the feature `tls`.
    ///
    /// # Errors
    ///
    /// A file cannot be used; the error names the file and the cause.
    pub fn from_pem(pairs: &[Pem]) -> Result<Self, Error> {
        Ok(Self::holding(accepted(pem::load(pairs, None)?)?))
    }

    /// Replaces the configuration for new connections.
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::new`]; the old configuration stays.
    pub fn replace(&self, config: ServerConfig) -> Result<(), Error> {
        self.put(accepted(config)?);
        Ok(())
    }

    /// Reads the files again, or other ones. Earlier tickets stay valid.
    ///
    /// # Errors
    ///
    /// As [`TlsConfig::from_pem`]; the old configuration stays.
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

    /// Returns the configuration for a new connection.
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

/// Checks that this server can keep to a configuration, and adds the protocol.
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
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    }
    Ok(config)
}
