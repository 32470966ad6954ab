//! TLS in the simulated world, with a rustls client whose every byte a test can hold.

mod drain;
mod goodbye;
mod handshakes;
mod pieces;
mod strangers;

use ebbtide::TlsConfig;
use ebbtide::internals::engine::Config;
use ebbtide::internals::sys::sim::{Setup, Sim};
use ebbtide::internals::sys::tls::Tls;
use ebbtide_lab::app::App;
use ebbtide_lab::tls::IDENTITY;

/// A laboratory whose engine speaks TLS.
type Lab = ebbtide_lab::Lab<App, Tls<Sim>>;

fn tls_lab() -> Lab {
    tls_lab_with(Setup::default(), Config::default())
}

fn tls_lab_with(setup: Setup, config: Config) -> Lab {
    let tls = TlsConfig::new(IDENTITY.server()).expect("a configuration");
    speaking(setup, config, tls)
}

fn speaking(setup: Setup, config: Config, tls: TlsConfig) -> Lab {
    let sys = Tls::new(Sim::new(setup), tls);
    Lab::over(sys, Tls::inner, config, App::default())
}
