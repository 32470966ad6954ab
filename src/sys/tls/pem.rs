//! Certificates and keys from PEM files (RFC 7468), with an error for each way to get them wrong.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, client};

use crate::error::Error;
use crate::sys::file::read_file;

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pem {
    /// The certificate, and behind it those that lead to a trusted one.
    pub chain: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
}

impl Pem {
    /// Names a chain and its key.
    pub fn new(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            chain: chain.into(),
            key: key.into(),
        }
    }
}

/// Makes a configuration of these pairs, which can resume the sessions of `before`.
pub(super) fn load(pairs: &[Pem], before: Option<&ServerConfig>) -> Result<ServerConfig, Error> {
    let provider = provider()?;
    let mut certified = Vec::with_capacity(pairs.len());
    for pair in pairs {
        certified.push(Arc::new(read_pair(pair, &provider)?));
    }
    if certified.is_empty() {
        let error = invalid("no certificate was given");
        return Err(Error::new("speak TLS", error));
    }
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new("speak TLS", io::Error::other(error)))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(certified)));
    if let Some(before) = before {
        config.ticketer = Arc::clone(&before.ticketer);
        config.session_storage = Arc::clone(&before.session_storage);
    } else {
        #[cfg(feature = "tls")]
        {
            config.ticketer = rustls::crypto::ring::Ticketer::new()
                .map_err(|error| Error::new("make keys for tickets", io::Error::other(error)))?;
        }
    }
    Ok(config)
}

/// Returns the process's provider, or ring's.
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(Arc::clone(provider));
    }
    #[cfg(feature = "tls")]
    {
        Ok(Arc::new(rustls::crypto::ring::default_provider()))
    }
    #[cfg(not(feature = "tls"))]
    {
        let none = io::Error::new(io::ErrorKind::Unsupported, "there is no cryptography");
        let hint = "install a provider of rustls, or build with the feature tls";
        Err(Error::new("speak TLS", none).with_hint(Some(hint)))
    }
}

fn read_pair(pair: &Pem, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let wrong = |path: &Path, error| Error::new(format!("use {}", path.display()), error);
    let (bytes, _) = read(&pair.chain)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&pair.chain, no_pem(&error)))?;
    let Some(first) = chain.first() else {
        return Err(wrong(&pair.chain, invalid(missing("certificate", &bytes))));
    };
    if let Err(error) = ParsedCertificate::try_from(first) {
        return Err(wrong(&pair.chain, invalid(unreadable(&error))));
    }
    let (bytes, metadata) = read(&pair.key)?;
    let unusable = |why: io::Error| match has_passphrase(&bytes) {
        true => wrong(&pair.key, invalid(PASSPHRASE)),
        false => wrong(&pair.key, why),
    };
    let key = PrivateKeyDer::pem_slice_iter(&bytes).next();
    let Some(key) = key else {
        return Err(wrong(&pair.key, invalid(missing(KEY, &bytes))));
    };
    let key = key.map_err(|error| unusable(no_pem(&error)))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| unusable(invalid(KIND)))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            let why = format!(
                "it is not the key of the first certificate in {}",
                pair.chain.display()
            );
            return Err(wrong(&pair.key, invalid(why)));
        }
    }
    warn_if_public(&pair.key, &metadata);
    Ok(certified)
}

/// Warns if every user can read a key. The key is used: the machine may have one user, and a reload
/// should not fail for it.
fn warn_if_public(path: &Path, metadata: &Metadata) {
    if metadata.mode() & FOR_ALL_TO_READ != 0 {
        let path = path.display();
        log::warn!("the private key {path} is readable by everyone; chmod o-r it");
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Metadata), Error> {
    read_file(path, LONGEST).map_err(|error| Error::new(format!("read {}", path.display()), error))
}

/// Explains why a readable file lacks what it should have.
fn missing(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let labels: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .collect();
    match labels[..] {
        [] => format!("there is no PEM in it, and so no {what}"),
        ["ENCRYPTED PRIVATE KEY", ..] => PASSPHRASE.into(),
        // A key of OpenSSH, or for DSA.
        [label, ..] if what == KEY && label.ends_with(" PRIVATE KEY") => KIND.into(),
        [label, ..] => format!("there is no {what} in it, but a {label}"),
    }
}

/// Returns whether fields before a key say that it is encrypted, the older way (RFC 1421).
fn has_passphrase(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"Proc-Type:") && line.trim_ascii_end().ends_with(b"ENCRYPTED")
    })
}

/// Explains the error of a certificate whose PEM is complete.
fn unreadable(error: &rustls::Error) -> String {
    // The variant belongs to the verifier's crate, which only rustls depends on.
    match format!("{error:?}").contains("UnsupportedCertVersion") {
        true => "it is an X.509 version 1 certificate; version 3 is needed \
                 (openssl req -x509 makes one)"
            .into(),
        false => error.to_string(),
    }
}

/// Explains an error of the PEM reader, which shows lines as numbers.
fn no_pem(error: &pem::Error) -> io::Error {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            invalid(format_args!("the line -----END {label}----- is missing"))
        }
        pem::Error::IllegalSectionStart { .. } => invalid("a line -----BEGIN …----- is not whole"),
        error => invalid(error),
    }
}

fn invalid(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// The longest file, in bytes: some hundred certificates.
const LONGEST: u64 = 1 << 20;

const KEY: &str = "private key";

const PASSPHRASE: &str = "the key has a passphrase; take it off with openssl pkey";

const KIND: &str = "the key is broken, or of a kind that is not supported; RSA, ECDSA P-256 or \
                    P-384, and Ed25519 are";

const FOR_ALL_TO_READ: u32 = 0o004;

/// Certificates by the name that the client asks for (SNI, RFC 6066 §3).
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().filter(|_| self.0.len() > 1);
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        named.or_else(|| self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    key.end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|cert| client::verify_server_name(&cert, name).is_ok())
}
