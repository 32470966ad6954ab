//! Server-sent events over real sockets: `GET /events` of the command, and a browser's EventSource.

use ebbtide_lab::command as support;
use ebbtide_needs::needs;

use std::env::temp_dir;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ebbtide::sse::{Event, Options, Topic};
use ebbtide::{Outcome, Request, Response, Running, Server};

use support::child::{Child, output};
use support::served::Served;
use support::{PATIENCE, get};

/// A subscriber that reads its stream line by line, framing included.
struct Subscriber(BufReader<TcpStream>);

impl Subscriber {
    fn ask(addr: SocketAddr, request: &[u8]) -> Self {
        let mut stream = TcpStream::connect(addr).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request).expect("write");
        Self(BufReader::new(stream))
    }

    /// Returns the rest of the next line that begins with `begin`.
    fn line(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            let n = self.0.read_line(&mut line).expect("a line");
            assert!(n > 0, "it ended before {begin:?}");
            if let Some(rest) = line.trim_end().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    /// Returns the id and the number of the next tick.
    fn tick(&mut self) -> (String, u64) {
        let id = self.line("id: ");
        let data = self.line("data: {\"tick\":");
        let number = data.split(',').next().expect("a number");
        (id, number.parse().expect("a number"))
    }
}

#[test]
fn a_tick_a_second_and_who_comes_back_misses_none() {
    let served = Served::start(&["--report", "json"]);
    let mut first = Subscriber::ask(served.addr(), &get("/events"));
    assert_eq!(first.line("HTTP/1.1 "), "200 OK");
    assert_eq!(first.line("Content-Type: "), "text/event-stream");
    first.line("retry: ");
    let (id, number) = first.tick();
    assert_eq!(first.tick().1, number + 1);
    let again = format!("GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n");
    let mut again = Subscriber::ask(served.addr(), again.as_bytes());
    for n in 1..4 {
        assert_eq!(again.tick().1, number + n);
    }
    // An HTTP/1.0 client gets the same without chunks.
    let old = b"GET /events HTTP/1.0\r\n\r\n";
    let mut old = Subscriber::ask(served.addr(), old);
    old.tick();

    let signalled = Instant::now();
    served.terminate();
    for (mut subscriber, end) in [
        (first, "\n\n\r\n0\r\n\r\n"),
        (again, "\n\n\r\n0\r\n\r\n"),
        (old, "\n\n"),
    ] {
        let mut rest = String::new();
        subscriber.0.read_to_string(&mut rest).expect("a clean end");
        assert!(rest.contains("retry: ") && rest.ends_with(end), "{rest:?}");
    }
    let (exit, report) = served.wait_report(0);
    assert_eq!((report.answered(), report.aborted()), (3, 0));
    let took = exit.at - signalled;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

const PAGE: &str = r#"<!doctype html><script>
let last = Promise.resolve();
const say = (what) => {
    const tell = () => fetch('/report', { method: 'POST', body: what }).catch(() => {});
    last = last.then(tell);
};
const events = new EventSource('/events');
events.onopen = () => say('open');
const show = (event) => say(`${event.type} ${event.lastEventId} ${JSON.stringify(event.data)}`);
events.onmessage = show;
events.addEventListener('news', show);
</script>"#;

/// Starts a server with the page and the events, which passes on the page's reports.
fn site(addr: &str, topic: &Topic, reports: &Sender<String>) -> Running {
    let (topic, reports) = (topic.clone(), reports.clone());
    let handler = move |request: &Request<'_>| match request.path() {
        "/" => Response::new(200).content_type("text/html").body(PAGE),
        "/events" => topic.subscribe(request),
        "/report" => {
            let text = String::from_utf8_lossy(request.body()).into_owned();
            reports.send(text).expect("the test listens");
            Response::new(204)
        }
        _ => Response::new(404),
    };
    Server::bind(addr)
        .expect("a port")
        .spawn(handler)
        .expect("a thread")
}

/// A browser. Dropping it kills the process and removes the profile.
struct Browser(Child, PathBuf);

impl Browser {
    /// Opens a page.
    fn open(url: &str) -> Self {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let is_there = |name: &&str| {
            let mut shell = Command::new("sh");
            let version = shell.args(["-c", &format!("{name} --version")]);
            output(version).status.success()
        };
        let name = names.into_iter().find(is_there).expect("a browser");
        let profile = temp_dir().join(format!("ebbtide-browser-{}", process::id()));
        let mut command = Command::new(name);
        command
            .args([
                "--headless",
                "--no-sandbox", // the sandbox fails for root
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0", // keeps the browser open after the page has loaded
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(Child::start(&mut command), profile)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.0.kill();
        let _ = fs::remove_dir_all(&self.1); // a rest stays in the directory for temporary files
    }
}

/// Waits for the page's next report. A browser starts slowly on a busy machine.
fn hear(reports: &Receiver<String>) -> String {
    reports
        .recv_timeout(6 * PATIENCE)
        .expect("the page reports nothing")
}

#[needs(
    "Chromium",
    "chromium --version || chromium-browser --version || google-chrome --version"
)]
#[test]
fn a_browser_follows_from_one_server_to_the_next() {
    let options = Options::new().retry(Duration::from_millis(50), Duration::from_millis(100));
    let topic = Topic::with(options);
    let (sender, reports) = channel();
    let first = site("127.0.0.1:0", &topic, &sender);
    let addr = first.local_addr().unwrap().to_string();
    let _browser = Browser::open(&format!("http://{addr}/"));
    assert_eq!(hear(&reports), "open");
    topic.publish(&Event::new("two\nlines").kind("news").id("n-1"));
    assert_eq!(hear(&reports), r#"news n-1 "two\nlines""#);
    topic.publish(&Event::new("ünï").id("n-2"));
    assert_eq!(hear(&reports), r#"message n-2 "ünï""#);

    // The stream ends whole, and no request of the browser is cut.
    let outcome: Outcome = first.shutdown().expect("a drain");
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.report.aborted, 0, "{outcome}");
    topic.publish(&Event::new("meanwhile").id("n-3"));
    topic.publish(&Event::new("").id("n-4"));
    let next = site(&addr, &topic, &sender);
    // The browser asks for the events after the last one that it got.
    for expected in ["open", r#"message n-3 "meanwhile""#, r#"message n-4 """#] {
        assert_eq!(hear(&reports), expected);
    }
    assert_eq!(topic.numbers().subscribers, 1);
    assert_eq!(next.shutdown().expect("a drain").code(), 0);
}
