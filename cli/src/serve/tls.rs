//! The flags for TLS, and the files that are read again at SIGHUP.

use std::io;
use std::path::PathBuf;
use std::thread;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use ebbtide::{Error, Pem, TlsConfig};

/// The flags for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsFlags {
    /// Speak TLS on every listener with the certificate in this PEM file, followed by its chain up
    /// to one that clients trust. May be given several times, each with its --tls-key; a client
    /// gets the certificate for the name it asks for, else the first. SIGHUP reads the file again
    /// for new connections; a file with a mistake leaves the old certificate in place
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Vec<PathBuf>,

    /// Private key of the certificate, as PEM, without a passphrase. SIGHUP reads the file again,
    /// too
    #[arg(long, value_name = "FILE")]
    pub tls_key: Vec<PathBuf>,
}

impl TlsFlags {
    /// Checks that the flags fit together.
    ///
    /// # Errors
    ///
    /// Returns one line with the flag and the mistake.
    pub(crate) fn check(&self, signals: &[i32]) -> Result<(), String> {
        let (certs, keys) = (self.tls_cert.len(), self.tls_key.len());
        if certs != keys {
            return Err(format!(
                "--tls-cert: each needs its --tls-key, in the same order; certificates: \
                 {certs}, keys: {keys}"
            ));
        }
        if certs > 0 && signals.contains(&SIGHUP) {
            return Err("--signals: with --tls-cert, HUP reads the certificates again".into());
        }
        Ok(())
    }

    /// Reads the files, if the flags name any.
    ///
    /// # Errors
    ///
    /// Returns the name of the wrong file, and the reason.
    pub(super) fn load(&self) -> Result<Option<Certificates>, Error> {
        if self.tls_cert.is_empty() {
            return Ok(None);
        }
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let pairs: Vec<_> = pairs.map(|(cert, key)| Pem::new(cert, key)).collect();
        let config = TlsConfig::from_pem(&pairs)?;
        Ok(Some(Certificates { pairs, config }))
    }

    /// Returns the scheme of a listener's address.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls_cert.is_empty() {
            "http"
        } else {
            "https"
        }
    }
}

/// The files and their content.
#[derive(Debug)]
pub(super) struct Certificates {
    pairs: Vec<Pem>,
    config: TlsConfig,
}

impl Certificates {
    /// Returns the settings for the server.
    pub(super) fn config(&self) -> TlsConfig {
        self.config.clone()
    }

    /// Reads the files again at each SIGHUP, on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system cannot catch the signal or start the thread.
    pub(super) fn reload_at_hangup(self) -> io::Result<()> {
        let mut heard = Signals::new([SIGHUP])?;
        thread::Builder::new()
            .name("reload".into())
            .spawn(move || {
                for _ in heard.forever() {
                    match self.config.reload(&self.pairs) {
                        Ok(()) => log::info!("SIGHUP: the certificates were read again"),
                        Err(error) => log::error!("SIGHUP: {error}; the old certificates stay"),
                    }
                }
            })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_has_its_key() {
        let flags = |certs: usize, keys: usize| TlsFlags {
            tls_cert: vec!["cert.pem".into(); certs],
            tls_key: vec!["key.pem".into(); keys],
        };
        assert_eq!(flags(0, 0).check(&[SIGHUP]), Ok(()));
        assert_eq!(flags(2, 2).check(&[]), Ok(()));
        let error = flags(2, 1).check(&[]).unwrap_err();
        assert!(error.ends_with("certificates: 2, keys: 1"), "{error}");
        let error = flags(1, 1).check(&[SIGHUP]).unwrap_err();
        assert!(error.starts_with("--signals: "), "{error}");
    }

    #[test]
    fn without_flags_there_is_no_tls() {
        assert!(TlsFlags::default().load().unwrap().is_none());
    }
}
