//! Clients that others wrote: curl, openssl and Python.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use super::serve;
use super::support::HELLO;
use super::support::folder::{Folder, flag};
use super::support::served::finish;
use ebbtide_needs::needs;

/// Runs a program with this on its standard input.
#[track_caller]
fn run(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // The program may end without reading.
    let _ = stdin.write_all(input);
    drop(stdin);
    finish(child)
}

#[track_caller]
fn curl(folder: &Folder, addr: SocketAddr, args: &[&str]) -> Vec<u8> {
    let to = format!("localhost:443:{}:{}", addr.ip(), addr.port());
    let cert = folder.path("localhost.pem");
    let base = [
        "-sS",
        "-m",
        "20",
        "--cacert",
        flag(&cert),
        "--connect-to",
        &to,
    ];
    let output = run("curl", &[&base, args].concat(), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    output.stdout
}

/// Returns the certificate that the server shows, as PEM.
#[track_caller]
pub(crate) fn subject(addr: SocketAddr, args: &[&str]) -> String {
    let addr = addr.to_string();
    let base = ["s_client", "-showcerts", "-connect", &addr];
    let output = run("openssl", &[&base, args].concat(), b"");
    let text = String::from_utf8_lossy(&output.stdout);
    let begin = text.find("-----BEGIN").expect("a certificate");
    let end = "-----END CERTIFICATE-----\n";
    let length = text[begin..].find(end).expect("its end") + end.len();
    text[begin..begin + length]
        .replace('\n', "\r\n")
        .replace("\r\n", "\n")
}

#[needs("curl", "curl --version")]
#[test]
fn curl_of_either_version() {
    let folder = Folder::new("tls-curl");
    let served = serve(&folder, &[]);
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let ask = |args: &[&str]| curl(&folder, served.addr(), &[version, args].concat());
        assert_eq!(ask(&["https://localhost/plaintext"]), HELLO);
        // Both requests use one connection.
        let twice = ask(&[
            "https://localhost/plaintext",
            "https://localhost/json",
            "-w",
            "%{num_connects} ",
        ]);
        let twice = String::from_utf8(twice).expect("text");
        assert_eq!(twice, "Hello, World!1 {\"message\":\"Hello, World!\"}0 ");
        // The certificate is for another name.
        let to = format!("localhost:443:{}", served.addr());
        let wrong = run(
            "curl",
            &["-sS", "--connect-to", &to, "https://localhost/"],
            b"",
        );
        assert_eq!(wrong.status.code(), Some(60), "it is not trusted by itself");
    }
}

#[needs("curl", "curl --version")]
#[test]
fn curl_negotiates_http_1_1() {
    let folder = Folder::new("tls-alpn");
    let served = serve(&folder, &[]);
    // curl offers h2 and http/1.1.
    let version = curl(
        &folder,
        served.addr(),
        &[
            "-o",
            "/dev/null",
            "-w",
            "%{http_version}",
            "https://localhost/plaintext",
        ],
    );
    assert_eq!(version, b"1.1");
    let output = run(
        "openssl",
        &[
            "s_client",
            "-connect",
            &served.addr().to_string(),
            "-alpn",
            "h2,http/1.1",
        ],
        b"",
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("ALPN protocol: http/1.1"), "{text}");
}

#[needs("curl", "curl --version")]
#[test]
fn curl_speaks_http_1_0() {
    let folder = Folder::new("tls-http10");
    let served = serve(&folder, &[]);
    let got = curl(
        &folder,
        served.addr(),
        &["-0", "https://localhost/plaintext"],
    );
    assert_eq!(got, HELLO);
}

#[needs("curl", "curl --version")]
#[test]
fn curl_uploads_and_downloads() {
    let folder = Folder::new("tls-large");
    let served = serve(&folder, &[]);
    let body: Vec<u8> = (0..5_000_000u32).map(|n| (n / 7) as u8).collect();
    let file = folder.path("body");
    fs::write(&file, &body).expect("a file");
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let data = format!("@{}", flag(&file));
        let post = ["--data-binary", &data, "https://localhost/echo"];
        let echoed = curl(&folder, served.addr(), &[version, &post].concat());
        assert!(echoed == body, "{} bytes came back", echoed.len());
        let chunked = ["-H", "Transfer-Encoding: chunked"];
        let echoed = curl(&folder, served.addr(), &[version, &chunked, &post].concat());
        assert!(echoed == body, "{} bytes came back", echoed.len());
        let get = ["https://localhost/bytes/40000000"];
        let got = curl(&folder, served.addr(), &[version, &get].concat());
        assert_eq!(got.len(), 40_000_000);
        let stream = ["https://localhost/stream/100/1"];
        let got = curl(&folder, served.addr(), &[version, &stream].concat());
        assert!(got.ends_with(b"chunk 99\n"));
    }
}

#[needs("curl", "curl --version")]
#[test]
fn curl_without_tls_is_told_so() {
    let folder = Folder::new("tls-plain");
    let served = serve(&folder, &[]);
    let url = format!("http://{}/plaintext", served.addr());
    let output = run("curl", &["-sS", "-i", &url], b"");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
    let body = "\r\n\r\nthis port speaks TLS: use https\n";
    assert!(text.ends_with(body), "{text}");
    // An unread body does not destroy the response.
    let data = "x".repeat(100_000);
    let output = run(
        "curl",
        &["-sS", "--data-binary", "@-", &url],
        data.as_bytes(),
    );
    assert_eq!(output.stdout, b"this port speaks TLS: use https\n");
}

#[needs("openssl", "openssl version")]
#[test]
fn openssl_resumes_its_session() {
    let folder = Folder::new("tls-session");
    let served = serve(&folder, &[]);
    let addr = served.addr().to_string();
    let session = folder.path("session");
    let request = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let base = ["s_client", "-connect", &addr, "-ign_eof", version];
        let keep = ["-sess_out", flag(&session)];
        let first = run("openssl", &[&base[..], &keep].concat(), request);
        let text = String::from_utf8_lossy(&first.stdout);
        assert!(text.contains("Hello, World!"), "{version}: {text}");
        assert!(text.contains("\nNew, "), "{version}: {text}");
        let again = ["-sess_in", flag(&session)];
        let second = run("openssl", &[&base[..], &again].concat(), request);
        let text = String::from_utf8_lossy(&second.stdout);
        assert!(text.contains("Hello, World!"), "{version}: {text}");
        assert!(text.contains("\nReused, "), "{version}: {text}");
    }
}

/// openssl complains about an end without a close_notify.
#[needs("openssl", "openssl version")]
#[test]
fn openssl_sees_a_whole_end() {
    let folder = Folder::new("tls-end");
    let served = serve(&folder, &[]);
    let addr = served.addr().to_string();
    let request = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for version in ["-tls1_2", "-tls1_3"] {
        let args = ["s_client", "-connect", &addr, "-ign_eof", version];
        let output = run("openssl", &args, request);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(!stderr.contains("unexpected eof"), "{stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.trim_end().ends_with("closed"), "{stdout}");
    }
}

/// `SSLSocket.unwrap` sends a close_notify, waits for the server's, and raises at a bare FIN.
#[needs("python3", "python3 -c 'import ssl'")]
#[test]
fn python_unwraps_a_connection() {
    const CLIENT: &str = r#"
import socket, ssl, sys
host, port, version = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
for way in ["fresh", "idle", "behind", "half"]:
    s = context.wrap_socket(socket.create_connection((host, int(port)), 20))
    request = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n"
    if way == "idle":
        s.sendall(request)
        while b"Hello, World!" not in s.recv(9999): pass
    elif way == "behind":
        s.sendall(request)
        while b"Hello, World!" not in s.recv(9999): pass
        s.sendall(request)
    elif way == "half":
        s.sendall(request[:9])
    if way == "fresh" or way == "idle":
        s.unwrap().close()
    else:
        socket.socket.shutdown(s, socket.SHUT_WR)
        s.suppress_ragged_eofs = False
        while s.recv(9999): pass
    print(way)
"#;
    let folder = Folder::new("tls-python");
    let served = serve(&folder, &[]);
    let (host, port) = (
        served.addr().ip().to_string(),
        served.addr().port().to_string(),
    );
    for version in ["TLSv1_2", "TLSv1_3"] {
        let output = run("python3", &["-c", CLIENT, &host, &port, version], b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {stderr}");
        assert_eq!(output.stdout, b"fresh\nidle\nbehind\nhalf\n");
    }
}
