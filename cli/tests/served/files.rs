//! Static files over real sockets: conditions, ranges, hostile paths, and large downloads in a
//! drain.

use ebbtide_lab::command as support;
use ebbtide_needs::needs;

use std::env::temp_dir;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use ebbtide_lab::Dice;
use ebbtide_lab::response::Response;
use support::child::output;
use support::client::Client;
use support::served::Served;
use support::{HELLO, PATIENCE, get, post};

/// A directory with a served `root` in it, removed at the end.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = temp_dir().join(format!("ebbtide-tree-{}-{n}", process::id()));
        fs::create_dir_all(path.join("root")).expect("a new directory");
        Self(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Writes a file below the root with an old modification time.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        let mut file = File::create(&path).expect("a file");
        file.write_all(content).expect("its content");
        let then = SystemTime::now() - Duration::from_secs(3_600);
        file.set_modified(then).expect("its time");
        path
    }

    /// Makes a file of zeros that takes no room on the disk, with a mark in every megabyte.
    fn sparse(&self, name: &str) -> PathBuf {
        let path = self.file(name, b"");
        let file = File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        file.set_len(LARGE as u64).expect("a length");
        for at in (0..LARGE).step_by(1 << 20) {
            let mark = format!("mark {at:>10}\n");
            file.write_all_at(mark.as_bytes(), at as u64)
                .expect("a mark");
        }
        path
    }

    fn serve(&self, flags: &[&str]) -> Served {
        let root = self.root();
        let root = ["--report", "json", "--root", root.to_str().expect("text")];
        Served::start(&[&root[..], flags].concat())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what stays is in a directory for temporary things
    }
}

/// The length of a large file: more than the kernel's buffers of a connection hold.
const LARGE: usize = 50 << 20;

/// Returns a request with more fields.
fn with(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: t.example\r\n{fields}\r\n").into_bytes()
}

/// Makes one exchange on a connection of its own.
fn ask(addr: SocketAddr, request: &[u8]) -> Response {
    let client = Client::connect(addr);
    let method = String::from_utf8_lossy(request);
    let method = method.split(' ').next().unwrap_or_default();
    client.expect_methods(&[method.to_owned()]);
    client.exchange(0, request)
}

fn field(response: &Response, name: &str) -> String {
    let values: Vec<_> = response.field(name).map(String::from_utf8_lossy).collect();
    assert!(values.len() <= 1, "{name} more than once: {response}");
    values.into_iter().next().unwrap_or_default().into_owned()
}

#[test]
fn files_have_their_type_and_directories_their_index() {
    let tree = Tree::new();
    tree.file("index.html", b"<p>root");
    tree.file("sub dir/index.html", b"<p>sub");
    tree.file("empty/x.bin", b"");
    tree.file("data.json", b"{}");
    tree.file("plaintext", b"never seen");
    let served = tree.serve(&[]);
    let addr = served.addr();

    let cases: &[(&str, u16, &str, &[u8])] = &[
        ("/", 200, "text/html; charset=utf-8", b"<p>root"),
        ("/?query", 200, "text/html; charset=utf-8", b"<p>root"),
        ("/index.html", 200, "text/html; charset=utf-8", b"<p>root"),
        ("http://elsewhere/data.json", 200, "application/json", b"{}"),
        ("/sub%20dir/", 200, "text/html; charset=utf-8", b"<p>sub"),
        ("/empty/x.bin", 200, "application/octet-stream", b""),
        // A route of the demo comes first.
        ("/plaintext", 200, "text/plain", HELLO),
        ("/empty/", 404, "text/plain; charset=utf-8", b"not here\n"),
        (
            "/data.json/",
            404,
            "text/plain; charset=utf-8",
            b"not here\n",
        ),
        (
            "/data.json/x",
            404,
            "text/plain; charset=utf-8",
            b"not here\n",
        ),
        (
            "/%zz",
            400,
            "text/plain; charset=utf-8",
            b"the path is malformed\n",
        ),
    ];
    for (path, status, kind, body) in cases {
        let response = ask(addr, &get(path));
        assert_eq!(response.status, *status, "{path}");
        assert_eq!(field(&response, "Content-Type"), *kind, "{path}");
        assert_eq!(response.body, *body, "{path}");
        let head = ask(addr, &with("HEAD", path, ""));
        assert_eq!(head.status, *status, "{path}");
        for name in ["Content-Length", "Content-Type", "ETag", "Last-Modified"] {
            assert_eq!(
                field(&head, name),
                field(&response, name),
                "{name} of {path}"
            );
        }
    }
    let redirect = ask(addr, &get("/sub%20dir?a=b&c"));
    assert_eq!(redirect.status, 301);
    assert_eq!(field(&redirect, "Location"), "/sub%20dir/?a=b&c");

    let refused = ask(addr, &post("/index.html", b"x"));
    assert_eq!(
        (refused.status, &*field(&refused, "Allow")),
        (405, "GET, HEAD")
    );
}

#[test]
fn nothing_outside_the_root_can_be_had() {
    let tree = Tree::new();
    fs::write(tree.0.join("secret"), "secret").unwrap();
    tree.file("a/b", b"fine");
    tree.file(".env", b"secret");
    tree.file(".git/config", b"secret");
    symlink("../secret", tree.root().join("link")).unwrap();
    symlink(&tree.0, tree.root().join("up")).unwrap();
    symlink("a/b", tree.root().join("good")).unwrap();
    mkfifo(&tree.root().join("pipe"), Mode::S_IRUSR).unwrap();
    let hostile = [
        "/../secret",
        "/a/../../secret",
        "/./../secret",
        "/..",
        "/../",
        "/../root/a/b",
        "/%2e%2e/secret",
        "/%2E%2E/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/%2e%2e%2fsecret",
        "/a%2f..%2f..%2fsecret",
        "/%252e%252e/secret",
        "/..%252fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/%c0%ae%c0%ae/secret",
        "/..%c0%afsecret",
        "/..;/secret",
        "/..%00/secret",
        "/a/b%00",
        "/a/b%00.html",
        "/%00",
        "//secret",
        "///a/b",
        "/a//b",
        "//../secret",
        "http://t.example/../secret",
        "http://t.example//secret",
        "/a/./b",
        "/a/b/../b",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/link",
        "/up/secret",
        "/up/root/.env",
        "/proc/self/environ",
        "/a/b/",
        "/pipe",
        "/a%0d%0ab",
        "/etc/passwd",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
        "/file:/etc/passwd",
    ];
    for flags in [&[][..], &["--symlinks", "never"]] {
        let served = tree.serve(flags);
        for path in hostile {
            let response = ask(served.addr(), &get(path));
            assert_eq!(response.status, 404, "{path}: {response}");
            assert_eq!(response.body, b"not here\n", "{path}");
        }
        assert_eq!(ask(served.addr(), &get("/a/b")).body, b"fine");
        // A link to something below the root is one thing or the other.
        let good = ask(served.addr(), &get("/good")).status;
        assert_eq!(good, if flags.is_empty() { 200 } else { 404 });
    }
    let served = tree.serve(&["--symlinks", "any", "--dot-files"]);
    for path in ["/link", "/up/secret", "/.env", "/.git/config"] {
        assert_eq!(ask(served.addr(), &get(path)).body, b"secret", "{path}");
    }
    assert_eq!(ask(served.addr(), &get("/../secret")).status, 404);
}

#[test]
fn conditions_are_those_of_the_rfc() {
    let tree = Tree::new();
    let path = tree.file("file", b"0123456789");
    let served = tree.serve(&[]);
    let addr = served.addr();
    let first = ask(addr, &get("/file"));
    let (tag, date) = (field(&first, "ETag"), field(&first, "Last-Modified"));
    assert!(tag.starts_with('"'), "a strong tag: {first}");
    assert_eq!(field(&first, "X-Content-Type-Options"), "nosniff");
    let then = httpdate_of(&path);
    assert_eq!(date, then);

    let not_modified = ask(
        addr,
        &with("GET", "/file", &format!("If-None-Match: {tag}\r\n")),
    );
    assert_eq!((not_modified.status, not_modified.body.len()), (304, 0));
    assert_eq!(field(&not_modified, "ETag"), tag);
    assert_eq!(field(&not_modified, "Content-Length"), "");
    for (method, fields, status) in [
        ("HEAD", format!("If-None-Match: \"a\", W/{tag}\r\n"), 304),
        ("GET", format!("If-Modified-Since: {date}\r\n"), 304),
        (
            "GET",
            format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {date}\r\n"),
            200,
        ),
        ("GET", format!("If-Match: {tag}\r\n"), 200),
        ("GET", format!("If-Match: W/{tag}\r\n"), 412),
        ("HEAD", "If-Match: \"a\"\r\n".to_owned(), 412),
        (
            "GET",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(),
            412,
        ),
        (
            "GET",
            format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n"),
            206,
        ),
        (
            "GET",
            format!("Range: bytes=0-1\r\nIf-Range: {date}\r\n"),
            200,
        ),
        (
            "GET",
            format!("Range: bytes=0-1\r\nIf-Range: W/{tag}\r\n"),
            200,
        ),
        (
            "GET",
            "Range: bytes=0-1\r\nIf-Range: \"a\"\r\n".to_owned(),
            200,
        ),
        // A condition that fails comes before a range.
        (
            "GET",
            format!("Range: bytes=0-1\r\nIf-None-Match: {tag}\r\n"),
            304,
        ),
        (
            "GET",
            "Range: bytes=50-\r\nIf-Match: \"a\"\r\n".to_owned(),
            412,
        ),
        // Only GET has ranges.
        ("HEAD", "Range: bytes=0-1\r\n".to_owned(), 200),
    ] {
        let response = ask(addr, &with(method, "/file", &fields));
        assert_eq!(response.status, status, "{method} {fields}");
    }

    // A changed file has another tag, weak while the file is new.
    fs::write(&path, "9876543210").unwrap();
    let next = ask(
        addr,
        &with("GET", "/file", &format!("If-None-Match: {tag}\r\n")),
    );
    assert_eq!((next.status, &next.body[..]), (200, &b"9876543210"[..]));
    assert!(field(&next, "ETag").starts_with("W/\""), "{next}");
}

#[test]
fn files_from_before_1970_are_told_apart() {
    let tree = Tree::new();
    let then = |seconds| SystemTime::UNIX_EPOCH - Duration::from_secs(seconds);
    let write = |content: &[u8], seconds| {
        let path = tree.file("old", content);
        let file = File::options().write(true).open(path).expect("the file");
        file.set_modified(then(seconds)).expect("its time");
    };
    let served = tree.serve(&[]);
    let addr = served.addr();
    write(b"AAAAA", 86_400);
    let first = ask(addr, &get("/old"));
    let tag = field(&first, "ETag");
    assert!(tag.starts_with('"'), "a strong tag: {first}");
    assert_eq!(field(&first, "Last-Modified"), "", "{first}");
    write(b"BBBBB", 172_800);
    for fields in [
        format!("If-None-Match: {tag}\r\n"),
        format!("Range: bytes=2-\r\nIf-Range: {tag}\r\n"),
        "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(),
    ] {
        let response = ask(addr, &with("GET", "/old", &fields));
        assert_eq!(
            (response.status, &response.body[..]),
            (200, &b"BBBBB"[..]),
            "{fields}"
        );
    }
}

/// Two states of one second: a client has a part of the first, which a date does not tell from the
/// second.
#[test]
fn a_date_joins_no_two_states_of_a_file() {
    let tree = Tree::new();
    let path = tree.file("file", b"AAAAAAAAAA");
    let served = tree.serve(&[]);
    let date = field(&ask(served.addr(), &get("/file")), "Last-Modified");
    let modified = fs::metadata(&path)
        .and_then(|file| file.modified())
        .expect("its time");
    fs::write(&path, b"BBBBBBBBBB").expect("other content");
    let file = File::options().write(true).open(&path).expect("the file");
    file.set_modified(modified).expect("its time");
    for name in ["If-Range", "If-Unmodified-Since"] {
        let fields = format!("Range: bytes=5-\r\n{name}: {date}\r\n");
        let response = ask(served.addr(), &with("GET", "/file", &fields));
        let whole = (200, &b"BBBBBBBBBB"[..]);
        assert_eq!((response.status, &response.body[..]), whole, "{name}");
    }
}

#[test]
fn an_empty_file_is_given_to_those_that_always_ask_for_a_range() {
    let tree = Tree::new();
    tree.file("empty", b"");
    let served = tree.serve(&[]);
    for (range, status) in [
        ("0-", 200),
        ("0-499", 200),
        ("-5", 200),
        ("1-", 416),
        ("-0", 416),
    ] {
        let fields = format!("Range: bytes={range}\r\n");
        let response = ask(served.addr(), &with("GET", "/empty", &fields));
        assert_eq!(response.status, status, "{range}: {response}");
        if status == 200 {
            assert_eq!(field(&response, "Content-Length"), "0", "{range}");
        }
    }
}

/// Serves as a user to whom the system refuses what the mode of a directory refuses.
#[test]
fn a_link_out_of_the_root_does_not_tell_what_is_there() {
    let tree = Tree::new();
    tree.file("file", b"fine");
    let closed = tree.0.join("closed");
    fs::create_dir(&closed).expect("a directory");
    fs::write(closed.join("file"), "closed").expect("a file");
    for (target, name) in [
        ("../closed", "directory"),
        ("../closed/file", "there"),
        ("../closed/nothing", "absent"),
        ("../nothing", "nowhere"),
    ] {
        symlink(target, tree.root().join(name)).expect("a link");
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o600)).expect("its mode");
    let mut command = Command::new(support::served::command());
    if fs::metadata(&closed).expect("the directory").uid() == 0 {
        command.uid(NOBODY);
    }
    command.args(["serve", "--listen", "127.0.0.1:0", "--root"]);
    command.arg(tree.root());
    let served = Served::launch_and_wait(command, 1);
    assert_eq!(ask(served.addr(), &get("/file")).status, 200);
    for path in [
        "/directory/file",
        "/directory/nothing",
        "/there",
        "/absent",
        "/nowhere",
    ] {
        let response = ask(served.addr(), &get(path));
        assert_eq!(
            (response.status, &response.body[..]),
            (404, &b"not here\n"[..]),
            "{path}"
        );
    }
}

/// The user without rights.
const NOBODY: u32 = 65_534;

/// Returns the date of a file as coreutils write it.
fn httpdate_of(path: &Path) -> String {
    let output = output(
        Command::new("date")
            .env("LC_ALL", "C")
            .args(["--utc", "+%a, %d %b %Y %H:%M:%S GMT", "--reference"])
            .arg(path),
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[test]
fn every_range_is_what_a_naive_reader_takes() {
    let tree = Tree::new();
    let mut content = vec![0; 300_000];
    let mut dice = Dice::new(7);
    content.fill_with(|| dice.index(256) as u8);
    tree.file("file", &content);
    let served = tree.serve(&[]);
    let client = Client::connect(served.addr());
    for n in 0..200 {
        let parts = (0..1 + dice.index(4)).map(|_| {
            let first = dice.index(content.len() + 1000);
            match dice.index(4) {
                0 => format!("{first}-"),
                1 => format!("-{first}"),
                _ => format!("{first}-{}", first + dice.index(100_000)),
            }
        });
        let set = parts.collect::<Vec<_>>().join(",");
        let response =
            client.exchange(n, &with("GET", "/file", &format!("Range: bytes={set}\r\n")));
        let expected = naive(&set, content.len());
        let total: usize = expected.iter().map(|(first, last)| last + 1 - first).sum();
        match &expected[..] {
            [] => {
                assert_eq!(response.status, 416, "{set}");
                assert_eq!(field(&response, "Content-Range"), "bytes */300000");
            }
            _ if total > content.len() => {
                assert_eq!(response.status, 200, "{set}");
                assert!(response.body == content, "{set}");
            }
            [(first, last)] => {
                assert_eq!(response.status, 206, "{set}");
                let range = format!("bytes {first}-{last}/300000");
                assert_eq!(field(&response, "Content-Range"), range, "{set}");
                assert!(response.body == content[*first..=*last], "{set}");
            }
            _ => {
                assert_eq!(response.status, 206, "{set}");
                assert_eq!(field(&response, "Content-Range"), "", "{set}");
                assert_parts(&response, &expected, &content);
            }
        }
    }
}

/// Returns the first and last bytes of the satisfiable ranges, by RFC 9110 §14.1.2.
fn naive(set: &str, length: usize) -> Vec<(usize, usize)> {
    let parts = set.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').expect("a range");
        let (first, end) = if first.is_empty() {
            let suffix: usize = last.parse().expect("a number");
            (length - suffix.min(length), length)
        } else {
            let end = last
                .parse()
                .map_or(length, |last: usize| length.min(last + 1));
            (first.parse().expect("a number"), end)
        };
        (first < end).then(|| (first, end - 1))
    });
    parts.collect()
}

/// Reads multipart/byteranges as RFC 2046 says, and asserts exactly these parts.
fn assert_parts(response: &Response, expected: &[(usize, usize)], content: &[u8]) {
    let kind = field(response, "Content-Type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let mut rest = &response.body[..];
    for (n, (first, last)) in expected.iter().enumerate() {
        let line = if n == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
             Content-Range: bytes {first}-{last}/{}\r\n\r\n",
            content.len()
        );
        rest = rest
            .strip_prefix(head.as_bytes())
            .expect("the head of a part");
        rest = rest.strip_prefix(&content[*first..=*last]).expect("a part");
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
}

#[test]
fn a_large_download_to_a_slow_reader_survives_a_drain_in_little_memory() {
    let tree = Tree::new();
    tree.sparse("large");
    let served = tree.serve(&["--write-timeout", "60s"]);
    served.settle();
    let before = resident(served.pid());
    let mut stream = TcpStream::connect(served.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&get("/large")).unwrap();
    let mut download = Vec::with_capacity(LARGE + 1024);
    let mut piece = vec![0; 1 << 20];
    let mut most = 0;
    while download.len() < LARGE / 5 {
        let n = stream.read(&mut piece).unwrap();
        download.extend_from_slice(&piece[..n]);
        most = most.max(resident(served.pid()));
    }

    served.terminate();
    served.wait_refused();
    loop {
        let n = stream.read(&mut piece).unwrap();
        if n == 0 {
            break;
        }
        download.extend_from_slice(&piece[..n]);
        if download.len() < LARGE * 9 / 10 {
            most = most.max(resident(served.pid()));
        }
    }
    let begin = download.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let body = &download[begin..];
    assert_eq!(body.len(), LARGE);
    for at in (0..LARGE).step_by(1 << 20) {
        let mark = format!("mark {at:>10}\n");
        assert!(body[at..].starts_with(mark.as_bytes()), "at {at}");
    }
    drop(stream);
    let (_, report) = served.wait_report(0);
    assert_eq!((report.answered(), report.aborted()), (2, 0));
    eprintln!("files: {before} bytes resident before a download of {LARGE}, {most} at most in it");
    assert!(
        most < before + (2 << 20),
        "{most} bytes, and {before} before"
    );
}

/// Returns the resident memory of a process, in bytes.
fn resident(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_file_that_becomes_shorter_breaks_its_download_off() {
    let tree = Tree::new();
    let path = tree.sparse("large");
    let served = tree.serve(&[]);
    let mut stream = TcpStream::connect(served.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&get("/large")).unwrap();
    let mut piece = vec![0; 1 << 16];
    let mut read = stream.read(&mut piece).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(1).unwrap();
    let error = loop {
        match stream.read(&mut piece) {
            Ok(0) => panic!("a clean end after {read} bytes"),
            Ok(n) => read += n,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(read < LARGE);
    served
        .log()
        .wait_line("the file has become shorter", PATIENCE);
}

#[needs("curl", "curl --version")]
#[test]
fn curl_goes_on_where_it_stopped() {
    let tree = Tree::new();
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    tree.file("file.bin", &content);
    let served = tree.serve(&[]);
    let url = format!("http://{}/file.bin", served.addr());
    let out = tree.0.join("out");
    let to = out.to_str().unwrap();
    let well = |args: &[&str]| {
        let output = output(Command::new("curl").args(args));
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    };
    fs::write(&out, &content[..1_234_567]).unwrap();
    well(&["-sS", "-C", "-", "-o", to, &url]);
    assert!(fs::read(&out).unwrap() == content, "curl -C -");
    assert!(well(&["-sS", "-r", "10-19", &url]) == content[10..20]);
    assert!(well(&["-sS", "-r", "-5", &url]) == content[content.len() - 5..]);
    assert!(well(&["-sS", "-r", "3999990-", &url]) == content[3_999_990..]);
    // The second conditional download has nothing to fetch.
    let tag = tree.0.join("tag");
    let tag = tag.to_str().unwrap();
    let code = ["-sS", "-o", to, "-w", "%{http_code}", "--etag-save", tag];
    assert_eq!(well(&[&code[..], &[&url]].concat()), b"200");
    let again = ["-sS", "-w", "%{http_code}", "--etag-compare", tag];
    assert_eq!(well(&[&again[..], &[&url]].concat()), b"304");
}
