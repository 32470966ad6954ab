//! The files of TLS: wrong ones, several, and files that change while the server runs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use ebbtide_needs::needs;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustls::HandshakeKind;

use super::support::folder::{Folder, flag};
use super::support::served::{Served, run};
use super::support::tls::Client;
use super::support::{GET, HELLO, PATIENCE, until};
use super::{IDENTITY, serve};
use ebbtide_lab::tls::{Identity, TLS12, TLS13};

const RELOADED: &str = "SIGHUP: the certificates were read again";

/// A key with a passphrase, as PEM; the content does not matter.
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n\
                         -----END ENCRYPTED PRIVATE KEY-----\n";

/// The same in the older form.
const ENCRYPTED_OF_OLD: &str = "-----BEGIN RSA PRIVATE KEY-----\n\
                                Proc-Type: 4,ENCRYPTED\n\
                                DEK-Info: AES-128-CBC,D1629D9A0F7FD251BC275A6820DD9026\n\n\
                                jaA0nkzxZF2BXmusLrENqiIXASAUPjuPWLIxojU9PGyTXSBxUnM0M7sIL6v2qKhy\n\
                                -----END RSA PRIVATE KEY-----\n";

/// A certificate as `openssl x509 -req` makes it without extensions, good until 2126.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBJDCBywIUd8PxKAdK7IIz843cRDlMocbRup0wCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzA2MTUxNVoYDzIxMjYxMTAzMDYxNTE1
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATd8JAaPnLlGr4eUPe+s7/VWU3cTtx10Wy1wWrcuY/DKg6puF/8N8kLwfmq3JUG
7Kqf42CGQgxGZpCpOUEz0uIGMAoGCCqGSM49BAMCA0gAMEUCIQCuEQ+XZirQtwR1
bjjoS7YwbuKH5V1jIDhEcK6qbwjO8wIgE16WB3gGcx3JyLh8CunNPe+jSfpQDM99
nK5wHwKrobQ=
-----END CERTIFICATE-----
";

/// A key of Ed448, made for this test.
const ED448: &str = "-----BEGIN PRIVATE KEY-----
MEcCAQAwBQYDK2VxBDsEOT4YrVnh/RDPxT/PC792C+SSV06GyJHkNds0h4RfY8x0
nGuK7WvxUiP/Rcz++LMxbRfvEcpxPqhAOA==
-----END PRIVATE KEY-----
";

#[test]
fn a_wrong_file_is_named_with_the_reason_and_the_exit_code_is_2() {
    let folder = Folder::new("tls-wrong");
    let (cert, key) = folder.identity("right", &IDENTITY);
    let (_, other) = folder.identity("other", &Identity::new(&["localhost"]));
    let text = folder.write("text", "no PEM at all\n");
    let torn = folder.write("torn", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let junk = folder.write("junk", junk);
    let locked = folder.write("locked", ENCRYPTED);
    let locked_of_old = folder.write("locked-of-old", ENCRYPTED_OF_OLD);
    let version_1 = folder.write("version-1", VERSION_1);
    let ed448 = folder.write("ed448", ED448);
    let openssh = folder.write("openssh", &ENCRYPTED.replace("ENCRYPTED", "OPENSSH"));
    let nowhere = folder.path("nowhere");
    let folder_itself = folder.path(".");
    for (cert, key, about, why) in [
        (&nowhere, &key, &nowhere, "No such file"),
        (&cert, &nowhere, &nowhere, "No such file"),
        (&folder_itself, &key, &folder_itself, "directory"),
        (&text, &key, &text, "no PEM in it, and so no certificate"),
        (&cert, &text, &text, "no PEM in it, and so no private key"),
        (&key, &cert, &key, "no certificate in it, but a PRIVATE KEY"),
        (
            &cert,
            &cert,
            &cert,
            "no private key in it, but a CERTIFICATE",
        ),
        (&cert, &locked, &locked, "openssl pkey"),
        (&cert, &locked_of_old, &locked_of_old, "openssl pkey"),
        (&cert, &ed448, &ed448, "of a kind that is not supported"),
        (&cert, &openssh, &openssh, "of a kind that is not supported"),
        (&version_1, &key, &version_1, "version 3 is needed"),
        (
            &cert,
            &other,
            &other,
            "not the key of the first certificate",
        ),
        (&torn, &key, &torn, "-----END CERTIFICATE----- is missing"),
        (&junk, &key, &junk, "invalid peer certificate"),
    ] {
        let output = run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            flag(cert),
            "--tls-key",
            flag(key),
        ]);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let line = stderr.trim_end();
        assert!(!line.contains('\n'), "{stderr}");
        assert!(line.contains(flag(about)), "not about {about:?}: {line}");
        assert!(line.contains(why), "not {why:?}: {line}");
        assert!(line.contains("--tls-key: "), "no flag: {line}");
    }
}

/// A pipe whose other end nobody opens, a device without an end, and a file that is no certificate
/// by its length.
#[test]
fn what_is_no_regular_file_is_refused_at_the_start_and_at_a_reload() {
    let folder = Folder::new("tls-kinds");
    let (cert, key) = folder.identity("right", &IDENTITY);
    let pipe = folder.path("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let link = folder.path("link");
    symlink("pipe", &link).expect("a link");
    let long = folder.path("long");
    File::create(&long)
        .expect("a file")
        .set_len(1 << 33)
        .expect("its length");
    let wrong = [
        (flag(&pipe), "it is a pipe"),
        (flag(&link), "it is a pipe"),
        ("/dev/zero", "it is a device"),
        (flag(&long), "it has more than 1048576 bytes"),
    ];
    for (file, why) in wrong {
        for (cert, key) in [(file, flag(&key)), (flag(&cert), file)] {
            let tls = ["--tls-cert", cert, "--tls-key", key];
            let output = run(&[&["serve", "--listen", "127.0.0.1:0"], &tls[..]].concat());
            let stderr = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            let line = format!("ebbtide: --tls-cert, --tls-key: cannot read {file}: {why}");
            assert!(stderr.starts_with(&line), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
    // One reload with such a file holds up neither itself nor a later one.
    let served = serve(&folder, &[]);
    let (cert, key) = (folder.path("localhost.pem"), folder.path("localhost.key"));
    let config = Arc::new(IDENTITY.client(&TLS13));
    let reloads = || {
        let lines = served.log().lines();
        lines.iter().filter(|line| line.contains(RELOADED)).count()
    };
    for file in [&cert, &key] {
        for (wrong, why) in wrong {
            let content = fs::read_to_string(file).expect("the file");
            fs::remove_file(file).expect("removed");
            symlink(wrong, file).expect("a link");
            served.signal(Signal::SIGHUP);
            let line = format!("cannot read {}: {why}", flag(file));
            served.log().wait_line(&line, PATIENCE);
            assert_eq!(
                Client::connect(served.addr(), &config).exchange(GET).body,
                HELLO
            );
            fs::remove_file(file).expect("removed");
            fs::write(file, content).expect("as before");
            let before = reloads();
            served.signal(Signal::SIGHUP);
            until("a reload", || (reloads() > before).then_some(()));
        }
    }
}

#[test]
fn a_key_for_everyone_to_read_is_warned_of_at_each_reading() {
    let folder = Folder::new("tls-public");
    let served = serve(&folder, &[]);
    let key = folder.path("localhost.key");
    let warning = format!(
        "WARN  the private key {} is readable by everyone",
        flag(&key)
    );
    let lines = served.log().lines();
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{lines:?}");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("its mode");
    served.signal(Signal::SIGHUP);
    served.log().wait_line(&warning, PATIENCE);
    served.log().wait_line(RELOADED, PATIENCE);
    let config = Arc::new(IDENTITY.client(&TLS13));
    let mut client = Client::connect(served.addr(), &config);
    assert_eq!(client.exchange(GET).body, HELLO);
}

#[test]
fn flags_that_do_not_go_together_are_a_mistake() {
    for (args, about) in [
        (&["--tls-cert", "a"][..], "--tls-key"),
        (&["--tls-key", "a"], "--tls-cert"),
        (
            &["--tls-cert", "a", "--tls-cert", "b", "--tls-key", "a"],
            "--tls-key",
        ),
        (
            &["--tls-cert", "a", "--tls-key", "a", "--signals", "HUP"],
            "--signals",
        ),
    ] {
        let output = run(&[&["serve"], args].concat());
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(about), "{args:?}: {stderr}");
    }
}

#[test]
fn hangup_reads_the_files_again_and_drops_nobody() {
    let folder = Folder::new("tls-reload");
    let served = serve(&folder, &[]);
    let config = Arc::new(IDENTITY.client(&TLS13));
    let mut before = Client::connect(served.addr(), &config);
    assert_eq!(before.exchange(GET).body, HELLO);

    let other = Identity::new(&["localhost"]);
    folder.identity("localhost", &other);
    served.signal(Signal::SIGHUP);
    served.log().wait_line(RELOADED, PATIENCE);
    let mut after = Client::connect(served.addr(), &Arc::new(other.client(&TLS13)));
    assert_eq!(after.exchange(GET).body, HELLO);
    assert_eq!(before.exchange(GET).body, HELLO);
    // The server still knows an earlier session, and shows no certificate for it.
    let mut resumed = Client::connect(served.addr(), &config);
    assert_eq!(resumed.exchange(GET).body, HELLO);
    assert_eq!(resumed.tls().handshake_kind(), Some(HandshakeKind::Resumed));

    served.terminate();
    for client in [&mut before, &mut after, &mut resumed] {
        client.assert_ends();
    }
    drop((before, after, resumed));
    let (_, report) = served.wait_report(0);
    assert_eq!((report.requests(), report.answered()), (4, 4));
}

#[test]
fn what_is_wrong_at_a_reload_is_logged_and_the_old_stays() {
    let folder = Folder::new("tls-keep");
    let served = serve(&folder, &[]);
    let mut before = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS13)));
    assert_eq!(before.exchange(GET).body, HELLO);

    // The certificate has changed, and its key has not yet.
    let other = Identity::new(&["localhost"]);
    folder.write("localhost.pem", &other.cert_pem());
    served.signal(Signal::SIGHUP);
    let line = served
        .log()
        .wait_line("the old certificates stay", PATIENCE);
    assert!(line.contains("localhost.key"), "{line}");
    assert!(line.contains("not the key of"), "{line}");
    let mut still = Client::connect(served.addr(), &Arc::new(IDENTITY.client(&TLS12)));
    assert_eq!(still.exchange(GET).body, HELLO);
    assert_eq!(before.exchange(GET).body, HELLO);

    folder.write("localhost.key", &other.key_pem());
    served.signal(Signal::SIGHUP);
    served.log().wait_line(RELOADED, PATIENCE);
    let mut after = Client::connect(served.addr(), &Arc::new(other.client(&TLS12)));
    assert_eq!(after.exchange(GET).body, HELLO);
    assert_eq!(before.exchange(GET).body, HELLO);
}

#[needs("openssl", "openssl version")]
#[test]
fn of_several_certificates_the_one_that_was_asked_for_is_shown() {
    let folder = Folder::new("tls-names");
    let names = [&["one.example"][..], &["two.example", "*.two.example"]];
    let [one, two] = names.map(Identity::new);
    let [(cert1, key1), (cert2, key2)] =
        [("one", &one), ("two", &two)].map(|(name, identity)| folder.identity(name, identity));
    let served = Served::start(&[
        "--tls-cert",
        flag(&cert1),
        "--tls-key",
        flag(&key1),
        "--tls-cert",
        flag(&cert2),
        "--tls-key",
        flag(&key2),
    ]);
    for (identity, name) in [
        (&one, "one.example"),
        (&two, "two.example"),
        (&two, "www.two.example"),
    ] {
        let config = Arc::new(identity.client(&TLS13));
        let mut client = Client::asking_for(served.addr(), &config, name);
        assert_eq!(client.exchange(GET).body, HELLO, "{name}");
    }
    // For any other name, and for none, the server shows the first.
    let shown = super::others::subject(served.addr(), &["-servername", "six.example"]);
    assert_eq!(shown, one.cert_pem());
    let shown = super::others::subject(served.addr(), &["-noservername"]);
    assert_eq!(shown, one.cert_pem());
    let shown = super::others::subject(served.addr(), &["-servername", "a.two.example"]);
    assert_eq!(shown, two.cert_pem());
}

#[test]
fn every_listener_speaks_tls() {
    let folder = Folder::new("tls-listeners");
    let served = serve(
        &folder,
        &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
    );
    let config = Arc::new(IDENTITY.client(&TLS13));
    for addr in served.addrs() {
        assert_eq!(Client::connect(*addr, &config).exchange(GET).body, HELLO);
    }
    assert_eq!(served.addrs().len(), 2);
}
