//! The laboratory, with TLS between the engine and the simulated world.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

use ebbtide::internals::engine::{Config, Engine, Inbox, Turn};
use ebbtide::internals::sys::Sys;
use ebbtide::internals::sys::sim::{Act, Manner, PeerId, Setup, Sim};
use ebbtide::internals::sys::tls::Tls;
use ebbtide::internals::tracker::Phase;
use ebbtide::{Outcome, TlsConfig};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

use crate::certificates::Identity;
use crate::sim_support::app::App;
use crate::sim_support::{SIGTERM, wire};

/// Who the server is.
pub(crate) static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::new(&["a.example"]));

/// An engine that speaks TLS, and the world it runs in.
pub(crate) struct Lab {
    pub(crate) engine: Engine<Tls<Sim>, App>,
    ended: Option<(u32, Outcome)>,
    turns: u32,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default(), Config::default())
    }

    pub(crate) fn with(setup: Setup, config: Config) -> Self {
        let tls = TlsConfig::new(IDENTITY.server()).expect("a configuration");
        Self::speaking(setup, config, tls)
    }

    pub(crate) fn speaking(setup: Setup, config: Config, tls: TlsConfig) -> Self {
        let sys = Tls::new(Sim::new(setup), tls);
        let inbox = Inbox::new(sys.waker());
        Self {
            engine: Engine::new(sys, App::default(), config, inbox),
            ended: None,
            turns: 0,
        }
    }

    pub(crate) fn sim(&mut self) -> &mut Sim {
        self.engine.sys().inner()
    }

    pub(crate) fn millis(&mut self) -> u32 {
        self.sim().millis()
    }

    pub(crate) fn count(&self, phase: Phase) -> u32 {
        self.engine.counts()[phase as usize]
    }

    pub(crate) fn turn(&mut self) {
        assert!(self.ended.is_none(), "a turn after the end");
        self.turns += 1;
        assert!(self.turns < 200_000, "the loop spins at {}", self.millis());
        let turn = self.engine.turn().expect("the selector never fails");
        self.engine.check();
        if let Turn::Done(outcome) = turn {
            self.ended = Some((self.millis(), outcome));
        }
    }

    /// Turns until nothing is left to do before that moment and at it.
    pub(crate) fn until(&mut self, millis: u32) {
        self.sim().run_until(millis);
        while self.ended.is_none() && !self.sim().resting() {
            self.turn();
        }
    }

    pub(crate) fn now(&mut self) {
        let now = self.millis();
        self.until(now);
    }

    pub(crate) fn pass(&mut self, millis: u32) {
        let now = self.millis();
        self.until(now + millis);
    }

    pub(crate) fn signal(&mut self) {
        self.sim().signal(SIGTERM);
        self.now();
    }

    /// Asserts that it ended at exactly that moment, and says how.
    #[track_caller]
    pub(crate) fn ends_at(&mut self, millis: u32) -> Outcome {
        self.until(millis);
        let counts = self.engine.counts();
        let ended = self.ended.clone();
        let (at, outcome) = ended.unwrap_or_else(|| panic!("it goes on at {millis}: {counts:?}"));
        assert_eq!(at, millis, "it ended too early: {outcome}");
        assert_eq!(self.sim().totals().open(), 0, "sockets are left open");
        outcome
    }

    /// Asserts that we have sent a FIN and no reset.
    #[track_caller]
    pub(crate) fn finished(&mut self, client: &Client) {
        let seen = self.sim().seen(client.peer);
        assert!(seen.fin.is_some() && seen.reset.is_none(), "{seen:?}");
    }

    /// Asserts that we have sent a reset and no FIN.
    #[track_caller]
    pub(crate) fn reset(&mut self, client: &Client) {
        let seen = self.sim().seen(client.peer);
        assert!(seen.fin.is_none() && seen.reset.is_some(), "{seen:?}");
    }

    /// A client that is connected and has said nothing.
    pub(crate) fn connect(&mut self, version: &'static SupportedProtocolVersion) -> Client {
        self.connect_as(Manner::default(), IDENTITY.client(version))
    }

    pub(crate) fn connect_as(&mut self, manner: Manner, config: ClientConfig) -> Client {
        let peer = self.sim().peer(0);
        self.sim().behave(peer, manner);
        self.sim().act(Act::Connect(peer));
        self.now();
        Client::new(peer, config)
    }

    /// A client that was answered once and is idle since.
    pub(crate) fn idle(&mut self, version: &'static SupportedProtocolVersion) -> Client {
        self.idle_as(Manner::default(), version)
    }

    pub(crate) fn idle_as(
        &mut self,
        manner: Manner,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        let mut client = self.connect_as(Manner::default(), IDENTITY.client(version));
        client.say(wire::GET);
        self.talk(&mut client);
        assert_eq!(client.take_text(), wire::ok("hello\n"));
        self.sim().behave(client.peer, manner);
        client
    }

    /// Lets the two talk until neither has anything to say in this moment.
    pub(crate) fn talk(&mut self, client: &mut Client) {
        self.talk_by(client, |lab, peer, bytes| lab.sim().send(peer, bytes));
    }

    /// The same, with a way to send what the client says.
    pub(crate) fn talk_by(
        &mut self,
        client: &mut Client,
        mut send: impl FnMut(&mut Self, PeerId, Vec<u8>),
    ) {
        loop {
            if self.ended.is_none() {
                self.now();
            }
            client.hear(self.sim());
            let bytes = client.flight();
            if bytes.is_empty() {
                return;
            }
            send(self, client.peer, bytes);
        }
    }
}

/// A client: its end of TLS, and what it got.
pub(crate) struct Client {
    pub(crate) peer: PeerId,
    pub(crate) tls: ClientConnection,
    fed: usize,
    plain: Vec<u8>,
    /// The server said close_notify.
    pub(crate) told: bool,
    /// What the client has against the server, an alert of its included.
    pub(crate) error: Option<rustls::Error>,
}

impl Client {
    pub(crate) fn new(peer: PeerId, config: ClientConfig) -> Self {
        Self::asking_for(peer, config, "a.example")
    }

    pub(crate) fn asking_for(peer: PeerId, config: ClientConfig, name: &'static str) -> Self {
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

    /// Has something to say, once the handshake lets it.
    pub(crate) fn say(&mut self, text: &str) {
        let mut writer = self.tls.writer();
        writer.write_all(text.as_bytes()).expect("it is kept");
    }

    /// Says that it will say nothing more.
    pub(crate) fn goodbye(&mut self) {
        self.tls.send_close_notify();
    }

    /// What it has to send now.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("into a vector");
        }
        bytes
    }

    /// Hears what the world has brought it.
    pub(crate) fn hear(&mut self, sim: &Sim) {
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

    /// What it has got since it last looked.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// The same as text, without the Date lines.
    pub(crate) fn take_text(&mut self) -> String {
        wire::undated(&self.take(), 10_000_000)
    }
}
