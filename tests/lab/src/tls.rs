//! TLS in the laboratory: certificates made when a test asks for them, and a client whose every
//! byte passes through the hands of the test.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

use ebbtide::Handler;
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::sim::{Manner, PeerId, Sim};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use crate::{Lab, wire};

pub use rustls::version::{TLS12, TLS13};

/// Both versions, for tests that hold for each.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate for these names that signs itself.
pub struct Identity(CertifiedKey<KeyPair>);

impl Identity {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Self(generate_simple_self_signed(names).expect("a certificate"))
    }

    /// Returns the configuration of a server that shows the certificate.
    pub fn server(&self) -> ServerConfig {
        let key = PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der());
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.0.cert.der().clone()], PrivateKeyDer::from(key))
            .expect("they belong together")
    }

    /// Returns the configuration of a client that trusts the certificate, speaks one version and
    /// keeps sessions.
    pub fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .expect("the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
        config
    }

    /// Returns the configuration of a server that wants certificates of its clients, and of a client
    /// that shows this one `times` times.
    pub fn with_clients(
        &self,
        version: &'static SupportedProtocolVersion,
        times: usize,
    ) -> (ServerConfig, ClientConfig) {
        let key = || {
            let key = PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der());
            PrivateKeyDer::from(key)
        };
        let cert = self.0.cert.der();
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).expect("a root");
        let roots = Arc::new(roots);
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![cert.clone()], key())
            .expect("they belong together");
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("the versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert.clone(); times], key())
            .expect("they belong together");
        (server, client)
    }

    pub fn cert_pem(&self) -> String {
        self.0.cert.pem()
    }

    pub fn key_pem(&self) -> String {
        self.0.signing_key.serialize_pem()
    }
}

/// The identity of the servers.
pub static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["a.example"]));

/// The client's end of TLS, and what the client got.
pub struct Client {
    pub peer: PeerId,
    pub tls: ClientConnection,
    fed: usize,
    plain: Vec<u8>,
    /// Whether the server sent close_notify.
    pub told: bool,
    /// The client's error, which may be an alert of the server.
    pub error: Option<rustls::Error>,
}

impl Client {
    pub fn new(peer: PeerId, config: ClientConfig) -> Self {
        Self::asking_for(peer, config, "a.example")
    }

    pub fn asking_for(peer: PeerId, config: ClientConfig, name: &'static str) -> Self {
        let name = ServerName::try_from(name).expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
        tls.set_buffer_limit(None);
        Self {
            peer,
            tls,
            fed: 0,
            plain: Vec::new(),
            told: false,
            error: None,
        }
    }

    /// Connects a client that says nothing.
    pub fn connect<H: Handler, S: Sys>(
        lab: &mut Lab<H, S>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::connect_as(lab, Manner::default(), IDENTITY.client(version))
    }

    pub fn connect_as<H: Handler, S: Sys>(
        lab: &mut Lab<H, S>,
        manner: Manner,
        config: ClientConfig,
    ) -> Self {
        Self::new(lab.connect_as(manner), config)
    }

    /// Connects a client that is answered once, and idle from then on.
    pub fn idle<H: Handler, S: Sys>(
        lab: &mut Lab<H, S>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::idle_as(lab, Manner::default(), version)
    }

    pub fn idle_as<H: Handler, S: Sys>(
        lab: &mut Lab<H, S>,
        manner: Manner,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut client = Self::connect(lab, version);
        client.ask(lab, wire::GET);
        assert_eq!(client.take_text(), wire::ok("hello\n"));
        lab.sim().behave(client.peer, manner);
        client
    }

    /// Queues text, and lets client and server talk.
    pub fn ask<H: Handler, S: Sys>(&mut self, lab: &mut Lab<H, S>, text: &str) {
        self.say(text);
        self.talk(lab);
    }

    /// Lets client and server talk until neither has anything to say in this moment.
    pub fn talk<H: Handler, S: Sys>(&mut self, lab: &mut Lab<H, S>) {
        self.talk_by(lab, |lab, peer, bytes| lab.sim().send(peer, bytes));
    }

    /// Does the same as [`talk`](Self::talk), and sends what the client says by `send`.
    pub fn talk_by<H: Handler, S: Sys>(
        &mut self,
        lab: &mut Lab<H, S>,
        mut send: impl FnMut(&mut Lab<H, S>, PeerId, Vec<u8>),
    ) {
        loop {
            if !lab.is_over() {
                lab.now();
            }
            self.hear(lab.sim());
            let bytes = self.flight();
            if bytes.is_empty() {
                return;
            }
            send(lab, self.peer, bytes);
        }
    }

    /// Queues text until the handshake lets the client send it.
    pub fn say(&mut self, text: &str) {
        let mut writer = self.tls.writer();
        writer.write_all(text.as_bytes()).expect("it is kept");
    }

    /// Queues close_notify.
    pub fn goodbye(&mut self) {
        self.tls.send_close_notify();
    }

    /// Takes the bytes that the client has to send now.
    pub fn flight(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("into a vector");
        }
        bytes
    }

    /// Feeds the client what the world has brought for it.
    pub fn hear(&mut self, sim: &Sim) {
        let mut news = &sim.got(self.peer)[self.fed..];
        self.fed += news.len();
        while !news.is_empty() && self.error.is_none() {
            if self.tls.read_tls(&mut news).expect("from a slice") == 0 {
                break;
            }
            match self.tls.process_new_packets() {
                Ok(_) => self.read(),
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn read(&mut self) {
        match self.tls.reader().read_to_end(&mut self.plain) {
            Ok(_) => self.told = true,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }

    /// Takes what the client got since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// Takes the same as text, without the Date lines.
    pub fn take_text(&mut self) -> String {
        wire::undated(&self.take(), 10_000_000)
    }
}
